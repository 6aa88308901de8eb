//! The handle by which the rest of the daemon sees the camera.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{Inotify, WatchMask};
use tokio::sync::{oneshot, watch};

use crate::base::tasks::{EndedEarly, TaskGroup, panic_text};
use crate::media::capture::choice::DeviceChoice;
use crate::media::error::MediaError;
use crate::media::life::gst_backend::{FanoutSinks, GstBackend};
use crate::media::life::inbox::{InboxSender, Message, channel};
use crate::media::life::placeholder_runner::{KeyFrameRequests, PlaceholderRunner};
use crate::media::life::status_report::first_status;
use crate::media::life::supervised::{CallLimits, Supervised};
use crate::media::life::worker::Worker;
use crate::media::look::PictureLook;
use crate::media::plan::config::MediaConfig;
use crate::media::status::MediaStatus;
use crate::media::still::snapshot::Snapshot;
use crate::stream::{Fanout, Rendition};

/// How long [`Media::shutdown`] waits for the device to be closed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// The capture thread's name.
const THREAD: &str = "media";
/// Room for a few dozen inotify events; more than fit stay in the kernel.
const INOTIFY_BUFFER_BYTES: usize = 4096;

/// The capture side. Cheap to clone; the camera is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Media {
    inner: Arc<Inner>,
}

struct Inner {
    inbox: InboxSender,
    status: watch::Receiver<MediaStatus>,
    /// For a placeholder: what the viewers' networks let through, in kbit/s.
    network_kbps: watch::Sender<Option<u32>>,
    /// What carries requests to the thread.
    tasks: TaskGroup,
}

impl Media {
    /// Starts the capture thread. `GStreamer`, cameras and encoders are looked at there, in the
    /// background ([`MediaStatus::ready`] says when it is done); an absent camera is no error.
    /// `streaming` is the privacy switch. What helps that thread runs in `tasks`, where its own early end is
    /// reported too. Must be called inside a tokio runtime.
    pub fn start(
        config: MediaConfig,
        fanout: Fanout,
        streaming: bool,
        tasks: &TaskGroup,
    ) -> Result<Self, MediaError> {
        let fanout_sinks = FanoutSinks::new(fanout.clone());
        Self::start_on(fanout_sinks, CallLimits::default(), config, fanout, streaming, tasks)
    }

