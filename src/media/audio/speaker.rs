//! The loop that plays what viewers say. When the speaker is open is `voices`' to say; this carries it out.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::config::AudioConfig;
use super::find;
use super::helpers::Helpers;
use super::loudspeaker::{FailureReporter, Loudspeaker, VoiceFigures};
use super::opus_form;
use super::source::SoundDevice;
use super::status::AudioStatus;
use super::voices::{Step, VoiceGate};
use crate::media::error::MediaError;
use crate::stream::SpokenPacket;

/// The helpers' name.
const THREAD: &str = "speaker-device";
/// Opening and closing may take so long.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Figures are told so often while somebody speaks.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// What the loop is told.
#[derive(Debug)]
pub struct SpeakerInputs {
    /// What viewers say.
    pub voices: mpsc::Receiver<SpokenPacket>,
    /// Whether it may be played.
    pub is_on: watch::Receiver<bool>,
}

/// See the module.
#[derive(Debug)]
pub struct SpeakerLoop {
    config: AudioConfig,
    status: watch::Sender<AudioStatus>,
    gate: VoiceGate,
    loudspeaker: Option<Loudspeaker>,
    helpers: Helpers,
    /// The loudspeaker's number, to tell failures of earlier ones.
    run: u64,
    report: mpsc::Sender<(u64, MediaError)>,
    reported: mpsc::Receiver<(u64, MediaError)>,
    /// Of loudspeakers that are closed.
    figures: VoiceFigures,
    malformed: u64,
    told_at: Option<Instant>,
}

impl SpeakerLoop {
    /// Nothing is open yet.
    pub fn new(config: AudioConfig, status: watch::Sender<AudioStatus>, is_on: bool) -> Self {
        let (report, reported) = mpsc::channel(4);
        Self {
            config,
            status,
            gate: VoiceGate::new(is_on),
            loudspeaker: None,
            helpers: Helpers::new(THREAD),
            run: 0,
            report,
            reported,
            figures: VoiceFigures::default(),
            malformed: 0,
            told_at: None,
        }
    }

    /// Until `cancelled`; then the speaker is closed.
    pub async fn run(mut self, mut inputs: SpeakerInputs, cancelled: impl Future<Output = ()>) {
        let mut cancelled = pin!(cancelled);
        inputs.is_on.mark_changed();
        // Says what is wrong before anybody talks.
        self.find().await.ok();
        loop {
            let due = self.gate.deadline().map(Instant::from_std);
            let sleep = async move {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut cancelled => break,
                Ok(()) = inputs.is_on.changed() => {
                    let is_on = *inputs.is_on.borrow_and_update();
                    if self.gate.set_on(is_on) {
                        self.close().await;
                    }
                }
                Some((run, error)) = self.reported.recv() => {
                    if run == self.run && self.loudspeaker.is_some() {
                        tracing::warn!(%error, "the speaker plays nothing");
                        self.gate.failed(Instant::now().into_std());
                        self.close().await;
                        self.complain(Some(error.to_string()));
                    }
                }
                Some(packet) = inputs.voices.recv() => self.packet(packet).await,
                () = sleep => {
                    if self.gate.tick(Instant::now().into_std()) {
                        self.close().await;
                    }
                }
            }
        }
        self.close().await;
    }

    async fn packet(&mut self, packet: SpokenPacket) {
        let now = || Instant::now().into_std();
        if opus_form::duration(&packet.payload).is_none() {
            self.malformed += 1;
            self.tell(false);
            return;
        }
        match self.gate.packet(packet.speaker, packet.received_at, now()) {
            Step::Play => {}
            Step::Discard => return,
            Step::Open => {
                self.close().await;
                let opened = self.open().await;
                self.gate.opened(packet.speaker, opened.is_ok(), now());
                self.complain(opened.as_ref().err().map(ToString::to_string));
                if let Err(error) = opened {
                    tracing::warn!(%error, "the speaker does not open");
                }
            }
        }
        if let Some(loudspeaker) = &self.loudspeaker {
            loudspeaker.play(&packet);
            self.tell(false);
        }
    }

    async fn find(&mut self) -> Result<SoundDevice, MediaError> {
        let choice = self.config.speaker.clone();
        let look = move || find::speaker(&choice);
        let found = self.helpers.run("that plays", "being looked for", CLOSE_LIMIT, look).await;
        let found = found.and_then(|found| found);
        match &found {
            Ok(device) => {
                let card = device.card.clone();
                self.status.send_modify(|status| (status.speaker, status.speaker_error) = (Some(card), None));
            }
            Err(error) => self.complain(Some(error.to_string())),
        }
        found
    }

    async fn open(&mut self) -> Result<(), MediaError> {
        let device = self.find().await?;
        self.run += 1;
        let (run, report) = (self.run, self.report.clone());
        let report: FailureReporter = Arc::new(move |error| drop(report.try_send((run, error))));
        let (config, card) = (self.config.clone(), device.card.clone());
        let open = move || Loudspeaker::start(&device, &config, &report);
        self.loudspeaker = Some(self.helpers.open(&card, OPEN_LIMIT, open).await?);
        Ok(())
    }

    async fn close(&mut self) {
        let Some(loudspeaker) = self.loudspeaker.take() else { return };
        let figures = loudspeaker.figures();
        self.figures.concealed += figures.concealed;
        self.figures.late += figures.late;
        self.tell(true);
        let closed =
            self.helpers.run("that plays", "being closed", CLOSE_LIMIT, move || drop(loudspeaker)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "a speaker is left to its driver");
        }
    }

    fn complain(&self, error: Option<String>) {
        self.status.send_if_modified(|status| {
            let is_new = status.speaker_error != error;
            status.speaker_error = error;
            is_new
        });
    }

    /// Tells the figures, now or when it is time.
    fn tell(&mut self, at_once: bool) {
        let now = Instant::now();
        if !at_once && self.told_at.is_some_and(|at| now < at + FIGURES_INTERVAL) {
            return;
        }
        self.told_at = Some(now);
        let running = self.loudspeaker.as_ref().map(Loudspeaker::figures).unwrap_or_default();
        let discarded = self.malformed + self.figures.late + running.late;
        let concealed = self.figures.concealed + running.concealed;
        self.status.send_if_modified(|status| {
            let is_new = (status.discarded_packets, status.concealed) != (discarded, concealed);
            (status.discarded_packets, status.concealed) = (discarded, concealed);
            is_new
        });
    }
}
