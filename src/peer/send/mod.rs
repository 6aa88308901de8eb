//! Which pictures one viewer gets, and when their packets leave.

mod frame_dropper;
pub mod media_sender;
mod pacer;
pub mod packetizer;
pub mod send_times;
pub mod video_sender;
