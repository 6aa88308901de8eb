//! Shows the placeholder when it is due. A task of its own: what holds up the worker, or a driver, does not hold up this.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::base::processes::holders_of_file;
use crate::base::tasks::blocking;
use crate::media::board::BoardClass;
use crate::media::capture::mode::Rate;
use crate::media::encode::choice::EncoderChoice;
use crate::media::encode::encoder::{EncodeSettings, EncoderSpec};
use crate::media::error::{CameraTrouble, MediaError};
use crate::media::glib_messages;
use crate::media::life::key_frame_limiter::KeyFrameLimiter;
use crate::media::life::placeholder::{CameraFacts, Placeholder, PlaceholderAction};
use crate::media::life::placeholder_words::notice;
use crate::media::pipeline::event::PipelineEvent;
use crate::media::pipeline::fanout_sink::FanoutSink;
use crate::media::pipeline::placeholder::{PlaceholderOrder, PlaceholderPipeline, encoders};
use crate::media::plan::config::MediaConfig;
use crate::media::status::{CameraState, MediaStatus};
use crate::media::test_picture::notice::{Notice, size};
use crate::stream::{Fanout, KeyFrameReason};

/// Pictures per second: each newcomer waits for the next.
const RATE: Rate = Rate::whole(4);
/// Bit rate in kbit/s, at least and at most: a still picture needs little, and less where the network is narrow.
const BITRATE_KBPS: (u32, u32) = (50, 200);
/// Requests and reports that may wait. Beyond that they say nothing new.
const MAX_WAITING: usize = 8;
/// Who holds the camera is looked up again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Where viewers' requests for key frames go.
pub struct KeyFrameRequests(mpsc::Sender<KeyFrameReason>);

impl KeyFrameRequests {
    /// A viewer needs a key frame.
    pub fn request(&self, reason: KeyFrameReason) {
        // Full: as many wait to be asked for already.
        let _ = self.0.try_send(reason);
    }
}

/// What a placeholder's pipeline says of itself.
enum Report {
    KeyFrame,
    /// The camera is back.
    Over,
    Failed(MediaError),
}

/// See the module.
pub struct PlaceholderRunner {
    choice: EncoderChoice,
    keyframe_interval_s: u32,
    fanout: Fanout,
    sink: Arc<FanoutSink>,
    status: watch::Sender<MediaStatus>,
    /// What the viewers' networks let through, in kbit/s; `None` where nobody has measured it.
    network_kbps: watch::Receiver<Option<u32>>,
    requests: mpsc::Receiver<KeyFrameReason>,
    reporter: mpsc::Sender<(u64, Report)>,
    reports: mpsc::Receiver<(u64, Report)>,
    machine: Placeholder,
    limiter: KeyFrameLimiter,
    encoders: Vec<&'static EncoderSpec>,
    /// Which of them is taken next: another one after each failure.
    next_encoder: usize,
    running: Option<PlaceholderPipeline>,
    /// Its number; reports of others are of no interest.
    run: u64,
    said: Notice,
    /// What its encoder was asked for last, in kbit/s.
    asked_kbps: u32,
    /// Who holds the camera, and when that was looked up.
    holder: Option<(Instant, Option<String>)>,
}

impl PlaceholderRunner {
    /// Nothing is shown. It tells in `status` whether there will be a placeholder, and follows `network_kbps`: what the viewers'
    /// networks let through, in kbit/s, where that is known.
    pub fn new(
        config: &MediaConfig,
        fanout: Fanout,
        sink: Arc<FanoutSink>,
        status: watch::Sender<MediaStatus>,
        network_kbps: watch::Receiver<Option<u32>>,
    ) -> (Self, KeyFrameRequests) {
        let (request, requests) = mpsc::channel(MAX_WAITING);
        let (reporter, reports) = mpsc::channel(MAX_WAITING);
        let runner = Self {
            choice: config.encoder,
            keyframe_interval_s: config.keyframe_interval_s,
            fanout,
            sink,
            status,
            network_kbps,
            requests,
            reporter,
            reports,
            machine: Placeholder::new(),
            limiter: KeyFrameLimiter::default(),
            encoders: Vec::new(),
            next_encoder: 0,
            running: None,
            run: 0,
            said: Notice::default(),
            asked_kbps: 0,
            holder: None,
        };
        (runner, KeyFrameRequests(request))
    }

