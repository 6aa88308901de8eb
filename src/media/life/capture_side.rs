//! The parts of the capture side put together: each is asked what follows, and the backend does it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::media::error::MediaError;
use crate::media::life::backend::{CaptureBackend, Gauges, PipelineRequest};
use crate::media::life::bitrate::BitrateControl;
use crate::media::life::cause::Cause;
use crate::media::life::inbox::{InboxSender, Message};
use crate::media::life::key_frame_limiter::KeyFrameLimiter;
use crate::media::life::lifecycle::{DeviceCondition, Input, Lifecycle, PipelineAction};
use crate::media::life::planned_camera::PlannedCamera;
use crate::media::life::small_runner::SmallRunner;
use crate::media::life::status_report::{StatusFacts, StatusPublisher};
use crate::media::look::PictureLook;
use crate::media::pipeline::event::PipelineEvent;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::set_aside::WhyEncoded;
use crate::media::status::{CameraState, MediaStatus};
use crate::media::still::queue::{Reply, SnapshotQueue};
use crate::media::still::snapshot::Snapshot;
use crate::stream::{KeyFrameReason, Rendition};

/// Figures of a live stream are published this often.
const REPORT: Duration = Duration::from_secs(1);

/// All parts, and what they act on.
pub struct CaptureSide<B> {
    backend: B,
    /// For what is to be handled after all that waits already.
    inbox: InboxSender,
    status: StatusPublisher,
    life: Lifecycle,
    camera: PlannedCamera,
    limiter: KeyFrameLimiter,
    bitrate: BitrateControl,
    small: SmallRunner,
    snapshots: SnapshotQueue,
    /// Whether the full rendition's pipeline runs.
    is_up: bool,
    run: u64,
    next_report: Instant,
}

impl<B: CaptureBackend + Gauges> CaptureSide<B> {
    /// Nothing was looked at yet.
    pub fn new(
        backend: B,
        config: &MediaConfig,
        streaming: bool,
        inbox: InboxSender,
        status: watch::Sender<MediaStatus>,
    ) -> Self {
        let now = backend.now();
        Self {
            backend,
            inbox,
            status: StatusPublisher::new(status),
            life: Lifecycle::new(config.linger, streaming),
            camera: PlannedCamera::new(config.look.clone(), now),
            limiter: KeyFrameLimiter::default(),
            bitrate: BitrateControl::default(),
            small: SmallRunner::new(config.tiers > 1),
            snapshots: SnapshotQueue::new(),
            is_up: false,
            run: 0,
            next_report: now,
        }
    }

    /// The first look. An error: no video is possible in this process.
    pub fn begin(&mut self) -> Result<(), MediaError> {
        let begun = self.backend.initialize();
        match &begun {
            Ok(()) => _ = self.look(),
            Err(error) => self.feed(Input::Device(DeviceCondition::Unusable(error.into()))),
        }
        begun
    }

    /// Why the camera does not deliver, if it does not.
    pub fn error(&self) -> Option<&str> {
        self.life.error()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.backend.now()
    }

    /// When [`Self::do_what_is_due`] has something to do next, if it will.
    pub fn due_at(&self) -> Option<Instant> {
        let look = self.backend.has_device().then(|| self.camera.watch.deadline());
        let report = self.is_up.then_some(self.next_report);
        let snapshot = self.snapshots.deadline(self.life.live_since());
        let parts = [self.life.deadline(), self.limiter.deadline(), self.small.deadline()];
        parts.into_iter().chain([look, report, snapshot]).flatten().min()
    }

    /// Asks each part.
    pub fn do_what_is_due(&mut self) {
        let now = self.backend.now();
        if self.is_up {
            self.feed(Input::FrameAt(self.backend.last_picture()));
        }
        self.watch_key_frames();
        if self.is_up
            && self.limiter.poll(now)
            && !self.backend.request(Rendition::Full, PipelineRequest::KeyFrame)
        {
            tracing::debug!("nobody to ask for a key frame; the camera's own interval must do");
        }
        self.feed(Input::Tick);
        self.leave_pictures_out(now);
        self.tend_small();
        self.tend_snapshots(now);
        if self.backend.has_device() && now >= self.camera.watch.deadline() {
            self.check_device();
        }
        if self.is_up && now >= self.next_report {
            self.next_report = now + REPORT;
            if self.life.state() == CameraState::Live && self.camera.read_controls(&self.backend, now) {
                self.look();
            }
            self.publish();
        }
    }

