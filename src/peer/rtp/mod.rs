//! What one viewer's packets are made with, up to their protection.

pub mod fec;
pub mod keys;
pub mod packet;
mod rtx_cache;
mod sender_report;
mod srtp;
pub mod stream;