    /// Until `cancelled`.
    pub async fn run(mut self, cancelled: impl Future<Output = ()>) {
        let mut cancelled = pin!(cancelled);
        let choice = self.choice;
        self.encoders = blocking(move || installed(choice)).await;
        if self.encoders.is_empty() {
            tracing::info!("no encoder in software: nothing is shown while the camera gives no picture");
            return cancelled.await;
        }
        self.status.send_modify(|status| status.has_placeholder = true);
        let (mut status, mut demand) = (self.status.subscribe(), self.fanout.watch_demand());
        loop {
            let known = status.borrow_and_update().clone();
            demand.mark_unchanged();
            let due = self.act(&known).await;
            let wait = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut cancelled => break,
                // The senders live as long as this does.
                Ok(()) = status.changed() => {}
                Ok(()) = demand.changed() => {}
                Ok(()) = self.network_kbps.changed() => {}
                Some(reason) = self.requests.recv() => self.limiter.request(reason),
                Some((run, report)) = self.reports.recv() => self.take(run, report).await,
                () = wait => {}
            }
        }
        self.stop().await;
    }

    /// Does what is due; when something is again.
    async fn act(&mut self, status: &MediaStatus) -> Option<Instant> {
        let now = Instant::now();
        match self.machine.poll(now, &self.facts(status)) {
            Some(PlaceholderAction::Show) => self.show(status).await,
            Some(PlaceholderAction::Stop) => {
                tracing::info!("the placeholder ends");
                self.stop().await;
            }
            None => {}
        }
        self.say(status).await;
        self.follow_network(status);
        let Some(running) = &self.running else {
            self.limiter.reset();
            return self.machine.deadline(&self.facts(status));
        };
        if self.limiter.poll(Instant::now()) {
            running.force_key_frame();
        }
        self.limiter.deadline()
    }

    fn facts(&self, status: &MediaStatus) -> CameraFacts {
        CameraFacts {
            is_wanted: self.fanout.demands() > 0 && status.state != CameraState::Off,
            is_trouble_known: status.trouble.is_some(),
            last_picture: self.sink.last_on_air(),
            has_given_way: self.running.as_ref().is_some_and(PlaceholderPipeline::has_given_way),
        }
    }

    async fn show(&mut self, status: &MediaStatus) {
        self.look_up_holder(status).await;
        let notice = self.notice(status);
        let Some(encoder) = self.encoders.get(self.next_encoder % self.encoders.len()) else { return };
        let settings = self.settings(status);
        self.asked_kbps = settings.bitrate_kbps;
        let order = PlaceholderOrder { settings, notice: notice.clone(), encoder };
        self.run += 1;
        let (run, sink) = (self.run, Arc::clone(&self.sink));
        let (reporter, over) = (self.reporter.clone(), self.reporter.clone());
        let report = move |event| {
            let report = match event {
                PipelineEvent::KeyFrame => Report::KeyFrame,
                PipelineEvent::Failed { error, .. } | PipelineEvent::EncoderHangs(error) => {
                    Report::Failed(error)
                }
                PipelineEvent::FirstPicture { .. }
                | PipelineEvent::PictureCopied(_)
                | PipelineEvent::EncoderIsLate => return,
            };
            // Full: a failure is seen by the pictures that do not come, and asked for again.
            let _ = reporter.try_send((run, report));
        };
        let over = move || {
            let _ = over.try_send((run, Report::Over));
        };
        tracing::info!(
            words = notice.headline,
            encoder = encoder.name,
            "the camera gives no picture: a placeholder is shown"
        );
        self.said = notice;
        self.limiter.reset();
        match blocking(move || PlaceholderPipeline::start(order, &sink, report, over)).await {
            Ok(running) => self.running = Some(running),
            Err(error) => self.failed(&error).await,
        }
    }

    async fn take(&mut self, run: u64, report: Report) {
        if run != self.run || self.running.is_none() {
            return;
        }
        match report {
            Report::KeyFrame => self.limiter.key_frame_out(Instant::now()),
            Report::Over => {}
            Report::Failed(error) => self.failed(&error).await,
        }
    }

    async fn failed(&mut self, error: &MediaError) {
        tracing::warn!(%error, "the placeholder failed; it is tried again with the next encoder");
        self.next_encoder += 1;
        self.stop().await;
        self.machine.failed(Instant::now());
    }

    async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            blocking(move || drop(running)).await;
        }
    }

    /// Says what is wrong now, where that is something else than before.
    async fn say(&mut self, status: &MediaStatus) {
        if self.running.is_none() {
            self.holder = None;
            return;
        }
        self.look_up_holder(status).await;
        let notice = self.notice(status);
        if let Some(running) = self.running.as_ref().filter(|_| notice != self.said) {
            running.say(notice.clone());
            self.said = notice;
        }
    }

    fn notice(&self, status: &MediaStatus) -> Notice {
        let holder = self.holder.as_ref().and_then(|(_, name)| name.as_deref());
        notice(status.state, status.trouble.as_ref(), holder)
    }

    async fn look_up_holder(&mut self, status: &MediaStatus) {
        let Some(CameraTrouble::Busy { device }) = &status.trouble else {
            self.holder = None;
            return;
        };
        let now = Instant::now();
        if self.holder.as_ref().is_some_and(|(at, _)| now.saturating_duration_since(*at) < ASK_AGAIN) {
            return;
        }
        let path = PathBuf::from(device);
        let holders = blocking(move || holders_of_file(&path)).await;
        let name = holders.processes.into_iter().map(|process| process.name).next();
        self.holder = Some((now, name));
    }

    fn follow_network(&mut self, status: &MediaStatus) {
        let Some(running) = &self.running else { return };
        let kbps = bitrate_kbps(*self.network_kbps.borrow(), status.target);
        if kbps != self.asked_kbps {
            running.encode_at(kbps);
            self.asked_kbps = kbps;
        }
    }

    /// As large as the camera's picture is, or was, so that players need not change theirs.
    fn settings(&self, status: &MediaStatus) -> EncodeSettings {
        let (width, height) = size(status.width, status.height);
        EncodeSettings {
            width,
            height,
            rate: RATE,
            bitrate_kbps: bitrate_kbps(*self.network_kbps.borrow(), status.target),
            keyframe_interval_s: self.keyframe_interval_s,
            board: BoardClass::Medium,
            // One thread is enough, and one slice the smallest.
            cores: 1,
        }
    }
}

/// What its encoder is asked for, in kbit/s: what the networks let through, else what the camera's encoder was asked for last, in bit/s
/// (0: nothing), within what such a picture needs.
fn bitrate_kbps(network_kbps: Option<u32>, last_target: u64) -> u32 {
    let (least, most) = BITRATE_KBPS;
    let last_kbps = u32::try_from(last_target / 1000).ok().filter(|kbps| *kbps > 0);
    network_kbps.or(last_kbps).unwrap_or(most).clamp(least, most)
}

/// Whoever is first starts GStreamer. Where it does not start, the worker says so.
fn installed(choice: EncoderChoice) -> Vec<&'static EncoderSpec> {
    glib_messages::listen();
    gst::init().map(|()| encoders(choice)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_take_what_the_network_lets_through_within_what_they_need() {
        let cases = [
            ((None, 0), 200),
            ((None, 2_500_000), 200),
            ((None, 90_000), 90),
            ((Some(90), 2_500_000), 90),
            ((Some(3000), 90_000), 200),
            ((Some(10), 0), 50),
        ];
        for ((network_kbps, last_target), expected) in cases {
            assert_eq!(bitrate_kbps(network_kbps, last_target), expected, "{network_kbps:?} {last_target}");
        }
    }
}
