//! When the camera runs, and the thread that owns it.

pub mod inbox;
pub mod key_frame_gate;
pub mod lifecycle;
pub mod worker;
