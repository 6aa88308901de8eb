use std::time::{Duration, SystemTime};

use super::*;
use crate::access::grant::Rights;
use crate::access::offer_authorizer::AccessMode;
use crate::access::proof::{KeyPair, Nonce, Parties, offer_text};
use crate::signaling::message::Auth;
use crate::signaling::topic::Id;

const NOW_MAX: usize = 2;

fn sdp(origin: u32) -> String {
    format!(
        "v=0\r\no=- {origin} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 99\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
         a=fingerprint:sha-256 AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA\r\na=rtcp-mux\r\na=recvonly\r\na=rtpmap:99 H264/90000\r\n\
         a=fmtp:99 packetization-mode=1;profile-level-id=42e01f\r\n"
    )
}

fn offer(origin: u32) -> UpKind {
    UpKind::Offer(Offer { sdp: sdp(origin), full_ice: false, auth: None })
}

fn key(viewer: &str) -> SessionKey {
    SessionKey { viewer: Id::new(viewer).unwrap(), session: Id::default_session() }
}

fn media(state: CameraState) -> MediaStatus {
    MediaStatus::sample(state)
}

fn table() -> Table<()> {
    let clock = Clock { now: SystemTime::now(), is_set: true };
    Table::new(
        Limits { max_viewers: NOW_MAX },
        true,
        OfferAuthorizer::new(AccessMode::Open, Id::new("cam").unwrap(), vec![]),
        clock,
    )
}

fn code(actions: &[SessionAction]) -> Option<ErrorCode> {
    match actions {
        [SessionAction::Refuse { refusal, .. }] => Some(refusal.code),
        _ => None,
    }
}

fn started(actions: &[SessionAction]) -> Option<SessionNumber> {
    match actions {
        [SessionAction::Start { number, .. }] => Some(*number),
        _ => None,
    }
}

/// A session's task has ended; gives whether the session was the current one of its key.
fn ended(table: &mut Table<()>, number: SessionNumber) -> bool {
    table.end(number).unwrap().is_current
}

fn candidate() -> Candidate {
    Candidate {
        candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".into(),
        sdp_mid: None,
        sdp_mline_index: None,
        username_fragment: None,
    }
}

#[test]
fn an_offer_starts_a_session_and_a_bye_ends_it() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let number = started(&table.message(now, key("a"), offer(1), &idle)).expect("started");
    let end = table.message(now, key("a"), UpKind::Bye { reason: None }, &idle);
    assert!(matches!(&end[..], [SessionAction::Close { .. }]));
    assert!(ended(&mut table, number));
    assert!(table.is_empty());
    assert!(table.message(now, key("a"), UpKind::Bye { reason: None }, &idle).is_empty(), "a late will");
}

#[test]
fn a_session_that_is_ending_takes_nothing_more() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let first = started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    table.message(now, key("a"), UpKind::Bye { reason: None }, &idle);
    // Its task still closes the connection; whatever comes now is for the session after it.
    assert!(table.message(now, key("a"), UpKind::Candidate(Some(candidate())), &idle).is_empty());
    let anew = table.message(now, key("a"), offer(1), &idle);
    let [SessionAction::Close { .. }, SessionAction::Start { number, pending, .. }] = &anew[..] else {
        panic!("{anew:?}")
    };
    assert_eq!(pending.len(), 1);
    assert!(!ended(&mut table, first), "the end of the first is not that of the second");
    assert!(ended(&mut table, *number));
    started(&table.message(now, key("b"), offer(2), &idle)).unwrap();
    table.set_streaming(false);
    assert_eq!(code(&table.message(now, key("b"), offer(2), &idle)), Some(ErrorCode::Privacy));
}

#[test]
fn the_cap_is_busy_and_frees_again() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let number = started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    assert!(started(&table.message(now, key("b"), offer(2), &idle)).is_some());
    assert_eq!(code(&table.message(now, key("c"), offer(3), &idle)), Some(ErrorCode::Busy));
    ended(&mut table, number);
    assert!(started(&table.message(now, key("c"), offer(3), &idle)).is_some());
}

