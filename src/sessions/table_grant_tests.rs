//! Viewers with grants, and what takes whose place.

use std::time::SystemTime;

use super::tests::{NOW_MAX, code, ended, key, media, offer, post, say, sdp, started};
use super::*;
use crate::access::grant::Rights;
use crate::access::offer_authorizer::AccessMode;
use crate::access::proof::{KeyPair, Nonce, Parties, offer_text};
use crate::config::Secret;
use crate::signaling::message::{Auth, Offer};
use crate::signaling::topic::Id;

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
    let unsigned = say(&mut table, now, key.clone(), offer(1), &idle);
    assert_eq!(code(&unsigned), Some(ErrorCode::Unauthorized));
    let first = signed(1);
    let started = say(&mut table, now, key.clone(), first.clone(), &idle);
    let [SessionAction::Start { grant: Some(grant), offer: accepted, number, .. }] = &started[..] else {
        panic!("{started:?}")
    };
    assert_eq!((grant.as_str(), accepted.nonce.is_some()), ("anna", true));
    let repeated = say(&mut table, now, key.clone(), first.clone(), &idle);
    assert!(matches!(&repeated[..], [SessionAction::Renegotiate { .. }]), "{repeated:?}");
    let restart = say(&mut table, now, key.clone(), signed(1), &idle);
    assert!(matches!(&restart[..], [SessionAction::Renegotiate { .. }]));
    let replayed = say(&mut table, now, key.clone(), first, &idle);
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

/// Signs offers with the grants of a device.
struct Signs {
    device: Id,
    grants: Vec<(Grant, crate::access::proof::Seed)>,
}

impl Signs {
    /// An offer of the grant `at` for the session `key`.
    fn of(&self, at: usize, key: &SessionKey, origin: u32) -> (SessionKey, UpKind) {
        let (grant, seed) = &self.grants[at];
        let nonce = Nonce::random().unwrap();
        let parties = Parties { device: &self.device, viewer: &key.viewer, session: &key.session };
        let sig = KeyPair::of(seed).unwrap().sign(&offer_text(parties, &nonce, &sdp(origin))).encode();
        let auth = Some(Auth { grant: grant.name.to_string(), nonce: nonce.encode(), sig });
        (key.clone(), UpKind::Offer(Offer { sdp: sdp(origin), full_ice: false, auth }))
    }

    fn of_viewer(&self, at: usize, viewer: &str, origin: u32) -> (SessionKey, UpKind) {
        self.of(at, &key(viewer), origin)
    }
}

/// A device with the grants of these names, and what signs offers with them.
fn granted<H: LastHeard>(names: &[&str], max_viewers: usize) -> (Table<H>, Signs) {
    let clock = Clock { now: SystemTime::now(), is_set: true };
    let made: Vec<_> = names
        .iter()
        .map(|name| Grant::new(Id::new(name).unwrap(), Rights::all(), clock.now, None).unwrap())
        .collect();
    let device = Id::new("cam").unwrap();
    let grants = made.iter().map(|(grant, _)| grant.clone()).collect();
    let authorizer = OfferAuthorizer::new(AccessMode::Grants, device.clone(), grants);
    let table = Table::new(Limits { max_viewers }, true, authorizer, clock);
    (table, Signs { device, grants: made })
}

fn forged(name: &str) -> UpKind {
    let nonce = Nonce::random().unwrap().encode();
    let auth = Some(Auth { grant: name.into(), nonce, sig: "A".repeat(86) });
    UpKind::Offer(Offer { sdp: sdp(1), full_ice: false, auth })
}

#[test]
fn strangers_keep_no_invited_viewer_out() {
    let (mut table, sign) = granted::<()>(&["anna", "bob"], 8);
    let (now, idle) = (Instant::now(), media(CameraState::Idle));
    for at in 0..3000_u32 {
        let stranger = key(&format!("s{at}"));
        let kind = if at % 2 == 0 { offer(at) } else { forged("bob") };
        let refused = code(&say(&mut table, now, stranger.clone(), kind, &idle));
        assert!(matches!(refused, Some(ErrorCode::Unauthorized | ErrorCode::RateLimited)), "{refused:?}");
        let whep = WhepOffer::new(sdp(at), Some(Secret::new("wrong")), [192, 0, 2, 1].into());
        let refused = code(&post(&mut table, now, stranger, WhepMessage::Offer(whep), &idle));
        assert!(matches!(refused, Some(ErrorCode::Unauthorized | ErrorCode::RateLimited)), "{refused:?}");
    }
    let (key, kind) = sign.of_viewer(0, "tab", 1);
    assert!(started(&say(&mut table, now, key, kind, &idle)).is_some());
}

#[test]
fn a_recorded_offer_costs_its_viewer_nothing() {
    let (mut table, sign) = granted::<()>(&["anna"], 8);
    let (now, idle) = (Instant::now(), media(CameraState::Idle));
    let (key, first) = sign.of_viewer(0, "tab", 1);
    started(&say(&mut table, now, key.clone(), first.clone(), &idle)).unwrap();
    for _ in 0..500 {
        say(&mut table, now, key.clone(), first.clone(), &idle);
    }
    let (key, second) = sign.of_viewer(0, "tab", 1);
    let restart = say(&mut table, now, key.clone(), second, &idle);
    assert!(matches!(&restart[..], [SessionAction::Renegotiate { .. }]), "{restart:?}");
    for _ in 0..500 {
        let refused = code(&say(&mut table, now, key.clone(), first.clone(), &idle));
        assert!(matches!(refused, Some(ErrorCode::Unauthorized | ErrorCode::RateLimited)), "{refused:?}");
    }
    let (key, third) = sign.of_viewer(0, "tab", 1);
    let restart = say(&mut table, now, key, third, &idle);
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
        let actions = post(&mut table, now, key(&format!("w{at}")), WhepMessage::Offer(whep), &idle);
        assert!(started(&actions).is_some(), "{at}: {actions:?}");
    }
}

