//! Which lost packets are sent again: not faster than the path answers, within a share of what it carries, and within a share
//! of the pictures that are sent. Pure.
//!
//! A viewer asks again and again until a packet comes. Answered each time, the retransmissions of one picture
//! fill a narrow path many times over, and nothing new comes through any more. And it may ask for what it has: were retransmissions
//! measured by all that is sent, they would be by themselves too, and more of them would justify more.

use std::time::{Duration, Instant};

/// A packet is sent again so often at most.
pub const TRIES: u8 = 8;
/// Older packets belong to pictures that nobody waits for any more.
const TOO_OLD: Duration = Duration::from_secs(2);
/// Least time between two retransmissions of one packet, whatever the round trip.
const LEAST_WAIT: Duration = Duration::from_millis(20);
/// The same while the round trip is not known.
const USUAL_WAIT: Duration = Duration::from_millis(100);
/// Share that retransmissions have of the path's rate, where that is known, and of the pictures' bit rate in any case. A third of all packets
/// lost both times and again is within the latter.
const SHARE_OF_PATH: f64 = 0.3;
const SHARE_OF_MEDIA: f64 = 0.5;
/// What may have been saved up: this long, and a few packets at least.
const SAVED: Duration = Duration::from_millis(300);
const LEAST_SAVED_BITS: f64 = 10.0 * 9_600.0;
/// While more than this is under way, a retransmission only makes everything later.
const BACKLOG_MOST: Duration = Duration::from_millis(400);

/// What the path is like when something is asked for again.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Bit/s that it carries; `None`: no limit known.
    pub limit: Option<f64>,
    /// Bit/s of pictures that were sent lately: neither retransmissions nor parity nor probes.
    pub media: f64,
    /// How long what is under way still takes.
    pub backlog: Duration,
    /// There and back, if known.
    pub round_trip: Option<Duration>,
}

/// What became of one packet so far.
#[derive(Clone, Copy, Debug)]
pub struct RtxPacket {
    /// When it left first.
    pub sent_at: Instant,
    /// When it was sent again last.
    pub resent_at: Option<Instant>,
    /// How often it was sent again.
    pub tries: u8,
}

/// What retransmissions may still cost.
#[derive(Debug, Default)]
pub struct Budget {
    bits: f64,
    filled: Option<Instant>,
}

impl Budget {
    /// Lets time pass, up to `now`. Call before [`Self::allows`].
    pub fn fill(&mut self, now: Instant, on: Conditions) {
        let of_path = on.limit.map_or(f64::INFINITY, |limit| limit * SHARE_OF_PATH);
        let rate = of_path.min(on.media * SHARE_OF_MEDIA);
        let most = (of_path.min(on.media) * SAVED.as_secs_f64()).max(LEAST_SAVED_BITS);
        self.bits = match self.filled.replace(now) {
            Some(at) => (self.bits + rate * now.saturating_duration_since(at).as_secs_f64()).min(most),
            None => most,
        };
    }

    /// Whether `packet` of `bits` is sent again at `now`, and takes its cost if so.
    pub fn allows(&mut self, now: Instant, on: Conditions, packet: RtxPacket, bits: f64) -> bool {
        let wait = on.round_trip.unwrap_or(USUAL_WAIT).max(LEAST_WAIT);
        let since = |at: Instant| now.saturating_duration_since(at);
        let is_wanted = packet.tries < TRIES
            && since(packet.sent_at) < TOO_OLD
            && packet.resent_at.is_none_or(|at| since(at) >= wait);
        let allows = is_wanted && on.backlog < BACKLOG_MOST && self.bits >= bits;
        if allows {
            self.bits -= bits;
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS: f64 = 9_600.0;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn on(limit: Option<f64>) -> Conditions {
        Conditions { limit, media: 2e6, backlog: Duration::ZERO, round_trip: Some(ms(50)) }
    }

    /// Bit/s of repairs for somebody who asks for 100 packets every 20 ms, for as long as they are wanted.
    fn storm(on: Conditions) -> f64 {
        let (start, mut budget, mut resent) = (Instant::now(), Budget::default(), 0.0);
        let fresh = RtxPacket { sent_at: start, resent_at: None, tries: 0 };
        let mut packets = [fresh; 100];
        for step in 0..50 {
            let now = start + ms(step * 20);
            budget.fill(now, on);
            for packet in &mut packets {
                if budget.allows(now, on, *packet, BITS) {
                    packet.resent_at = Some(now);
                    packet.tries += 1;
                    resent += BITS;
                }
            }
        }
        resent
    }

    #[test]
    fn a_storm_of_requests_costs_a_share_of_the_path_and_of_the_pictures() {
        let narrow = storm(on(Some(0.4e6)));
        assert!(narrow > 0.1e6 && narrow < 0.4e6 * SHARE_OF_PATH + LEAST_SAVED_BITS + BITS, "{narrow}");
        let wide = storm(on(None));
        assert!(wide <= 2e6 * (SHARE_OF_MEDIA + SAVED.as_secs_f64()) + BITS, "{wide}");
        let boast = storm(on(Some(100e6)));
        assert!(boast <= wide + BITS, "a path that is said to carry all: {boast}");
        let idle = storm(Conditions { media: 0.0, ..on(None) });
        assert!(idle <= LEAST_SAVED_BITS, "{idle}");
    }

    #[test]
    fn a_packet_is_not_sent_again_before_the_path_can_have_answered() {
        let (now, mut budget) = (Instant::now(), Budget::default());
        let sent = RtxPacket { sent_at: now, resent_at: None, tries: 0 };
        budget.fill(now, on(None));
        assert!(budget.allows(now, on(None), sent, BITS));
        let again = RtxPacket { resent_at: Some(now), tries: 1, ..sent };
        assert!(!budget.allows(now + ms(49), on(None), again, BITS));
        assert!(budget.allows(now + ms(50), on(None), again, BITS));
        let unknown = Conditions { round_trip: None, ..on(None) };
        assert!(!budget.allows(now + ms(99), unknown, again, BITS));
        assert!(!budget.allows(now + ms(500), on(None), RtxPacket { tries: TRIES, ..again }, BITS));
        assert!(!budget.allows(now + TOO_OLD, on(None), sent, BITS));
    }

    #[test]
    fn a_full_path_gets_no_retransmissions() {
        let (now, mut budget) = (Instant::now(), Budget::default());
        let sent = RtxPacket { sent_at: now, resent_at: None, tries: 0 };
        let full = Conditions { backlog: BACKLOG_MOST, ..on(Some(1e6)) };
        budget.fill(now, full);
        assert!(!budget.allows(now, full, sent, BITS));
        assert!(budget.allows(now, on(Some(1e6)), sent, BITS));
    }
}
