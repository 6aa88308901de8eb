//! The thread that owns the pipeline: it turns messages into inputs of the life cycle, does what
//! the life cycle says, and keeps the status up to date. Only this thread may block on devices.

mod adjust;
mod report;
mod small_rendition;
mod still;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use tokio::sync::watch;

use crate::media::encode::frame_decimator::FrameDecimator;
use crate::media::error::MediaError;
use crate::media::life::inbox::{Inbox, InboxSender, Message};
use crate::media::life::key_frame_limiter::KeyFrameLimiter;
use crate::media::life::lifecycle::{DeviceCondition, Input, Lifecycle, PipelineAction};
use crate::media::pipeline::flow::{Flow, PipelineEvent};
use crate::media::pipeline::running::Pipeline;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::planner::{Plan, Planner, Source};
use crate::media::status::{CameraState, MediaStatus};
use crate::media::still::queue::SnapshotQueue;
use crate::stream::{Fanout, Rendition};

use adjust::{BitrateWish, ControlDesk};
pub use report::first_status;
use small_rendition::SmallRendition;

/// How often an absent camera is looked for when inotify says nothing.
const LOOK_ABSENT: Duration = Duration::from_secs(1);
/// How often one that is there but unusable is tried again.
const LOOK_UNUSABLE: Duration = Duration::from_secs(3);
/// How often one that is there is checked for having gone.
const LOOK_READY: Duration = Duration::from_secs(5);
/// Figures of a live stream are published this often.
const REPORT: Duration = Duration::from_secs(1);
/// Failed starts in a row before another mode or encoder is tried.
const START_FAILURES: u32 = 2;

/// With nothing to do it waits for so long, and then looks once.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// What the worker owns.
pub struct Worker {
    inbox: Inbox,
    /// For the pipeline's callbacks.
    outbox: InboxSender,
    status: watch::Sender<MediaStatus>,
    planner: Planner,
    life: Lifecycle,
    gate: KeyFrameLimiter,
    flow: Arc<Flow>,
    plan: Option<Plan>,
    pipeline: Option<Pipeline>,
    run: u64,
    failed_starts: u32,
    /// Whether the current or last run gave a picture.
    saw_picture: bool,
    bitrate: BitrateWish,
    pace: FrameDecimator,
    smaller: SmallRendition,
    controls: ControlDesk,
    stills: SnapshotQueue,
    next_look: Instant,
    next_report: Instant,
}

impl Worker {
    /// A worker that has not looked for anything yet.
    pub fn new(
        config: MediaConfig,
        fanout: Fanout,
        streaming: bool,
        (outbox, inbox): (InboxSender, Inbox),
        status: watch::Sender<MediaStatus>,
    ) -> Self {
        let now = Instant::now();
        let (flow, tiers) = (Flow::new(fanout), config.tiers);
        Self {
            inbox,
            outbox,
            status,
            life: Lifecycle::new(config.linger, streaming),
            planner: Planner::new(config),
            gate: KeyFrameLimiter::default(),
            smaller: SmallRendition::new(tiers > 1, &flow),
            flow: Arc::new(flow),
            plan: None,
            pipeline: None,
            run: 0,
            failed_starts: 0,
            saw_picture: false,
            bitrate: BitrateWish::default(),
            pace: FrameDecimator::default(),
            controls: ControlDesk::new(now),
            stills: SnapshotQueue::new(),
            next_look: now,
            next_report: now,
        }
    }

    /// Works until told to shut down. The first look for devices happens here, in the background.
    pub fn work(mut self) {
        if let Err(error) = gst::init() {
            let error = MediaError::Framework { reason: error.to_string() };
            tracing::error!(%error, "no video is possible");
            self.feed(Input::Device(DeviceCondition::Unusable(error.to_string())));
            self.wait_for_shutdown();
            return;
        }
        self.look();
        loop {
            match self.inbox.receive(self.deadline()) {
                Some(Message::Shutdown(done)) => {
                    self.stop();
                    // The other side may have stopped waiting; both are fine.
                    let _ = done.send(());
                    return;
                }
                Some(message) => self.take(message),
                None => {}
            }
            self.keep_time();
        }
    }

    fn wait_for_shutdown(&self) {
        loop {
            let Some(message) = self.inbox.receive(Instant::now() + LONGEST_WAIT) else { continue };
            match message {
                Message::Shutdown(done) => {
                    let _ = done.send(());
                    return;
                }
                Message::Ping(done) => {
                    let _ = done.send(());
                }
                Message::Snapshot(_, reply) => {
                    let reason = self.life.error().unwrap_or("no video is possible").to_owned();
                    let _ = reply.send(Err(MediaError::Snapshot { reason }));
                }
                Message::Control(control, _, reply) => {
                    let reason = self.life.error().unwrap_or("no video is possible").to_owned();
                    let _ = reply.send(Err(MediaError::Control { control, reason }));
                }
                _ => {}
            }
        }
    }

