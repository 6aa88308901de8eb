//! What one viewer's packets are made with, up to their protection.

pub mod fec;
pub mod keys;
pub mod ntp;
pub mod rtp_header;
pub mod rtp_sender;
mod rtx_cache;
mod sender_report;
mod srtp;
