//! The running pipelines of both renditions: built from a plan, feeding the fan-out, reporting by events.

pub mod bus_errors;
mod copy_probe;
pub mod event;
pub mod fanout_sink;
mod look_stage;
pub mod placeholder;
pub mod running;
pub mod small;
pub mod test_source;
pub mod timeline;