#[test]
fn the_same_connection_renegotiates_and_a_new_one_replaces() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let first = started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    assert!(started(&table.message(now, key("b"), offer(9), &idle)).is_some());
    let again = table.message(now, key("a"), offer(1), &idle);
    assert!(matches!(&again[..], [SessionAction::Renegotiate { .. }]));
    let replaced = table.message(now, key("a"), offer(2), &idle);
    assert!(
        matches!(
            &replaced[..],
            [SessionAction::Close { reason: EndReason::Replaced, .. }, SessionAction::Start { .. }]
        ),
        "also at the cap: {replaced:?}"
    );
    assert!(!ended(&mut table, first), "the old task's end does not remove the new session");
    assert_eq!(table.len(), 2);
}

#[test]
fn what_is_meant_for_a_replaced_session_reaches_its_successor_alone() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let first = started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    table.message(now, key("a"), offer(2), &idle);
    let second = first + 1;
    let one = table.message(now, key("a"), UpKind::Candidate(None), &idle);
    assert_eq!(one, [SessionAction::AddCandidate { number: second, candidate: None }]);
    let closed = table.close_where(&EndReason::Requested, |_| true);
    assert_eq!(closed, [SessionAction::Close { number: second, reason: EndReason::Requested }]);
    assert_eq!(table.len(), 2, "both tasks have still to end");
    assert!(!ended(&mut table, first) && ended(&mut table, second));
    assert!(table.end(first).is_none() && table.is_empty());
}

#[test]
fn an_offer_of_the_same_connection_that_cannot_be_read_changes_nothing() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    let cut = UpKind::Offer(Offer { sdp: sdp(1)[..30].to_owned(), full_ice: false, auth: None });
    assert_eq!(code(&table.message(now, key("a"), cut, &idle)), Some(ErrorCode::BadOffer));
    let again = table.message(now, key("a"), offer(1), &idle);
    assert!(matches!(&again[..], [SessionAction::Renegotiate { .. }]), "{again:?}");
}

#[test]
fn a_refused_offer_leaves_the_running_session_alone() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    let no_video =
        UpKind::Offer(Offer { sdp: "v=0\r\no=- 5 2 IN IP4 0.0.0.0\r\n".into(), full_ice: false, auth: None });
    assert_eq!(code(&table.message(now, key("a"), no_video, &idle)), Some(ErrorCode::BadOffer));
    assert_eq!(table.len(), 1);
}

#[test]
fn no_camera_and_privacy_have_their_codes() {
    let (mut table, now) = (table(), Instant::now());
    let mut lost = media(CameraState::Lost);
    lost.error = Some("no camera was found".into());
    let actions = table.message(now, key("a"), offer(1), &lost);
    assert_eq!(code(&actions), Some(ErrorCode::CameraUnavailable));
    let idle = media(CameraState::Idle);
    started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    let closed = table.set_streaming(false);
    assert!(matches!(&closed[..], [SessionAction::Close { reason: EndReason::Privacy, .. }]));
    assert_eq!(code(&table.message(now, key("b"), offer(2), &idle)), Some(ErrorCode::Privacy));
    assert!(table.set_streaming(true).is_empty());
    assert!(started(&table.message(now, key("b"), offer(2), &idle)).is_some());
}

#[test]
fn early_candidates_wait_for_their_offer() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    for _ in 0..40 {
        assert!(table.message(now, key("a"), UpKind::Candidate(Some(candidate())), &idle).is_empty());
    }
    let actions = table.message(now + Duration::from_secs(4), key("a"), offer(1), &idle);
    let [SessionAction::Start { pending, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(pending.len(), 32, "at most 32 are kept");
    assert_eq!(table.next_expiry(), None);
    let later = table.message(now, key("a"), UpKind::Candidate(None), &idle);
    assert!(matches!(&later[..], [SessionAction::AddCandidate { candidate: None, .. }]));
}

#[test]
fn early_candidates_without_an_offer_are_dropped_and_told() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    table.message(now, key("a"), UpKind::Candidate(Some(candidate())), &idle);
    let expiry = table.next_expiry().unwrap();
    assert_eq!(expiry, now + Duration::from_secs(5));
    assert!(table.expire(now + Duration::from_secs(4)).is_empty());
    assert_eq!(code(&table.expire(expiry)), Some(ErrorCode::NoSession));
    assert!(table.is_empty(), "candidates never create a session");
    assert_eq!(table.next_expiry(), None);
}

#[test]
fn early_candidates_are_bounded_over_all_sessions() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let refused = (0..1_000)
        .filter(|n| {
            let actions =
                table.message(now, key(&format!("v{n}")), UpKind::Candidate(Some(candidate())), &idle);
            code(&actions) == Some(ErrorCode::NoSession)
        })
        .count();
    assert_eq!(refused, 1_000 - pending_candidates::MAX_SESSIONS);
}

