//! How long packets wait in the path's queues and how fast they come out, from when they left and arrived. Pure.
//!
//! The two clocks differ by an unknown constant, so only the excess over the least delay of the last
//! [`BASE_SPAN`] is known. Of a short while the least excess counts: it is that of the standing queue, while
//! jitter and the burst of a frame's own packets only add to the others.

use std::collections::VecDeque;
use std::time::Duration;

use super::window::RateWindow;

/// How long a least delay is believed: queues have been empty once in that time, or it becomes the new one.
const BASE_SPAN: Duration = Duration::from_secs(15);
/// The base is kept by pieces of this length.
const BASE_PIECE: Duration = Duration::from_secs(1);
/// What counts as now, by arrival: what left in this time may be waiting still. A few frames, so that one of them came
/// through without jitter.
const RECENT: Duration = Duration::from_millis(250);
/// And so many packets at most, whatever times a viewer tells: more than come in that time at 50 Mbit/s.
const RECENT_MOST: usize = 2048;
/// Over this the rate of what arrives is taken.
const DELIVERED_SPAN: Duration = Duration::from_millis(300);
/// The same where the rate over this, the end of the span, is less than [`COLLAPSE`] of it: the path became narrower meanwhile.
const DELIVERED_SHORT: Duration = Duration::from_millis(150);
const COLLAPSE: f64 = 0.6;
/// A delay that stays within [`STEADY_MS`] for this long although less is sent is the path's, not a queue's.
const STEADY_FOR: Duration = Duration::from_secs(3);
const STEADY_MS: f64 = 8.0;
/// Delay that is no sign of anything.
const LEAST_THRESHOLD_MS: f64 = 35.0;

/// Packets that left within this are a train: how far apart they arrive is how fast the path is.
const TRAIN: Duration = Duration::from_millis(5);
/// Shorter ones say nothing; a key frame is longer.
const LEAST_TRAIN_BITS: f64 = 12.0 * 8_000.0;
/// The same of one that was sent to find out: how few its path can take was thought of.
const LEAST_PROBE_BITS: f64 = 3.0 * 6_000.0;
/// The resolution of arrival times that can be relied on.
const LEAST_SPREAD: Duration = Duration::from_millis(1);
/// How long a train counts.
const TRAIN_COUNTS: Duration = Duration::from_secs(5);

/// Packets sent at once: when the first left and came, when the last came, and the bits behind the first.
#[derive(Clone, Copy, Debug)]
struct PacketTrain {
    departure: Duration,
    first: Duration,
    last: Duration,
    bits: f64,
}

impl PacketTrain {
    fn holds(&self, departure: Option<Duration>) -> bool {
        departure.is_some_and(|at| at >= self.departure && at.saturating_sub(self.departure) < TRAIN)
    }
}

/// Delay and rate as the far end sees them.
#[derive(Debug)]
pub struct Delay {
    base: VecDeque<(Duration, f64)>,
    recent: VecDeque<(Duration, f64)>,
    /// When the newest packet left, and its delay in ms.
    newest: Option<(Duration, f64)>,
    steady: VecDeque<(Duration, f64)>,
    /// How far apart delays within [`RECENT`] usually are, in ms.
    jitter_ms: f64,
    delivered: RateWindow,
    delivered_short: RateWindow,
    train: Option<PacketTrain>,
    /// When packets left to find out what the path carries.
    probe: Option<Duration>,
    /// When the last train left, and what it showed in bit/s.
    capacity: Option<(Duration, f64)>,
}

impl Default for Delay {
    fn default() -> Self {
        Self {
            base: VecDeque::new(),
            recent: VecDeque::new(),
            newest: None,
            steady: VecDeque::new(),
            jitter_ms: 0.0,
            train: None,
            probe: None,
            capacity: None,
            delivered: RateWindow::new(DELIVERED_SPAN),
            delivered_short: RateWindow::new(DELIVERED_SHORT),
        }
    }
}

impl Delay {
    /// A packet of `bits` that left at `departure` came at `arrival`, each on its own clock.
    pub fn packet(&mut self, departure: Duration, arrival: Duration, bits: f64) {
        self.delivered.add(arrival, bits);
        self.delivered_short.add(arrival, bits);
        self.couple(departure, arrival, bits);
        let delay_ms = (arrival.as_secs_f64() - departure.as_secs_f64()) * 1e3;
        if self.newest.is_none_or(|(at, _)| at <= departure) {
            self.newest = Some((departure, delay_ms));
        }
        match self.base.back_mut() {
            Some((start, least)) if departure.saturating_sub(*start) < BASE_PIECE => {
                *least = least.min(delay_ms);
            }
            _ => self.base.push_back((departure, delay_ms)),
        }
        if self.recent.back().is_some_and(|(at, _)| at.saturating_sub(arrival) > RECENT) {
            // The viewer's clock jumped back: nothing before that would ever become old.
            self.recent.clear();
        }
        self.recent.push_back((arrival, delay_ms));
        while self.base.front().is_some_and(|(at, _)| departure.saturating_sub(*at) > BASE_SPAN) {
            self.base.pop_front();
        }
        let is_old = |(at, _): &(Duration, f64)| arrival.saturating_sub(*at) > RECENT;
        while self.recent.len() > RECENT_MOST || self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
    }

