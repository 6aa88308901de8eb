use std::time::SystemTime;

use super::*;
use crate::access::offer_authorizer::AccessMode;
use crate::signaling::message::Offer;
use crate::signaling::topic::Id;

pub(super) const NOW_MAX: usize = 2;

pub(super) fn sdp(origin: u32) -> String {
    format!(
        "v=0\r\no=- {origin} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 99\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
         a=fingerprint:sha-256 AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA\r\na=rtcp-mux\r\na=recvonly\r\na=rtpmap:99 H264/90000\r\n\
         a=fmtp:99 packetization-mode=1;profile-level-id=42e01f\r\n"
    )
}

pub(super) fn offer(origin: u32) -> UpKind {
    UpKind::Offer(Offer { sdp: sdp(origin), full_ice: false, auth: None })
}

pub(super) fn key(viewer: &str) -> SessionKey {
    SessionKey { viewer: Id::new(viewer).unwrap(), session: Id::default_session() }
}

pub(super) fn media(state: CameraState) -> MediaStatus {
    MediaStatus::sample(state)
}

pub(super) fn table() -> Table<()> {
    let clock = Clock { now: SystemTime::now(), is_set: true };
    Table::new(
        Limits { max_viewers: NOW_MAX },
        true,
        OfferAuthorizer::new(AccessMode::Open, Id::new("cam").unwrap(), vec![]),
        clock,
    )
}

/// What becomes of a message, with offers read at once.
pub(super) fn say<H: LastHeard>(
    table: &mut Table<H>,
    now: Instant,
    key: SessionKey,
    kind: UpKind,
    media: &MediaStatus,
) -> Vec<SessionAction> {
    let actions = table.message(now, key, kind);
    read_all(table, now, actions, media)
}

/// The same over HTTP.
pub(super) fn post(
    table: &mut Table<()>,
    now: Instant,
    key: SessionKey,
    message: WhepMessage,
    media: &MediaStatus,
) -> Vec<SessionAction> {
    let actions = table.whep(now, key, message);
    read_all(table, now, actions, media)
}

pub(super) fn read_all<H: LastHeard>(
    table: &mut Table<H>,
    now: Instant,
    actions: Vec<SessionAction>,
    media: &MediaStatus,
) -> Vec<SessionAction> {
    let read = |action| match action {
        SessionAction::Read(proven) => {
            let reading = SdpReading::of(&proven.offer.sdp);
            table.offer_read(now, *proven, reading, media)
        }
        other => vec![other],
    };
    actions.into_iter().flat_map(read).collect()
}

pub(super) fn code(actions: &[SessionAction]) -> Option<ErrorCode> {
    match actions {
        [SessionAction::Refuse { refusal, .. }] => Some(refusal.code),
        _ => None,
    }
}

pub(super) fn started(actions: &[SessionAction]) -> Option<SessionNumber> {
    match actions {
        [SessionAction::Start { number, .. }] => Some(*number),
        _ => None,
    }
}

/// A session's task has ended; gives whether the session was the current one of its key.
pub(super) fn ended(table: &mut Table<()>, number: SessionNumber) -> bool {
    table.end(number).unwrap().is_current
}

pub(super) fn candidate() -> Candidate {
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
    let number = started(&say(&mut table, now, key("a"), offer(1), &idle)).expect("started");
    let end = say(&mut table, now, key("a"), UpKind::Bye { reason: None }, &idle);
    assert!(matches!(&end[..], [SessionAction::Close { .. }]));
    assert!(ended(&mut table, number));
    assert!(table.is_empty());
    assert!(say(&mut table, now, key("a"), UpKind::Bye { reason: None }, &idle).is_empty(), "a late will");
}

#[test]
fn a_session_that_is_ending_takes_nothing_more() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let first = started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    say(&mut table, now, key("a"), UpKind::Bye { reason: None }, &idle);
    // Its task still closes the connection; whatever comes now is for the session after it.
    assert!(say(&mut table, now, key("a"), UpKind::Candidate(Some(candidate())), &idle).is_empty());
    let anew = say(&mut table, now, key("a"), offer(1), &idle);
    let [SessionAction::Close { .. }, SessionAction::Start { number, pending, .. }] = &anew[..] else {
        panic!("{anew:?}")
    };
    assert_eq!(pending.len(), 1);
    assert!(!ended(&mut table, first), "the end of the first is not that of the second");
    assert!(ended(&mut table, *number));
    started(&say(&mut table, now, key("b"), offer(2), &idle)).unwrap();
    table.set_streaming(false);
    assert_eq!(code(&say(&mut table, now, key("b"), offer(2), &idle)), Some(ErrorCode::Privacy));
}

