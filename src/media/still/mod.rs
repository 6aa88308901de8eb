//! Still pictures: who waits for one, and how it becomes a JPEG.

pub mod queue;
pub mod snapshot;
