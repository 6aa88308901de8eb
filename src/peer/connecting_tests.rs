//! Device and viewer in one process, the viewer by a clock so slow that no second of the library's passes: what connects here
//! waits for packets and for no timer of the viewer's.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::connect::negotiation::Negotiation;
use super::connect::offer::VideoOffer;
use super::driver::{Connection, PeerEvent};
use super::viewer::slow_clock::SlowClock;
use super::viewer::{PacketSink, Received, Viewer, ViewerEvent};
use super::{Factory, PeerError, SessionStats};
use crate::base::tasks::TaskGroup;
use crate::config::Ice;
use crate::media::ProfileLevelId;
use crate::signaling::topic::Id;
use crate::stream::Fanout;

/// The viewer's second is longer than [`LIMIT`], but its checks are still repeated: it has to nominate again where its
/// nomination overtook an answer to the device.
const NO_SECONDS: u32 = 100;
/// Far more than a handshake takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
const JOINS: usize = 100;

struct Nowhere;

impl PacketSink for Nowhere {
    fn packet(&self, _packet: Received<'_>) {}
}

fn factory() -> Factory {
    Factory::new(Ice::default(), Fanout::default(), &TaskGroup::new()).unwrap()
}

fn negotiation(offer: &str) -> Negotiation {
    let profile = ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f };
    Negotiation::new(&VideoOffer::read(offer).unwrap(), profile, None).unwrap()
}

/// The device's end, and its answer.
async fn answer(factory: &Factory, offer: &str) -> (Connection, String) {
    let negotiation = negotiation(offer);
    let live = SessionStats::new(Id::new("tab").unwrap(), Id::default_session(), 1, None);
    let mut connection = factory.connect(&negotiation.codec, Some(Arc::new(live))).await.unwrap();
    let answer = connection.answer(negotiation, false).await.unwrap();
    (connection, answer)
}

