//! What the sound side says of itself, watched by `state`, the channels and the metrics.

use serde::Serialize;

/// The microphone's condition; the words are those of `state.camera`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioState {
    /// Switched off (`set/audio OFF`, or the privacy switch).
    Off,
    /// Nobody listens: the card is closed.
    #[default]
    Idle,
    /// The card is being opened.
    Starting,
    /// Sound flows.
    Live,
    /// The card is not there; watched for.
    Lost,
    /// The card is there but gives nothing (busy, refused, no fitting format); retried.
    Error,
}

impl AudioState {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 6] = [Self::Off, Self::Idle, Self::Starting, Self::Live, Self::Lost, Self::Error];

    /// As `state.audio` and the metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Lost => "lost",
            Self::Error => "error",
        }
    }
}

/// How loud it is at the microphone, after the gain, over the last tenth of a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AudioLevel {
    /// Root mean square in dB below full scale: 0 is the loudest.
    pub rms_dbfs: f64,
    /// The loudest sample.
    pub peak_dbfs: f64,
}

/// A snapshot of the sound side. Sent on a watch channel on every change; the level up to ten times a second while live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AudioStatus {
    /// The microphone's condition.
    pub state: AudioState,
    /// The card that is, or was last, used, in its own words; `None` where none was found.
    pub card: Option<String>,
    /// Why it gives nothing, for people: which card, who holds it, what to do.
    pub error: Option<String>,
    /// While live.
    pub level: Option<AudioLevel>,
    /// The card that plays what viewers say; `None` without one.
    pub speaker: Option<String>,
    /// Why it cannot play, for people.
    pub speaker_error: Option<String>,
    /// Times that the capture began.
    pub starts: u64,
    /// Gaps in what the card gave: overruns, and times that it was away.
    pub gaps: u64,
    /// Packets of viewers that were no usable Opus, or came too late to be played.
    pub discarded_packets: u64,
    /// Pieces of a voice that were made up because they had not come.
    pub concealed: u64,
}