#[test]
fn a_flood_of_offers_is_rate_limited() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let codes: Vec<_> = (0..100).map(|n| code(&table.message(now, key("a"), offer(n), &idle))).collect();
    assert!(codes.contains(&Some(ErrorCode::RateLimited)));
    assert!(started(&table.message(now, key("b"), offer(7), &idle)).is_some(), "another viewer gets in");
}

#[test]
fn a_viewer_makes_one_connection_after_the_other() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let first = started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    let second = SessionKey { session: Id::new("second").unwrap(), ..key("a") };
    let refused = table.message(now, second.clone(), offer(2), &idle);
    assert_eq!(code(&refused), Some(ErrorCode::RateLimited));
    assert!(
        started(&table.message(now, key("b"), offer(3), &idle)).is_some(),
        "another viewer's is no matter"
    );
    table.end(1);
    table.connected(first);
    assert!(started(&table.message(now, second, offer(2), &idle)).is_some());
}

#[test]
fn signed_offers_start_sessions_that_end_with_their_grant() {
    let clock = Clock { now: SystemTime::now(), is_set: true };
    let (anna, seed) = Grant::new(Id::new("anna").unwrap(), Rights::all(), clock.now, None).unwrap();
    let authorizer = OfferAuthorizer::new(AccessMode::Grants, Id::new("cam").unwrap(), vec![anna]);
    let mut table = Table::new(Limits { max_viewers: NOW_MAX }, true, authorizer, clock);
    let (now, idle, key, device) =
        (Instant::now(), media(CameraState::Idle), key("a"), Id::new("cam").unwrap());
    let signed = |origin| {
        let nonce = Nonce::random().unwrap();
        let parties = Parties { device: &device, viewer: &key.viewer, session: &key.session };
        let sig = KeyPair::of(&seed).unwrap().sign(&offer_text(parties, &nonce, &sdp(origin))).encode();
        let auth = Some(Auth { grant: "anna".into(), nonce: nonce.encode(), sig });
        UpKind::Offer(Offer { sdp: sdp(origin), full_ice: false, auth })
    };
    let unsigned = table.message(now, key.clone(), offer(1), &idle);
    assert_eq!(code(&unsigned), Some(ErrorCode::Unauthorized));
    let first = signed(1);
    let started = table.message(now, key.clone(), first.clone(), &idle);
    let [SessionAction::Start { grant: Some(grant), offer: accepted, number, .. }] = &started[..] else {
        panic!("{started:?}")
    };
    assert_eq!((grant.as_str(), accepted.nonce.is_some()), ("anna", true));
    let repeated = table.message(now, key.clone(), first.clone(), &idle);
    assert!(matches!(&repeated[..], [SessionAction::Renegotiate { .. }]), "{repeated:?}");
    let restart = table.message(now, key.clone(), signed(1), &idle);
    assert!(matches!(&restart[..], [SessionAction::Renegotiate { .. }]));
    let replayed = table.message(now, key.clone(), first, &idle);
    assert_eq!(code(&replayed), Some(ErrorCode::Unauthorized), "the first offer is over");
    assert!(table.set_access(clock, None).is_empty());
    let closed = table.set_access(clock, Some(Vec::new()));
    let [SessionAction::Close { reason: EndReason::GrantEnded(refusal), .. }] = &closed[..] else {
        panic!("{closed:?}")
    };
    assert_eq!(refusal.code, ErrorCode::Unauthorized);
    assert!(table.set_access(clock, None).is_empty(), "told once");
    assert!(ended(&mut table, *number));
}

