//! The board's encoder in the lab machine (tests/lab/guest/board), and a daemon that uses it.

use serde_json::Value;

use super::daemon::Settings;
use super::lab::{HOST, Lab};

/// GStreamer's element for it.
pub const BOARD: &str = "v4l2h264enc";
/// What follows it in the guest.
pub const NEXT: &str = "x264enc";

/// A small picture: an emulated processor has to encode it as well, when the board's encoder is gone.
pub fn settings() -> Settings {
    Settings::new(&format!("mqtt://{HOST}:1883"))
        .text("camera.device", "auto")
        .value("camera.height", 360)
        .value("camera.fps", 30)
        .text("http.listen", "0.0.0.0:8080")
}

pub fn encodes_with(name: &str) -> impl Fn(&Value) -> bool {
    move |state| state["encoder"]["name"] == name
}

/// A parameter of the driver.
pub fn driver(lab: &Lab, name: &str) -> u64 {
    lab.run(&format!("cat /sys/module/lab_encoder/parameters/{name}")).trim().parse().expect("a number")
}

/// The daemon's log since it started last.
pub fn log(lab: &Lab) -> String {
    lab.run("journalctl -u porthole --no-pager -o cat | tac | sed '/ starts device=/q' | tac")
}

/// Runs that the daemon began anew since it started.
pub fn restarts(lab: &Lab) -> usize {
    let log = log(lab);
    log.matches(" → error").count() + log.matches("the pipeline failed").count()
}

/// What the guest's doctor found out about the encoder of this name.
pub fn doctor(lab: &Lab, name: &str) -> Value {
    let report = lab.run(&format!("PORTHOLE_MQTT_URL=mqtt://{HOST} porthole doctor --json || true"));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["figures"]["encoder"] == name);
    found.unwrap_or_else(|| panic!("nothing about {name}: {report:#}")).clone()
}

/// That the driver itself has a defect, as the guest's kernel says it.
pub fn assert_sound_driver(lab: &Lab) {
    let trace = lab.run("dmesg | grep -A20 -E 'cut here|BUG:|INFO: task' || true");
    assert!(trace.is_empty(), "the driver has a defect:\n{trace}");
}
