//! How long pictures take from the encoder's output to the network, over all viewers. Pure.

use std::sync::Arc;

use crate::media::Latency;
use crate::peer::SessionStats;

/// From the encoder's output to the network, over the last pictures of all viewers; `None` while none was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SendLatency {
    /// Until a picture's first packet was handed on.
    pub first_packet: Option<Latency>,
    /// Until its last packet was.
    pub last_packet: Option<Latency>,
}

impl SendLatency {
    /// Of these sessions.
    pub fn of(sessions: &[Arc<SessionStats>]) -> Self {
        let mut send_times = Vec::new();
        for live in sessions {
            live.sent.send_times.collect_into(&mut send_times);
        }
        Self {
            first_packet: Latency::of(send_times.iter().map(|picture| picture.first_us).collect()),
            last_packet: Latency::of(send_times.iter().map(|picture| picture.last_us).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::signaling::topic::Id;

    #[test]
    fn pictures_of_all_viewers_count() {
        let live = || Arc::new(SessionStats::new(Id::new("tab").unwrap(), Id::default_session(), 1, None));
        let sessions = [live(), live()];
        assert_eq!(SendLatency::of(&sessions), SendLatency::default());
        for n in 0..100 {
            let viewer = usize::from(n >= 90);
            let first = Duration::from_micros(n);
            sessions[viewer].sent.send_times.record(first, first + Duration::from_millis(1));
        }
        let latency = SendLatency::of(&sessions);
        assert_eq!(latency.first_packet, Some(Latency { p50_ms: 0.05, p95_ms: 0.095 }));
        assert_eq!(latency.last_packet, Some(Latency { p50_ms: 1.05, p95_ms: 1.095 }));
    }
}
