//! The USB camera in the lab machine (tests/lab/webcam): plugged in, asked, and watched.

use serde_json::Value;

use super::daemon::Settings;
use super::lab::{HOST, Lab};
use super::viewer::Dashboard;

/// Its lasting name.
pub const LINK: &str = "/dev/v4l/by-id/usb-Lab_USB_Webcam_0001-video-index0";

/// Settings of a daemon that watches it at 640x480.
pub fn settings(format: &str) -> Settings {
    Settings::new(&format!("mqtt://{HOST}:1883"))
        .text("camera.device", LINK)
        .text("camera.format", format)
        .text("http.listen", "0.0.0.0:8080")
}

/// The daemon starts anew with these settings, and is idle with all it has to know.
pub async fn start_with(lab: &Lab, dashboard: &mut Dashboard, settings: &Settings) -> Value {
    lab.configure(settings);
    lab.run("systemctl stop porthole");
    dashboard.forget_state();
    lab.run("systemctl start porthole");
    let ready = |state: &Value| state["camera"]["state"] == "idle" && state["encoder"].is_object();
    dashboard.state("the idle camera", ready).await
}

/// Tells the camera something.
pub fn tell(lab: &Lab, words: &str) -> String {
    lab.must(&[vec!["webcam"], words.split(' ').collect()].concat())
}

/// How many streams were started since the program that is the camera began.
pub fn streams(lab: &Lab) -> u32 {
    let status = tell(lab, "status");
    let count = status.split_ascii_whitespace().find_map(|word| word.strip_prefix("streams="));
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in {status}"))
}

/// What the daemon has logged since it started last.
pub fn log(lab: &Lab) -> String {
    let log = lab.run("journalctl -u porthole --no-pager -o cat | tac | sed '/ starts device=/q' | tac");
    assert!(!log.contains("panicked"), "{log}");
    log
}

/// Nobody watches any more, and the camera is closed.
pub async fn over(dashboard: &mut Dashboard) {
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
}
