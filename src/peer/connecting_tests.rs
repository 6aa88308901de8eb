//! Device and viewer in one process, the viewer by a clock so slow that not even the pace of its checks passes: what connects here
//! waits for packets and for no timer of the viewer's.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connect::negotiation::Negotiation;
use super::connect::offer::VideoOffer;
use super::driver::{Connection, LookUp, PeerEvent};
use super::net::interfaces::addresses;
use super::net::server_url::LOOKUP_LIMIT;
use super::receiver::slow_clock::SlowClock;
use super::receiver::{PacketSink, Received, Receiver, ReceiverEvent};
use super::{Factory, PeerError, SessionStats};
use crate::base::tasks::TaskGroup;
use crate::config::Ice;
use crate::media::ProfileLevelId;
use crate::signaling::message::{Candidate, IceServer};
use crate::signaling::topic::Id;
use crate::stream::Fanout;

/// The viewer's pause between checks (10 ms) is longer than [`LIMIT`].
const NO_TIMERS: u32 = 10_000;
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
    answer_with(factory, offer, false).await
}

/// The same, with all of the device's candidates in it if it is to be `full`.
async fn answer_with(factory: &Factory, offer: &str, full: bool) -> (Connection, String) {
    let negotiation = negotiation(offer);
    let live = SessionStats::new(Id::new("tab").unwrap(), Id::default_session(), 1, None);
    let mut connection = factory.connect(&negotiation.codec, Some(Arc::new(live))).await.unwrap();
    let answer = connection.answer(negotiation, full).await.unwrap();
    (connection, answer)
}

/// Tells the device where the viewer is.
async fn tell_candidates(viewer: &mut Receiver, device: &Connection) {
    loop {
        let Some(ReceiverEvent::Candidate(candidate)) = viewer.next().await else { panic!("no candidates") };
        let Some(candidate) = candidate else { return };
        device.add_candidate(candidate).await;
    }
}