#[test]
fn what_came_over_http_is_steered_over_http_alone() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let whep = |origin| WhepMessage::Offer(WhepOffer::new(sdp(origin), None, [192, 0, 2, 1].into()));
    let actions = table.whep(now, key("a"), whep(1), &idle);
    let [SessionAction::Start { offer: accepted, number, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert!(accepted.offer.full_ice);
    for stranger in [offer(1), offer(2), UpKind::Candidate(None), UpKind::Bye { reason: None }] {
        assert_eq!(code(&table.message(now, key("a"), stranger, &idle)), Some(ErrorCode::NoSession));
    }
    let again = table.whep(now, key("a"), whep(1), &idle);
    assert!(
        matches!(&again[..], [SessionAction::Renegotiate { offer, .. }] if offer.offer.full_ice),
        "{again:?}"
    );
    let one = table.whep(now, key("a"), WhepMessage::Candidate(Some(candidate())), &idle);
    assert!(matches!(&one[..], [SessionAction::AddCandidate { candidate: Some(_), .. }]), "{one:?}");
    assert!(matches!(&table.whep(now, key("a"), WhepMessage::Bye, &idle)[..], [SessionAction::Close { .. }]));
    assert!(table.whep(now, key("a"), WhepMessage::Bye, &idle).is_empty(), "once");
    assert!(ended(&mut table, *number));
    // And the other way round: a session of the broker is not ended over HTTP.
    started(&table.message(now, key("b"), offer(1), &idle)).unwrap();
    assert!(table.whep(now, key("b"), WhepMessage::Bye, &idle).is_empty());
    assert!(table.whep(now, key("c"), WhepMessage::Candidate(None), &idle).is_empty());
}

#[test]
fn a_host_is_limited_however_many_sessions_it_makes() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let mut offers = |host: [u8; 4], count: u32| {
        (0..count)
            .filter(|n| {
                let offer = WhepOffer::new(sdp(*n), None, host.into());
                let actions = table.whep(now, key(&format!("w{n}")), WhepMessage::Offer(offer), &idle);
                code(&actions) == Some(ErrorCode::RateLimited)
            })
            .count()
    };
    assert_eq!(offers([192, 0, 2, 1], 100), 80);
    assert_eq!(offers([192, 0, 2, 2], 10), 0);
}

/// A device with the grants of these names, and what signs an offer of one of them.
#[expect(clippy::type_complexity, reason = "a table and what signs for it")]
fn granted(
    names: &[&str],
    max_viewers: usize,
) -> (Table<()>, impl Fn(usize, &str, u32) -> (SessionKey, UpKind)) {
    let clock = Clock { now: SystemTime::now(), is_set: true };
    let made: Vec<_> = names
        .iter()
        .map(|name| Grant::new(Id::new(name).unwrap(), Rights::all(), clock.now, None).unwrap())
        .collect();
    let device = Id::new("cam").unwrap();
    let grants = made.iter().map(|(grant, _)| grant.clone()).collect();
    let authorizer = OfferAuthorizer::new(AccessMode::Grants, device.clone(), grants);
    let table = Table::new(Limits { max_viewers }, true, authorizer, clock);
    let sign = move |at: usize, viewer: &str, origin: u32| {
        let ((grant, seed), key) = (&made[at], key(viewer));
        let nonce = Nonce::random().unwrap();
        let parties = Parties { device: &device, viewer: &key.viewer, session: &key.session };
        let sig = KeyPair::of(seed).unwrap().sign(&offer_text(parties, &nonce, &sdp(origin))).encode();
        let auth = Some(Auth { grant: grant.name.to_string(), nonce: nonce.encode(), sig });
        (key, UpKind::Offer(Offer { sdp: sdp(origin), full_ice: false, auth }))
    };
    (table, sign)
}

fn forged(name: &str) -> UpKind {
    let nonce = Nonce::random().unwrap().encode();
    let auth = Some(Auth { grant: name.into(), nonce, sig: "A".repeat(86) });
    UpKind::Offer(Offer { sdp: sdp(1), full_ice: false, auth })
}

#[test]
fn strangers_keep_no_invited_viewer_out() {
    let (mut table, sign) = granted(&["anna", "bob"], 8);
    let (now, idle) = (Instant::now(), media(CameraState::Idle));
    for at in 0..3000_u32 {
        let stranger = key(&format!("s{at}"));
        let kind = if at % 2 == 0 { offer(at) } else { forged("bob") };
        let refused = code(&table.message(now, stranger.clone(), kind, &idle));
        assert!(matches!(refused, Some(ErrorCode::Unauthorized | ErrorCode::RateLimited)), "{refused:?}");
        let whep = WhepOffer::new(sdp(at), Some(Secret::new("wrong")), [192, 0, 2, 1].into());
        let refused = code(&table.whep(now, stranger, WhepMessage::Offer(whep), &idle));
        assert!(matches!(refused, Some(ErrorCode::Unauthorized | ErrorCode::RateLimited)), "{refused:?}");
    }
    let (key, kind) = sign(0, "tab", 1);
    assert!(started(&table.message(now, key, kind, &idle)).is_some());
}

