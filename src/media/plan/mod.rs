//! From configuration, board, cameras and encoders to what the pipeline is built from.

pub mod config;
pub mod planner;
pub mod proposal;
pub mod rank;
pub mod source;
pub mod styling;
