//! What every floor may use: it knows nothing of cameras, viewers or brokers.

pub mod bitrate;
pub mod clock;
pub mod durable_file;
pub mod folder_watch;
pub mod limits;
pub mod log;
pub mod memory;
pub mod stats;
pub mod systemd;
pub mod tasks;
pub mod text;
