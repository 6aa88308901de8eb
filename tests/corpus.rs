//! What the fuzzers once found or began with: replayed, so that it stays handled.

use std::path::Path;

#[path = "../fuzz/targets.rs"]
mod targets;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus");
    let mut inputs: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "{} is nearly empty", folder.display());
    for input in inputs {
        println!("{}", input.display());
        run(&std::fs::read(&input).expect("an input"));
    }
}

#[test]
fn signal_messages() {
    replay("signal", targets::signal);
}

#[test]
fn topics() {
    replay("topic", targets::topic);
}

#[test]
fn session_descriptions() {
    replay("sdp", targets::sdp);
}

#[test]
fn ice_fragments() {
    replay("fragment", targets::fragment);
}

#[test]
fn configurations() {
    replay("config", targets::config);
}
