//! From configuration, board, cameras and encoders to what the pipeline is built from.

pub mod config;
pub mod encoders;
pub mod learnt;
pub mod own_h264;
pub mod planner;
pub mod proposal;
pub mod rank;
pub mod set_aside;
pub mod source;
pub mod styling;
