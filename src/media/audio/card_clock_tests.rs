//! A card's clock under simulated time.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

const RATE: u32 = 48_000;
const BLOCK: u64 = 480;

/// A card that is `ppm` faster than this machine, whose deliveries of 10 ms come late by up to `jitter_us`.
struct Card {
    start: Instant,
    ppm: f64,
    jitter_us: u64,
    rng: SmallRng,
    offset: u64,
    clock: CardClock,
}

impl Card {
    fn new(ppm: f64, jitter_us: u64) -> Self {
        let rng = SmallRng::seed_from_u64(7);
        Self { start: Instant::now(), ppm, jitter_us, rng, offset: 0, clock: CardClock::default() }
    }

    /// When the sample of this number is captured in truth.
    fn truth(&self, offset: u64) -> Instant {
        self.start + Duration::from_secs_f64(offset as f64 / f64::from(RATE) / (1.0 + self.ppm * 1e-6))
    }

    /// The next 10 ms, `late` besides the jitter: what is known of it, and by how many milliseconds its time is off.
    fn block(&mut self, late: Duration) -> (Arrived, f64) {
        let offset = self.offset;
        self.offset += BLOCK;
        let jitter = Duration::from_micros(self.rng.random_range(0..=self.jitter_us));
        let now = self.truth(self.offset) + jitter + late;
        let arrived =
            self.clock.arrived(CardDelivery { offset: Some(offset), samples: BLOCK, rate_hz: RATE }, now);
        let captured_at = self.clock.captured_at(arrived.position_ns).unwrap();
        (arrived, between(self.truth(offset), captured_at) as f64 / 1e6)
    }
}

#[test]
fn a_drift_of_200_millionths_is_held_for_ten_minutes_without_jitter() {
    for ppm in [0.0, 200.0, -200.0, 500.0] {
        let mut card = Card::new(ppm, 6000);
        let (mut last, mut roughest, mut furthest) = (None, 0.0_f64, 0.0_f64);
        for block in 0..60_000_u64 {
            let (arrived, error) = card.block(Duration::ZERO);
            assert_eq!(arrived, Arrived { position_ns: FIRST_NS + block * 10_000_000, is_gap: false });
            let at = card.clock.captured_at(arrived.position_ns).unwrap();
            if let Some(last) = last.replace(at) {
                let step_us = between(last, at) as f64 / 1e3 - 10_000.0;
                roughest = roughest.max(if block > 100 { step_us.abs() } else { 0.0 });
            }
            furthest = furthest.max(if block > 500 { error.abs() } else { 0.0 });
        }
        assert!(roughest <= 10.1, "{ppm} ppm: a step of {roughest} µs more or less than the card's");
        assert!(furthest < 2.0, "{ppm} ppm: {furthest} ms off");
        assert_eq!(card.clock.gaps(), 0);
    }
}

#[test]
fn a_late_first_delivery_is_forgotten_at_once() {
    let mut card = Card::new(0.0, 100);
    let (_, error) = card.block(Duration::from_millis(80));
    assert!((80.0..81.0).contains(&error), "{error}");
    let (_, error) = card.block(Duration::ZERO);
    assert!(error < 0.2, "{error}");
}

#[test]
fn what_the_card_lost_takes_its_time() {
    let mut card = Card::new(100.0, 1000);
    for _ in 0..300 {
        card.block(Duration::ZERO);
    }
    card.offset += 5 * BLOCK;
    let (arrived, error) = card.block(Duration::ZERO);
    assert_eq!(arrived, Arrived { position_ns: FIRST_NS + 3_050_000_000, is_gap: true });
    assert!(error.abs() < 2.0, "{error}");
    let (arrived, _) = card.block(Duration::ZERO);
    assert!(!arrived.is_gap);
    assert_eq!(card.clock.gaps(), 1);
}

#[test]
fn a_card_that_stood_still_without_a_word_is_found_out() {
    let mut card = Card::new(0.0, 1000);
    for _ in 0..300 {
        card.block(Duration::ZERO);
    }
    // It counts on as if nothing had been lost.
    card.start += Duration::from_millis(700);
    let jumps: Vec<Arrived> =
        (0..300).map(|_| card.block(Duration::ZERO).0).filter(|arrived| arrived.is_gap).collect();
    assert_eq!((jumps.len(), card.clock.gaps()), (1, 1));
    let (arrived, error) = card.block(Duration::ZERO);
    assert!(error.abs() < 2.0, "{error}");
    let elapsed_ns = card.truth(card.offset - BLOCK).duration_since(card.start).as_nanos()
        + 700_000_000
        + u128::from(FIRST_NS);
    let off_ns = i128::from(arrived.position_ns) - i128::try_from(elapsed_ns).unwrap();
    assert!(off_ns.abs() < 3_000_000, "{off_ns}");
}

#[test]
fn positions_and_times_stay_together_over_restarts() {
    let mut card = Card::new(0.0, 500);
    for _ in 0..200 {
        card.block(Duration::ZERO);
    }
    let before = card.clock.captured_at(FIRST_NS + 1_990_000_000).unwrap();
    for (away_ms, expected_gap_ms) in [(5000, 5000), (0, 0)] {
        card.clock.start_run();
        // A second card, which counts from the beginning.
        card.start = card.truth(card.offset) + Duration::from_millis(away_ms);
        card.offset = 0;
        let (last_ns, _) = card.clock.end.unwrap();
        let (arrived, _) = card.block(Duration::ZERO);
        let gap_ms = (arrived.position_ns - last_ns) / 1_000_000;
        assert!(gap_ms.abs_diff(expected_gap_ms) <= 1 && arrived.is_gap, "{gap_ms}");
        for _ in 0..10 {
            card.block(Duration::ZERO);
        }
    }
    let (position_ns, at) = card.clock.end.unwrap();
    let off_ns = between(before, at) - (signed(position_ns - FIRST_NS) - 1_990_000_000);
    assert!(off_ns.abs() < 2_000_000, "{off_ns}");
}

#[test]
fn a_count_that_goes_back_and_one_that_is_not_there_do_no_harm() {
    let (mut clock, start) = (CardClock::default(), Instant::now());
    let mut last = None;
    for (block, offset) in [Some(9600), Some(0), None, None, Some(480), None].into_iter().enumerate() {
        let now = start + Duration::from_millis(10 * (block as u64 + 1));
        let arrived = clock.arrived(CardDelivery { offset, samples: BLOCK, rate_hz: RATE }, now);
        assert!(last.is_none_or(|last| arrived.position_ns > last), "{block}: {arrived:?}");
        last = Some(arrived.position_ns);
        assert!(clock.captured_at(arrived.position_ns).unwrap() <= now);
    }
    let nothing = clock.arrived(CardDelivery { offset: None, samples: 0, rate_hz: 0 }, start);
    assert!(Some(nothing.position_ns) >= last);
}
