//! A configuration for `porthole doctor`, and what it says about it.

use std::process::{Command, Output};

use serde_json::Value;

use super::daemon::{Settings, porthole};

/// What the doctor said.
pub struct Said {
    pub code: Option<i32>,
    pub report: Value,
}

impl Said {
    /// Reads what was printed.
    pub fn of(output: &Output) -> Self {
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("no JSON: {error}: {output:?}");
        });
        Self { code: output.status.code(), report }
    }

    /// All findings about one area.
    pub fn findings(&self, area: &str) -> Vec<&Value> {
        let all = self.report["findings"].as_array().expect("findings");
        all.iter().filter(|finding| finding["area"] == area).collect()
    }

    /// The only failures are in `area`; gives the text and the advice of the first.
    pub fn only_failure(&self, area: &str) -> (String, String) {
        let all = self.report["findings"].as_array().expect("findings");
        let failed: Vec<&Value> = all.iter().filter(|finding| finding["verdict"] == "fail").collect();
        assert!(!failed.is_empty(), "nothing failed: {:#}", self.report);
        assert!(failed.iter().all(|finding| finding["area"] == area), "more than {area}: {failed:#?}");
        assert_eq!((self.code, &self.report["video"]), (Some(1), &Value::Bool(false)));
        let text = |key: &str| failed[0][key].as_str().unwrap_or_default().to_owned();
        assert!(!text("next").is_empty(), "no advice: {failed:#?}");
        (text("what"), text("next"))
    }

    /// Nothing failed; what is only a warning or less does not matter.
    pub fn well(&self) {
        assert_eq!((self.code, &self.report["video"]), (Some(0), &Value::Bool(true)), "{:#}", self.report);
    }

    /// The verdict on an area's first finding.
    pub fn verdict(&self, area: &str) -> &str {
        self.findings(area)[0]["verdict"].as_str().expect("a verdict")
    }
}

/// A configuration in a folder of its own.
pub struct Patient {
    pub dir: tempfile::TempDir,
    pub command: Command,
}

impl Patient {
    /// With these settings, its state folder not there.
    pub fn new(settings: Settings) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = settings.path("device.state_dir", &dir.path().join("state"));
        Self::with(dir, &settings)
    }

    /// With a `device.state_dir` of the caller's.
    pub fn with(dir: tempfile::TempDir, settings: &Settings) -> Self {
        let file = dir.path().join("porthole.toml");
        std::fs::write(&file, settings.toml()).expect("write the configuration");
        let command = porthole(&["doctor", "--json", "--config", file.to_str().expect("UTF-8")]);
        Self { dir, command }
    }

    /// With more in its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the doctor, who makes no state folder.
    pub async fn examined(self) -> Said {
        let output = tokio::process::Command::from(self.command).output().await.expect("run the doctor");
        assert!(!self.dir.path().join("state").exists(), "it made the state directory");
        Said::of(&output)
    }
}

/// What the doctor says of a daemon with these settings.
pub async fn doctor(settings: Settings) -> Said {
    Patient::new(settings).examined().await
}