    fn start_on(
        fanout_sinks: FanoutSinks,
        limits: CallLimits,
        config: MediaConfig,
        fanout: Fanout,
        streaming: bool,
        tasks: &TaskGroup,
    ) -> Result<Self, MediaError> {
        config.check()?;
        let (sender, inbox) = channel();
        let (status_sender, status) = watch::channel(first_status(&config, streaming));
        let tasks = tasks.child();
        if config.device != DeviceChoice::Test {
            match follow_dev(&tasks, sender.clone()) {
                Ok(()) => sender.send(Message::DevicesFollowed(config.device.is_in_dev())),
                Err(error) => {
                    tracing::warn!(%error, "no inotify on /dev; cameras are looked for every second");
                }
            }
        }
        let network_kbps = watch::Sender::new(None);
        let sink = Arc::clone(fanout_sinks.of(Rendition::Full));
        let (placeholder, key_frames) = PlaceholderRunner::new(
            &config,
            fanout.clone(),
            sink,
            status_sender.clone(),
            network_kbps.subscribe(),
        );
        tasks.spawn("placeholder", placeholder.run(tasks.cancelled()));
        let inbox_of_requests = sender.clone();
        tasks.spawn(
            "media-requests",
            pass_requests_on(fanout, inbox_of_requests, key_frames, tasks.cancelled()),
        );
        let settings = config.clone();
        let (gauges, for_pipelines) = (fanout_sinks.clone(), sender.clone());
        let make = move || GstBackend::new(config.clone(), fanout_sinks.clone(), for_pipelines.clone());
        let backend = Supervised::start(make, gauges, limits, sender.clone(), tasks.clone())?;
        let worker = Worker::new(backend, &settings, streaming, (sender.clone(), inbox), status_sender);
        let group = tasks.clone();
        let work = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.work())) {
                group.report(EndedEarly { task: THREAD, reason: panic_text(panic.as_ref()) });
            }
        };
        let system = |error: io::Error| MediaError::System {
            what: "starting the capture thread",
            reason: error.to_string(),
        };
        thread::Builder::new().name(THREAD.into()).spawn(work).map_err(system)?;
        Ok(Self { inner: Arc::new(Inner { inbox: sender, status, network_kbps, tasks }) })
    }

    /// The capture side's condition, updated on every change and once a second while live.
    pub fn status(&self) -> watch::Receiver<MediaStatus> {
        self.inner.status.clone()
    }

    /// The privacy switch: off closes the device and keeps it closed.
    pub fn set_streaming(&self, on: bool) {
        self.inner.send(Message::Streaming(on));
    }

    /// Restarts the capture pipeline; viewers' sessions live on.
    pub fn restart(&self) {
        self.inner.send(Message::Restart);
    }

    /// Keeps the camera running for `duration` from now, so that the next viewer starts at once.
    pub fn warm(&self, duration: Duration) {
        self.inner.send(Message::Warm(duration));
    }

    /// Changes the encoder's bit rate, in kbit/s, without a key frame; more than the ceiling becomes the ceiling, and
    /// `None` asks for that. For whoever follows the network.
    pub fn set_bitrate_kbps(&self, bitrate_kbps: Option<u32>) {
        let _ = self.inner.network_kbps.send_replace(bitrate_kbps);
        self.inner.send(Message::Bitrate(bitrate_kbps));
    }

    /// Viewers need the small rendition, at so many kbit/s; `None`: none does. Without effect where
    /// [`MediaStatus::small`] is `None`.
    pub fn want_small_kbps(&self, bitrate_kbps: Option<u32>) {
        self.inner.send(Message::SmallBitrate(bitrate_kbps));
    }

    /// The most that [`Self::set_bitrate_kbps`] can reach, in kbit/s, as `set/bitrate` sets it; `None` goes back to the
    /// configured bit rate. [`MediaStatus::ceiling`] tells it.
    pub fn set_ceiling_kbps(&self, ceiling_kbps: Option<u32>) {
        self.inner.send(Message::Ceiling(ceiling_kbps));
    }

    /// The configuration names another bit rate, in kbit/s.
    pub fn set_configured_bitrate_kbps(&self, bitrate_kbps: u32) {
        self.inner.send(Message::PlannedBitrate(bitrate_kbps));
    }

    /// Sets a control of the camera by its name, to a number, `ON`/`OFF` or the text of a menu entry; gives the value that
    /// the camera then has. It is set again when the camera comes back.
    ///
    /// # Errors
    /// There is no camera, it has no such control, or it does not take the value.
    pub async fn set_control(&self, name: String, text: String) -> Result<i64, MediaError> {
        let (answer, answered) = oneshot::channel();
        self.inner.send(Message::Control(name.clone(), text, answer));
        answered.await.unwrap_or_else(|_| {
            Err(MediaError::Control { control: name, reason: "the capture side has ended".into() })
        })
    }

    /// Controls that people set in an earlier life of the process: set on each camera that comes and has them.
    pub fn keep_controls(&self, wanted: BTreeMap<String, i64>) {
        self.inner.send(Message::KeepControls(wanted));
    }

    /// Wants another size (pixels) and rate (pictures per second), as `set/resolution` does; the
    /// nearest mode of the camera is taken and a running pipeline restarted. `None` lets the board
    /// decide.
    pub fn set_mode(&self, size: Option<(u32, u32)>, fps: Option<u32>) {
        self.inner.send(Message::Mode(size, fps));
    }

    /// Has the picture look so: at once, but where its size changes or the camera has to be started anew for it.
    /// What it gives resolves when that is done, or replaced by a later one.
    pub fn set_look(&self, look: PictureLook) -> impl Future<Output = ()> + Send + use<> {
        let (done, applied) = oneshot::channel();
        self.inner.send(Message::Look(Box::new(look), done));
        async move { applied.await.unwrap_or_default() }
    }

    /// One still picture, `width` pixels wide or as wide as the video; never larger than that. Taken out of the running
    /// pipeline without disturbing viewers, or by a short start when nobody watches. Those who ask together share one;
    /// pictures are taken at most twice a second.
    ///
    /// # Errors
    /// The privacy switch is off, there is no camera, it gives no picture in time, or too many ask at once.
    pub async fn snapshot(&self, width: Option<u32>) -> Result<Snapshot, MediaError> {
        let (answer, answered) = oneshot::channel();
        self.inner.send(Message::Snapshot(width, answer));
        answered.await.unwrap_or_else(|_| {
            Err(MediaError::Snapshot { reason: "the capture side has ended; restart the service".into() })
        })
    }

    /// Resolves when the capture thread has answered, which one that a driver holds up does not, or is gone. Whether it has
    /// answered.
    pub async fn ping(&self) -> bool {
        let (done, answered) = oneshot::channel();
        self.inner.send(Message::Ping(done));
        answered.await.is_ok()
    }

    /// Closes the device and ends the capture thread. Returns after three seconds at the latest,
    /// even if a driver hangs.
    pub async fn shutdown(&self) {
        let (done, closed) = oneshot::channel();
        self.inner.tasks.cancel();
        self.inner.send(Message::Shutdown(done));
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, closed).await.is_err() {
            tracing::warn!("the camera did not close within {SHUTDOWN_TIMEOUT:?}; leaving it to the kernel");
        }
    }
}