#[test]
fn the_cap_is_busy_and_frees_again() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let number = started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    assert!(started(&say(&mut table, now, key("b"), offer(2), &idle)).is_some());
    assert_eq!(code(&say(&mut table, now, key("c"), offer(3), &idle)), Some(ErrorCode::Busy));
    ended(&mut table, number);
    assert!(started(&say(&mut table, now, key("c"), offer(3), &idle)).is_some());
}

#[test]
fn the_same_connection_renegotiates_and_a_new_one_replaces() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let first = started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    assert!(started(&say(&mut table, now, key("b"), offer(9), &idle)).is_some());
    let again = say(&mut table, now, key("a"), offer(1), &idle);
    assert!(matches!(&again[..], [SessionAction::Renegotiate { .. }]));
    let replaced = say(&mut table, now, key("a"), offer(2), &idle);
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
    let first = started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    say(&mut table, now, key("a"), offer(2), &idle);
    let second = first + 1;
    let one = say(&mut table, now, key("a"), UpKind::Candidate(None), &idle);
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
    started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    let cut = UpKind::Offer(Offer { sdp: sdp(1)[..30].to_owned(), full_ice: false, auth: None });
    assert_eq!(code(&say(&mut table, now, key("a"), cut, &idle)), Some(ErrorCode::BadOffer));
    let again = say(&mut table, now, key("a"), offer(1), &idle);
    assert!(matches!(&again[..], [SessionAction::Renegotiate { .. }]), "{again:?}");
}

#[test]
fn a_refused_offer_leaves_the_running_session_alone() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    let no_video =
        UpKind::Offer(Offer { sdp: "v=0\r\no=- 5 2 IN IP4 0.0.0.0\r\n".into(), full_ice: false, auth: None });
    assert_eq!(code(&say(&mut table, now, key("a"), no_video, &idle)), Some(ErrorCode::BadOffer));
    assert_eq!(table.len(), 1);
}

#[test]
fn no_camera_and_privacy_have_their_codes() {
    let (mut table, now) = (table(), Instant::now());
    let mut lost = media(CameraState::Lost);
    lost.error = Some("no camera was found".into());
    let actions = say(&mut table, now, key("a"), offer(1), &lost);
    assert_eq!(code(&actions), Some(ErrorCode::CameraUnavailable));
    let idle = media(CameraState::Idle);
    started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    let closed = table.set_streaming(false);
    assert!(matches!(&closed[..], [SessionAction::Close { reason: EndReason::Privacy, .. }]));
    assert_eq!(code(&say(&mut table, now, key("b"), offer(2), &idle)), Some(ErrorCode::Privacy));
    assert!(table.set_streaming(true).is_empty());
    assert!(started(&say(&mut table, now, key("b"), offer(2), &idle)).is_some());
}

#[test]
fn early_candidates_wait_for_their_offer() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    for _ in 0..40 {
        assert!(say(&mut table, now, key("a"), UpKind::Candidate(Some(candidate())), &idle).is_empty());
    }
    let actions = say(&mut table, now + Duration::from_secs(4), key("a"), offer(1), &idle);
    let [SessionAction::Start { pending, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(pending.len(), 32, "at most 32 are kept");
    assert_eq!(table.next_expiry(), None);
    let later = say(&mut table, now, key("a"), UpKind::Candidate(None), &idle);
    assert!(matches!(&later[..], [SessionAction::AddCandidate { candidate: None, .. }]));
}

#[test]
fn early_candidates_without_an_offer_are_dropped_and_told() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    say(&mut table, now, key("a"), UpKind::Candidate(Some(candidate())), &idle);
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
                say(&mut table, now, key(&format!("v{n}")), UpKind::Candidate(Some(candidate())), &idle);
            code(&actions) == Some(ErrorCode::NoSession)
        })
        .count();
    assert_eq!(refused, 1_000 - pending_candidates::MAX_SESSIONS);
}

