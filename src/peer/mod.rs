//! One viewer: its peer connection, its sender, its feedback. The only folder that names webrtc and rtc.
//!
//! Rooms, each of which knows only those after it: `driver` (the one thread that all connections live on), `connect` (how a connection
//! comes about), `send` (which pictures a viewer gets, and when), `rtp` (what packets are made with), `bwe` (what its path carries), `channel` (what is said beside the picture), `net`
//! (where packets go in and out); `error` and `stats` are for all. What is outside of them knows all: a session's life, and the receiver of `porthole watch`.

mod bwe;
pub(crate) mod channel;
#[cfg(test)]
mod client_hello_tests;
mod connect;
#[cfg(test)]
mod connecting_tests;
mod driver;
mod error;
mod factory;
mod net;
mod own_h264;
pub mod reach;
pub mod receiver;
mod rtp;
mod send;
mod session;
mod sound;
mod stats;

pub use bwe::control::ViewerControl;
pub use connect::offer;
pub use connect::offer::AcceptedOffer;
pub use error::PeerError;
pub use factory::Factory;
pub(crate) use own_h264::can_be_shown;
pub use send::packetizer::packetize;
pub(crate) use session::camera_refusal;
pub use session::{NewSession, Replies, SessionCommand, Signer, run};
pub use sound::{AudioParts, MayTalk};
pub use stats::{EndReason, PathStats, Sent, SessionStats};