    fn deadline(&self) -> Instant {
        let look = self.planner.has_device().then_some(self.next_look);
        let report = self.pipeline.is_some().then_some(self.next_report);
        let longest = Instant::now() + LONGEST_WAIT;
        let still = self.stills.deadline(self.life.live_since());
        [self.life.deadline(), self.gate.deadline(), self.smaller.gate.deadline(), look, report, still]
            .into_iter()
            .flatten()
            .fold(longest, Instant::min)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Demand(count) => self.feed(Input::Demand(count)),
            Message::KeyFrame(Rendition::Full, reason) => self.gate.request(reason),
            Message::KeyFrame(Rendition::Small, reason) => self.small_key_frame(reason),
            Message::Pipeline(Rendition::Small, run, event) => self.small_event(run, event),
            Message::SmallBitrate(kbps) => self.want_small(kbps),
            Message::DeviceChanged => self.device_changed(),
            Message::Streaming(on) => self.set_streaming(on),
            Message::Restart => {
                tracing::info!("restart of the pipeline asked for");
                self.feed(Input::Restart);
            }
            Message::Warm(duration) => self.feed(Input::Warm(duration)),
            Message::Bitrate(kbps) => self.set_target(kbps),
            Message::Ceiling(kbps) => self.set_ceiling(kbps),
            Message::PlannedBitrate(kbps) => self.set_planned_bitrate(kbps),
            Message::Control(name, text, reply) => self.set_control(&name, &text, reply),
            Message::KeepControls(wanted) => self.keep_controls(wanted),
            Message::Mode(size, fps) => {
                self.planner.want(size, fps);
                self.look();
                // Seen in `state` before anybody watches.
                self.publish();
            }
            Message::Snapshot(width, reply) => self.ask_still(width, reply),
            Message::SnapshotEncoded(result) => self.still_made(&result),
            Message::Pipeline(Rendition::Full, run, event) if run == self.run => self.pipeline_event(event),
            Message::Ping(done) => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            // A late report of a run that is over; shutting down is handled by the caller.
            Message::Pipeline(..) | Message::Shutdown(_) => {}
            #[cfg(test)]
            Message::Panic => panic!("on purpose"),
        }
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.pipeline.is_some() {
            self.feed(Input::FrameAt(self.flow.last_picture()));
        }
        if let Some(pipeline) = &self.pipeline
            && self.gate.poll(now)
            && !pipeline.force_key_frame()
        {
            tracing::debug!("nobody to ask for a key frame; the camera's own interval must do");
            self.gate.reset();
        }
        self.feed(Input::Tick);
        self.keep_pace(now);
        self.tend_small(now);
        self.tend_stills(now);
        if self.planner.has_device() && now >= self.next_look {
            self.device_changed();
        }
        if self.pipeline.is_some() && now >= self.next_report {
            self.next_report = now + REPORT;
            self.watch_controls(now);
            self.publish();
        }
    }

    /// Tells the life cycle and does what it says.
    fn feed(&mut self, input: Input) {
        let was_up = self.pipeline.is_some() && !matches!(input, Input::Failed(_));
        for action in self.life.handle(Instant::now(), input) {
            match action {
                PipelineAction::Stop => self.stop(),
                PipelineAction::Start => self.start(),
            }
        }
        self.publish_changes();
        // The start time-out is a failed start that no element reports.
        let timed_out = was_up && self.pipeline.is_none() && self.life.state() == CameraState::Error;
        if timed_out
            && !self.saw_picture
            && let Some(plan) = self.plan.clone()
        {
            let reason = self.life.error().unwrap_or_default().to_owned();
            self.start_failed(&plan, false, &reason);
        }
    }

    fn start(&mut self) {
        self.run += 1;
        self.gate.reset();
        self.saw_picture = false;
        let Some(plan) = &self.plan else { return };
        let (run, outbox) = (self.run, self.outbox.clone());
        let report = move |event| {
            outbox.send(Message::Pipeline(Rendition::Full, run, event));
        };
        match Pipeline::start(plan, &self.flow, report) {
            Ok(pipeline) => {
                let (_, wanted) = self.bitrate.within(plan.settings.bitrate_kbps);
                if wanted != plan.settings.bitrate_kbps {
                    pipeline.encode_at(wanted, false);
                }
                self.pipeline = Some(pipeline);
                self.control_source();
                self.next_report = Instant::now() + REPORT;
            }
            Err(error) => {
                // The bus had the details first: they are in the inbox and come before this one.
                let event = PipelineEvent::Failed { error, by_encoder: false };
                self.outbox.send(Message::Pipeline(Rendition::Full, run, event));
            }
        }
    }

    fn stop(&mut self) {
        self.stop_small();
        self.pace = FrameDecimator::default();
        self.run += 1;
        self.gate.reset();
        self.pipeline = None;
        self.stills.pipeline_stopped();
    }

    fn pipeline_event(&mut self, event: PipelineEvent) {
        match event {
            PipelineEvent::FirstPicture { key_frame } => {
                self.failed_starts = 0;
                self.saw_picture = true;
                if !key_frame {
                    self.gate.begins_without_key_frame(Instant::now());
                }
                self.feed(Input::FirstFrame);
            }
            PipelineEvent::KeyFrame => self.gate.key_frame_out(Instant::now()),
            PipelineEvent::PictureCopied(still) => self.still_taken(still),
            PipelineEvent::Failed { error, by_encoder } => self.failed(&error, by_encoder),
        }
    }

    fn failed(&mut self, error: &MediaError, by_encoder: bool) {
        tracing::warn!(%error, "the pipeline failed");
        let was_live = self.life.state() == CameraState::Live;
        if self.plan.as_ref().is_some_and(|plan| !self.planner.is_there(plan)) {
            // Unplugged: lost, not broken.
            self.look();
            return;
        }
        self.feed(Input::Failed(error.to_string()));
        let Some(plan) = self.plan.clone() else { return };
        let busy = matches!(error, MediaError::DeviceBusy { .. } | MediaError::DeviceDenied { .. });
        if was_live || busy {
            return;
        }
        self.start_failed(&plan, by_encoder, &error.to_string());
    }

    /// After a few failed starts in a row another mode or encoder is tried.
    fn start_failed(&mut self, plan: &Plan, by_encoder: bool, reason: &str) {
        self.failed_starts += 1;
        if self.failed_starts >= START_FAILURES {
            self.failed_starts = 0;
            self.planner.demote(plan, by_encoder, reason);
            self.look();
        }
    }

    fn set_streaming(&mut self, on: bool) {
        if !on {
            self.refuse_stills(&MediaError::Private);
        }
        self.feed(Input::Streaming(on));
        // Switched off, a camera's own H.264 could not be looked at.
        if on && self.plan.as_ref().is_some_and(|plan| plan.profile.is_none()) {
            self.look();
        }
    }

    fn device_changed(&mut self) {
        let plan = self.plan.as_ref();
        let there = plan.is_some_and(|plan| self.planner.is_there(plan));
        let stand_in = plan.is_some_and(|plan| plan.source == Source::Test) && self.pipeline.is_none();
        if !there || (stand_in && self.planner.has_device()) {
            self.look();
        } else {
            self.next_look = Instant::now() + LOOK_READY;
        }
    }

    /// Looks for the camera and plans anew.
    fn look(&mut self) {
        if self.plan.as_ref().is_some_and(|plan| !self.planner.is_there(plan)) {
            // What runs on a device that is gone must be closed before its successor is opened.
            let gone = MediaError::DeviceMissing { device: self.shown_device() };
            self.plan = None;
            self.feed(Input::Device(DeviceCondition::Absent(gone.to_string())));
        }
        let (device, interval) = match self.planner.plan(self.life.is_streaming()) {
            Ok(plan) => {
                let same = |old: &Plan| old.source == plan.source && old.settings == plan.settings;
                let restart = self.pipeline.is_some() && !self.plan.as_ref().is_some_and(same);
                self.plan = Some(plan);
                if restart {
                    self.feed(Input::Restart);
                }
                (DeviceCondition::Ready, LOOK_READY)
            }
            Err(error @ (MediaError::NoCamera | MediaError::DeviceMissing { .. })) => {
                self.plan = None;
                (DeviceCondition::Absent(error.to_string()), LOOK_ABSENT)
            }
            Err(error) => {
                self.plan = None;
                (DeviceCondition::Unusable(error.to_string()), LOOK_UNUSABLE)
            }
        };
        self.next_look = Instant::now() + interval;
        self.note_tiers();
        self.apply_controls();
        self.feed(Input::Device(device));
    }

    fn shown_device(&self) -> String {
        let planned = self.plan.as_ref().map(|plan| plan.device.clone());
        planned.or_else(|| self.planner.device_name()).unwrap_or_else(|| "auto".into())
    }
}
