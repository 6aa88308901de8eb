//! Pictures that stand in for a camera's: the test picture, and words. Pure drawing.

pub mod drawing;
mod font;
pub mod notice;
pub mod picture;

pub use picture::{check_size, modes};
