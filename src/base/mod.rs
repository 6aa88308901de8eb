//! What every floor may use: it knows nothing of cameras, viewers or brokers.

pub mod bitrate;
pub mod tasks;
