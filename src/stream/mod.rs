//! The encoded picture on its way from the encoder to the viewers. Knows nothing of cameras above it, nor of connections.

pub mod access_unit;
pub mod fanout;
mod fresh;
pub mod h264;
mod on_air;
mod orientation;
mod profile;
mod rendition;

pub use access_unit::AccessUnit;
pub use fanout::{Demand, Fanout, KeyFrameReason, Subscription};
pub use orientation::Orientation;
pub use profile::ProfileLevelId;
pub use rendition::{Rendition, ViewerRendition};
