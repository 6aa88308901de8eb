//! What looks at the house from outside: a viewer that counts, and checks of everything that video needs. Their arguments
//! are in [`crate::cli`].
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "one tool in a process of its own: nobody else waits")
)]

pub mod doctor;
pub mod watch;
