//! Which pictures one viewer gets, and when their packets leave.

mod frame_dropper;
pub mod latency;
pub mod media_sender;
mod pacer;
pub mod pictures;
