//! What one viewer's path can carry, learnt from its feedback (bandwidth estimation).

pub mod control;
mod delay;
mod estimator;
mod fec_rate;
pub mod feedback;
mod first_key_frame;
mod key_frame_budget;
mod loss;
mod packet_result;
mod probe;
pub mod rtx_budget;
pub mod send_history;
#[cfg(test)]
mod simulated;
mod standing_queue;
mod window;

pub use estimator::{Estimator, Outstanding};
pub use packet_result::PacketResult;
