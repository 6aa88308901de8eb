//! Keeps what left for the viewer that misses it (NACK, RFC 4585 section 6.2.1), and says what is sent again, within a budget. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

use super::packet::Head;
use crate::peer::bwe::rtx_budget::{Budget, Conditions, RtxPacket};

/// Packets kept at most, and how long: nobody waits for older ones.
const KEPT_MOST: usize = 1024;
const KEPT_FOR: Duration = Duration::from_secs(2);
/// Packets sent at once to try a path: small ones of a still picture say as little as few.
const PROBE_MOST: usize = 24;
/// What a packet has beside its payload: IPv4, UDP, RTP with extensions, RTX and SRTP.
const OVERHEAD_BYTES: usize = 70;

/// What is needed to send a packet again; its payload is shared with all other viewers.
#[derive(Debug)]
pub(in crate::peer) struct Kept {
    pub head: Head,
    /// Its number with the turns of the 16 bits counted above them.
    pub index: u64,
    pub payload: Bytes,
    fate: RtxPacket,
}

/// The packets of one stream that may be asked for again, one number after another.
#[derive(Debug, Default)]
pub(in crate::peer) struct RtxCache {
    kept: VecDeque<Kept>,
    budget: Budget,
}

impl RtxCache {
    /// Remembers a packet that leaves now.
    pub fn keep(&mut self, now: Instant, head: Head, index: u64, payload: Bytes) {
        // Numbers without a gap are what finding one relies on.
        if self.kept.back().is_some_and(|last| last.index + 1 != index) {
            self.kept.clear();
        }
        let is_old = |kept: &Kept| now.saturating_duration_since(kept.fate.sent_at) > KEPT_FOR;
        while self.kept.len() >= KEPT_MOST || self.kept.front().is_some_and(is_old) {
            self.kept.pop_front();
        }
        let fate = RtxPacket { sent_at: now, repaired_at: None, tries: 0 };
        self.kept.push_back(Kept { head, index, payload, fate });
    }

    /// The last `count` packets, oldest first; none if so many are not kept.
    pub fn last(&self, count: u8) -> impl Iterator<Item = &Kept> {
        let first = self.kept.len().checked_sub(count.into()).unwrap_or(self.kept.len());
        self.kept.range(first..)
    }

    /// The last packets, oldest first, as many as have `bits` together, but no more than a few.
    pub fn newest(&self, bits: f64) -> impl Iterator<Item = &Kept> {
        let mut left = bits;
        let newest = self.kept.iter().rev().take(PROBE_MOST).take_while(|kept| {
            let is_wanted = left > 0.0;
            left -= (kept.payload.len() + OVERHEAD_BYTES) as f64 * 8.0;
            is_wanted
        });
        let count = newest.count();
        self.kept.range(self.kept.len() - count..)
    }

    /// Calls `again` with each packet of those asked for that is to be sent again now. Gives their bytes.
    pub fn asked(
        &mut self,
        now: Instant,
        on: Conditions,
        nack: &TransportLayerNack,
        mut again: impl FnMut(&Kept),
    ) -> usize {
        let Some(first) = self.kept.front().map(|kept| kept.head.sequence_number) else { return 0 };
        self.budget.fill(now, on);
        let mut bytes = 0;
        for number in nack.nacks.iter().flat_map(NackPair::packet_list) {
            let Some(kept) = self.kept.get_mut(usize::from(number.wrapping_sub(first))) else { continue };
            let size = kept.payload.len() + OVERHEAD_BYTES;
            if !self.budget.allows(now, on, kept.fate, size as f64 * 8.0) {
                continue;
            }
            kept.fate.repaired_at = Some(now);
            kept.fate.tries += 1;
            bytes += size;
            again(kept);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers;

    use super::*;

    /// Indexes across the numbers' turn.
    const FIRST: u64 = 65_526;

    fn keep(repairs: &mut RtxCache, now: Instant, index: u64) {
        #[allow(clippy::cast_possible_truncation)]
        let head = Head { sequence_number: index as u16, ..Default::default() };
        repairs.keep(now, head, index, Bytes::from_static(&[1; 1000]));
    }

    fn repairs(now: Instant) -> RtxCache {
        let mut repairs = RtxCache::default();
        (FIRST..FIRST + 20).for_each(|index| keep(&mut repairs, now, index));
        repairs
    }

    /// Which of those asked for are sent again, counted from [`FIRST`].
    fn ask(repairs: &mut RtxCache, now: Instant, numbers: &[u16]) -> Vec<u64> {
        #[allow(clippy::cast_possible_truncation)]
        let numbers: Vec<u16> = numbers.iter().map(|number| number.wrapping_add(FIRST as u16)).collect();
        let nacks = nack_pairs_from_sequence_numbers(&numbers);
        let nack = TransportLayerNack { sender_ssrc: 1, media_ssrc: 7, nacks };
        let on = Conditions { limit: None, media: 2e6, backlog: Duration::ZERO, round_trip: None };
        let mut again = Vec::new();
        let bytes = repairs.asked(now, on, &nack, |kept| again.push(kept.index - FIRST));
        assert_eq!(bytes, again.len() * 1070);
        again
    }

    #[test]
    fn what_is_missed_is_sent_again_but_not_twice_at_once() {
        let now = Instant::now();
        let mut repairs = repairs(now);
        assert_eq!(ask(&mut repairs, now, &[8, 11]), [8, 11]);
        assert_eq!(ask(&mut repairs, now + Duration::from_millis(10), &[8]), [0; 0]);
        assert_eq!(ask(&mut repairs, now + Duration::from_millis(200), &[8]), [8]);
    }

    #[test]
    fn the_newest_packets_are_those_that_have_so_many_bits() {
        let now = Instant::now();
        let mut repairs = repairs(now);
        let of = |repairs: &RtxCache, bits| -> Vec<u64> {
            repairs.newest(bits).map(|kept| kept.index - FIRST).collect()
        };
        assert_eq!(of(&repairs, 3.0 * 8560.0), [17, 18, 19]);
        assert_eq!(of(&repairs, 3.1 * 8560.0), [16, 17, 18, 19]);
        assert_eq!(of(&repairs, 1e9).len(), 20);
        (0..20).for_each(|number| keep(&mut repairs, now, FIRST + 20 + number));
        assert_eq!(of(&repairs, 1e9).len(), PROBE_MOST);
        assert_eq!(of(&RtxCache::default(), 1e9), [0; 0]);
    }

    #[test]
    fn what_was_never_sent_or_is_forgotten_is_not_repaired() {
        let now = Instant::now();
        let mut repairs = repairs(now);
        assert_eq!(ask(&mut repairs, now, &[20, 21, 5000, 40_000]), [0; 0]);
        // A gap in the numbers: nothing before it can be found any more.
        keep(&mut repairs, now, FIRST + 4000);
        assert_eq!(ask(&mut repairs, now, &[3]), [0; 0]);
        assert_eq!((repairs.kept.len(), repairs.last(1).count(), repairs.last(2).count()), (1, 1, 0));
        let later = now + KEPT_FOR + Duration::from_secs(1);
        keep(&mut repairs, later, FIRST + 4001);
        assert_eq!(repairs.kept.len(), 1);
        (0..2000).for_each(|number| keep(&mut repairs, later, FIRST + 4002 + number));
        assert_eq!(repairs.kept.len(), KEPT_MOST);
    }
}
