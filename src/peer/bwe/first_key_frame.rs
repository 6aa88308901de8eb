//! Whether a viewer has its first whole key frame. Pure.
//!
//! The gap between key frames after loss is for pictures that were damaged. A viewer whose first key frame was lost has no
//! picture at all, and for it the gap would be most of a second of nothing.

use std::time::{Duration, Instant};

use super::PacketResult;

/// Key frames that one viewer gets beyond its first, as if it had just come: on a path that brings none whole, more would only fill it.
const MOST: u8 = 5;
/// And for how long: a viewer without reports on single packets never tells that it has one.
const NEW_FOR: Duration = Duration::from_secs(10);

/// What is known of a viewer's first key frames.
#[derive(Debug, Default)]
pub(in crate::peer) struct FirstKeyFrame {
    has_picture: bool,
    /// When its first key frame began to leave.
    since: Option<Instant>,
    /// The last one.
    key_frame: Option<SentKeyFrame>,
    asked: u8,
}

#[derive(Debug)]
struct SentKeyFrame {
    first: Instant,
    /// Set once all of it has left.
    last: Option<Instant>,
    packets: usize,
    arrived: usize,
}

impl FirstKeyFrame {
    /// A packet of a key frame left.
    pub fn sent(&mut self, now: Instant, is_first: bool, is_last: bool) {
        if self.has_picture {
            return;
        }
        self.since.get_or_insert(now);
        if is_first {
            self.key_frame = Some(SentKeyFrame { first: now, last: None, packets: 0, arrived: 0 });
        }
        if let Some(leaving) = &mut self.key_frame {
            leaving.packets += 1;
            leaving.last = is_last.then_some(now);
        }
    }

    /// What the viewer reports of packets that left.
    pub fn reported(&mut self, reports: &[PacketResult]) {
        let Some(SentKeyFrame { first, last: Some(last), packets, arrived }) = &mut self.key_frame else {
            return;
        };
        let of_it = |report: &&PacketResult| report.arrived && (*first..=*last).contains(&report.departure);
        *arrived += reports.iter().filter(of_it).count();
        if *arrived >= *packets {
            self.has_picture = true;
            self.key_frame = None;
        }
    }

    /// The viewer asks for a key frame. Gives whether it is to have one as if it had just come.
    pub fn asks(&mut self, now: Instant) -> bool {
        let is_new = self.since.is_none_or(|since| now.saturating_duration_since(since) < NEW_FOR);
        let is_leaving = self.key_frame.as_ref().is_some_and(|leaving| leaving.last.is_none());
        let is_quick = !self.has_picture && is_new && !is_leaving && self.asked < MOST;
        self.asked += u8::from(is_quick);
        is_quick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(departure: Instant, arrived: bool) -> PacketResult {
        PacketResult { departure, arrival: None, arrived, bytes: 1000 }
    }

    /// A viewer that was sent a key frame of three packets at `now`.
    fn viewer(now: Instant) -> FirstKeyFrame {
        let mut first_key_frame = FirstKeyFrame::default();
        for packet in 0..3 {
            first_key_frame.sent(now, packet == 0, packet == 2);
        }
        first_key_frame
    }

    #[test]
    fn a_viewer_whose_first_key_frame_was_lost_is_still_new() {
        let now = Instant::now();
        let mut lost = viewer(now);
        lost.reported(&[report(now, true), report(now, false), report(now, true)]);
        assert!(lost.asks(now));
        let mut unreported = viewer(now);
        assert!(unreported.asks(now));
        let mut whole = viewer(now);
        whole.reported(&[report(now, true), report(now, true)]);
        whole.reported(&[report(now, true)]);
        assert!(!whole.asks(now), "it has a picture");
    }

    #[test]
    fn it_is_new_neither_for_ever_nor_while_its_key_frame_is_leaving() {
        let now = Instant::now();
        let mut first_key_frame = viewer(now);
        let asked = (0..100).filter(|_| first_key_frame.asks(now)).count();
        assert_eq!(asked, usize::from(MOST));
        assert!(!viewer(now).asks(now + NEW_FOR));
        let mut leaving = FirstKeyFrame::default();
        leaving.sent(now, true, false);
        assert!(!leaving.asks(now));
        leaving.sent(now, false, true);
        assert!(leaving.asks(now));
    }
}
