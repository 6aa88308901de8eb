//! Which cameras there are, what they can do, and what can be adjusted on them.

pub mod attachment;
pub mod camera;
pub mod choice;
pub mod control;
pub mod controls;
pub mod driver;
pub mod find;
pub mod libcamera;
pub mod mode;
