//! The rate that one viewer's path carries: delay first, loss second, and growth that what was sent justifies. Pure.
//!
//! Nothing is limited until a sign of congestion was seen: on a good network there is nothing to adapt. From then
//! on the estimate grows quickly, slowly near where the last congestion was, and never beyond a multiple of what was
//! really sent, or what packets showed that left at once: a key frame's, or some that are sent to find out ([`super::probe`]).

use std::time::{Duration, Instant};

use super::delay::Delay;
use super::fec_rate::FecRate;
use super::loss::{LossBatch, LossPart, LossSign};
use super::packet_result::PacketResult;
use super::probe::Probing;
use super::rtx_budget::Conditions;
use super::standing_queue::{Queue, StandingQueue};
use super::window::RateWindow;

/// Lowest estimate, bit/s.
const FLOOR: f64 = 30_000.0;
/// Of what arrives while a queue stands, this much lets a short one drain, and a queue of a second or more.
const BACK_OFF: f64 = 0.85;
const BACK_OFF_LONG: f64 = 0.4;
/// Of what was sent, so much comes through a path that is not too narrow for it.
const CARRIED: f64 = 0.8;
/// Least time between two cuts: the effect of the first must be seen.
const CUT_EVERY: Duration = Duration::from_millis(300);
const LOSS_CUT_EVERY: Duration = Duration::from_millis(700);
/// No growth for so long after a cut.
const GROW_AFTER: Duration = Duration::from_millis(600);
/// Growth each second, and near the rate of the last congestion.
const GROWTH: f64 = 1.6;
const CAREFUL_GROWTH: f64 = 1.08;
/// The estimate grows up to this multiple of what was sent, or this part of what a burst showed, or what comes.
const MOST_OF_SENT: f64 = 1.75;
const MOST_OF_BURST: f64 = 0.8;
/// Growth that may be caught up with at once, where feedback is as rare as what is sent.
const GROWTH_AT_ONCE: Duration = Duration::from_secs(3);
/// Loss alone is never answered with less than this.
const LOSS_FLOOR: f64 = 100_000.0;
/// What part of a path is for pictures, however much the sound takes.
const LEAST_FOR_PICTURES: f64 = 0.2;
/// Over this what is sent is taken, and over this at least while it has only begun.
const SENT_SPAN: Duration = Duration::from_secs(1);
const SENT_LEAST: Duration = Duration::from_millis(200);
/// What was sent is the best second of this many.
const SENT_PEAK: Duration = Duration::from_secs(5);
/// Feedback that is missing for so long, although something was sent, is congestion too.
const SILENCE: Duration = Duration::from_secs(1);
/// What nobody has answered for so long is lost and no longer under way: something new may be tried.
const GIVEN_UP: Duration = Duration::from_millis(1500);
/// Only a viewer that was heard so lately is tried for more.
const PROBE_HEARD: Duration = Duration::from_millis(500);
/// Feedback on single packets makes reports unimportant for so long.
const FEEDBACK_FRESH: Duration = Duration::from_secs(5);
/// How much of a longer round trip is believed at once: the least counts, as most of it waits for something.
const ROUND_TRIP_RISE: f64 = 0.05;
/// Overuse that lasts so long may be a path that became longer.
const LONG_OVERUSE: Duration = Duration::from_secs(3);

/// What is under way to one viewer.
#[derive(Clone, Copy, Debug)]
pub struct Outstanding {
    /// How long it still takes, as far as is known.
    pub backlog: Duration,
    /// The part of it that reports showed as a queue.
    pub queue: Duration,
    /// When the last packet left of many that found no room in that queue.
    pub overflowed: Option<Instant>,
}

/// What is known of one viewer's path.
#[derive(Debug)]
pub struct Estimator {
    epoch: Instant,
    limit: Option<f64>,
    delay: Delay,
    loss: LossPart,
    /// All that left.
    sent: RateWindow,
    /// The pictures of it: what is sent because of what the viewer says must not justify more of it.
    media: RateWindow,
    /// The sound, which goes first: what of the path it leaves is for the pictures.
    sound: RateWindow,
    first_sent: Option<Duration>,
    /// The best second of pictures, and when it was.
    media_peak: (Duration, f64),
    /// The first of what was sent and nobody has answered yet.
    unheard_since: Option<Duration>,
    /// The same, but begun anew with what is sent after the others were given up.
    under_way_since: Option<Duration>,
    last_feedback: Option<Duration>,
    standing: StandingQueue,
    last_update: Duration,
    last_cut: Option<Duration>,
    overuse_since: Option<Duration>,
    /// What arrived at the last congestion.
    knee: Option<f64>,
    remb: Option<(Duration, f64)>,
    /// There and back, the viewer's wait before it reports included.
    round_trip: Option<Duration>,
    /// `None`: the viewer takes no parity packets (FEC).
    fec_rate: Option<FecRate>,
    probing: Probing,
}