#[test]
fn a_recorded_offer_costs_its_viewer_nothing() {
    let (mut table, sign) = granted(&["anna"], 8);
    let (now, idle) = (Instant::now(), media(CameraState::Idle));
    let (key, first) = sign(0, "tab", 1);
    started(&table.message(now, key.clone(), first.clone(), &idle)).unwrap();
    for _ in 0..500 {
        table.message(now, key.clone(), first.clone(), &idle);
    }
    let (key, second) = sign(0, "tab", 1);
    let restart = table.message(now, key.clone(), second, &idle);
    assert!(matches!(&restart[..], [SessionAction::Renegotiate { .. }]), "{restart:?}");
    for _ in 0..500 {
        let refused = code(&table.message(now, key.clone(), first.clone(), &idle));
        assert!(matches!(refused, Some(ErrorCode::Unauthorized | ErrorCode::RateLimited)), "{refused:?}");
    }
    let (key, third) = sign(0, "tab", 1);
    let restart = table.message(now, key, third, &idle);
    assert!(matches!(&restart[..], [SessionAction::Renegotiate { .. }]), "{restart:?}");
}

#[test]
fn a_hundred_viewers_behind_one_address_come_in_at_once() {
    let (table, seeds) = {
        let clock = Clock { now: SystemTime::now(), is_set: true };
        let (grant, seed) = Grant::new(Id::new("family").unwrap(), Rights::all(), clock.now, None).unwrap();
        let authorizer = OfferAuthorizer::new(AccessMode::Grants, Id::new("cam").unwrap(), vec![grant]);
        (Table::<()>::new(Limits { max_viewers: 100 }, true, authorizer, clock), seed.bearer())
    };
    let (mut table, now, idle) = (table, Instant::now(), media(CameraState::Idle));
    for at in 0..100 {
        let whep = WhepOffer::new(sdp(at), Some(Secret::new(seeds.clone())), [127, 0, 0, 1].into());
        let actions = table.whep(now, key(&format!("w{at}")), WhepMessage::Offer(whep), &idle);
        assert!(started(&actions).is_some(), "{at}: {actions:?}");
    }
}

#[test]
fn one_grant_has_no_more_than_its_share_and_who_never_connects_keeps_nobody_out() {
    let (mut table, sign) = granted(&["anna", "bob", "carl"], 4);
    let (now, idle) = (Instant::now(), media(CameraState::Idle));
    let offer = |table: &mut Table<()>, grant, viewer: &str| {
        let (key, kind) = sign(grant, viewer, 1);
        table.message(now, key, kind, &idle)
    };
    let mine: Vec<_> = (0..4).map(|at| offer(&mut table, 0, &format!("a{at}"))).collect();
    assert!(mine[..3].iter().all(|actions| started(actions).is_some()));
    assert_eq!(code(&mine[3]), Some(ErrorCode::Busy));
    let theirs: Vec<_> = (0..3).map(|at| offer(&mut table, 1, &format!("b{at}"))).collect();
    let theirs: Vec<_> = theirs.iter().filter_map(|actions| started(actions)).collect();
    assert_eq!(theirs.len(), 3, "the others of which none has connected yet do not count");
    // Those that do connect fill the house, in the order in which they do.
    let mut ended = 0;
    for number in theirs.into_iter().chain(mine.iter().filter_map(|actions| started(actions))) {
        let actions = table.connected(number);
        ended += usize::from(matches!(
            &actions[..],
            [SessionAction::Close { reason: EndReason::Refused(refusal), .. }] if refusal.code == ErrorCode::Busy
        ));
        assert!(table.connected(number).is_empty(), "told once");
    }
    assert_eq!(ended, 2);
    assert_eq!(code(&offer(&mut table, 2, "c")), Some(ErrorCode::Busy));
}

#[test]
fn a_candidate_of_many_bytes_is_refused() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let big = || UpKind::Candidate(Some(Candidate { candidate: "c".repeat(60_000), ..candidate() }));
    assert_eq!(code(&table.message(now, key("a"), big(), &idle)), Some(ErrorCode::BadMessage));
    assert_eq!(table.next_expiry(), None, "nothing is kept");
    started(&table.message(now, key("a"), offer(1), &idle)).unwrap();
    assert_eq!(code(&table.message(now, key("a"), big(), &idle)), Some(ErrorCode::BadMessage));
}
