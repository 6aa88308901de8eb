//! The test world: what tests outside the crate start, and clean up.

#![allow(dead_code)] // each test file uses its own part

pub mod attacker;
pub mod board;
pub mod browser;
pub mod certificates;
pub mod channel_page;
pub mod client;
pub mod daemon;
pub mod deb;
pub mod element_page;
pub mod eye;
pub mod fake_identity;
pub mod gst_player;
pub mod homeassistant;
pub mod http;
pub mod invited;
pub mod lab;
pub mod mosquitto;
pub mod namespace;
pub mod old_broker;
pub mod patient;
pub mod process_tree;
pub mod recipes;
pub mod relay;
pub mod relayed_browser;
pub mod remote;
pub mod setup;
pub mod viewer;
pub mod watcher;
pub mod webcam;

use std::time::Duration;

/// A guard against hanging, never a measure of speed: whatever is awaited comes long before.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Ports that were free a moment ago. Held together, so that they differ.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let sockets: [std::net::TcpListener; N] =
        std::array::from_fn(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    std::array::from_fn(|n| sockets[n].local_addr().expect("an address").port())
}

/// Sends a signal to one process by its id, with the program `kill`.
pub fn signal(pid: u32, name: &str) {
    let done = std::process::Command::new("kill").args([name, &pid.to_string()]).status().expect("run kill");
    assert!(done.success(), "kill {name} {pid}");
}
