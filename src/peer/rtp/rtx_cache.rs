//! Keeps what left for the viewer that misses it (NACK, RFC 4585 section 6.2.1), and says what is sent again, within a budget. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

use super::rtp_header::RtpHeader;
use crate::peer::bwe::rtx_budget::{Budget, Conditions, RtxPacket};
use crate::peer::bwe::send_history::ReportedPackets;

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
    pub header: RtpHeader,
    /// Its number with the rollovers of the 16 bits counted above them (RFC 3711 section 3.3.1).
    pub index: u64,
    pub payload: Bytes,
    fate: RtxPacket,
    /// The viewer has reported it.
    is_there: bool,
}

/// The packets of one stream that may be asked for again, one number after another.
#[derive(Debug, Default)]
pub(in crate::peer) struct RtxCache {
    kept: VecDeque<Kept>,
    budget: Budget,
}

impl RtxCache {
    /// Remembers a packet that leaves now.
    pub fn keep(&mut self, now: Instant, header: RtpHeader, index: u64, payload: Bytes) {
        // Numbers without a gap are what finding one relies on.
        if self.kept.back().is_some_and(|last| last.index + 1 != index) {
            self.kept.clear();
        }
        let is_old = |kept: &Kept| now.saturating_duration_since(kept.fate.sent_at) > KEPT_FOR;
        while self.kept.len() >= KEPT_MOST || self.kept.front().is_some_and(is_old) {
            self.kept.pop_front();
        }
        let fate = RtxPacket { sent_at: now, resent_at: None, tries: 0 };
        self.kept.push_back(Kept { header, index, payload, fate, is_there: false });
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
        let Some(first) = self.kept.front().map(|kept| kept.header.sequence_number) else { return 0 };
        self.budget.fill(now, on);
        let numbers = nack.nacks.iter().flat_map(NackPair::packet_list);
        numbers.map(|number| self.retransmit(now, on, number.wrapping_sub(first).into(), &mut again)).sum()
    }

    /// The same with what a report on single packets tells: what is lost need not be asked for, and the request may be lost too.
    pub fn lost(
        &mut self,
        now: Instant,
        on: Conditions,
        told: &ReportedPackets,
        mut again: impl FnMut(&Kept),
    ) -> usize {
        let Some(first) = self.kept.front().map(|kept| kept.index) else { return 0 };
        self.budget.fill(now, on);
        let place = |index: u64| index.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        for index in &told.arrived {
            if let Some(kept) = place(*index).and_then(|place| self.kept.get_mut(place)) {
                kept.is_there = true;
            }
        }
        let mut bytes = 0;
        for (index, left_at) in &told.lost {
            let Some(place) = place(*index) else { continue };
            let Some(kept) = self.kept.get_mut(place) else { continue };
            // What was sent again meanwhile is under way.
            if kept.is_there || kept.fate.resent_at.is_some_and(|at| at > *left_at) {
                continue;
            }
            // Its answer is there: it is not waited for.
            kept.fate.resent_at = None;
            bytes += self.retransmit(now, on, place, &mut again);
        }
        bytes
    }

