//! How a connection comes about: what an offer may get, what the answer says, and what the library negotiates.

pub mod answer;
pub mod audio;
pub mod candidate;
pub mod certificate;
mod codec;
mod description;
pub mod dtls_alert;
pub mod dtls_handshake;
pub mod extension_uri;
pub mod fingerprint;
pub mod negotiation;
pub mod offer;
mod sctp;
pub mod track;
