use std::time::Duration;

use super::*;
use crate::access::proof::{KeyPair, Seed};

const SDP: &str = "v=0\r\n";

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

fn clock(after: Duration) -> Clock {
    Clock { now: start() + after, is_set: true }
}

fn now() -> Clock {
    clock(Duration::ZERO)
}

/// Someone with a link.
struct Guest {
    name: String,
    seed: Seed,
}

impl Guest {
    fn signs(&self, device: &str, viewer: &str, session: &str, nonce: &Nonce) -> Auth {
        self.signs_over(SDP, device, viewer, session, nonce)
    }

    fn signs_over(&self, sdp: &str, device: &str, viewer: &str, session: &str, nonce: &Nonce) -> Auth {
        let (device, viewer, session) = (id(device), id(viewer), id(session));
        let parties = Parties { device: &device, viewer: &viewer, session: &session };
        let signature = KeyPair::of(&self.seed).unwrap().sign(&offer_text(parties, nonce, sdp));
        Auth { grant: self.name.clone(), nonce: nonce.encode(), sig: signature.encode() }
    }

    fn auth(&self) -> Auth {
        self.signs("cam", "tab", "s", &Nonce::random().unwrap())
    }
}

fn granted(name: &str, rights: &str, lifetime: Option<Duration>) -> (Grant, Guest) {
    let (grant, seed) = Grant::new(id(name), rights.parse().unwrap(), start(), lifetime).unwrap();
    (grant, Guest { name: name.to_owned(), seed })
}

fn authorizer(grants: Vec<Grant>) -> OfferAuthorizer {
    OfferAuthorizer::new(AccessMode::Grants, id("cam"), grants)
}

fn check(authorizer: &mut OfferAuthorizer, clock: Clock, auth: Option<&Auth>) -> Result<Pass, ErrorCode> {
    authorizer.check(clock, &id("tab"), &id("s"), SDP, auth, None).map_err(|refusal| refusal.code)
}

#[test]
fn a_guest_comes_in_and_a_stranger_does_not() {
    let (anna, guest) = granted("anna", "view,talk", None);
    let (_, stranger) = granted("anna", "view", None);
    let mut authorizer = authorizer(vec![anna]);
    let auth = guest.auth();
    let pass = check(&mut authorizer, now(), Some(&auth)).unwrap();
    assert_eq!((pass.grant, pass.rights.to_string()), (Some(id("anna")), "view,talk".to_owned()));
    assert_eq!(pass.nonce.unwrap().encode(), auth.nonce);
    assert_eq!(check(&mut authorizer, now(), None), Err(ErrorCode::Unauthorized));
    assert_eq!(check(&mut authorizer, now(), Some(&stranger.auth())), Err(ErrorCode::Unauthorized));
    let unknown = Guest { name: "bob".into(), ..guest };
    assert_eq!(check(&mut authorizer, now(), Some(&unknown.auth())), Err(ErrorCode::Unauthorized));
}

#[test]
fn what_was_signed_is_what_must_come() {
    let (anna, guest) = granted("anna", "view", None);
    let mut authorizer = authorizer(vec![anna]);
    let nonce = Nonce::random().unwrap();
    for (device, viewer, session) in [("other", "tab", "s"), ("cam", "other", "s"), ("cam", "tab", "other")] {
        let auth = guest.signs(device, viewer, session, &nonce);
        assert_eq!(check(&mut authorizer, now(), Some(&auth)), Err(ErrorCode::Unauthorized));
    }
    let good = guest.signs("cam", "tab", "s", &nonce);
    let swapped = authorizer.check(now(), &id("tab"), &id("s"), "v=0\n", Some(&good), None);
    assert_eq!(swapped.unwrap_err().code, ErrorCode::Unauthorized);
    let other = Nonce::random().unwrap().encode();
    for bad in [
        Auth { nonce: other, ..good.clone() },
        Auth { nonce: good.nonce[1..].to_owned(), ..good.clone() },
        Auth { sig: good.sig[..80].to_owned(), ..good.clone() },
        Auth { sig: String::new(), ..good.clone() },
        Auth { grant: "ANNA".to_owned(), ..good.clone() },
    ] {
        assert_eq!(check(&mut authorizer, now(), Some(&bad)), Err(ErrorCode::Unauthorized), "{bad:?}");
    }
    assert!(check(&mut authorizer, now(), Some(&good)).is_ok(), "no refusal spends the nonce");
}

#[test]
fn an_offer_is_good_once_and_again_only_for_its_own_session() {
    let (anna, guest) = granted("anna", "view", None);
    let mut authorizer = authorizer(vec![anna.clone()]);
    let auth = guest.auth();
    let pass = check(&mut authorizer, now(), Some(&auth)).unwrap();
    assert_eq!(check(&mut authorizer, now(), Some(&auth)), Err(ErrorCode::Unauthorized));
    let again = authorizer.check(now(), &id("tab"), &id("s"), SDP, Some(&auth), Some(&pass));
    assert_eq!(again.as_ref(), Ok(&pass));
    let other = "v=0\r\nanother offer";
    let reused = guest.signs_over(other, "cam", "tab", "s", &pass.nonce.unwrap());
    let again = authorizer.check(now(), &id("tab"), &id("s"), other, Some(&reused), Some(&pass));
    assert_eq!(
        again.map_err(|refusal| refusal.code),
        Err(ErrorCode::Unauthorized),
        "another offer, the same nonce"
    );
    authorizer.set_grants(vec![anna]);
    assert_eq!(
        check(&mut authorizer, now(), Some(&auth)),
        Err(ErrorCode::Unauthorized),
        "after a change too"
    );
}

