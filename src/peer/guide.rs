//! Asks the library for the way to the viewer: with a packet that it may choose a path for, and that never leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp::{Header, Packet};
use webrtc::error::Error;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::way::Way;

/// How soon media follows when the library chooses another path; each question costs it a round.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long to wait for the first answer, before asking again.
const FIRST_ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// What questions are asked with.
#[derive(Clone)]
pub(super) struct Guide {
    pub track: Arc<TrackLocalStaticRTP>,
    pub ssrc: u32,
    pub payload_type: u8,
}

/// Who asks, and when last.
pub(super) struct Guided {
    guide: Guide,
    asked: Option<Instant>,
    number: u16,
}

impl Guided {
    pub fn new(guide: Guide) -> Self {
        Self { guide, asked: None, number: 0 }
    }

    /// Asks if that is due, and waits for the first answer. Fails when the connection is gone.
    pub async fn ask(&mut self, now: Instant, way: &Way) -> Result<(), Error> {
        let is_recent = |asked| now.saturating_duration_since(asked) < ASK_EVERY;
        if self.asked.is_some_and(is_recent) {
            return Ok(());
        }
        self.asked = Some(now);
        loop {
            self.number = self.number.wrapping_add(1);
            let header = Header {
                version: 2,
                ssrc: self.guide.ssrc,
                payload_type: self.guide.payload_type,
                sequence_number: self.number,
                ..Default::default()
            };
            self.guide.track.write_rtp(Packet { header, payload: Bytes::from_static(&[0]) }).await?;
            if way.known(FIRST_ANSWER_LIMIT).await {
                return Ok(());
            }
        }
    }
}
