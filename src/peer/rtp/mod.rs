//! What one viewer's packets are made with, up to their protection.

pub mod audio_stream;
pub mod fec;
pub mod keys;
pub mod ntp;
mod packet;
pub mod reception;
pub mod rtp_header;
pub mod rtp_sender;
mod rtx_cache;
mod sender_report;
mod srtp;