#[test]
fn one_grant_has_no_more_than_its_share_and_who_never_connects_keeps_nobody_out() {
    let (mut table, sign) = granted::<()>(&["anna", "bob", "carl"], 4);
    let (now, idle) = (Instant::now(), media(CameraState::Idle));
    let offer = |table: &mut Table<()>, grant, viewer: &str| {
        let (key, kind) = sign.of_viewer(grant, viewer, 1);
        say(table, now, key, kind, &idle)
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
fn a_grant_that_is_revoked_while_the_offer_is_read_lets_nobody_in() {
    let (mut table, sign) = granted::<()>(&["anna"], 8);
    let (now, idle) = (Instant::now(), media(CameraState::Idle));
    let (key, kind) = sign.of_viewer(0, "tab", 1);
    let actions = table.message(now, key, kind);
    let [SessionAction::Read(_)] = &actions[..] else { panic!("{actions:?}") };
    let clock = Clock { now: SystemTime::now(), is_set: true };
    assert!(table.set_access(clock, Some(Vec::new())).is_empty());
    assert_eq!(code(&super::tests::read_all(&mut table, now, actions, &idle)), Some(ErrorCode::Unauthorized));
    assert!(table.is_empty());
}

#[test]
fn who_may_not_watch_has_nothing_read() {
    let (mut table, sign) = granted::<()>(&["anna"], 8);
    let now = Instant::now();
    let (key, signed) = sign.of_viewer(0, "tab", 1);
    for kind in [offer(1), forged("anna"), forged("nobody")] {
        assert_eq!(code(&table.message(now, key.clone(), kind)), Some(ErrorCode::Unauthorized));
    }
    let whep = WhepOffer::new(sdp(1), Some(Secret::new("wrong")), [192, 0, 2, 1].into());
    let refused = table.whep(now, key.clone(), WhepMessage::Offer(whep));
    assert_eq!(code(&refused), Some(ErrorCode::Unauthorized));
    assert!(matches!(&table.message(now, key, signed)[..], [SessionAction::Read(_)]));
}

/// The same viewer under another session name, after it left without a word before its connection had come about.
#[test]
fn a_viewer_that_starts_anew_does_not_wait_for_the_end_of_what_it_left() {
    let (mut made, sign) = granted::<Instant>(&["anna"], 1);
    let (table, now, idle) = (&mut made, Instant::now(), media(CameraState::Idle));
    let offer = |table: &mut Table<Instant>, at, session: &str| {
        let key = SessionKey { session: Id::new(session).unwrap(), ..key("tab") };
        let (_, UpKind::Offer(offer)) = sign.of(0, &key, 1) else { unreachable!() };
        say(table, at, key, UpKind::Offer(offer), &idle)
    };
    let first = started(&offer(table, now, "one")).unwrap();
    table.attach(first, now);
    assert_eq!(code(&offer(table, now + Duration::from_secs(1), "two")), Some(ErrorCode::RateLimited));
    // It is there and only slow: it keeps its turn.
    *table.handle(first).unwrap() = now + Duration::from_secs(1);
    let later = now + Duration::from_millis(2500);
    assert_eq!(code(&offer(table, later, "two")), Some(ErrorCode::RateLimited));
    let later = now + Duration::from_secs(4);
    let actions = offer(table, later, "two");
    let [SessionAction::Close { number, .. }, SessionAction::Start { number: second, .. }] = &actions[..]
    else {
        panic!("also where it has the only place: {actions:?}")
    };
    assert_eq!(*number, first);
    let second = *second;
    table.attach(second, later);
    table.connected(second);
    table.end(first);
    // The second is watched, and vanishes.
    let busy = offer(table, later + Duration::from_secs(1), "three");
    assert_eq!(code(&busy), Some(ErrorCode::Busy), "it is there");
    let actions = offer(table, later + Duration::from_secs(3), "three");
    let [SessionAction::Close { number, reason: EndReason::Refused(why) }, SessionAction::Start { .. }] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((*number, why.code), (second, ErrorCode::Busy));
}

/// A page without a fixed name is another viewer each time that it is loaded.
#[test]
fn of_one_grant_who_vanished_gives_its_place_and_who_watches_does_not() {
    let (mut table, sign) = granted::<Instant>(&["anna", "bob"], 3);
    let (now, idle) = (Instant::now(), media(CameraState::Idle));
    let offer = |table: &mut Table<Instant>, at, grant, viewer: &str| {
        let (key, kind) = sign.of_viewer(grant, viewer, 1);
        say(table, at, key, kind, &idle)
    };
    for (grant, viewer) in [(0, "a1"), (0, "a2"), (1, "b1")] {
        let number = started(&offer(&mut table, now, grant, viewer)).unwrap();
        table.attach(number, now);
        table.connected(number);
    }
    let later = now + Duration::from_secs(10);
    // Of Anna's, the second one is still there; Bob's is gone as well, but is Bob's.
    *table.handle(1).unwrap() = later;
    let actions = offer(&mut table, later, 0, "a3");
    let [SessionAction::Close { number: 0, .. }, SessionAction::Start { number, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    let number = *number;
    table.attach(number, later);
    table.end(0);
    table.connected(number);
    assert_eq!(code(&offer(&mut table, later, 0, "a4")), Some(ErrorCode::Busy));
}