impl Estimator {
    /// Nothing is known at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            limit: None,
            delay: Delay::default(),
            loss: LossPart::default(),
            sent: RateWindow::new(SENT_SPAN),
            media: RateWindow::new(SENT_SPAN),
            sound: RateWindow::new(SENT_SPAN),
            first_sent: None,
            media_peak: (Duration::ZERO, 0.0),
            unheard_since: None,
            under_way_since: None,
            last_feedback: None,
            standing: StandingQueue::default(),
            last_update: Duration::ZERO,
            last_cut: None,
            overuse_since: None,
            knee: None,
            remb: None,
            round_trip: None,
            fec_rate: None,
            probing: Probing::default(),
        }
    }

    fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }

    /// `bytes` of pictures left.
    pub fn sent(&mut self, now: Instant, bytes: usize) {
        self.sent_besides(now, bytes);
        let now = self.at(now);
        self.media.add(now, bytes as f64 * 8.0);
        let rate = self.media.rate(now);
        if rate >= self.media_peak.1 || now.saturating_sub(self.media_peak.0) > SENT_PEAK {
            self.media_peak = (now, rate);
        }
    }

    /// `bytes` left beside the pictures: retransmissions, parity packets and probes.
    pub fn sent_besides(&mut self, now: Instant, bytes: usize) {
        let now = self.at(now);
        self.sent.add(now, bytes as f64 * 8.0);
        self.first_sent.get_or_insert(now);
        self.unheard_since.get_or_insert(now);
        if self.under_way_since.is_none_or(|since| now.saturating_sub(since) >= GIVEN_UP) {
            self.under_way_since = Some(now);
        }
    }

    /// A packet of sound left, of `bytes` on the path; `is_numbered`: it is reported by itself.
    pub fn sound_sent(&mut self, now: Instant, bytes: usize, is_numbered: bool) {
        if is_numbered {
            self.sent_besides(now, bytes);
        }
        self.sound.add(self.at(now), bytes as f64 * 8.0);
    }

    /// Feedback on single packets (transport-wide sequence numbers).
    pub fn feedback(&mut self, now: Instant, reports: &[PacketResult]) {
        if reports.is_empty() {
            return;
        }
        let at = self.at(now);
        let was_away = self.since(at, self.unheard_since) > SILENCE;
        let (mut batch, mut last_arrived) = (LossBatch::default(), true);
        for report in reports {
            // What left before the last cut is what the cut was for.
            if self.last_cut.is_none_or(|cut| self.at(report.departure) > cut) {
                batch.sent += 1;
                batch.lost += u32::from(!report.arrived);
                batch.runs += u32::from(last_arrived && !report.arrived);
                last_arrived = report.arrived;
            }
            if let Some(arrival) = report.arrival {
                self.delay.packet(self.at(report.departure), arrival, report.bytes as f64 * 8.0);
            }
        }
        self.delay.settle(at);
        self.look_at_queue(now, reports);
        self.loss.batch(at, batch);
        if was_away {
            self.loss.forget();
        }
        self.last_feedback = Some(at);
        (self.unheard_since, self.under_way_since) = (None, None);
        self.control(at);
        let limit = self.rate(now);
        if let Some(fec_rate) = &mut self.fec_rate {
            fec_rate.heard(now, reports.iter().map(|report| report.arrived));
            fec_rate.decide(self.round_trip, limit);
        }
    }

    /// The viewer takes parity packets (FEC).
    pub fn allow_fec(&mut self) {
        self.fec_rate.get_or_insert_default();
    }

    /// How many packets share a parity packet (FEC); `None`: there are none.
    pub fn fec_spacing(&self) -> Option<u8> {
        self.fec_rate.as_ref().and_then(FecRate::spacing)
    }

    /// The newest packet that came is the one that waited least to be reported, and tells the queue of now.
    fn look_at_queue(&mut self, now: Instant, reports: &[PacketResult]) {
        let newest = reports.iter().filter(|report| report.arrived).map(|report| report.departure).max();
        let Some(newest) = newest else { return };
        let seen = now.saturating_duration_since(newest);
        let known = self.round_trip.unwrap_or(seen);
        self.round_trip = Some(seen.min(known + seen.saturating_sub(known).mul_f64(ROUND_TRIP_RISE)));
        let stands = self.delay.queue_ms() > self.delay.threshold_ms();
        let rate = self.delay.delivered().max(FLOOR);
        let queue = self.delay.newest().filter(|_| stands);
        let queue = queue.map(|(departure, wait_ms)| Queue { departure, wait_s: wait_ms / 1e3, rate });
        self.standing.observe(queue, reports);
    }

    /// A receiver report: counts only for viewers that give no feedback on single packets.
    pub fn receiver_report(&mut self, now: Instant, fraction_lost: f64) {
        let now = self.at(now);
        if self.has_feedback(now) {
            return;
        }
        match self.loss.judge(fraction_lost) {
            LossSign::Cut(excess) => self.cut_for_loss(now, excess, fraction_lost),
            LossSign::Hold => self.last_update = now,
            LossSign::Clear => self.grow(now),
        }
    }

    /// The viewer's own estimate (REMB), in bit/s: counts as receiver reports do.
    pub fn remb(&mut self, now: Instant, bits_per_s: f64) {
        if bits_per_s.is_finite() && bits_per_s > 0.0 {
            self.remb = Some((self.at(now), bits_per_s));
        }
    }

    fn has_feedback(&self, now: Duration) -> bool {
        self.last_feedback.is_some_and(|at| now.saturating_sub(at) < FEEDBACK_FRESH)
    }

    fn control(&mut self, now: Duration) {
        let queue_ms = self.delay.queue_ms();
        if queue_ms > self.delay.threshold_ms() {
            let since = *self.overuse_since.get_or_insert(now);
            if now.saturating_sub(since) > LONG_OVERUSE {
                self.delay.accept_if_steady();
            }
            self.cut_for_delay(now);
            self.last_update = now;
            return;
        }
        self.overuse_since = None;
        match self.loss.sign() {
            LossSign::Cut(excess) => {
                let fraction = self.loss.fraction().unwrap_or(excess);
                self.cut_for_loss(now, excess, fraction);
            }
            // No queue stands, so it may well be the path's own; if not, there will soon be more of it.
            LossSign::Hold => self.grow_by(now, CAREFUL_GROWTH),
            LossSign::Clear => {
                self.take_probe(now);
                self.grow(now);
            }
        }
    }

    /// Packets leave at `now` of which some more may go, to find out whether the path carries `wanted` bit/s: gives
    /// the bits to send for that. Viewers without feedback on single packets are not tried.
    pub fn probe(&mut self, now: Instant, wanted: f64) -> Option<f64> {
        let at = self.at(now);
        let limit = self.limit.filter(|limit| *limit < wanted)?;
        let is_heard = self.last_feedback.is_some_and(|heard| at.saturating_sub(heard) < PROBE_HEARD);
        let is_clear = self.overuse_since.is_none()
            && self.standing.queue().is_none()
            && self.loss.sign() == LossSign::Clear;
        let bits = (is_heard && is_clear).then(|| self.probing.due(at, limit)).flatten()?;
        self.delay.probe(at);
        Some(bits)
    }

    /// Believes what a probe showed, in part and at once.
    fn take_probe(&mut self, now: Duration) {
        let (Some(limit), Some(round_trip)) = (self.limit, self.round_trip) else { return };
        if self.probing.answer_due(now, round_trip) {
            self.limit = Some(self.probing.judge(now, limit, self.delay.probed()));
        }
    }

    /// Bit/s of the last second, or of what has passed since the first packet.
    fn sent_rate(&mut self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.first_sent.unwrap_or(now));
        let part = passed.clamp(SENT_LEAST, SENT_SPAN).as_secs_f64() / SENT_SPAN.as_secs_f64();
        self.sent.rate(now) / part
    }

    fn since_cut(&self, now: Duration) -> Duration {
        self.last_cut.map_or(Duration::MAX, |at| now.saturating_sub(at))
    }

    fn cut_for_delay(&mut self, now: Duration) {
        if self.since_cut(now) < CUT_EVERY {
            return;
        }
        let delivered = self.delay.delivered();
        self.knee = Some(delivered);
        let length = (self.delay.queue_ms() / 1e3).min(1.0);
        let carried = self.limit.filter(|_| self.carried_all(now, delivered));
        self.cut_to(
            now,
            carried.unwrap_or(delivered) * (BACK_OFF - (BACK_OFF - BACK_OFF_LONG) * length),
            delivered,
        );
    }

    /// What came is about all that was sent of late: little that arrives says then that little was sent, and not that the path is
    /// so narrow. A path that became longer would otherwise be cut to nothing.
    fn carried_all(&mut self, now: Duration, delivered: f64) -> bool {
        delivered >= self.sent_rate(now) * CARRIED
    }

    fn cut_for_loss(&mut self, now: Duration, excess: f64, fraction: f64) {
        self.last_update = now;
        if self.since_cut(now) < LOSS_CUT_EVERY {
            return;
        }
        self.loss.was_cut(fraction);
        let base = self.limit.unwrap_or(f64::INFINITY).min(self.sent_rate(now));
        self.cut_to(now, (base * (1.0 - 0.5 * excess.min(1.0))).max(LOSS_FLOOR), base);
    }

    /// `carried` bit/s were too much, or all that came of more.
    fn cut_to(&mut self, now: Duration, rate: f64, carried: f64) {
        self.last_cut = Some(now);
        self.probing.was_cut(now, carried);
        self.loss.forget();
        let rate = self.limit.unwrap_or(f64::INFINITY).min(rate);
        self.limit = Some(rate.max(FLOOR));
    }

    fn grow(&mut self, now: Duration) {
        self.grow_by(now, GROWTH);
    }

    /// Grows by `most` each second, or more slowly.
    fn grow_by(&mut self, now: Duration, most: f64) {
        let since = std::mem::replace(&mut self.last_update, now);
        let passed = now.saturating_sub(since).min(GROWTH_AT_ONCE).as_secs_f64();
        let Some(limit) = self.limit else { return };
        if self.since_cut(now) < GROW_AFTER {
            return;
        }
        let near = self.knee.is_some_and(|knee| limit > knee * 0.8 && limit < knee * 1.15);
        let grown = limit * if near { CAREFUL_GROWTH } else { most }.powf(passed);
        if self.knee.is_some_and(|knee| limit >= knee * 1.15) {
            self.knee = None;
        }
        let burst = self.delay.burst(now).unwrap_or(0.0) * MOST_OF_BURST;
        let shown = burst.max(self.delay.delivered());
        let most = limit.max(self.media_peak.1 * MOST_OF_SENT).max(shown);
        if grown > most {
            // Not yet justified: to be caught up with when it is.
            self.last_update = since;
        }
        self.limit = Some(grown.min(most));
    }

    /// Bit/s that may be sent to this viewer; `None`: no limit was seen.
    pub fn rate(&self, now: Instant) -> Option<f64> {
        let now = self.at(now);
        let mut rate = self.limit;
        if !self.has_feedback(now)
            && let Some((at, remb)) = self.remb
            && now.saturating_sub(at) < FEEDBACK_FRESH
        {
            rate = Some(rate.unwrap_or(f64::INFINITY).min(remb));
        }
        let silent = self.since(now, self.unheard_since);
        if silent > SILENCE {
            let halvings = silent.saturating_sub(SILENCE).as_secs_f64().min(10.0);
            rate = Some(rate.unwrap_or(self.media_peak.1) * 0.5f64.powf(halvings));
        }
        rate.map(|rate| rate.max(FLOOR))
    }

    /// What of [`Self::rate`] is for pictures.
    pub fn pictures_rate(&self, now: Instant) -> Option<f64> {
        let share = self.fec_rate.as_ref().map_or(1.0, FecRate::pictures_share);
        let sound: f64 = self.sound.after(self.at(now).saturating_sub(SENT_SPAN)).map(|(_, bits)| bits).sum();
        let sound = sound / SENT_SPAN.as_secs_f64();
        // However narrow it is, something is tried of pictures.
        self.rate(now).map(|rate| (rate - sound).max(rate * LEAST_FOR_PICTURES) * share)
    }

    /// How long ago `since` is, for viewers that give feedback at all.
    fn since(&self, now: Duration, since: Option<Duration>) -> Duration {
        since.filter(|_| self.last_feedback.is_some()).map_or(Duration::ZERO, |at| now.saturating_sub(at))
    }

    /// What retransmissions have to go by.
    pub fn conditions(&mut self, now: Instant) -> Conditions {
        let media = self.media.rate(self.at(now));
        Conditions { limit: self.rate(now), media, backlog: self.backlog(now), round_trip: self.round_trip }
    }

    /// What is under way, at a look.
    pub fn outstanding(&self, now: Instant) -> Outstanding {
        Outstanding {
            backlog: self.backlog(now),
            queue: self.standing.at(self.at(now), &self.sent),
            overflowed: self.standing.overflowed(),
        }
    }

    /// How long what is under way will take to come through, as far as is known.
    pub fn backlog(&self, now: Instant) -> Duration {
        let now = self.at(now);
        let unheard = self.since(now, self.under_way_since);
        let waiting = if unheard < GIVEN_UP { unheard } else { Duration::ZERO };
        self.standing.at(now, &self.sent).max(waiting)
    }
}

#[cfg(test)]
#[path = "estimator_tests.rs"]
mod tests;
