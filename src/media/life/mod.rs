//! When the camera runs, and the thread that owns it.
//!
//! `worker` is the loop, `capture_side` what it calls: the parts (`lifecycle`, `device_watch`, `bitrate`,
//! `small_rendition`, `key_frame_limiter`, `control_settings` …) decide, given the time, and `backend` does it:
//! `gst_backend`, or a simulated machine in tests.
//!
//! `placeholder_runner` stands beside them, on the runtime: it shows words while the camera gives no picture (`placeholder` decides when,
//! `placeholder_words` which), also while the worker waits for a driver.

pub mod backend;
mod bitrate;
mod capture_side;
mod cause;
mod control_settings;
mod device_watch;
pub mod gst_backend;
pub mod inbox;
pub mod key_frame_limiter;
pub mod lifecycle;
mod placeholder;
pub mod placeholder_runner;
mod placeholder_words;
mod planned_camera;
mod small_encoder;
mod small_rendition;
mod small_runner;
pub mod status_report;
pub mod supervised;
pub mod worker;