    /// Takes a packet into the train it left with, or begins one.
    fn couple(&mut self, departure: Duration, arrival: Duration, bits: f64) {
        match &mut self.train {
            Some(train) if departure.saturating_sub(train.departure) < TRAIN && arrival >= train.first => {
                train.last = train.last.max(arrival);
                train.bits += bits;
                let least = if train.holds(self.probe) { LEAST_PROBE_BITS } else { LEAST_TRAIN_BITS };
                if train.bits >= least {
                    let spread = train.last.saturating_sub(train.first).max(LEAST_SPREAD);
                    self.capacity = Some((train.departure, train.bits / spread.as_secs_f64()));
                }
            }
            train => *train = Some(PacketTrain { departure, first: arrival, last: arrival, bits: 0.0 }),
        }
    }

    /// Bit/s that the path has carried for a moment, as a key frame's packets showed lately.
    pub fn burst(&self, now: Duration) -> Option<f64> {
        self.capacity.filter(|(at, _)| now.saturating_sub(*at) < TRAIN_COUNTS).map(|(_, rate)| rate)
    }

    /// Packets leave at `departure` to find out what the path carries.
    pub fn probe(&mut self, departure: Duration) {
        self.probe = Some(departure);
    }

    /// Bit/s that the packets showed which left to find out, if most of them came.
    pub fn probed(&self) -> Option<f64> {
        let (departure, rate) = self.capacity?;
        let at = self.probe?;
        (at >= departure && at.saturating_sub(departure) < TRAIN).then_some(rate)
    }

    /// Call after the packets of one feedback; `now` is on the clock of departures.
    pub fn settle(&mut self, now: Duration) {
        let delays = || self.recent.iter().map(|(_, delay)| *delay);
        let Some(least) = delays().reduce(f64::min) else { return };
        let mean = delays().sum::<f64>() / self.recent.len() as f64;
        self.jitter_ms += ((mean - least) - self.jitter_ms) * 0.05;
        self.steady.push_back((now, least));
        while self.steady.front().is_some_and(|(at, _)| now.saturating_sub(*at) > STEADY_FOR) {
            self.steady.pop_front();
        }
    }

    /// A higher delay that does not move is the path's own from now on. For callers that see one last
    /// although they send less.
    pub fn accept_if_steady(&mut self) {
        let (Some((first, _)), Some((last, _))) = (self.steady.front(), self.steady.back()) else { return };
        if last.saturating_sub(*first) < STEADY_FOR.mul_f64(0.9) {
            return;
        }
        let fold = |pick: fn(f64, f64) -> f64| self.steady.iter().map(|(_, delay)| *delay).reduce(pick);
        if let (Some(least), Some(most)) = (fold(f64::min), fold(f64::max))
            && most - least < STEADY_MS
        {
            self.base.clear();
            self.base.push_back((*last, least));
        }
    }

    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.recent.len() + self.base.len() + self.steady.len()
    }

    /// The standing queue in ms.
    pub fn queue_ms(&self) -> f64 {
        self.excess_ms(least(&self.recent))
    }

    /// When the newest packet left that came, and how long it waited in ms: the queue of now, and jitter.
    pub fn newest(&self) -> Option<(Duration, f64)> {
        self.newest.map(|(at, delay)| (at, self.excess_ms(Some(delay))))
    }

    fn excess_ms(&self, delay: Option<f64>) -> f64 {
        delay.zip(least(&self.base)).map_or(0.0, |(delay, base)| (delay - base).max(0.0))
    }

    /// Above this the queue is taken for congestion: more on a path that jitters.
    pub fn threshold_ms(&self) -> f64 {
        LEAST_THRESHOLD_MS.max(self.jitter_ms.min(100.0))
    }

    /// Bit/s that arrive.
    pub fn delivered(&mut self) -> f64 {
        let (whole, end) = (self.delivered.latest_rate(), self.delivered_short.latest_rate());
        if end < whole * COLLAPSE { end } else { whole }
    }
}

fn least(delays: &VecDeque<(Duration, f64)>) -> Option<f64> {
    delays.iter().map(|(_, ms)| *ms).reduce(f64::min)
}
