//! What every floor may use: it knows nothing of cameras, viewers or brokers.

pub mod clock;
pub mod tasks;