    /// Calls `again` with the packet at this place, if it is to be sent again now; twice where once was not enough, as whoever
    /// misses it has waited for long. Gives the bytes.
    fn retransmit(
        &mut self,
        now: Instant,
        on: Conditions,
        place: usize,
        again: &mut impl FnMut(&Kept),
    ) -> usize {
        let Some(kept) = self.kept.get_mut(place) else { return 0 };
        let copies = if kept.fate.tries > 0 { 2 } else { 1 };
        let bytes = (kept.payload.len() + OVERHEAD_BYTES) * copies;
        if !self.budget.allows(now, on, kept.fate, bytes as f64 * 8.0) {
            return 0;
        }
        kept.fate.resent_at = Some(now);
        kept.fate.tries += 1;
        (0..copies).for_each(|_| again(kept));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers;

    use super::*;

    /// Indexes across the numbers' turn.
    const FIRST: u64 = 65_526;

    fn keep(cache: &mut RtxCache, now: Instant, index: u64) {
        #[allow(clippy::cast_possible_truncation)]
        let header = RtpHeader { sequence_number: index as u16, ..Default::default() };
        cache.keep(now, header, index, Bytes::from_static(&[1; 1000]));
    }

    fn cache(now: Instant) -> RtxCache {
        let mut cache = RtxCache::default();
        (FIRST..FIRST + 20).for_each(|index| keep(&mut cache, now, index));
        cache
    }

    /// Which of those asked for are sent again, counted from [`FIRST`].
    fn ask(cache: &mut RtxCache, now: Instant, numbers: &[u16]) -> Vec<u64> {
        #[allow(clippy::cast_possible_truncation)]
        let numbers: Vec<u16> = numbers.iter().map(|number| number.wrapping_add(FIRST as u16)).collect();
        let nacks = nack_pairs_from_sequence_numbers(&numbers);
        let nack = TransportLayerNack { sender_ssrc: 1, media_ssrc: 7, nacks };
        let on = Conditions { limit: None, media: 2e6, backlog: Duration::ZERO, round_trip: None };
        let mut again = Vec::new();
        let bytes = cache.asked(now, on, &nack, |kept| again.push(kept.index - FIRST));
        assert_eq!(bytes, again.len() * 1070);
        again
    }

    #[test]
    fn what_is_missed_is_sent_again_but_not_twice_at_once() {
        let now = Instant::now();
        let mut cache = cache(now);
        assert_eq!(ask(&mut cache, now, &[8, 11]), [8, 11]);
        assert_eq!(ask(&mut cache, now + Duration::from_millis(10), &[8]), [0; 0]);
        let later = now + Duration::from_millis(200);
        assert_eq!(ask(&mut cache, later, &[8]), [8, 8], "twice where once was not enough");
    }

    #[test]
    fn what_is_reported_as_lost_is_sent_again_unless_that_is_under_way_or_there() {
        let now = Instant::now();
        let mut cache = cache(now);
        let on = Conditions { limit: None, media: 2e6, backlog: Duration::ZERO, round_trip: None };
        let mut tell = |at_ms: u64, arrived: &[u64], lost: &[(u64, u64)]| {
            let at = |ms| now + Duration::from_millis(ms);
            let told = ReportedPackets {
                arrived: arrived.iter().map(|number| FIRST + number).collect(),
                lost: lost.iter().map(|(number, ms)| (FIRST + number, at(*ms))).collect(),
            };
            let mut again = Vec::new();
            cache.lost(at(at_ms), on, &told, |kept| again.push(kept.index - FIRST));
            again
        };
        assert_eq!(tell(50, &[7], &[(8, 0), (11, 0), (7, 0)]), [8, 11]);
        assert_eq!(tell(60, &[], &[(8, 0)]), [0; 0], "its retransmission is under way");
        assert_eq!(tell(90, &[11], &[(8, 50), (11, 50)]), [8, 8], "a lost repair");
        assert_eq!(tell(130, &[8], &[(8, 90)]), [0; 0], "one of two came");
        assert_eq!(tell(140, &[400], &[(400, 0), (u64::MAX - FIRST, 0)]), [0; 0], "never sent");
    }

    #[test]
    fn the_newest_packets_are_those_that_have_so_many_bits() {
        let now = Instant::now();
        let mut cache = cache(now);
        let of = |cache: &RtxCache, bits| -> Vec<u64> {
            cache.newest(bits).map(|kept| kept.index - FIRST).collect()
        };
        assert_eq!(of(&cache, 3.0 * 8560.0), [17, 18, 19]);
        assert_eq!(of(&cache, 3.1 * 8560.0), [16, 17, 18, 19]);
        assert_eq!(of(&cache, 1e9).len(), 20);
        (0..20).for_each(|number| keep(&mut cache, now, FIRST + 20 + number));
        assert_eq!(of(&cache, 1e9).len(), PROBE_MOST);
        assert_eq!(of(&RtxCache::default(), 1e9), [0; 0]);
    }

    #[test]
    fn what_was_never_sent_or_is_forgotten_is_not_sent_again() {
        let now = Instant::now();
        let mut cache = cache(now);
        assert_eq!(ask(&mut cache, now, &[20, 21, 5000, 40_000]), [0; 0]);
        // A gap in the numbers: nothing before it can be found any more.
        keep(&mut cache, now, FIRST + 4000);
        assert_eq!(ask(&mut cache, now, &[3]), [0; 0]);
        assert_eq!((cache.kept.len(), cache.last(1).count(), cache.last(2).count()), (1, 1, 0));
        let later = now + KEPT_FOR + Duration::from_secs(1);
        keep(&mut cache, later, FIRST + 4001);
        assert_eq!(cache.kept.len(), 1);
        (0..2000).for_each(|number| keep(&mut cache, later, FIRST + 4002 + number));
        assert_eq!(cache.kept.len(), KEPT_MOST);
    }
}
