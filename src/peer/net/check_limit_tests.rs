//! Candidates, made up.

use super::*;

const TICK: Duration = Duration::from_millis(20);
const SESSION: u32 = 15_000 / 20;

fn ours(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, last], 50_000))
}

fn theirs(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 9], port))
}

fn check(from: SocketAddr, to: SocketAddr) -> Check {
    Check { peer_id: 1, from, to, transaction: [7; 12] }
}

fn limit() -> CheckLimit {
    CheckLimit::new(CheckPolicy::default())
}

/// The times at which checks of every pair leave while a session tries to connect, in milliseconds.
fn sent(limit: &mut CheckLimit, from: &[SocketAddr], to: &[SocketAddr], start: Instant) -> Vec<u32> {
    let rounds = (0..SESSION).map(|round| (round * 20, start + TICK * round));
    let tried = rounds.flat_map(|(ms, now)| {
        from.iter().flat_map(move |from| to.iter().map(move |to| (ms, now, *from, *to)))
    });
    tried
        .filter(|(_, now, from, to)| limit.allows(&check(*from, *to), false, *now))
        .map(|(ms, ..)| ms)
        .collect()
}

#[test]
fn a_candidate_that_never_answers_is_checked_ever_more_rarely_and_not_for_ever() {
    let times = sent(&mut limit(), &[ours(5)], &[theirs(9)], Instant::now());
    assert_eq!(times.len(), 40);
    assert_eq!(times[..12], [0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 280, 380]);
    assert!(times[39] > 9_000, "nearly as long as a session may take: {times:?}");
    let many: Vec<SocketAddr> = (1..=20).map(ours).collect();
    let times = sent(&mut limit(), &many, &[theirs(9)], Instant::now());
    assert_eq!(times.len(), 100, "whatever addresses this device has");
}

#[test]
fn a_session_is_bounded_whatever_it_names_and_however_often_it_restarts() {
    let (mut limit, start) = (limit(), Instant::now());
    let many: Vec<SocketAddr> = (1..=600).map(theirs).collect();
    let mut all = 0;
    for _ in 0..3 {
        limit.restart(1);
        all += sent(&mut limit, &[ours(5), ours(6)], &many, start).len();
    }
    // The time is the same for all three.
    assert!((1024..=1024 + 20 * 15 + 1).contains(&u32::try_from(all).unwrap()), "{all}");
    let checks = &limit.peers[&1];
    assert!(checks.pairs.len() <= MAX_PAIRS && checks.sent.len() <= MAX_SENT);
    for port in 1..2000 {
        limit.was_checked(1, theirs(port), start);
    }
    assert!(limit.peers[&1].candidates.len() <= MAX_PAIRS);
    assert!(limit.allows(&Check { peer_id: 2, ..check(ours(5), theirs(9)) }, false, start), "others go on");
    limit.leave(1);
    limit.leave(2);
    assert!(limit.peers.is_empty());
}

#[test]
fn who_answers_is_checked_without_a_limit_but_only_for_a_check_that_was_sent() {
    let (mut limit, start) = (limit(), Instant::now());
    for transaction in 0..40 {
        let check = Check { transaction: [transaction; 12], ..check(ours(5), theirs(9)) };
        assert!(limit.allows(&check, false, start + SELDOM * transaction.into()));
    }
    let later = start + SELDOM * 60;
    limit.answered(1, theirs(9), [99; 12]);
    limit.answered(1, theirs(8), [3; 12]);
    assert!(!limit.allows(&check(ours(5), theirs(9)), false, later));
    limit.answered(1, theirs(9), [3; 12]);
    for _ in 0..1000 {
        assert!(limit.allows(&check(ours(5), theirs(9)), false, later));
    }
    assert!(limit.allows(&check(ours(6), theirs(9)), false, later), "the candidate counts, not the pair");
}

