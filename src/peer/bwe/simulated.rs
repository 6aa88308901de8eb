//! A link in simulated time, for tests: a rate, a queue, a delay with jitter, and loss from a seed.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Estimator, PacketResult};

const PACKET_BYTES: usize = 1200;
const FRAME: Duration = Duration::from_millis(33);

/// What a link does to packets.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub rate: f64,
    pub delay: Duration,
    pub jitter: Duration,
    pub loss: f64,
    /// Longest queue; packets beyond it are lost.
    pub queue: Duration,
}

/// A sender that sends what it is allowed, over a link that can be changed.
pub struct Simulation {
    pub link: Link,
    pub estimate: Estimator,
    /// Bit/s for which the path is tried.
    pub wanted: f64,
    pub now: Instant,
    start: Instant,
    busy_until: Duration,
    /// Of what was allowed, less than a packet.
    left_bits: f64,
    rng: StdRng,
    pending: Vec<(Duration, PacketResult)>,
    /// Longest queue since the last look.
    pub worst_queue: Duration,
}

impl Simulation {
    pub fn new(link: Link) -> Self {
        let now = Instant::now();
        Self {
            link,
            estimate: Estimator::new(now),
            wanted: 0.0,
            now,
            start: now,
            busy_until: Duration::ZERO,
            left_bits: 0.0,
            rng: StdRng::seed_from_u64(7),
            pending: Vec::new(),
            worst_queue: Duration::ZERO,
        }
    }

    pub fn rate(&self) -> f64 {
        self.estimate.rate(self.now).unwrap_or(f64::INFINITY)
    }

    /// Runs for `time`, sending `ceiling` bit/s or what the estimate allows.
    pub fn run(&mut self, time: Duration, ceiling: f64) {
        let end = self.now + time;
        let mut frames = 0u32;
        while self.now < end {
            let bits = self.rate().min(ceiling) * FRAME.as_secs_f64() + self.left_bits;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let packets = (bits / 8.0 / PACKET_BYTES as f64).floor() as usize;
            self.left_bits = bits - (packets * PACKET_BYTES * 8) as f64;
            self.estimate.sent(self.now, packets * PACKET_BYTES);
            for _ in 0..packets {
                self.packet();
            }
            self.probe();
            self.now += FRAME;
            frames += 1;
            if frames.is_multiple_of(3) {
                self.feed_back();
            }
        }
    }

    fn probe(&mut self) {
        let Some(bits) = self.estimate.probe(self.now, self.wanted) else { return };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let packets = (bits / 8.0 / PACKET_BYTES as f64).ceil() as usize;
        self.estimate.sent_besides(self.now, packets * PACKET_BYTES);
        (0..packets).for_each(|_| self.packet());
    }

    fn packet(&mut self) {
        let departure = self.now - self.start;
        let queue = self.busy_until.saturating_sub(departure);
        self.worst_queue = self.worst_queue.max(queue);
        let is_lost = queue > self.link.queue || self.rng.random_bool(self.link.loss);
        let mut report =
            PacketResult { departure: self.now, arrival: None, arrived: !is_lost, bytes: PACKET_BYTES };
        let mut known_at = departure + self.link.delay;
        if queue <= self.link.queue {
            let takes = Duration::from_secs_f64(PACKET_BYTES as f64 * 8.0 / self.link.rate);
            self.busy_until = self.busy_until.max(departure) + takes;
            known_at = self.busy_until + self.link.delay + self.link.jitter.mul_f64(self.rng.random::<f64>());
        }
        if !is_lost {
            // The viewer's clock is another one.
            report.arrival = Some(known_at + Duration::from_secs(1000));
        }
        self.pending.push((known_at, report));
    }

    fn feed_back(&mut self) {
        let heard = (self.now - self.start).saturating_sub(self.link.delay);
        let (known, pending): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|(at, _)| *at <= heard);
        self.pending = pending;
        let reports: Vec<PacketResult> = known.into_iter().map(|(_, report)| report).collect();
        self.estimate.feedback(self.now, &reports);
    }
}
