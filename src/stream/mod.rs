//! The encoded picture, and sound, on their way from the encoder to the viewers. Knows nothing of cameras above it, nor of connections.

pub mod access_unit;
mod audio;
pub mod fanout;
mod fresh;
pub mod h264;
mod on_air;
mod orientation;
mod profile;
mod rendition;
mod talk;

pub use access_unit::AccessUnit;
pub use audio::{AudioFanout, AudioPacket, AudioSubscription, OPUS_CLOCK_RATE_HZ};
pub use fanout::{Demand, Fanout, KeyFrameReason, Subscription};
pub use orientation::Orientation;
pub use profile::ProfileLevelId;
pub use rendition::{Rendition, ViewerRendition};
pub use talk::{Speaker, SpeakerBusy, SpokenPacket, Talk};