#[test]
fn a_check_is_returned_however_late_it_comes_one_for_one() {
    let (mut limit, start) = (limit(), Instant::now());
    sent(&mut limit, &[ours(5)], &[theirs(9)], start);
    let later = start + TICK * SESSION;
    for _ in 0..100 {
        assert!(!limit.allows(&check(ours(5), theirs(9)), false, later));
        limit.was_checked(1, theirs(9), later);
        assert!(limit.allows(&check(ours(5), theirs(9)), false, later));
    }
    for _ in 0..100 {
        limit.was_checked(1, theirs(9), later);
    }
    assert_eq!(
        (0..100).filter(|_| limit.allows(&check(ours(5), theirs(9)), false, later)).count(),
        4,
        "not saved up"
    );
}

#[test]
fn checks_go_to_single_hosts_that_are_not_this_one() {
    let (mut limit, now) = (
        CheckLimit::new(CheckPolicy {
            public_ip: Some("198.51.100.7".parse().unwrap()),
            skips_private: false,
        }),
        Instant::now(),
    );
    for (to, expected) in [
        ("203.0.113.9:9", true),
        ("192.168.1.9:9", true),
        ("[2001:db8::1]:9", true),
        ("[fd00::1]:9", true),
        ("224.0.0.251:5353", false),
        ("239.255.255.250:1900", false),
        ("[ff02::fb]:5353", false),
        ("[::ffff:224.0.0.1]:9", false),
        ("255.255.255.255:9", false),
        ("[::ffff:255.255.255.255]:9", false),
        ("240.0.0.1:9", false),
        ("0.0.0.0:9", false),
        ("0.1.2.3:9", false),
        ("[::]:9", false),
        ("203.0.113.9:0", false),
        ("127.0.0.1:9", false),
        ("127.1.2.3:9", false),
        ("[::1]:9", false),
        ("[::ffff:127.0.0.1]:9", false),
        ("198.51.100.7:50000", false),
        ("198.51.100.7:50001", true),
    ] {
        assert_eq!(limit.allows(&check(ours(5), to.parse().unwrap()), false, now), expected, "{to}");
    }
    assert!(!limit.allows(&check(ours(5), theirs(9)), true, now), "this device itself");
    let loopback: SocketAddr = "127.0.0.1:9".parse().unwrap();
    assert!(
        limit.allows(&check(SocketAddr::new(loopback.ip(), 1), loopback), false, now),
        "a machine without a network"
    );
    limit.was_checked(1, loopback, now);
    assert!(
        limit.allows(&check(ours(5), loopback), false, now),
        "a player on this machine that came by itself"
    );
    for to in ["224.0.0.251:5353", "255.255.255.255:9"] {
        limit.was_checked(1, to.parse().unwrap(), now);
        assert!(
            !limit.allows(&check(ours(5), to.parse().unwrap()), false, now),
            "whoever says to be there: {to}"
        );
    }
}

#[test]
fn private_addresses_are_checked_only_in_return_if_the_configuration_says_so() {
    let policy = CheckPolicy { skips_private: true, public_ip: None };
    let (mut limit, now) = (CheckLimit::new(policy), Instant::now());
    for to in [
        "10.0.0.1:9",
        "172.16.0.1:9",
        "192.168.1.1:9",
        "169.254.1.1:9",
        "100.64.0.1:9",
        "[fd00::1]:9",
        "[fe80::1]:9",
        "[::ffff:10.0.0.1]:9",
        "127.0.0.1:9",
    ] {
        let check = check(ours(5), to.parse().unwrap());
        assert!(!limit.allows(&check, false, now), "{to}");
        limit.was_checked(1, check.to, now);
        assert!(limit.allows(&check, false, now) && !limit.allows(&check, false, now), "{to}");
    }
    for to in ["203.0.113.9:9", "172.32.0.1:9", "100.128.0.1:9", "[2001:db8::1]:9"] {
        assert!(limit.allows(&check(ours(5), to.parse().unwrap()), false, now), "{to}");
    }
}
