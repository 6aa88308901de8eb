//! What one viewer's path can carry, learnt from its feedback, and which pictures it gets. Pure.

mod arrivals;
mod estimate;
mod loss;
mod pacer;
mod probe;
mod protection;
pub mod repair;
mod report;
#[cfg(test)]
mod simulated;
mod standing;
mod thinner;
mod window;

pub use estimate::{Estimate, UnderWay};
pub use pacer::Pacer;
pub use report::Report;
pub use thinner::{Path, Picture, Thinner, Verdict};