#[test]
fn a_flood_of_offers_is_rate_limited() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let codes: Vec<_> = (0..100).map(|n| code(&say(&mut table, now, key("a"), offer(n), &idle))).collect();
    assert!(codes.contains(&Some(ErrorCode::RateLimited)));
    assert!(started(&say(&mut table, now, key("b"), offer(7), &idle)).is_some(), "another viewer gets in");
}

#[test]
fn a_viewer_makes_one_connection_after_the_other() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let first = started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    let second = SessionKey { session: Id::new("second").unwrap(), ..key("a") };
    let refused = say(&mut table, now, second.clone(), offer(2), &idle);
    assert_eq!(code(&refused), Some(ErrorCode::RateLimited));
    assert!(
        started(&say(&mut table, now, key("b"), offer(3), &idle)).is_some(),
        "another viewer's is no matter"
    );
    table.end(1);
    table.connected(first);
    assert!(started(&say(&mut table, now, second, offer(2), &idle)).is_some());
}

#[test]
fn what_came_over_http_is_steered_over_http_alone() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let whep = |origin| WhepMessage::Offer(WhepOffer::new(sdp(origin), None, [192, 0, 2, 1].into()));
    let actions = post(&mut table, now, key("a"), whep(1), &idle);
    let [SessionAction::Start { offer: accepted, number, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert!(accepted.offer.full_ice);
    for stranger in [offer(1), offer(2), UpKind::Candidate(None), UpKind::Bye { reason: None }] {
        assert_eq!(code(&say(&mut table, now, key("a"), stranger, &idle)), Some(ErrorCode::NoSession));
    }
    let again = post(&mut table, now, key("a"), whep(1), &idle);
    assert!(
        matches!(&again[..], [SessionAction::Renegotiate { offer, .. }] if offer.offer.full_ice),
        "{again:?}"
    );
    let one = post(&mut table, now, key("a"), WhepMessage::Candidate(Some(candidate())), &idle);
    assert!(matches!(&one[..], [SessionAction::AddCandidate { candidate: Some(_), .. }]), "{one:?}");
    assert!(matches!(
        &post(&mut table, now, key("a"), WhepMessage::Bye, &idle)[..],
        [SessionAction::Close { .. }]
    ));
    assert!(post(&mut table, now, key("a"), WhepMessage::Bye, &idle).is_empty(), "once");
    assert!(ended(&mut table, *number));
    // And the other way round: a session of the broker is not ended over HTTP.
    started(&say(&mut table, now, key("b"), offer(1), &idle)).unwrap();
    assert!(post(&mut table, now, key("b"), WhepMessage::Bye, &idle).is_empty());
    assert!(post(&mut table, now, key("c"), WhepMessage::Candidate(None), &idle).is_empty());
}

#[test]
fn a_host_is_limited_however_many_sessions_it_makes() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let mut offers = |host: [u8; 4], count: u32| {
        (0..count)
            .filter(|n| {
                let offer = WhepOffer::new(sdp(*n), None, host.into());
                let actions = post(&mut table, now, key(&format!("w{n}")), WhepMessage::Offer(offer), &idle);
                code(&actions) == Some(ErrorCode::RateLimited)
            })
            .count()
    };
    assert_eq!(offers([192, 0, 2, 1], 100), 80);
    assert_eq!(offers([192, 0, 2, 2], 10), 0);
}

#[test]
fn a_candidate_of_many_bytes_is_refused() {
    let (mut table, now, idle) = (table(), Instant::now(), media(CameraState::Idle));
    let big = || UpKind::Candidate(Some(Candidate { candidate: "c".repeat(60_000), ..candidate() }));
    assert_eq!(code(&say(&mut table, now, key("a"), big(), &idle)), Some(ErrorCode::BadMessage));
    assert_eq!(table.next_expiry(), None, "nothing is kept");
    started(&say(&mut table, now, key("a"), offer(1), &idle)).unwrap();
    assert_eq!(code(&say(&mut table, now, key("a"), big(), &idle)), Some(ErrorCode::BadMessage));
}
