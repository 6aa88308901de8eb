//! The thread that owns the pipeline: it takes messages, has them handled, and sleeps until the next thing is due.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::media::life::backend::{CaptureBackend, Gauges};
use crate::media::life::capture_side::CaptureSide;
use crate::media::life::inbox::{Inbox, InboxSender, Message};
use crate::media::life::lifecycle::Input;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::set_aside::WhyEncoded;
use crate::media::status::MediaStatus;
use crate::stream::Rendition;

/// With nothing to do it waits for so long, and then looks once.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// The loop. Only its thread may block on devices.
pub struct Worker<B> {
    inbox: Inbox,
    capture: CaptureSide<B>,
}

impl<B: CaptureBackend + Gauges> Worker<B> {
    /// A worker that has not looked for anything yet.
    pub fn new(
        backend: B,
        config: &MediaConfig,
        streaming: bool,
        (sender, inbox): (InboxSender, Inbox),
        status: watch::Sender<MediaStatus>,
    ) -> Self {
        Self { inbox, capture: CaptureSide::new(backend, config, streaming, sender, status) }
    }

    /// Works until told to shut down. The first look for devices happens here, in the background.
    pub fn work(mut self) {
        if let Err(error) = self.capture.begin() {
            tracing::error!(%error, "no video is possible");
            self.inbox
                .refuse_until_shutdown(self.capture.error().unwrap_or("no video is possible"), LONGEST_WAIT);
            return;
        }
        loop {
            let longest = self.capture.now() + LONGEST_WAIT;
            let due = self.due_at().map_or(longest, |due| due.min(longest));
            let message = self.inbox.receive(due);
            if self.turn(message) {
                return;
            }
        }
    }

    /// When to turn at the latest; `None`: only for a message.
    fn due_at(&self) -> Option<Instant> {
        self.capture.due_at()
    }

    /// Handles a message, if there is one, and what is due. Whether this was the last turn.
    fn turn(&mut self, message: Option<Message>) -> bool {
        match message {
            Some(Message::Shutdown(done)) => {
                self.capture.stop();
                // The other side may have stopped waiting; both are fine.
                let _ = done.send(());
                return true;
            }
            Some(message) => self.take(message),
            None => {}
        }
        self.capture.do_what_is_due();
        false
    }

    fn take(&mut self, message: Message) {
        let capture = &mut self.capture;
        match message {
            Message::Demand(count) => capture.feed(Input::Demand(count)),
            Message::Restart => {
                tracing::info!("restart of the pipeline asked for");
                capture.feed(Input::Restart);
            }
            Message::EncodeInstead => capture.encode_instead(WhyEncoded::Unplayable),
            Message::Warm(duration) => capture.feed(Input::Warm(duration)),
            Message::Streaming(on) => capture.set_streaming(on),
            Message::DeviceChanged => capture.device_changed(),
            Message::DevicesFollowed(is_told) => capture.set_told_of_devices(is_told),
            Message::Mode(size, fps) => capture.set_mode(size, fps),
            Message::Look(look, done) => {
                capture.set_look(*look);
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            Message::KeyFrame(rendition, reason) => capture.request_key_frame(rendition, reason),
            Message::Pipeline(Rendition::Full, run, event) => capture.full_event(run, event),
            Message::Pipeline(Rendition::Small, run, event) => capture.small_event(run, &event),
            Message::Bitrate(kbps) => capture.change_bitrate(|bitrate| bitrate.set_target_kbps(kbps)),
            Message::Ceiling(kbps) => capture.change_bitrate(|bitrate| bitrate.set_ceiling_kbps(kbps)),
            Message::PlannedBitrate(kbps) => capture.set_planned_kbps(kbps),
            Message::SmallBitrate(kbps) => capture.set_small_kbps(kbps),
            Message::KeepControls(wanted) => capture.restore_controls(wanted),
            Message::Control(name, text, reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(capture.set_control(&name, &text));
            }
            Message::Snapshot(width, reply) => capture.queue_snapshot(width, reply),
            Message::SnapshotEncoded(result) => capture.snapshot_encoded(&result),
            Message::Ping(done) => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            // Handled by the caller.
            Message::Shutdown(_) => {}
            #[cfg(test)]
            Message::Panic => panic!("on purpose"),
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
