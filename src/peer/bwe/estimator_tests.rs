use super::super::simulated::{Link, Simulation};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LAN: Link = Link {
    rate: 5e6,
    delay: Duration::from_millis(20),
    jitter: Duration::ZERO,
    loss: 0.0,
    queue: Duration::from_millis(1500),
};

#[test]
fn a_good_link_is_never_limited() {
    for jitter in [0, 30] {
        let mut sim = Simulation::new(Link { rate: 20e6, jitter: Duration::from_millis(jitter), ..LAN });
        sim.run(30 * SECOND, 3e6);
        assert!(sim.rate() >= 3e6, "jitter {jitter}: {}", sim.rate());
    }
}

#[test]
fn a_drop_is_followed_at_once_and_the_return_too() {
    let mut sim = Simulation::new(LAN);
    sim.run(10 * SECOND, 4e6);
    assert!(sim.rate() >= 4e6, "{}", sim.rate());
    sim.link.rate = 0.5e6;
    sim.run(3 * SECOND, 4e6);
    assert!(sim.rate() <= 0.55e6, "{}", sim.rate());
    sim.run(5 * SECOND, 4e6);
    sim.worst_queue = Duration::ZERO;
    sim.run(20 * SECOND, 4e6);
    assert!((0.3e6..0.7e6).contains(&sim.rate()), "{}", sim.rate());
    assert!(sim.worst_queue < Duration::from_millis(250), "{:?}", sim.worst_queue);
    sim.link.rate = 5e6;
    sim.run(10 * SECOND, 4e6);
    assert!(sim.rate() >= 4e6, "{}", sim.rate());
}

#[test]
fn a_queue_drains_while_nothing_is_sent_and_stands_while_the_path_is_full() {
    let mut sim = Simulation::new(LAN);
    sim.run(5 * SECOND, 4e6);
    sim.link.rate = 0.5e6;
    sim.run(SECOND, 4e6);
    let now = sim.estimate.at(sim.now);
    let standing = |estimate: &Estimator, at| estimate.standing.at(at, &estimate.sent);
    let seen = standing(&sim.estimate, now);
    assert!(seen > SECOND / 4, "{seen:?}");
    assert!(standing(&sim.estimate, now + seen / 2) < seen * 6 / 10);
    let Queue { rate, wait_s, .. } = sim.estimate.standing.queue().unwrap();
    assert_eq!(standing(&sim.estimate, now + Duration::from_secs_f64(wait_s)), Duration::ZERO);
    let picture = SECOND / 30;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let bytes = (rate * picture.as_secs_f64() / 8.0) as usize;
    for _ in 0..30 {
        sim.estimate.sent(sim.now, bytes);
        sim.now += picture;
    }
    let full = standing(&sim.estimate, sim.estimate.at(sim.now));
    assert!(full > seen * 8 / 10 && full.as_secs_f64() <= wait_s, "{full:?}");
    sim.now += 2 * SECOND;
    sim.estimate.sent(sim.now, bytes);
    assert!(standing(&sim.estimate, sim.estimate.at(sim.now)) <= 2 * picture, "what was seen is over");
}

#[test]
fn a_narrow_link_is_used_without_a_standing_queue() {
    for rate in [0.3e6, 1e6, 3e6] {
        let mut sim = Simulation::new(Link { rate, ..LAN });
        sim.run(15 * SECOND, 5e6);
        sim.worst_queue = Duration::ZERO;
        let mut used = 0.0;
        for _ in 0..30 {
            sim.run(SECOND, 5e6);
            used += sim.rate().min(rate) / 30.0;
        }
        assert!(used > rate * 0.65, "{rate}: {used}");
        assert!(sim.worst_queue < Duration::from_millis(300), "{rate}: {:?}", sim.worst_queue);
    }
}

#[test]
fn random_loss_alone_does_not_take_the_rate_away() {
    for (loss, least) in [(0.01, 2e6), (0.05, 2e6), (0.20, 1e6)] {
        let mut sim = Simulation::new(Link { rate: 20e6, loss, ..LAN });
        sim.run(40 * SECOND, 2e6);
        assert!(sim.rate() >= least, "{loss}: {}", sim.rate());
    }
}

#[test]
fn moderate_random_loss_is_hardly_felt() {
    let mut sim = Simulation::new(Link { rate: 20e6, loss: 0.05, ..LAN });
    let mut worst = f64::INFINITY;
    for _ in 0..300 {
        sim.run(SECOND, 2e6);
        worst = worst.min(sim.rate());
    }
    assert!(worst > 1.4e6, "{worst}");
}

#[test]
fn a_link_that_drops_what_it_cannot_carry_is_followed_by_its_loss() {
    let mut sim = Simulation::new(Link { rate: 1e6, queue: Duration::from_millis(15), ..LAN });
    sim.run(20 * SECOND, 4e6);
    assert!(sim.rate() < 2e6, "{}", sim.rate());
}

#[test]
fn a_path_that_becomes_longer_is_not_congested_for_ever() {
    let mut sim = Simulation::new(Link { rate: 20e6, ..LAN });
    sim.run(10 * SECOND, 2e6);
    sim.link.delay = Duration::from_millis(120);
    sim.run(20 * SECOND, 2e6);
    assert!(sim.rate() >= 2e6, "{}", sim.rate());
}