async fn connected(viewer: &mut Viewer, device: &mut Connection) {
    let both = async {
        while !matches!(viewer.next().await.expect("it goes on"), ViewerEvent::Connected) {}
        while !matches!(device.next_event().await.expect("it goes on"), PeerEvent::Connected) {}
    };
    timeout(LIMIT, both).await.expect("a connection that waits for no timer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_viewers_connect_without_waiting_for_a_timer() {
    let factory = factory();
    for _ in 0..JOINS {
        let (mut viewer, offer) =
            Viewer::offer_by(SlowClock::new(NO_SECONDS), Arc::new(Nowhere)).await.unwrap();
        let (mut device, answer) = answer(&factory, &offer).await;
        viewer.accept(answer).await.unwrap();
        connected(&mut viewer, &mut device).await;
        viewer.close().await;
        device.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_knows_the_device_from_its_packets_alone_connects_as_soon() {
    let factory = factory();
    let (mut viewer, offer) = Viewer::offer_by(SlowClock::new(NO_SECONDS), Arc::new(Nowhere)).await.unwrap();
    let (mut device, answer) = answer(&factory, &offer).await;
    assert!(
        answer.contains("a=candidate:"),
        "a viewer knows the device's addresses with its answer: {answer}"
    );
    let without: Vec<&str> = answer.lines().filter(|line| !line.starts_with("a=candidate:")).collect();
    viewer.accept(without.join("\r\n") + "\r\n").await.unwrap();
    // Only the device's checks tell the viewer where it is.
    loop {
        let Some(ViewerEvent::Candidate(candidate)) = viewer.next().await else { panic!("no candidates") };
        let Some(candidate) = candidate else { break };
        device.add_candidate(candidate).await;
    }
    connected(&mut viewer, &mut device).await;
    viewer.close().await;
    device.close().await;
}

#[tokio::test]
async fn what_fails_inside_one_connection_ends_it_alone() {
    let tasks = TaskGroup::new();
    let factory = Factory::new(Ice::default(), Fanout::default(), &tasks).unwrap();
    let (viewer, offer) = Viewer::offer(Arc::new(Nowhere)).await.unwrap();
    let (mut bad, _) = answer(&factory, &offer).await;
    let (mut good, _) = answer(&factory, &offer).await;
    bad.panic().await;
    while !matches!(bad.next_event().await.expect("word of it"), PeerEvent::SenderFailed) {}
    assert_eq!(factory.connections().await, 1);
    assert!(good.answer(negotiation(&offer), false).await.is_ok(), "the others go on");
    assert_eq!(*tasks.ended_early().borrow(), None);
    viewer.close().await;
}

/// What changes, and how: an offer, and a line of another certificate.
type Change = (&'static str, fn(&str, &str) -> String);

/// What a viewer may say of its certificate and of the roles, made of what the library offers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_in_other_words_connect() {
    let factory = factory();
    let other = format!("a=fingerprint:sha-512 {}\r\n", ["11"; 64].join(":"));
    let changes: [Change; 6] = [
        ("an upper-case hash", |offer, _| offer.replace("sha-256", "SHA-256")),
        ("another certificate too", |offer, other| {
            offer.replacen("a=fingerprint", &format!("{other}a=fingerprint"), 1)
        }),
        ("a broken hash too", |offer, _| {
            offer.replacen("a=fingerprint", "a=fingerprint:sha-1 00\r\na=fingerprint", 1)
        }),
        ("a handshake that the viewer begins", |offer, _| offer.replace("a=setup:actpass", "a=setup:active")),
        ("no mid and no bundle", |offer, _| without(offer, &["a=mid", "a=group"])),
        ("no parameters of H.264", |offer, _| without(offer, &["a=fmtp"])),
    ];
    for (what, change) in changes {
        let (mut viewer, offer) = Viewer::offer(Arc::new(Nowhere)).await.unwrap();
        let (mut device, said) = answer(&factory, &change(&offer, &other)).await;
        let setup = if what.contains("begins") { "a=setup:passive\r\n" } else { "a=setup:active\r\n" };
        assert!(said.contains(setup), "{what}: {said}");
        // The viewer's own library wants a mid, and knows it.
        let said = if what.contains("no mid") { said.replacen("c=IN", "a=mid:0\r\nc=IN", 1) } else { said };
        viewer.accept(said).await.expect(what);
        connected(&mut viewer, &mut device).await;
        viewer.close().await;
        device.close().await;
    }
}

fn without(sdp: &str, names: &[&str]) -> String {
    let kept = sdp.lines().filter(|line| !names.iter().any(|name| line.starts_with(name)));
    kept.flat_map(|line| [line, "\r\n"]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_the_offer_does_not_name_gets_nothing() {
    let factory = factory();
    let (viewer, offer) = Viewer::offer(Arc::new(Nowhere)).await.unwrap();
    let forged = format!("a=fingerprint:sha-256 {}\r\n", ["11"; 32].join(":"));
    let offer = without(&offer, &["a=fingerprint"]).replacen("m=video", &format!("{forged}m=video"), 1);
    let (mut device, said) = answer(&factory, &offer).await;
    viewer.accept(said).await.unwrap();
    let ended = async {
        loop {
            match device.next_event().await.expect("word of it") {
                PeerEvent::Connected => panic!("connected with a stranger"),
                PeerEvent::Ended => break,
                _ => {}
            }
        }
    };
    timeout(LIMIT, ended).await.expect("the end");
    viewer.close().await;
    device.close().await;
}

#[tokio::test]
async fn answers_to_later_offers_go_on_from_the_first() {
    let factory = factory();
    let (viewer, offer) = Viewer::offer(Arc::new(Nowhere)).await.unwrap();
    let (mut device, first) = answer(&factory, &offer).await;
    let origin = |sdp: &str| {
        let line = sdp.lines().find(|line| line.starts_with("o=")).unwrap().to_owned();
        let words: Vec<u64> = line.split(' ').skip(1).take(2).map(|word| word.parse().unwrap()).collect();
        (words[0], words[1])
    };
    let second = device.answer(negotiation(&offer), false).await.unwrap();
    assert_eq!(origin(&second), (origin(&first).0, origin(&first).1 + 1));
    let turned = offer.replace("a=setup:actpass", "a=setup:active");
    let refused = device.answer(negotiation(&turned), false).await;
    assert!(matches!(refused, Err(PeerError::OtherHandshake)), "{refused:?}");
    let third = device.answer(negotiation(&offer), false).await.unwrap();
    assert_eq!(origin(&third).1, origin(&first).1 + 2, "a refused one is no answer");
    viewer.close().await;
    device.close().await;
}

#[tokio::test]
async fn candidates_name_the_section_that_carries_them() {
    let factory = factory();
    let (viewer, offer) = Viewer::offer(Arc::new(Nowhere)).await.unwrap();
    let refused = "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:words\r\nm=video";
    let offer = offer.replacen("m=video", refused, 1);
    let mid = offer.lines().filter_map(|line| line.strip_prefix("a=mid:")).nth(1).unwrap().to_owned();
    let (mut device, _) = answer(&factory, &offer).await;
    let event = timeout(LIMIT, device.next_event()).await.unwrap().unwrap();
    let PeerEvent::Candidate(candidate) = event else { panic!("{event:?}") };
    assert_eq!((candidate.sdp_mid, candidate.sdp_mline_index), (Some(mid), Some(1)));
    viewer.close().await;
    device.close().await;
}
