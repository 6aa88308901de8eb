//! Whether packets get parity before they are missed, and how many: where loss would be seen and asking takes too long. Pure.

use std::time::{Duration, Instant};

/// Asking for a packet again takes a round trip: from here on that is a gap that one sees, and up to here it is none.
const FAR: Duration = Duration::from_millis(80);
const NEAR: Duration = Duration::from_millis(60);
/// Loss that is worth it, and that is no longer.
const LOSSY: f64 = 0.02;
const CLEAN: f64 = 0.01;
/// From which loss on how many packets share one parity packet.
const SPACINGS: [(f64, u8); 3] = [(0.08, 3), (0.035, 4), (0.0, 6)];
/// It falls to the next fewer parity packets only when loss is below this part of what asks for the more.
const FEWER_BELOW: f64 = 0.7;
/// Packets lost in longer rows than this in the mean take their parity with them.
const LONG_ROWS: f64 = 3.0;
/// Over this loss is counted, and so many packets must have been seen.
const MEMORY: Duration = Duration::from_secs(4);
const LEAST_PACKETS: f64 = 100.0;
/// A path that carries less needs all of it for pictures.
const LEAST_LIMIT: f64 = 200_000.0;

/// Packets that left, by what became of them; those of long ago count for less.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: f64,
    lost: f64,
    rows: f64,
}

/// Decides for one viewer that takes parity packets.
#[derive(Debug, Default)]
pub struct FecRate {
    counts: Counts,
    counted: Option<Instant>,
    was_lost: bool,
    spacing: Option<u8>,
}

impl FecRate {
    /// Takes what became of packets in the order in which they left: whether each arrived.
    pub fn heard(&mut self, now: Instant, arrived: impl Iterator<Item = bool>) {
        let passed = now.saturating_duration_since(self.counted.replace(now).unwrap_or(now));
        let kept = (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        let Counts { sent, lost, rows } = self.counts;
        let mut counts = Counts { sent: sent * kept, lost: lost * kept, rows: rows * kept };
        for arrived in arrived {
            counts.sent += 1.0;
            counts.lost += f64::from(u8::from(!arrived));
            counts.rows += f64::from(u8::from(!arrived && !self.was_lost));
            self.was_lost = !arrived;
        }
        self.counts = counts;
    }

    /// Decides anew for a path of this round trip that carries `limit` bit/s, as far as both are known.
    pub fn decide(&mut self, round_trip: Option<Duration>, limit: Option<f64>) {
        let Counts { sent, lost, rows } = self.counts;
        let loss = lost / sent.max(1.0);
        let is_on = self.spacing.is_some();
        let far = if is_on { NEAR } else { FAR };
        let least = if is_on { CLEAN } else { LOSSY };
        let pays = sent >= LEAST_PACKETS
            && loss >= least
            && lost <= rows * LONG_ROWS
            && round_trip.is_some_and(|time| time >= far)
            && limit.is_none_or(|limit| limit >= LEAST_LIMIT);
        self.spacing = pays.then(|| self.spacing_for(loss));
    }

    fn spacing_for(&self, loss: f64) -> u8 {
        let now = self.spacing.unwrap_or(u8::MAX);
        let asks =
            |(from, spacing): &(f64, u8)| loss >= if now <= *spacing { from * FEWER_BELOW } else { *from };
        SPACINGS.iter().find(|level| asks(level)).map_or(now, |(_, spacing)| *spacing)
    }

    /// How many packets share one parity packet; `None`: there are none.
    pub fn spacing(&self) -> Option<u8> {
        self.spacing
    }

    /// What is left for pictures of all that is sent, 0 to 1.
    pub fn pictures_share(&self) -> f64 {
        self.spacing.map_or(1.0, |spacing| f64::from(spacing) / (f64::from(spacing) + 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);
    const LIMIT: Option<f64> = Some(2e6);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A path of 200 packets a second on which `lost` in a row of each `of` are lost.
    struct Path {
        fec_rate: FecRate,
        now: Instant,
        sent: u32,
    }

    impl Path {
        fn new() -> Self {
            Self { fec_rate: FecRate::default(), now: Instant::now(), sent: 0 }
        }

        /// For ten seconds. Gives the spacing in the end and how often it changed.
        fn run(
            &mut self,
            lost: u32,
            of: u32,
            round_trip: Option<Duration>,
            limit: Option<f64>,
        ) -> (Option<u8>, u32) {
            let mut changes = 0;
            for _ in 0..100 {
                self.now += STEP;
                let first = self.sent;
                self.sent += 20;
                self.fec_rate.heard(self.now, (first..self.sent).map(|number| number % of >= lost));
                let before = self.fec_rate.spacing();
                self.fec_rate.decide(round_trip, limit);
                changes += u32::from(before != self.fec_rate.spacing());
            }
            (self.fec_rate.spacing(), changes)
        }
    }

    #[test]
    fn parity_comes_where_loss_meets_a_long_round_trip() {
        let run = |lost, of, round_trip, limit| Path::new().run(lost, of, round_trip, limit).0;
        assert_eq!(run(1, 20, Some(ms(200)), None), Some(4));
        assert_eq!(run(1, 10, Some(ms(200)), LIMIT), Some(3));
        assert_eq!(run(1, 40, Some(ms(200)), LIMIT), Some(6));
        assert_eq!(run(1, 200, Some(ms(200)), LIMIT), None, "hardly anything is lost");
        assert_eq!(run(1, 20, Some(ms(40)), LIMIT), None, "asking again is quick enough");
        assert_eq!(run(1, 20, None, LIMIT), None, "nothing is known");
        assert_eq!(run(8, 160, Some(ms(200)), LIMIT), None, "what is lost in a row takes the parity with it");
        assert_eq!(run(1, 20, Some(ms(200)), Some(1e5)), None, "there is no room for them");
    }

    #[test]
    fn what_was_decided_stays_near_the_bounds() {
        let mut path = Path::new();
        assert_eq!(path.run(1, 40, Some(ms(70)), LIMIT), (None, 0));
        assert_eq!(path.run(1, 40, Some(ms(130)), LIMIT), (Some(6), 1));
        assert_eq!(path.run(1, 40, Some(ms(70)), LIMIT), (Some(6), 0));
        assert_eq!(path.run(1, 70, Some(ms(130)), LIMIT), (Some(6), 0));
        assert_eq!(path.run(1, 20, Some(ms(130)), LIMIT), (Some(4), 1));
        assert_eq!(path.run(1, 35, Some(ms(130)), LIMIT), (Some(4), 0));
        assert_eq!(path.run(1, 60, Some(ms(130)), LIMIT), (Some(6), 1));
        assert_eq!(path.run(0, 1, Some(ms(130)), LIMIT), (None, 1));
    }

    #[test]
    fn they_cost_what_pictures_get_less() {
        let mut path = Path::new();
        assert!((path.fec_rate.pictures_share() - 1.0).abs() < 1e-9);
        path.run(1, 20, Some(ms(200)), LIMIT);
        assert!((path.fec_rate.pictures_share() - 0.8).abs() < 1e-9);
    }
}
