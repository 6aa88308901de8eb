//! Raw pictures to H.264: the encoders, what is asked of them, and what came out.

pub mod bitrate_limits;
pub mod choice;
pub mod encoder;
pub mod encoder_bitrate;
pub mod encoder_watch;
pub mod frame_decimator;
pub mod pass_through;
