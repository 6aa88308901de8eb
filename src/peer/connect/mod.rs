//! How a connection comes about: what an offer may get, what the answer says, and the library's peer connection behind it.

pub mod answer;
mod candidate;
mod certificate;
pub mod connection;
pub mod factory;
pub mod offer;
pub mod track;
