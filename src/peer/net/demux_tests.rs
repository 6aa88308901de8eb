//! Sessions and addresses, made up.

use super::*;

const MEDIA: &[u8] = &[0x80, 201, 0, 1];

fn from(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn stun(kind: [u8; 2], transaction: u8) -> Vec<u8> {
    let mut message = vec![kind[0], kind[1], 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend([transaction; 12]);
    message
}

#[test]
fn the_user_fragment_is_found_in_a_binding_request() {
    assert_eq!(local_ufrag(&request(b"ours:theirs")), Some("ours"));
    assert_eq!(local_ufrag(&request(b"nocolon")), None);
    assert_eq!(local_ufrag(&request(b"\xff:x")), None);
}

#[test]
fn cut_and_random_requests_are_nobodys() {
    let whole = request(b"ours:theirs");
    for length in 0..whole.len() {
        assert_eq!(local_ufrag(&whole[..length]), None, "cut at {length}");
    }
    assert_eq!(local_ufrag(&[0xff; 300]), None);
    assert_eq!(local_ufrag(b"GET / HTTP/1.1\r\n\r\n"), None);
}

#[test]
fn a_request_claims_its_address_for_the_session_it_names() {
    let (mut routes, now) = (Routes::default(), Instant::now());
    routes.add_ufrag(1, "one");
    routes.add_ufrag(2, "two");
    assert_eq!(routes.received(MEDIA, from(1), now), None, "nobody has been heard from there");
    assert_eq!(routes.received(&request(b"one:x"), from(1), now), Some(1));
    assert_eq!(routes.received(&request(b"two:x"), from(2), now), Some(2));
    assert_eq!(routes.received(&request(b"three:x"), from(3), now), None);
    assert_eq!(routes.received(MEDIA, from(1), now), Some(1));
    assert_eq!(routes.received(MEDIA, from(2), now), Some(2));
    assert_eq!(routes.received(MEDIA, from(3), now), None);
    for garbage in [&[][..], &[0], &[0, 1, 0, 0], &[22; 13], &[0xff; 1500]] {
        assert_eq!(routes.received(garbage, from(3), now), None);
    }
}

#[test]
fn an_answer_goes_to_who_asked_though_many_ask_one_server() {
    let (mut routes, now) = (Routes::default(), Instant::now());
    assert!(routes.sends(1, &stun([0, 1], 1), from(3478), now));
    assert!(routes.sends(2, &stun([0, 1], 2), from(3478), now));
    assert!(routes.sends(2, MEDIA, from(9), now));
    assert_eq!(routes.received(&stun([1, 1], 2), from(3478), now), Some(2));
    assert_eq!(routes.received(&stun([1, 0x11], 1), from(3478), now), Some(1));
    assert_eq!(routes.received(&stun([1, 1], 9), from(3479), now), None);
}

#[test]
fn an_address_stays_with_its_session_until_that_is_silent_or_gone() {
    let (mut routes, start) = (Routes::default(), Instant::now());
    routes.add_ufrag(1, "one");
    routes.add_ufrag(2, "two");
    routes.received(&request(b"one:x"), from(1), start);
    let soon = start + SILENT / 2;
    assert_eq!(routes.received(MEDIA, from(1), soon), Some(1));
    assert_eq!(routes.received(&request(b"two:x"), from(1), start + SILENT), Some(2));
    assert_eq!(routes.received(MEDIA, from(1), start + SILENT), Some(1), "heard in between");
    let later = start + SILENT * 2;
    routes.received(&request(b"two:x"), from(1), later);
    assert_eq!(routes.received(MEDIA, from(1), later), Some(2), "silent for long enough");
    routes.leave(1);
    assert_eq!(routes.received(MEDIA, from(1), later), Some(2), "no longer the former one's to take along");
    routes.add_ufrag(3, "three");
    routes.leave(2);
    routes.received(&request(b"three:x"), from(1), later);
    assert_eq!(routes.received(MEDIA, from(1), later), Some(3), "it came back as another session");
    routes.leave(3);
    assert!(routes.is_empty(), "{routes:?}");
}

#[test]
fn whatever_comes_the_table_stays_bounded_and_keeps_who_is_in_use() {
    let (mut routes, start) = (Routes::default(), Instant::now());
    routes.add_ufrag(1, "one");
    for port in 1..=10_000 {
        let now = start + Duration::from_millis(port.into());
        routes.received(&request(b"one:x"), from(port), now);
        assert_eq!(routes.received(MEDIA, from(1), now), Some(1));
        routes.add_ufrag(1, &format!("ufrag {port}"));
        routes.add_ufrag(1, "one");
        routes.sends(1, &stun([0, 1], u8::try_from(port % 251).unwrap()), from(port + 20_000), now);
    }
    assert_eq!(routes.addresses.len(), MAX_ADDRESSES);
    assert!(routes.ufrags.len() <= MAX_UFRAGS && routes.transactions.len() <= MAX_TRANSACTIONS);
    routes.leave(1);
    assert!(routes.is_empty(), "{routes:?}");
}

#[test]
fn media_is_withheld_from_who_is_gone_and_checks_of_many_addresses_are_thinned() {
    let (mut routes, start) = (Routes::default(), Instant::now());
    routes.add_ufrag(1, "one");
    routes.received(&request(b"one:x"), from(1), start);
    assert!(routes.sends(1, MEDIA, from(1), start + GONE / 2));
    assert!(!routes.sends(1, MEDIA, from(1), start + GONE));
    assert!(routes.sends(1, &stun([0, 1], 1), from(1), start + GONE), "it may have come back");
    routes.received(MEDIA, from(1), start + GONE);
    assert!(routes.sends(1, MEDIA, from(1), start + GONE));

    // The library checks each pair every 20 ms: one candidate loses nothing by this, a hundred do.
    let mut checks = |peer_id, addresses: u16| {
        let rounds = (0..100).map(|round| start + CHECK_EVERY * round);
        let sent = rounds.flat_map(|now| (0..addresses).map(move |port| (now, port)));
        sent.filter(|(now, port)| routes.sends(peer_id, &stun([0, 1], 1), from(100 + port), *now)).count()
    };
    assert_eq!(checks(2, 1), 100);
    let many = checks(3, 100);
    assert!((100..=300).contains(&many), "{many}");
}

#[test]
fn each_ice_generation_may_check_as_many_addresses() {
    let (mut routes, now) = (Routes::default(), Instant::now());
    let mut port = 0;
    for generation in 0..3 {
        routes.add_ufrag(1, &format!("generation {generation}"));
        for _ in 0..MAX_CHECKED {
            port += 1;
            assert!(routes.sends(1, &stun([0, 1], 1), from(port), now), "{port}");
        }
        assert!(!routes.sends(1, &stun([0, 1], 1), from(port + 1), now), "one more than may be");
        routes.add_ufrag(1, &format!("generation {generation}"));
        assert!(!routes.sends(1, &stun([0, 1], 1), from(port + 1), now), "the same generation again");
    }
}

#[test]
fn media_is_known_by_its_first_byte() {
    assert!(is_media(MEDIA) && is_media(&[191]));
    assert!(!is_media(&[]) && !is_media(&[22, 254, 253]) && !is_media(&stun([0, 1], 1)));
}
