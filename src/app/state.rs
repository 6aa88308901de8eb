//! The one place where `state` is made: MQTT, HTTP and whoever comes later tell the same document.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tokio::sync::watch;

use super::ailment::Ailment;
use super::sound::SoundSide;
use crate::base::stats::{System, SystemFigures};
use crate::base::tasks::EndedEarly;
use crate::base::text;
use crate::dashboard::events::rfc3339;
use crate::dashboard::sound;
use crate::dashboard::state::{StateParts, StateWriter};
use crate::media::MediaStatus;
use crate::sessions::Sessions;

/// What was made is good for as long as this: many who ask cost no more than one.
const FRESH: Duration = Duration::from_secs(1);
/// Processor time is counted in steps of 10 ms: read more often, its share would be noise.
const FIGURES_FRESH: Duration = Duration::from_millis(500);

/// Makes `state`.
pub(super) struct StateSource {
    sessions: Sessions,
    media: watch::Receiver<MediaStatus>,
    sound: SoundSide,
    /// A task of the daemon that ended although nobody had told it to.
    ended_early: watch::Receiver<Option<EndedEarly>>,
    /// What was found not to be well when it was last looked at.
    ailment: watch::Receiver<Option<Ailment>>,
    maker: Mutex<Maker>,
}

struct Maker {
    writer: StateWriter,
    system: System,
    /// Read last, and when.
    figures: Option<(Instant, SystemFigures)>,
    /// The privacy switch.
    streaming: bool,
    /// When the picture that the broker keeps was taken as `state` says it, null for none; nothing while that is not known.
    snapshot: Option<Value>,
    /// Made last, and when.
    latest: Option<(Instant, Value)>,
}

impl StateSource {
    /// `streaming` is the privacy switch as it was left.
    pub fn new(
        (sessions, media, sound): (Sessions, watch::Receiver<MediaStatus>, SoundSide),
        ended_early: watch::Receiver<Option<EndedEarly>>,
        ailment: watch::Receiver<Option<Ailment>>,
        streaming: bool,
    ) -> Self {
        let (writer, system) = (StateWriter::default(), System::new());
        let maker = Maker { writer, system, figures: None, streaming, snapshot: None, latest: None };
        Self { sessions, media, sound, ended_early, ailment, maker: Mutex::new(maker) }
    }

    fn maker(&self) -> MutexGuard<'_, Maker> {
        self.maker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The privacy switch was turned: nobody is told any more that it is as before.
    pub fn set_streaming(&self, on: bool) {
        let mut maker = self.maker();
        maker.streaming = on;
        maker.latest = None;
    }

    /// The broker keeps another picture, or none.
    pub fn set_snapshot(&self, taken: Option<SystemTime>) {
        let mut maker = self.maker();
        maker.snapshot = Some(taken.map(rfc3339).into());
        maker.latest = None;
    }

    /// What was published last, or a new one if that is older than a second.
    pub fn latest(&self, now: Instant) -> Value {
        let mut maker = self.maker();
        match &maker.latest {
            Some((at, state)) if now.saturating_duration_since(*at) < FRESH => state.clone(),
            _ => self.renew(&mut maker, now),
        }
    }

    /// A new one, which [`Self::latest`] tells from now on.
    pub fn renewed(&self, now: Instant) -> Value {
        self.renew(&mut self.maker(), now)
    }

    /// Processor and memory.
    pub fn system(&self, now: Instant) -> SystemFigures {
        self.maker().figures(now)
    }

    fn renew(&self, maker: &mut Maker, now: Instant) -> Value {
        let media = self.media.borrow().clone();
        let parts = StateParts {
            time: SystemTime::now(),
            now,
            uptime: maker.system.uptime(),
            streaming: maker.streaming,
            media: &media,
            max_viewers: self.sessions.max_viewers(),
            sessions: &self.sessions.live(),
            system: maker.figures(now),
        };
        let mut state = maker.writer.state(&parts);
        if let Some(sound) = self.sound.state() {
            state["audio"] = sound::document(&sound);
        }
        if let Some(ended) = self.ended_early.borrow().as_ref() {
            state["ailment"] = ended.to_string().into();
        } else if let Some(ailment) = self.ailment.borrow().as_ref() {
            state["ailment"] = ailment.to_string().into();
        }
        if let Some(taken) = &maker.snapshot {
            state["snapshot"] = taken.clone();
        }
        // Cameras and drivers choose their own words.
        text::clean(&mut state);
        maker.latest = Some((now, state.clone()));
        state
    }
}

impl Maker {
    fn figures(&mut self, now: Instant) -> SystemFigures {
        match &self.figures {
            Some((at, figures)) if now.saturating_duration_since(*at) < FIGURES_FRESH => figures.clone(),
            _ => self.figures.insert((now, self.system.read())).1.clone(),
        }
    }
}
