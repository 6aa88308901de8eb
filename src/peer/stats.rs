//! What the outside may know of a session while it lives, and how it ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::bwe::control::ViewerControl;
use super::bwe::feedback::Feedback;
use super::send::send_times::SendTimes;
use crate::signaling::message::{ErrorCode, Refusal};
use crate::signaling::topic::Id;

/// The path that media takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathStats {
    /// `host`, `srflx`, `prflx` or `relay`: the device's end of the path.
    pub path: String,
    /// `udp` or `tcp`.
    pub protocol: String,
    /// Round-trip time in ms.
    pub rtt: f64,
    /// The viewer's end of the path, as far as this side sees it.
    #[serde(skip)]
    pub remote: Option<String>,
}

/// What `state` shows of a session, written by its task and read by the publisher.
#[derive(Debug)]
pub struct SessionStats {
    /// Whose it is.
    pub viewer: Id,
    /// Which one of the viewer's.
    pub session: Id,
    /// The grant it came in with; `None` in open access.
    pub grant: Option<Id>,
    /// Tells it from an earlier one of the same viewer and name.
    pub number: u64,
    /// When the offer came.
    pub since: SystemTime,
    /// The same on the clock that cannot jump.
    pub offered_at: Instant,
    /// What was sent.
    pub sent: Arc<Sent>,
    /// What of sound was sent and heard.
    pub sound: Sound,
    /// What came back.
    pub feedback: Arc<Feedback>,
    /// From offer to the first access unit handed to the network, once that happened.
    pub first_frame: Arc<OnceLock<Duration>>,
    /// Set once the connection has come about.
    pub connected: AtomicBool,
    /// What it is to get, as whoever follows the rates decides.
    pub control: Arc<ViewerControl>,
    /// Pictures left out for that reason.
    pub skipped: AtomicU64,
    path: Mutex<Option<PathStats>>,
    /// Milliseconds from `offered_at` to the last word of the viewer, plus one; 0: none yet.
    heard: AtomicU64,
}

impl SessionStats {
    /// A session that begins now.
    pub fn new(viewer: Id, session: Id, number: u64, grant: Option<Id>) -> Self {
        let control = Arc::<ViewerControl>::default();
        Self {
            viewer,
            session,
            grant,
            connected: AtomicBool::new(false),
            skipped: AtomicU64::new(0),
            number,
            since: SystemTime::now(),
            offered_at: Instant::now(),
            sent: Arc::default(),
            sound: Sound::default(),
            feedback: Arc::new(Feedback::of(Arc::clone(&control))),
            control,
            first_frame: Arc::default(),
            path: Mutex::default(),
            heard: AtomicU64::new(0),
        }
    }

    /// When anything of the viewer was last received; `None`: nothing yet.
    pub fn last_heard(&self) -> Option<Instant> {
        let since = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        self.offered_at.checked_add(Duration::from_millis(since))
    }

    /// Something of the viewer was received.
    pub(in crate::peer) fn hear(&self, now: Instant) {
        self.heard
            .store(ms(now.saturating_duration_since(self.offered_at)).saturating_add(1), Ordering::Relaxed);
    }

    /// The path, once connected.
    pub fn path(&self) -> Option<PathStats> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::peer) fn set_path(&self, path: PathStats) {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
    }
}

/// What was sent, readable from anywhere.
#[derive(Debug, Default)]
pub struct Sent {
    /// RTP payload bytes.
    pub bytes: AtomicU64,
    /// RTP packets.
    pub packets: AtomicU64,
    /// Access units.
    pub units: AtomicU64,
    /// From the encoder's output to the packets handed on.
    pub send_times: SendTimes,
}

/// Sound of one session, readable from anywhere.
#[derive(Debug, Default)]
pub struct Sound {
    /// RTP packets sent.
    pub sent_packets: AtomicU64,
    /// Their payload bytes.
    pub sent_bytes: AtomicU64,
    /// RTP packets of the viewer's voice that went on to the speaker.
    pub voice_packets: AtomicU64,
    /// Those that did not: too many, not Opus, without the right, or while somebody else spoke.
    pub voice_discarded: AtomicU64,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The viewer said `bye`, in its words.
    ViewerLeft(String),
    /// The viewer closed the connection or was not heard for 15 s.
    ViewerGone,
    /// No connection came about within 15 s.
    NeverConnected,
    /// The viewer started anew under the same session id.
    Replaced,
    /// A dashboard closed it.
    Requested,
    /// The privacy switch was turned off.
    Privacy,
    /// The daemon stops.
    Shutdown,
    /// Its grant was revoked or has expired.
    GrantEnded(Refusal),
    /// It never came about.
    Refused(Refusal),
}

impl EndReason {
    /// Something of the session panicked.
    pub fn failed() -> Self {
        let text = "the session failed inside the device; try again";
        Self::Refused(Refusal::new(ErrorCode::Internal, text).retry_after(5))
    }

    /// For people and for the `session-ended` event.
    pub fn text(&self) -> String {
        match self {
            Self::ViewerLeft(reason) => format!("the viewer left: {reason}"),
            Self::ViewerGone => "the viewer is gone".to_owned(),
            Self::NeverConnected => {
                "no connection to the viewer came about within 15 s; check that UDP can pass between both, \
                 or configure a TURN server"
                    .to_owned()
            }
            Self::Replaced => "the viewer started anew".to_owned(),
            Self::Requested => "closed from a dashboard".to_owned(),
            Self::Privacy => "the privacy switch is off".to_owned(),
            Self::Shutdown => "the device stops".to_owned(),
            Self::Refused(refusal) | Self::GrantEnded(refusal) => refusal.to_string(),
        }
    }
}

/// Whole milliseconds, for logs.
pub(in crate::peer) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