#[test]
fn growth_stops_at_a_multiple_of_what_is_sent() {
    let mut sim = Simulation::new(Link { rate: 0.5e6, ..LAN });
    sim.run(10 * SECOND, 4e6);
    sim.link.rate = 50e6;
    sim.run(30 * SECOND, 0.2e6);
    let limited = sim.rate();
    assert!(limited < 1e6, "{limited}");
    sim.run(10 * SECOND, 4e6);
    assert!(sim.rate() >= 4e6, "{}", sim.rate());
}

#[test]
fn a_path_that_became_wide_is_found_out_by_probes_though_little_is_sent() {
    let mut sim = Simulation::new(Link { rate: 0.5e6, ..LAN });
    sim.run(10 * SECOND, 4e6);
    sim.link.rate = 5e6;
    sim.wanted = 4e6;
    sim.worst_queue = Duration::ZERO;
    sim.run(8 * SECOND, 0.15e6);
    assert!(sim.rate() >= 3e6, "{}", sim.rate());
    assert!(sim.worst_queue < Duration::from_millis(100), "{:?}", sim.worst_queue);
}

#[test]
fn probes_of_a_narrow_path_find_nothing_and_build_no_queue() {
    let mut sim = Simulation::new(Link { rate: 0.5e6, ..LAN });
    sim.run(10 * SECOND, 4e6);
    sim.wanted = 4e6;
    sim.worst_queue = Duration::ZERO;
    sim.run(60 * SECOND, 0.15e6);
    assert!(sim.rate() < 0.5e6 * MOST_OF_SENT, "{}", sim.rate());
    assert!(sim.worst_queue < Duration::from_millis(200), "{:?}", sim.worst_queue);
}

#[test]
fn a_path_that_is_wide_again_is_used_within_four_seconds() {
    let mut times = Vec::new();
    for phase in 0..12 {
        let mut sim = Simulation::new(LAN);
        sim.wanted = 4e6;
        sim.run(10 * SECOND, 4e6);
        sim.link.rate = 0.5e6;
        sim.run(15 * SECOND + SECOND / 3 * phase, 4e6);
        assert!(sim.rate() < 0.7e6, "{}", sim.rate());
        sim.link.rate = 5e6;
        let mut took = Duration::ZERO;
        while sim.rate() < 3.6e6 && took < 20 * SECOND {
            sim.run(SECOND / 10, 4e6);
            took += SECOND / 10;
        }
        times.push(took);
    }
    assert!(times.iter().all(|took| *took <= 4 * SECOND), "{times:?}");
}

#[test]
fn silence_brings_the_rate_down_and_feedback_brings_it_back() {
    let start = Instant::now();
    let mut estimate = Estimator::new(start);
    let report = |at| PacketResult { departure: at, arrival: Some(at - start), arrived: true, bytes: 1000 };
    let mut now = start;
    for _ in 0..30 {
        estimate.sent(now, 10_000);
        estimate.feedback(now, &[report(now); 10]);
        now += Duration::from_millis(33);
    }
    assert_eq!(estimate.rate(now), None);
    estimate.sent(now, 10_000);
    now += SECOND;
    assert!(estimate.backlog(now) >= SECOND);
    now += 3 * SECOND;
    assert!(estimate.rate(now).is_some_and(|rate| rate < 0.5e6));
    assert_eq!(estimate.backlog(now), Duration::ZERO, "all is lost: a new try may be made");
    estimate.sent(now, 10_000);
    now += SECOND / 2;
    assert!(estimate.backlog(now) >= SECOND / 2, "but one at a time");
    assert!(estimate.rate(now).is_some_and(|rate| rate < 0.5e6));
    estimate.feedback(now, &[report(now)]);
    assert_eq!((estimate.rate(now), estimate.backlog(now)), (None, Duration::ZERO));
    // Nothing was sent since: nothing can be heard.
    assert_eq!(estimate.rate(now + 9 * SECOND), None);
}

#[test]
fn without_feedback_reports_and_the_viewers_own_estimate_count() {
    let start = Instant::now();
    let mut estimate = Estimator::new(start);
    let mut now = start;
    let mut second = |estimate: &mut Estimator, fraction| {
        for _ in 0..30 {
            estimate.sent(now, 8_000);
            now += Duration::from_millis(33);
        }
        estimate.receiver_report(now, fraction);
        now
    };
    let mut at = second(&mut estimate, 0.0);
    assert_eq!(estimate.rate(at), None);
    at = second(&mut estimate, 0.4);
    let cut = estimate.rate(at).unwrap();
    assert!(cut < 1.8e6, "{cut}");
    for _ in 0..10 {
        at = second(&mut estimate, 0.0);
    }
    assert!(estimate.rate(at).unwrap() > 1.9e6);
    estimate.remb(at, 3e5);
    assert_eq!(estimate.rate(at), Some(3e5));
    estimate.remb(at, f64::NAN);
    assert_eq!(estimate.rate(at), Some(3e5));
}