#[test]
fn an_offer_that_was_used_is_no_good_after_a_restart() {
    let (anna, guest) = granted("anna", "view", None);
    let mut first = authorizer(vec![anna.clone()]);
    assert_eq!(first.take_used(), None, "nothing to keep");
    let auth = guest.auth();
    check(&mut first, now(), Some(&auth)).unwrap();
    let kept = first.take_used().expect("something to keep");
    assert_eq!(first.take_used(), None, "once");
    let mut again = authorizer(vec![anna.clone()]).with_used(UsedOffers::parse(&kept));
    assert_eq!(check(&mut again, now(), Some(&auth)), Err(ErrorCode::Unauthorized));
    assert!(check(&mut again, now(), Some(&guest.auth())).is_ok());
    let mut other = authorizer(vec![]).with_used(UsedOffers::parse(&kept));
    other.set_grants(vec![anna]);
    assert!(check(&mut other, now(), Some(&auth)).is_ok(), "known no longer: the grant was gone meanwhile");
}

#[test]
fn rights_and_time_have_their_codes() {
    let day = Duration::from_hours(24);
    let (talker, deaf) = granted("talker", "talk", None);
    let (short, guest) = granted("short", "view", Some(day));
    let (long, lasting) = granted("long", "view", None);
    let mut authorizer = authorizer(vec![talker, short, long]);
    assert_eq!(check(&mut authorizer, now(), Some(&deaf.auth())), Err(ErrorCode::Forbidden));
    assert!(check(&mut authorizer, clock(Duration::from_hours(23)), Some(&guest.auth())).is_ok());
    assert_eq!(check(&mut authorizer, clock(day), Some(&guest.auth())), Err(ErrorCode::Expired));
    let unset = Clock { now: SystemTime::UNIX_EPOCH, is_set: false };
    let refusal = authorizer.check(unset, &id("tab"), &id("s"), SDP, Some(&guest.auth()), None).unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after_s), (ErrorCode::Expired, Some(10)));
    assert!(refusal.message.contains("clock is not set"), "{refusal}");
    assert!(check(&mut authorizer, unset, Some(&lasting.auth())).is_ok(), "one without an end works");
    assert_eq!(authorizer.next_expiry(), Some(start() + day));
}

#[test]
fn sessions_end_with_their_grant() {
    let day = Duration::from_hours(24);
    let (anna, guest) = granted("anna", "view", Some(day));
    let mut authorizer = authorizer(vec![anna]);
    let pass = check(&mut authorizer, now(), Some(&guest.auth())).unwrap();
    assert_eq!(authorizer.still(now(), &pass), None);
    assert_eq!(authorizer.still(Clock { is_set: false, ..now() }, &pass), None);
    assert_eq!(authorizer.still(clock(day), &pass).unwrap().code, ErrorCode::Expired);
    // Another grant of the same name is not the one that was given.
    authorizer.set_grants(vec![granted("anna", "view", None).0]);
    assert_eq!(authorizer.still(now(), &pass).unwrap().code, ErrorCode::Unauthorized);
    authorizer.set_grants(Vec::new());
    assert_eq!(authorizer.still(now(), &pass).unwrap().code, ErrorCode::Unauthorized);
}

#[test]
fn open_access_asks_for_nothing_and_keeps_the_nonce() {
    let mut authorizer = OfferAuthorizer::new(AccessMode::Open, id("cam"), Vec::new());
    assert_eq!(check(&mut authorizer, now(), None).unwrap().nonce, None);
    let (_, guest) = granted("anna", "view", None);
    let auth = guest.auth();
    let pass = check(&mut authorizer, now(), Some(&auth)).unwrap();
    assert_eq!(pass.nonce.map(|nonce| nonce.encode()), Some(auth.nonce));
    assert_eq!(authorizer.still(now(), &Pass { nonce: None, ..pass }), None);
    let bad = Auth { nonce: "x".into(), ..guest.auth() };
    assert_eq!(check(&mut authorizer, now(), Some(&bad)), Err(ErrorCode::BadMessage));
}

#[test]
fn a_token_is_as_good_as_its_grant() {
    let day = Duration::from_hours(24);
    let ((anna, seed), (bob, bobs)) = (granted("anna", "view", Some(day)), granted("bob", "snapshot", None));
    let authorizer = authorizer(vec![anna, bob]);
    let code =
        |clock, token: Option<&str>| authorizer.check_token(clock, token).map_err(|refusal| refusal.code);
    let pass = code(now(), Some(&seed.seed.bearer())).unwrap();
    assert_eq!((pass.grant.as_ref().map(Id::as_str), &pass.nonce), (Some("anna"), &None));
    assert!(authorizer.still(now(), &pass).is_none());
    assert_eq!(authorizer.still(clock(day), &pass).unwrap().code, ErrorCode::Expired);
    assert_eq!(code(now(), None), Err(ErrorCode::Unauthorized));
    assert_eq!(code(now(), Some("")), Err(ErrorCode::Unauthorized));
    assert_eq!(code(clock(day), Some(&seed.seed.bearer())), Err(ErrorCode::Expired));
    assert_eq!(code(now(), Some(&bobs.seed.bearer())), Err(ErrorCode::Forbidden));
    let open = OfferAuthorizer::new(AccessMode::Open, id("cam"), vec![]);
    assert_eq!(open.check_token(now(), None).unwrap().grant, None);
}
