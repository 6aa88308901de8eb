//! The running pipelines of both renditions: built from a plan, feeding the fan-out, reporting by events.

pub mod bus_errors;
pub mod flow;
pub mod running;
pub mod small;
mod tap;
pub mod test_source;
pub mod timeline;
