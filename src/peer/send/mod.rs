//! Which pictures one viewer gets, and when their packets leave.

pub mod audio_sender;
mod frame_dropper;
pub mod media_sender;
mod pacer;
pub mod packetizer;
pub mod send_times;
pub mod video_sender;
pub mod voice_receiver;
