//! Asks the library for the way to the viewer: with a packet that it may choose a path for, and that never leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp::{Header, Packet};
use webrtc::error::Error;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use crate::peer::socket::way::Way;

/// How soon media follows when the library chooses another path; each question costs it a round.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The same while the viewer is heard from elsewhere, as after a change of networks.
const ASK_LOST_EVERY: Duration = Duration::from_millis(100);
/// How long to wait for the first answer, before asking again.
const FIRST_ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// What questions are asked with.
#[derive(Clone)]
pub(in crate::peer) struct Guide {
    pub track: Arc<TrackLocalStaticRTP>,
    pub ssrc: u32,
    pub payload_type: u8,
}

/// Who asks, and when last.
pub(in crate::peer) struct Guided {
    guide: Guide,
    asked: Option<Instant>,
    number: u16,
}

impl Guided {
    pub fn new(guide: Guide) -> Self {
        Self { guide, asked: None, number: 0 }
    }

    /// Asks if that is due, and waits for the first answer. `heard` is where the viewer was last heard from, if not through a relay.
    /// Fails when the connection is gone.
    pub async fn ask(&mut self, now: Instant, way: &Way, heard: Option<SocketAddr>) -> Result<(), Error> {
        let passed = self.asked.map(|asked| now.saturating_duration_since(asked));
        if !is_due(passed, way.leads_to(heard)) {
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

/// Whether to ask, when the last time is `passed` ago and the known way leads to the viewer or does not.
fn is_due(passed: Option<Duration>, leads: bool) -> bool {
    passed.is_none_or(|passed| passed >= if leads { ASK_EVERY } else { ASK_LOST_EVERY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_at_once_now_and_then_and_soon_when_the_viewer_moved() {
        assert!(is_due(None, true) && is_due(None, false));
        assert!(!is_due(Some(ASK_EVERY / 2), true) && is_due(Some(ASK_EVERY), true));
        assert!(!is_due(Some(ASK_LOST_EVERY / 2), false) && is_due(Some(ASK_LOST_EVERY), false));
    }
}
