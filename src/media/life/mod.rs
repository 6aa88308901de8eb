//! When the camera runs, and the thread that owns it.

pub mod inbox;
pub mod key_frame_limiter;
pub mod lifecycle;
pub mod worker;
