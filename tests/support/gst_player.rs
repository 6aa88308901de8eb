//! GStreamer's `gst-launch-1.0` with its WHEP players in it, as `make peers` builds it from `tests/players`.

use std::path::PathBuf;

use tokio::process::Command;

/// Where it is.
pub struct GstPlayer(PathBuf);

impl GstPlayer {
    /// Nothing after saying that the test is skipped and why.
    pub fn found() -> Option<Self> {
        // Where `make` builds: two folders above this test's program.
        let target = std::env::current_exe().ok()?.ancestors().nth(3).map(PathBuf::from)?;
        let program = target.join("players/gst-launch-1.0");
        if !program.exists() {
            eprintln!("SKIPPED: there is no {}; `make peers` builds it", program.display());
            return None;
        }
        Some(Self(program))
    }

    /// The folder that it is in, for `PATH`.
    pub fn folder(&self) -> PathBuf {
        self.0.parent().expect("a folder").to_owned()
    }

    /// Plays a pipeline until it has decoded some pictures: what it said, or complained of.
    pub async fn play(self, pipeline: String) -> Result<String, String> {
        let done = Command::new(&self.0)
            .args(pipeline.split_ascii_whitespace())
            // Its own complaints (no STUN server of the internet, say) are no fault of ours.
            .env_remove("G_DEBUG")
            .kill_on_drop(true)
            .output()
            .await
            .expect("run the player");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }
}
