//! What every floor may use: it knows nothing of cameras, viewers or brokers.

pub mod bitrate;
pub mod clock;
pub mod console;
pub mod durable_file;
pub mod folder;
pub mod folder_watch;
pub mod limits;
pub mod line_writer;
pub mod log;
pub mod memory;
pub mod polls;
pub(crate) mod processes;
pub mod stats;
pub mod systemd;
pub mod tasks;
pub mod tcp;
pub mod text;