    /// Tells the life cycle and does what it says.
    pub fn feed(&mut self, input: Input) {
        let was_up = self.is_up && !matches!(input, Input::Failed(_));
        let actions = self.life.handle(self.backend.now(), input);
        if !actions.is_empty() {
            // Said before it is done: a driver takes its time, or hangs.
            self.publish_changes();
        }
        for action in actions {
            match action {
                PipelineAction::Stop => self.stop(),
                PipelineAction::Start => self.start(),
            }
        }
        self.publish_changes();
        // The start time-out is a failed start that no element reports.
        let timed_out = was_up && !self.is_up && self.life.state() == CameraState::Error;
        if timed_out && !self.camera.watch.saw_picture() {
            let reason = self.life.error().unwrap_or_default().to_owned();
            self.start_failed(false, &reason);
        }
    }

    fn start(&mut self) {
        self.run += 1;
        self.limiter.reset();
        self.camera.watch.run_started();
        let Some(plan) = self.camera.plan() else { return };
        match self.backend.start(Rendition::Full, plan, self.run, self.camera.wanted_controls()) {
            Ok(()) => {
                self.is_up = true;
                if let Some(at) = self.bitrate.at_start(plan.settings.bitrate_kbps) {
                    self.backend.request(Rendition::Full, PipelineRequest::EncodeAt(at));
                }
                self.next_report = self.backend.now() + REPORT;
            }
            Err(error) => {
                // The bus had the details first: they are in the inbox and come before this one.
                let event = PipelineEvent::Failed { error, by_encoder: false };
                self.inbox.send(Message::Pipeline(Rendition::Full, self.run, event));
            }
        }
    }

    /// Closes the device.
    pub fn stop(&mut self) {
        self.small.stop(&mut self.backend);
        self.bitrate.stopped();
        self.run += 1;
        self.limiter.reset();
        self.backend.stop(Rendition::Full);
        self.is_up = false;
        self.snapshots.pipeline_stopped();
    }

    /// The full rendition's pipeline of this run reports; a run that is over does not count.
    pub fn full_event(&mut self, run: u64, event: PipelineEvent) {
        if run != self.run {
            return;
        }
        match event {
            PipelineEvent::FirstPicture { key_frame } => {
                self.camera.watch.picture_came();
                if !key_frame {
                    self.limiter.begins_without_key_frame(self.backend.now());
                }
                self.feed(Input::FirstFrame);
            }
            PipelineEvent::KeyFrame => self.limiter.key_frame_out(self.backend.now()),
            PipelineEvent::PictureCopied(picture) => {
                if let Some(order) = self.snapshots.taken(self.backend.now())
                    && let Err(error) = self.backend.encode_snapshot(picture, order.width)
                {
                    self.snapshots.encoded(&Err(error));
                }
            }
            PipelineEvent::EncoderIsLate => self.camera.prepare_other(&mut self.backend),
            PipelineEvent::EncoderHangs(error) => self.failed(&error, true, true),
            PipelineEvent::Failed { error, by_encoder } => self.failed(&error, by_encoder, false),
        }
    }

    fn failed(&mut self, error: &MediaError, by_encoder: bool, is_silent: bool) {
        let was_live = self.life.state() == CameraState::Live;
        let is_gone = self.camera.is_gone(&self.backend);
        if !is_gone && self.camera.is_replaced(&mut self.backend, error, by_encoder, is_silent) {
            return self.replace_encoder(error);
        }
        tracing::warn!(%error, "the pipeline failed");
        if is_gone {
            self.look(); // Unplugged: lost, not broken.
            return;
        }
        self.feed(Input::Failed(error.into()));
        if !was_live && !error.is_of_any_mode() {
            self.start_failed(by_encoder, &error.to_string());
        }
    }

    /// Another encoder takes over without a wait, and without an error: whoever waits for a first picture would be sent away.
    fn replace_encoder(&mut self, error: &MediaError) {
        let run = self.run;
        self.feed(Input::Replaced(error.into()));
        let is_other_plan = self.look();
        if self.run == run {
            // It did not run yet, or there is no other.
            self.feed(if is_other_plan { Input::Restart } else { Input::Failed(error.into()) });
        }
    }

    /// A viewer who needs a key frame would wait for the interval of an encoder that hears no requests, the board's or the camera's.
    fn watch_key_frames(&mut self) {
        if !self.is_up {
            return;
        }
        if let Some(error) = self.camera.deafness(&mut self.backend, &self.limiter) {
            self.failed(&error, true, true);
        } else if self.limiter.are_key_frames_rare(self.backend.last_picture()) {
            self.encode_instead(WhyEncoded::RareKeyFrames);
        }
    }