async fn connected(viewer: &mut Receiver, device: &mut Connection) {
    let both = async {
        while !matches!(viewer.next().await.expect("it goes on"), ReceiverEvent::Connected) {}
        while !matches!(device.next_event().await.expect("it goes on"), PeerEvent::Connected) {}
    };
    timeout(LIMIT, both).await.expect("a connection that waits for no timer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_viewers_connect_without_waiting_for_a_timer() {
    let factory = factory();
    for _ in 0..JOINS {
        let (mut viewer, offer) =
            Receiver::offer_by(SlowClock::new(NO_TIMERS), false, Arc::new(Nowhere)).await.unwrap();
        let (mut device, answer) = answer(&factory, &offer).await;
        viewer.accept(answer).await.unwrap();
        connected(&mut viewer, &mut device).await;
        viewer.close().await;
        device.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_is_heard_once_it_is_there() {
    let factory = factory();
    let (mut viewer, offer) =
        Receiver::offer_by(SlowClock::new(NO_TIMERS), false, Arc::new(Nowhere)).await.unwrap();
    let negotiation = negotiation(&offer);
    let live = Arc::new(SessionStats::new(Id::new("tab").unwrap(), Id::default_session(), 1, None));
    let mut device = factory.connect(&negotiation.codec, Some(Arc::clone(&live))).await.unwrap();
    let answer = device.answer(negotiation, false).await.unwrap();
    assert_eq!(live.last_heard(), None, "it has only sent an offer");
    viewer.accept(answer).await.unwrap();
    connected(&mut viewer, &mut device).await;
    assert!(live.last_heard().is_some_and(|heard| heard >= live.offered_at));
    viewer.close().await;
    device.close().await;
}

/// Who controls ICE (an ICE-lite viewer leaves it to the device, RFC 8445 section 6.1.1) and who begins DTLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_role_viewers_connect_without_waiting_for_a_timer() {
    let factory = factory();
    for (lite, setup) in
        [(false, "passive"), (false, "active"), (true, "actpass"), (true, "passive"), (true, "active")]
    {
        for _ in 0..JOINS / 5 {
            let clock = SlowClock::new(NO_TIMERS);
            let (mut viewer, offer) = Receiver::offer_by(clock, lite, Arc::new(Nowhere)).await.unwrap();
            assert_eq!(offer.contains("a=ice-lite"), lite, "{offer}");
            let offer = offer.replace("a=setup:actpass", &format!("a=setup:{setup}"));
            let (mut device, answer) = answer(&factory, &offer).await;
            // Who was told to begin, or not to, is told the other half.
            let answer = match setup {
                "active" => answer.replace("a=setup:active", "a=setup:passive"),
                "passive" => answer.replace("a=setup:passive", "a=setup:active"),
                _ => answer,
            };
            viewer.accept(answer).await.unwrap();
            if lite {
                // Nothing comes from it before it was asked.
                tell_candidates(&mut viewer, &device).await;
            }
            connected(&mut viewer, &mut device).await;
            viewer.close().await;
            device.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_knows_the_device_from_its_packets_alone_connects_as_soon() {
    let factory = factory();
    let (mut viewer, offer) =
        Receiver::offer_by(SlowClock::new(NO_TIMERS), false, Arc::new(Nowhere)).await.unwrap();
    let (mut device, answer) = answer(&factory, &offer).await;
    assert!(
        answer.contains("a=candidate:"),
        "a viewer knows the device's addresses with its answer: {answer}"
    );
    let without: Vec<&str> = answer.lines().filter(|line| !line.starts_with("a=candidate:")).collect();
    viewer.accept(without.join("\r\n") + "\r\n").await.unwrap();
    // Only the device's checks tell the viewer where it is.
    tell_candidates(&mut viewer, &device).await;
    connected(&mut viewer, &mut device).await;
    viewer.close().await;
    device.close().await;
}

/// What a name server says after `told`, or never.
fn name_server(told: Arc<Notify>, says: Option<IpAddr>) -> (LookUp, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    let look_up: LookUp = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let told = Arc::clone(&told);
        Box::pin(async move {
            told.notified().await;
            says.into_iter().collect()
        })
    });
    (look_up, asked)
}

fn with_servers(urls: &[String], look_up: LookUp) -> Factory {
    let credential = Some("secret".to_owned());
    let servers = urls.iter().map(|url| IceServer {
        urls: vec![url.clone()],
        username: credential.clone(),
        credential: credential.clone(),
    });
    let ice = Ice { servers: servers.collect(), ..Ice::default() };
    Factory::with_look_up(ice, look_up, Fanout::default(), &TaskGroup::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_name_server_keeps_nobody_waiting() {
    let urls =
        ["stun:one.example.org", "turn:two.example.org", "stun:three.example.org:99"].map(str::to_owned);
    let (look_up, asked) = name_server(Arc::default(), None);
    let factory = with_servers(&urls, look_up);
    for full in [true, false, true] {
        let (mut viewer, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
        let answered = timeout(LOOKUP_LIMIT / 2, answer_with(&factory, &offer, full)).await;
        let (mut device, answer) = answered.expect("an answer that waits for no name");
        assert!(answer.contains(" typ host"), "{answer}");
        assert_eq!(answer.contains("a=end-of-candidates"), full, "{answer}");
        viewer.accept(answer).await.unwrap();
        connected(&mut viewer, &mut device).await;
        viewer.close().await;
        device.close().await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), urls.len(), "each name once, however many viewers come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_found_meanwhile_still_serves_the_viewer_who_waits_for_nothing() {
    let server = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let told = Arc::<Notify>::default();
    let here = addresses().into_iter().find(IpAddr::is_ipv4);
    let (look_up, _) = name_server(Arc::clone(&told), here);
    let factory = with_servers(&[format!("stun:one.example.org:{port}")], look_up);
    let (viewer, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
    let (device, _) = answer(&factory, &offer).await;
    told.notify_one();
    let mut request = [0; 100];
    timeout(LIMIT, server.recv_from(&mut request)).await.expect("the server is asked").unwrap();
    assert_eq!(request[..2], [0, 1], "a Binding request");
    viewer.close().await;
    device.close().await;
}

/// Less than either side waits for the other's consent (15 s and more).
const NOTICED: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_closes_the_connection_ends_it_for_the_other_side_at_once() {
    let factory = factory();
    for device_closes in [false, true] {
        let (mut viewer, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
        let (mut device, answer) = answer(&factory, &offer).await;
        viewer.accept(answer).await.unwrap();
        connected(&mut viewer, &mut device).await;
        if device_closes {
            device.close().await;
            let ended = async { while !matches!(viewer.next().await, None | Some(ReceiverEvent::Ended)) {} };
            timeout(NOTICED, ended).await.expect("the device's close_notify");
            viewer.close().await;
        } else {
            viewer.close().await;
            let ended =
                async { while !matches!(device.next_event().await, None | Some(PeerEvent::Ended)) {} };
            timeout(NOTICED, ended).await.expect("the viewer's close_notify");
            device.close().await;
        }
    }
}

fn host_candidate(address: IpAddr, port: u16) -> Candidate {
    Candidate {
        candidate: format!("candidate:1 1 udp 2130706431 {address} {port} typ host"),
        sdp_mid: None,
        sdp_mline_index: Some(0),
        username_fragment: None,
    }
}

#[tokio::test]
async fn checks_go_where_a_viewer_may_be_and_nowhere_else() {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 7, 7);
    let Some(IpAddr::V4(here)) = addresses().into_iter().find(IpAddr::is_ipv4) else { return };
    if here.is_loopback() {
        // Without a network viewers are on loopback.
        return;
    }
    let socket = async |at: Ipv4Addr| UdpSocket::bind((at, 0)).await.unwrap();
    let (inside, group) = (socket(Ipv4Addr::LOCALHOST).await, socket(Ipv4Addr::UNSPECIFIED).await);
    let (viewer, private) = (socket(here).await, socket(here).await);
    group.join_multicast_v4(GROUP, here).unwrap();
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();

    let (page, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
    page.close().await;
    let (device, _) = answer(&factory(), &offer).await;
    device.add_candidate(host_candidate(Ipv4Addr::LOCALHOST.into(), port(&inside))).await;
    device.add_candidate(host_candidate(GROUP.into(), port(&group))).await;
    device.add_candidate(host_candidate(here.into(), port(&viewer))).await;
    let ice = Ice { skips_private: true, ..Ice::default() };
    let public = Factory::new(ice, Fanout::default(), &TaskGroup::new()).unwrap();
    let (public, _) = answer(&public, &offer).await;
    public.add_candidate(host_candidate(here.into(), port(&private))).await;

    let mut check = [0; 1500];
    for _ in 0..5 {
        timeout(LIMIT, viewer.recv_from(&mut check)).await.expect("checks of what may be a viewer").unwrap();
    }
    let is_private = addresses().iter().all(|ip| matches!(ip, IpAddr::V4(ip) if ip.is_private()));
    for (socket, expected) in [(&inside, true), (&group, true), (&private, is_private)] {
        let read = socket.try_recv_from(&mut check);
        assert!(!expected || read.is_err(), "{read:?} at {socket:?}");
    }
}

#[tokio::test]
async fn what_fails_inside_one_connection_ends_it_alone() {
    let tasks = TaskGroup::new();
    let factory = Factory::new(Ice::default(), Fanout::default(), &tasks).unwrap();
    let (viewer, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
    let (mut bad, _) = answer(&factory, &offer).await;
    let (mut good, _) = answer(&factory, &offer).await;
    // Whatever it is used for when it fails.
    bad.break_it().await;
    assert!(bad.answer(negotiation(&offer), false).await.is_err());
    while !matches!(bad.next_event().await.expect("word of it"), PeerEvent::Failed) {}
    let (bad, _) = answer(&factory, &offer).await;
    bad.break_it().await;
    assert!(bad.path().await.is_none());
    let (bad, _) = answer(&factory, &offer).await;
    bad.break_it().await;
    assert!(bad.offer().await.is_err());
    let (bad, _) = answer(&factory, &offer).await;
    bad.break_it().await;
    bad.close().await;
    let (bad, _) = answer(&factory, &offer).await;
    bad.break_it().await;
    drop(bad);
    assert!(good.path().await.is_none(), "it waits for its viewer, behind all of that");
    // Whoever goes without a word is seen to have gone a little later.
    let alone = async { while factory.connections().await != 1 {} };
    timeout(LIMIT, alone).await.expect("the failed ones are gone");
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
        let (mut viewer, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
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
    let (viewer, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
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
    let (viewer, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
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
    let (viewer, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
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
