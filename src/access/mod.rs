//! Who may watch, and proof of who answers (protocol.md section 2.2).

pub mod proof;
