//! Where packets go in and out: the sockets that all viewers share, and which of them leads to whom.

pub mod batch;
mod demux;
mod handshake;
pub mod media_thread;
mod per_host;
mod relayed;
mod routed_socket;
pub mod runtime;
pub mod tcp_port;
pub mod udp_port;
pub mod watched_socket;
pub mod way;
mod writers;
