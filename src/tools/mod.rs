//! What looks at the house from outside: a viewer that counts, and checks of everything that video needs. Their arguments
//! are in [`crate::cli`].

pub mod doctor;
pub mod watch;
