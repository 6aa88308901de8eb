//! What one viewer is sent, from payloads to protected packets, and what its reports ask for.

pub mod fec;
pub mod feedback;
pub mod keys;
pub mod latency;
pub mod media_sender;
pub mod packet;
pub mod rate;
mod repair;
mod sender_report;
mod srtp;
pub mod stream;
mod transport_cc;