impl Inner {
    fn send(&self, message: Message) {
        self.inbox.send(message);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.cancel();
        self.send(Message::Shutdown(oneshot::channel().0));
    }
}

/// Carries demand and key-frame requests from the viewers' threads to the worker, and the latter to the placeholder too, until
/// `cancelled`.
async fn pass_requests_on(
    fanout: Fanout,
    inbox: InboxSender,
    placeholder: KeyFrameRequests,
    cancelled: impl Future<Output = ()>,
) {
    let mut cancelled = pin!(cancelled);
    let mut demand = fanout.watch_demand();
    demand.mark_changed();
    loop {
        let message = tokio::select! {
            () = &mut cancelled => return,
            changed = demand.changed() => {
                if changed.is_err() {
                    return;
                }
                Message::Demand(*demand.borrow_and_update())
            }
            reason = fanout.key_frame_wanted(Rendition::Full) => Message::KeyFrame(Rendition::Full, reason),
            () = fanout.encoding_wanted() => Message::EncodeInstead,
            reason = fanout.key_frame_wanted(Rendition::Small) => Message::KeyFrame(Rendition::Small, reason),
        };
        if let Message::KeyFrame(_, reason) = message {
            placeholder.request(reason);
        }
        inbox.send(message);
    }
}

/// Tells the worker of video nodes and their links that come and go under /dev.
fn follow_dev(tasks: &TaskGroup, inbox: InboxSender) -> io::Result<()> {
    let inotify = Inotify::init()?;
    // ATTRIB: udev creates the node first and gives it its group afterwards.
    let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::ATTRIB | WatchMask::MOVED_TO;
    inotify.watches().add("/dev", mask)?;
    let mut events = inotify.into_event_stream([0; INOTIFY_BUFFER_BYTES])?;
    let cancelled = tasks.cancelled();
    tasks.spawn("dev-watch", async move {
        let mut cancelled = pin!(cancelled);
        loop {
            let event = tokio::select! {
                () = &mut cancelled => return,
                event = events.next() => event,
            };
            let Some(Ok(event)) = event else { break };
            if event.name.as_deref().and_then(OsStr::to_str).is_some_and(|name| name.starts_with('v')) {
                tracing::debug!(name = ?event.name, kind = ?event.mask, "a change under /dev");
                inbox.send(Message::DeviceChanged);
            }
        }
        inbox.send(Message::DevicesFollowed(false));
        tracing::warn!("inotify tells nothing of /dev any more; cameras are looked for every second");
        cancelled.await;
    });
    Ok(())
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "handle_look_tests.rs"]
mod look_tests;

#[cfg(test)]
#[path = "handle_hang_tests.rs"]
mod hang_tests;
