//! The picture that stands in for a camera: pure drawing.

mod font;
pub mod picture;

pub use picture::{check_size, modes};
