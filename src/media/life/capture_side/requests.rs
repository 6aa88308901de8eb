//! What people, viewers and the configuration ask of the capture side.

use std::collections::BTreeMap;

use crate::media::error::MediaError;
use crate::media::life::backend::{CaptureBackend, Gauges};
use crate::media::life::bitrate::BitrateControl;
use crate::media::life::capture_side::CaptureSide;
use crate::media::life::lifecycle::Input;
use crate::media::look::PictureLook;
use crate::media::still::queue::Reply;
use crate::media::still::snapshot::Snapshot;
use crate::stream::{KeyFrameReason, Rendition};

impl<B: CaptureBackend + Gauges> CaptureSide<B> {
    /// Somebody who wants to watch cannot play the camera's own H.264.
    pub fn encode_instead(&mut self) {
        if self.camera.encode_instead(&mut self.backend) {
            self.look();
            // Waited for by that viewer.
            self.publish();
        }
    }

    /// The privacy switch.
    pub fn set_streaming(&mut self, on: bool) {
        if !on {
            self.snapshots.refuse_all(&MediaError::Private);
        }
        self.feed(Input::Streaming(on));
        // Switched off, a camera's own H.264 could not be looked at.
        if on && self.camera.plan().is_some() && !self.camera.is_ready() {
            self.look();
        }
    }

    /// Another size in pixels and rate in pictures per second; `None` lets the board decide.
    pub fn set_mode(&mut self, size: Option<(u32, u32)>, fps: Option<u32>) {
        self.backend.want_mode(size, fps);
        self.look();
        // Seen in `state` before anybody watches.
        self.publish();
    }

    /// The picture is to look so.
    pub fn set_look(&mut self, look: PictureLook) {
        if let Some(hidden) = self.camera.set_look(&mut self.backend, look) {
            // Nobody sees what is to be masked while another mode of the camera is looked for.
            self.feed(Input::Device(hidden));
        }
        self.look();
        self.publish();
    }

    /// What people set before a restart of the process.
    pub fn restore_controls(&mut self, wanted: BTreeMap<String, i64>) {
        self.camera.restore_controls(wanted);
        self.apply_controls();
    }

    /// Sets a control as somebody wrote it; the value that it then has.
    pub fn set_control(&mut self, name: &str, text: &str) -> Result<i64, MediaError> {
        let (value, is_changed) = self.camera.set_control(&mut self.backend, name, text)?;
        if is_changed {
            self.publish();
        }
        Ok(value)
    }

    /// What the network lets through, or the most that a person allows, changes.
    pub fn change_bitrate(&mut self, change: impl FnOnce(&mut BitrateControl)) {
        change(&mut self.bitrate);
        self.apply_bitrate();
    }

    /// The configuration names another bit rate, in kbit/s.
    pub fn set_planned_kbps(&mut self, kbps: u32) {
        self.camera.set_planned_kbps(&mut self.backend, kbps);
        self.apply_bitrate();
    }

    /// A viewer needs a key frame.
    pub fn request_key_frame(&mut self, rendition: Rendition, reason: KeyFrameReason) {
        match rendition {
            Rendition::Full => self.limiter.request(reason),
            Rendition::Small => self.small.request_key_frame(reason),
        }
    }

    /// Viewers need the small rendition at this bit rate in kbit/s, or none does any more.
    pub fn set_small_kbps(&mut self, kbps: Option<u32>) {
        self.small.set_wanted_kbps(&mut self.backend, kbps);
        self.tend_small();
        self.publish();
    }

    /// Somebody wants a snapshot of this width in pixels.
    pub fn queue_snapshot(&mut self, width: Option<u32>, reply: Reply) {
        if self.life.is_streaming() {
            self.snapshots.ask(self.backend.now(), width, reply);
        } else {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(Err(MediaError::Private));
        }
    }

    /// One was encoded, or not.
    pub fn snapshot_encoded(&mut self, result: &Result<Snapshot, MediaError>) {
        self.snapshots.encoded(result);
    }
}