#[test]
fn a_viewer_of_key_frames_alone_gets_out_of_it_by_what_they_show() {
    let start = Instant::now();
    let (mut estimate, mut now, mut queue) = (Estimator::new(start), start, Duration::ZERO);
    let mut picture = |estimate: &mut Estimator, wait: Duration, is_slow: bool| {
        now += wait;
        queue = if is_slow { queue + Duration::from_millis(40) } else { Duration::ZERO };
        estimate.sent(now, 60_000);
        let reports: Vec<PacketResult> = (0..50u32)
            .map(|n| {
                let spread = Duration::from_micros(if is_slow { 30_000 } else { 200 }) * n;
                PacketResult {
                    departure: now,
                    arrival: Some(now - start + queue + spread),
                    arrived: true,
                    bytes: 1200,
                }
            })
            .collect();
        estimate.feedback(now + SECOND / 20, &reports);
        estimate.rate(now + SECOND / 20)
    };
    for _ in 0..30 {
        picture(&mut estimate, Duration::from_millis(33), true);
    }
    let narrow = picture(&mut estimate, Duration::from_millis(33), true).unwrap();
    for _ in 0..20 {
        picture(&mut estimate, 2 * SECOND, false);
    }
    let wide = picture(&mut estimate, 2 * SECOND, false).unwrap();
    assert!(narrow < 1e6 && wide > 4e6, "{narrow} {wide}");
}

#[test]
fn an_outage_is_no_reason_to_send_less_afterwards() {
    let mut sim = Simulation::new(Link { rate: 20e6, ..LAN });
    sim.run(5 * SECOND, 2e6);
    sim.link.loss = 1.0;
    sim.run(3 * SECOND, 2e6);
    sim.link.loss = 0.0;
    sim.run(5 * SECOND, 2e6);
    assert!(sim.rate() >= 2e6, "{}", sim.rate());
}

#[test]
fn whatever_times_a_viewer_tells_little_is_kept() {
    let start = Instant::now();
    let standing = |_| Duration::from_secs(9);
    let backwards = |step: u32| Duration::from_hours(24).saturating_sub(Duration::from_micros(100) * step);
    let hardly = |step: u32| Duration::from_micros(step.into());
    for tell in [standing as fn(u32) -> Duration, backwards, hardly] {
        let mut estimate = Estimator::new(start);
        for step in 0..30_000u32 {
            let now = start + Duration::from_millis(step.into());
            estimate.sent(now, 1000);
            let report =
                PacketResult { departure: now, arrival: Some(tell(step)), arrived: true, bytes: 1000 };
            estimate.feedback(now, &[report]);
            assert!(estimate.delay.kept() < 6000, "{step}: {}", estimate.delay.kept());
        }
    }
}

/// What is sent beside the pictures within a second, for 1 s of pictures: in bit/s.
fn besides(sim: &mut Simulation, media: f64, ask: impl Fn(Conditions) -> f64) -> f64 {
    let (picture, mut besides, seconds) = (SECOND / 30, 0.0, 20);
    for _ in 0..30 * seconds {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bytes = |bits: f64| (bits / 8.0) as usize;
        sim.estimate.sent(sim.now, bytes(media / 30.0));
        let bits = ask(sim.estimate.conditions(sim.now)) / 30.0;
        sim.estimate.sent_besides(sim.now, bytes(bits));
        besides += bits;
        sim.now += picture;
    }
    besides / f64::from(seconds)
}

#[test]
fn what_is_sent_because_a_viewer_asks_justifies_no_more_of_it() {
    // As much again as is told to be pictures: with retransmissions among them it would double with each second.
    let mut sim = Simulation::new(LAN);
    let resent = besides(&mut sim, 1.6e6, |on| on.media);
    assert!(resent <= 1.6e6 * 1.01, "{resent}");
    // Nor does the estimate grow by it.
    let mut sim = Simulation::new(Link { rate: 0.5e6, ..LAN });
    sim.run(10 * SECOND, 4e6);
    let media = 0.2e6;
    sim.link.rate = 50e6;
    // The best second of pictures counts for a while.
    sim.run(6 * SECOND, media);
    let before = sim.rate();
    for _ in 0..300 {
        let bits = sim.estimate.conditions(sim.now).limit.unwrap_or(0.0) * 0.1;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        sim.estimate.sent_besides(sim.now, (bits / 8.0) as usize);
        sim.run(SECOND / 10, media);
    }
    assert!(sim.rate() <= before * 1.01, "{before} became {}", sim.rate());
}

#[test]
fn a_viewers_clock_that_jumps_back_leaves_nothing_standing() {
    let (mut estimate, start) = (Estimator::new(Instant::now()), Instant::now());
    for step in 0..20_000_u64 {
        let now = start + Duration::from_millis(step);
        let hour = Duration::from_secs(3600 * (20 - step / 1000));
        let report = PacketResult {
            departure: now,
            arrival: Some(hour + Duration::from_millis(step)),
            arrived: true,
            bytes: 1000,
        };
        estimate.feedback(now, &[report]);
        assert!(estimate.delay.kept() < 5000, "{step}");
    }
}
