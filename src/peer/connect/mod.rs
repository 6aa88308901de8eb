//! How a connection comes about: what an offer may get, what the answer says, and what the library negotiates.

pub mod alert;
pub mod answer;
pub mod candidate;
pub mod certificate;
mod codec;
mod description;
pub mod extension_uri;
pub mod fingerprint;
pub mod handshake;
pub mod negotiation;
pub mod offer;
pub mod track;