    /// The camera's own H.264 does not do.
    pub fn encode_instead(&mut self, why: WhyEncoded) {
        if self.camera.encode_instead(&mut self.backend, why) {
            self.look();
            self.publish();
        }
    }

    fn start_failed(&mut self, by_encoder: bool, reason: &str) {
        let before = self.camera.plan().map(|plan| plan.source.clone());
        if self.camera.start_failed(&mut self.backend, by_encoder, reason) {
            self.feed(Input::Replaced(Cause::of_start(by_encoder, reason)));
            self.look();
            if self.camera.is_second_choice(before.as_ref()) {
                self.feed(Input::Restart);
            }
        }
    }

    /// The system tells of a device that came or went.
    pub fn device_changed(&mut self) {
        self.camera.watch.changed(self.backend.now());
        self.check_device();
    }

    /// Whether the system tells of that.
    pub fn set_told_of_devices(&mut self, is_told: bool) {
        self.camera.watch.set_told(self.backend.now(), is_told);
    }

    /// Something may have changed about the device.
    fn check_device(&mut self) {
        if self.camera.check(&self.backend, self.is_up) {
            self.look();
        }
    }

    /// Looks for the camera and plans anew. Whether the plan is another one now.
    fn look(&mut self) -> bool {
        // What runs on a device that is gone must be closed before its successor is opened.
        if let Some(absent) = self.camera.drop_if_gone(&self.backend) {
            self.feed(Input::Device(absent));
        }
        let look = self.camera.look(&mut self.backend, self.life.is_streaming());
        self.bitrate.set_limits(self.camera.plan().and_then(|plan| plan.bitrate_limits));
        if self.is_up && look.is_other_plan {
            self.feed(Input::Restart);
        }
        self.small.explain_absence(self.camera.plan());
        self.apply_controls();
        self.feed(Input::Device(look.condition));
        look.is_other_plan
    }

    fn apply_controls(&mut self) {
        if self.camera.apply_controls(&mut self.backend) {
            self.publish();
        }
    }

    fn apply_bitrate(&mut self) {
        if self.is_up {
            let at = self.bitrate.current(self.camera.planned_kbps());
            self.backend.request(Rendition::Full, PipelineRequest::EncodeAt(at));
        }
        self.publish();
    }

    /// Leaves every other picture out of what has too few bits, and puts them in again.
    fn leave_pictures_out(&mut self, now: Instant) {
        let (true, Some(plan)) = (self.is_up, self.camera.plan()) else { return };
        let (ceiling_kbps, _) = self.bitrate.within(plan.settings.bitrate_kbps);
        if let Some(at) = self.bitrate.step(now, &plan.settings) {
            self.backend.request(Rendition::Full, PipelineRequest::EncodeAt(at));
        }
        self.small.leave_pictures_out(&mut self.backend, now, plan, ceiling_kbps);
    }

    fn tend_small(&mut self) {
        let is_live = self.life.state() == CameraState::Live;
        if self.small.tend(&mut self.backend, self.camera.plan(), is_live) {
            self.publish();
        }
    }

    /// The small rendition's pipeline of this run reports; a run that is over does not count.
    pub fn small_event(&mut self, run: u64, event: &PipelineEvent) {
        if self.small.event(&mut self.backend, run, event) {
            self.publish();
        }
    }

    /// Asks the pipeline for a picture when one is due, and gives up on what comes too late.
    fn tend_snapshots(&mut self, now: Instant) {
        self.snapshots.expire(now, self.life.error().unwrap_or("the camera gives no picture"));
        self.snapshots.set_settles(!self.camera.is_test());
        if self.snapshots.poll(now, self.life.live_since()) && self.is_up {
            self.backend.request(Rendition::Full, PipelineRequest::PictureCopy);
        }
        self.feed(Input::Snapshot(self.snapshots.need_camera()));
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
        self.snapshots.ask(self.backend.now(), !self.life.is_streaming(), width, reply);
    }

    /// One was encoded, or not.
    pub fn snapshot_encoded(&mut self, result: &Result<Snapshot, MediaError>) {
        self.snapshots.encoded(result);
    }

    /// Publishes if anything but figures changed, and logs changes of the state.
    fn publish_changes(&mut self) {
        if !self.status.is_current(&self.life, self.camera.is_ready()) {
            self.status.log_change(&self.life, &self.camera.device_name(&self.backend));
            self.publish();
        }
    }

    fn publish(&mut self) {
        let Self { backend, life, camera, bitrate, small, .. } = self;
        self.status.publish(&StatusFacts::gather(backend, life, camera, bitrate, small));
    }
}
