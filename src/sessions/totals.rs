//! What has become of sessions since the start, counted for whoever reads figures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::peer::SessionStats;
use crate::signaling::message::ErrorCode;

/// Upper bounds of the classes of [`Totals::first_frames`], in seconds; one more class is above them.
pub const FIRST_FRAME_BOUNDS_S: [f64; 8] = [0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];

/// Sums since the start of the process. None of them ever gets smaller.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Sessions that began.
    pub started: u64,
    /// Sessions that ended, however.
    pub ended: u64,
    /// Refusals, in the order of [`ErrorCode::ALL`].
    pub refused: [u64; ErrorCode::ALL.len()],
    /// RTP payload bytes to all viewers.
    pub sent_bytes: u64,
    /// RTP packets to all viewers.
    pub sent_packets: u64,
    /// Packets that viewers asked for again.
    pub nacked_packets: u64,
    /// Packets sent again.
    pub retransmitted_packets: u64,
    /// Repairs sent before anything was missed.
    pub fec_packets: u64,
    /// Packets sent once more to find out what a path carries.
    pub probe_packets: u64,
    /// Key frames that viewers asked for.
    pub key_frame_requests: u64,
    /// Sessions by the time from their offer to the first picture; see [`FIRST_FRAME_BOUNDS_S`].
    pub first_frames: [u64; FIRST_FRAME_BOUNDS_S.len() + 1],
    /// The sum of those times.
    pub first_frames_took: Duration,
}

impl Totals {
    /// Somebody was told no.
    pub(super) fn refuse(&mut self, code: ErrorCode) {
        let places = ErrorCode::ALL.iter().zip(&mut self.refused);
        for (_, count) in places.filter(|(known, _)| **known == code) {
            *count += 1;
        }
    }

    /// The same with what the sessions that still run have sent so far.
    #[must_use]
    pub(super) fn with<'a>(&self, running: impl Iterator<Item = &'a Arc<SessionStats>>) -> Self {
        let mut totals = self.clone();
        running.for_each(|live| totals.add(live));
        totals
    }

    /// Adds what `live` has sent so far.
    pub(super) fn add(&mut self, live: &SessionStats) {
        self.sent_bytes += live.sent.bytes.load(Ordering::Relaxed);
        self.sent_packets += live.sent.packets.load(Ordering::Relaxed);
        self.nacked_packets += live.feedback.nacked_packets.load(Ordering::Relaxed);
        self.retransmitted_packets += live.feedback.retransmitted_packets.load(Ordering::Relaxed);
        self.fec_packets += live.feedback.fec_packets.load(Ordering::Relaxed);
        self.probe_packets += live.feedback.probe_packets.load(Ordering::Relaxed);
        self.key_frame_requests += live.feedback.key_frame_requests.load(Ordering::Relaxed);
        if let Some(took) = live.first_frame.get() {
            let class = FIRST_FRAME_BOUNDS_S.iter().position(|bound| took.as_secs_f64() <= *bound);
            self.first_frames[class.unwrap_or(FIRST_FRAME_BOUNDS_S.len())] += 1;
            self.first_frames_took += *took;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::topic::Id;

    #[test]
    fn sums_go_on_when_a_session_ends() {
        let (mut totals, mut running) = (Totals { started: 2, ..Totals::default() }, Vec::new());
        for number in 0..2 {
            let live = SessionStats::new(Id::new("tab").unwrap(), Id::default_session(), number, None);
            live.sent.bytes.store(1000, Ordering::Relaxed);
            live.sent.packets.store(2, Ordering::Relaxed);
            live.feedback.nacked_packets.store(5, Ordering::Relaxed);
            live.feedback.retransmitted_packets.store(3, Ordering::Relaxed);
            live.feedback.fec_packets.store(4, Ordering::Relaxed);
            live.feedback.probe_packets.store(6, Ordering::Relaxed);
            live.feedback.key_frame_requests.store(1, Ordering::Relaxed);
            live.first_frame.set(Duration::from_millis(300 + 30_000 * number)).unwrap();
            running.push(Arc::new(live));
        }
        totals.refuse(ErrorCode::Busy);
        totals.refuse(ErrorCode::Busy);
        let before = totals.with(running.iter());
        assert_eq!((before.started, before.ended, before.sent_bytes, before.sent_packets), (2, 0, 2000, 4));
        assert_eq!(
            (before.nacked_packets, before.retransmitted_packets, before.key_frame_requests),
            (10, 6, 2)
        );
        assert_eq!((before.fec_packets, before.probe_packets), (8, 12));
        assert_eq!((before.refused[8], before.refused.iter().sum::<u64>()), (2, 2));
        assert_eq!(before.first_frames, [0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(before.first_frames_took, Duration::from_millis(30_600));
        totals.add(&running.remove(0));
        assert_eq!(totals.with(running.iter()), before);
    }
}
