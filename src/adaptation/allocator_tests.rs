//! Viewers and their paths over simulated time.

use super::*;

const FULL: Bounds = Bounds { floor: Bitrate::from_kbps(300), ceiling: Bitrate::from_kbps(3000) };
const SMALL: Bounds = Bounds { floor: Bitrate::from_kbps(100), ceiling: Bitrate::from_kbps(1000) };
const STEP: Duration = Duration::from_millis(200);

struct World {
    allocator: BitrateAllocator,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { allocator: BitrateAllocator::default(), now: Instant::now() }
    }

    fn step(&mut self, rates: &[Option<f64>]) -> Allocation {
        self.now += STEP;
        let viewers: Vec<ViewerPath> = (0..).zip(rates).map(|(id, rate)| viewer(id, *rate)).collect();
        self.allocator.step(self.now, &viewers, FULL, Some(SMALL))
    }

    /// The decision after `seconds`.
    fn after(&mut self, rates: &[Option<f64>], seconds: u32) -> Allocation {
        let mut last = self.step(rates);
        for _ in 1..seconds * 5 {
            last = self.step(rates);
        }
        last
    }

    /// Seconds until the decision fits; at most `most`.
    fn until(&mut self, rates: &[Option<f64>], most: u32, fits: impl Fn(&Allocation) -> bool) -> f64 {
        let began = self.now;
        while !fits(&self.step(rates)) {
            assert!(self.now - began < Duration::from_secs(most.into()), "not within {most} s");
        }
        (self.now - began).as_secs_f64()
    }
}

/// One whose path carries so many bit/s.
fn viewer(id: u64, rate: Option<f64>) -> ViewerPath {
    ViewerPath {
        id,
        rate: rate.map(Bitrate::from_bps_f64),
        // The allocator goes by what it has decided itself.
        rendition: Rendition::Full,
        is_starved: false,
    }
}

fn in_small(allocation: &Allocation) -> Vec<bool> {
    allocation.renditions.iter().map(|rendition| *rendition == Rendition::Small).collect()
}

fn is_close(value: Bitrate, wanted: f64) -> bool {
    (value.bps_f64() - wanted).abs() < wanted * 0.01
}

#[test]
fn good_viewers_get_the_full_rendition_and_the_small_one_is_not_made() {
    let decision = World::new().after(&[None, Some(4e6), None], 30);
    assert!(is_close(decision.full, 3e6));
    assert_eq!((decision.small, in_small(&decision)), (None, vec![false; 3]));
}

#[test]
fn one_bad_viewer_among_good_ones_is_moved_and_the_others_keep_theirs() {
    let mut world = World::new();
    world.after(&[None, None], 2);
    let took = world.until(&[None, Some(0.5e6)], 3, |decision| in_small(decision) == [false, true]);
    assert!((0.9..2.0).contains(&took), "{took}");
    let decision = world.after(&[None, Some(0.5e6)], 60);
    assert_eq!(in_small(&decision), [false, true]);
    assert!(is_close(decision.full, 3e6));
    assert!(is_close(decision.small.unwrap(), 0.46e6));
}

#[test]
fn a_short_dip_moves_nobody() {
    let mut world = World::new();
    for _ in 0..20 {
        world.after(&[None, None], 1);
        for _ in 0..4 {
            assert_eq!(in_small(&world.step(&[None, Some(0.4e6)])), [false, false]);
        }
    }
}

#[test]
fn a_lone_viewer_with_little_gets_fewer_pixels_and_one_with_half_does_not() {
    let mut world = World::new();
    let decision = world.after(&[Some(0.4e6)], 10);
    assert_eq!(in_small(&decision), [true]);
    assert!(is_close(decision.small.unwrap(), 0.368e6));
    let decision = World::new().after(&[Some(1.5e6)], 60);
    assert_eq!((in_small(&decision), decision.small), (vec![false], None));
    assert!(is_close(decision.full, 1.38e6));
}

#[test]
fn it_comes_back_after_some_good_seconds_and_not_before() {
    let mut world = World::new();
    world.after(&[None, Some(0.5e6)], 10);
    for _ in 0..10 {
        assert_eq!(in_small(&world.after(&[None, Some(4e6)], 2)), [false, true]);
        world.after(&[None, Some(0.5e6)], 1);
    }
    let took = world.until(&[None, Some(4e6)], 8, |decision| in_small(decision) == [false, false]);
    assert!((2.9..4.0).contains(&took), "{took}");
    assert_eq!(world.step(&[None, Some(4e6)]).small, None);
}

#[test]
fn what_the_small_stream_can_prove_is_enough_for_a_try() {
    let mut world = World::new();
    world.after(&[None, Some(0.5e6)], 10);
    // The estimate grows no further than somewhat more than what is sent.
    let mut sent = 0.46e6;
    let began = world.now;
    loop {
        let decision = world.step(&[None, Some(f64::min(sent * 1.75, 5e6))]);
        if in_small(&decision) == [false, false] {
            break;
        }
        sent = decision.small.unwrap().bps_f64();
        assert!(world.now - began < Duration::from_secs(15), "{sent}");
    }
}

#[test]
fn tries_that_fail_become_rare() {
    let mut world = World::new();
    world.after(&[None, Some(1.2e6)], 10);
    // 1.2 Mbit/s: enough for 1.0 of small ones, and never for 3.0 of full ones.
    let mut ups = 0;
    let mut was_small = true;
    for _ in 0..300 * 5 {
        let rate = if was_small { 1.75e6 } else { 1.2e6 };
        let is_small = in_small(&world.step(&[None, Some(rate)]))[1];
        ups += u32::from(was_small && !is_small);
        was_small = is_small;
    }
    assert!((3..=8).contains(&ups), "{ups} in five minutes");
}

#[test]
fn without_a_small_rendition_everybody_is_back_at_once() {
    let mut world = World::new();
    world.after(&[None, Some(0.5e6)], 10);
    let viewers = [viewer(0, None), viewer(1, Some(0.5e6))];
    let decision = world.allocator.step(world.now + STEP, &viewers, FULL, None);
    assert_eq!((decision.small, in_small(&decision)), (None, vec![false, false]));
}

#[test]
fn whoever_leaves_is_forgotten() {
    let mut world = World::new();
    world.after(&[None, Some(0.5e6)], 10);
    let decision = world.after(&[None], 1);
    assert_eq!((decision.small, in_small(&decision)), (None, vec![false]));
    assert_eq!(world.allocator.assignments.len(), 1);
}

#[test]
fn a_good_viewer_keeps_the_full_rate_while_all_others_are_bad() {
    let mut world = World::new();
    let rates = [Some(0.4e6), Some(0.45e6), Some(0.5e6), None];
    let decision = world.after(&rates, 20);
    assert_eq!(in_small(&decision), [true, true, true, false]);
    assert!(is_close(decision.full, 3e6), "{}", decision.full);
}
