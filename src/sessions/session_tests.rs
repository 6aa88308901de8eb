//! Sessions with their connections: cancelled, replaced, refused and failed ones.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::access::identity::Identity;
use crate::access::offer_authorizer::AccessMode;
use crate::access::proof::{Parties, Signature, answer_text};
use crate::base::tasks::TaskGroup;
use crate::config::Ice;
use crate::media::{CameraState, MediaStatus};
use crate::peer::{Factory, Signer};
use crate::signaling::message::{Candidate, Down, IceServer, Offer};
use crate::stream::{Fanout, KeyFrameReason, Rendition};

#[path = "session_turn_tests.rs"]
mod turn;

/// What Debian's Chromium offers for one `recvonly` video.
const OFFER: &str = include_str!("../../tests/support/chromium-offer.sdp");
/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same offer of another peer connection.
fn offer_of(origin: u32) -> String {
    let (before, rest) = OFFER.split_once("o=- ").unwrap();
    format!("{before}o=- {origin} {}", rest.split_once(' ').unwrap().1)
}

/// The same offer of another ICE generation.
fn restarted(ufrag: &str) -> String {
    OFFER.replace("a=ice-ufrag:mhyC", &format!("a=ice-ufrag:{ufrag}"))
}

fn trickle(sdp: String) -> UpKind {
    UpKind::Offer(Offer { sdp, full_ice: false, auth: None })
}

fn key(viewer: &str) -> SessionKey {
    SessionKey { viewer: Id::new(viewer).unwrap(), session: Id::default_session() }
}

/// Hears what sessions say; the answer to `panics_for` is more than it can bear.
struct RecordedReplies {
    said: mpsc::Sender<(Id, Down)>,
    panics_for: Id,
}

impl Replies for RecordedReplies {
    fn send(&self, viewer: &Id, _session: &Id, message: Down) {
        assert!(*viewer != self.panics_for || !matches!(message, Down::Answer { .. }), "on purpose");
        self.said.try_send((viewer.clone(), message)).unwrap();
    }
}

struct World {
    sessions: Sessions,
    fanout: Fanout,
    factory: Arc<Factory>,
    identity: Arc<Identity>,
    media: watch::Sender<MediaStatus>,
    said: mpsc::Receiver<(Id, Down)>,
    events: mpsc::Receiver<SessionEvent>,
    tasks: TaskGroup,
    _state: TempDir,
}

impl World {
    /// With a camera that is ready, or not yet.
    fn new(is_ready: bool, ice: Ice) -> Self {
        Self::reading(is_ready, ice, Arc::new(SdpReading::of))
    }

    /// The same, with offers read by `read`.
    fn reading(is_ready: bool, ice: Ice, read: ReadSdp) -> Self {
        let (state, tasks) = (TempDir::new().unwrap(), TaskGroup::new());
        let identity = Arc::new(Identity::load_or_make(state.path()).unwrap());
        let device = Id::new("cam").unwrap();
        let (fanout, status) = (Fanout::default(), MediaStatus::sample(CameraState::Idle));
        let factory = Arc::new(Factory::new(ice, fanout.clone(), &tasks).unwrap());
        let (media, watched) = watch::channel(MediaStatus { ready: is_ready, ..status });
        let ((said_tx, said), (event_tx, events)) = (mpsc::channel(4096), mpsc::channel(256));
        let parts = SessionParts {
            max_viewers: 8,
            streaming: true,
            signer: Signer { identity: Arc::clone(&identity), device: device.clone() },
            factory: Arc::clone(&factory),
            fanout: fanout.clone(),
            media: watched,
            replies: Arc::new(RecordedReplies { said: said_tx, panics_for: Id::new("bad").unwrap() }),
            events: event_tx,
            keep_used: Box::new(|_| ()),
            tasks: tasks.clone(),
        };
        let authorizer = OfferAuthorizer::new(AccessMode::Open, device, vec![]);
        let sessions = Sessions::spawn_reading(parts, authorizer, read);
        Self { sessions, fanout, factory, identity, media, said, events, tasks, _state: state }
    }

    async fn say(&self, viewer: &str, kind: UpKind) {
        let SessionKey { viewer, session } = key(viewer);
        self.sessions.message(viewer, session, kind).await;
    }

    /// The next event, shortened.
    async fn event(&mut self) -> String {
        match timeout(PATIENCE, self.events.recv()).await.expect("an event").unwrap() {
            SessionEvent::Started { key, .. } => format!("{} started", key.viewer),
            SessionEvent::Ended { key, reason, .. } => format!("{} ended: {}", key.viewer, reason.text()),
            SessionEvent::Refused { key, refusal, .. } => {
                format!("{} refused: {}", key.viewer, refusal.code.as_str())
            }
            SessionEvent::RefusedMore { code, count } => format!("{count} more refused: {}", code.as_str()),
        }
    }

    /// The next answer to `viewer`.
    async fn answer(&mut self, viewer: &str) -> Down {
        loop {
            let (to, message) = timeout(PATIENCE, self.said.recv()).await.expect("an answer").unwrap();
            if to.as_str() == viewer && matches!(message, Down::Answer { .. }) {
                return message;
            }
        }
    }

    /// Whether `answer` is signed as the one to `offer`.
    fn is_answer_to(&self, answer: &Down, offer: &str) -> bool {
        let Down::Answer { sdp, identity, .. } = answer else { return false };
        let (device, key) = (Id::new("cam").unwrap(), key("a"));
        let parties = Parties { device: &device, viewer: &key.viewer, session: &key.session };
        let signature = Signature::parse(&identity.sig).unwrap();
        self.identity.key().verify(&answer_text(parties, None, offer, sdp), &signature)
    }

    /// Answers that were made and not looked at.
    fn answers(&mut self) -> usize {
        std::iter::from_fn(|| self.said.try_recv().ok())
            .filter(|(_, message)| matches!(message, Down::Answer { .. }))
            .count()
    }
}

/// Who asks for the sessions while the camera's status is being written never waits for the writer: it may be waiting for a
/// reader of the status that asks for the sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lock_is_held_while_the_status_of_the_camera_is_read() {
    let World { sessions, media, tasks, .. } = World::new(true, Ice::default());
    let (writes, is_writing) = std::sync::mpsc::sync_channel(1);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let changer = std::thread::spawn(move || {
        media.send_modify(|_| {
            writes.send(()).unwrap();
            let _ = released.recv_timeout(PATIENCE);
        });
    });
    is_writing.recv_timeout(PATIENCE).unwrap();
    let polls = tasks.polls()["sessions"];
    let SessionKey { viewer, session } = key("many");
    sessions.message(viewer, session, UpKind::Bye { reason: None }).await;
    while tasks.polls()["sessions"] == polls {
        tokio::task::yield_now().await;
    }
    let (asked, answered) = std::sync::mpsc::sync_channel(1);
    let asking = sessions.clone();
    let reader = std::thread::spawn(move || asked.send(asking.live().len()));
    let live = answered.recv_timeout(PATIENCE);
    release.send(()).unwrap();
    assert_eq!(live, Ok(0));
    changer.join().unwrap();
    reader.join().unwrap().unwrap();
}

#[tokio::test]
async fn only_the_last_offer_is_answered() {
    let mut world = World::new(false, Ice::default());
    world.say("a", trickle(offer_of(1))).await;
    world.say("a", trickle(offer_of(2))).await;
    let ended = [world.event().await, world.event().await, world.event().await];
    assert_eq!(ended, ["a started", "a started", "a ended: the viewer started anew"]);
    assert_eq!(world.answers(), 0, "the camera is not ready");
    world.media.send_modify(|status| status.ready = true);
    let answer = world.answer("a").await;
    assert!(world.is_answer_to(&answer, &offer_of(2)) && !world.is_answer_to(&answer, &offer_of(1)));
    world.say("a", UpKind::Bye { reason: None }).await;
    assert_eq!(world.event().await, "a ended: the viewer left: bye");
    assert_eq!(world.answers(), 0);
    assert_eq!(*world.fanout.watch_demand().borrow(), 0);
}

#[tokio::test]
async fn a_session_that_waits_for_servers_can_be_ended() {
    // A STUN server that never answers.
    let silent = UdpSocket::bind("0.0.0.0:0").unwrap();
    let urls = vec![format!("stun:{}:{}", own_address(), silent.local_addr().unwrap().port())];
    let servers = vec![IceServer { urls, username: None, credential: None }];
    let mut world = World::new(true, Ice { servers, ..Ice::default() });
    world.say("a", UpKind::Offer(Offer { sdp: OFFER.to_owned(), full_ice: true, auth: None })).await;
    assert_eq!(world.event().await, "a started");
    world.sessions.close(None, None).await;
    assert_eq!(world.event().await, "a ended: closed from a dashboard");
    assert_eq!(world.answers(), 0, "nobody waits for it any more");
}

#[tokio::test]
async fn a_session_that_is_refused_after_its_start_ends_too() {
    let mut world = World::new(false, Ice::default());
    world.say("a", trickle(OFFER.to_owned())).await;
    assert_eq!(world.event().await, "a started");
    world.media.send_modify(|status| status.state = CameraState::Lost);
    assert_eq!(world.event().await, "a refused: camera-unavailable");
    let ended = world.event().await;
    assert!(ended.starts_with("a ended: camera-unavailable"), "{ended}");
    world.sessions.shutdown().await;
    assert!(world.events.try_recv().is_err(), "once");
}

#[tokio::test]
async fn a_key_frame_is_asked_for_with_the_offer_and_not_only_once_connected() {
    let mut world = World::new(true, Ice::default());
    world.say("a", trickle(OFFER.to_owned())).await;
    world.answer("a").await;
    let asked = timeout(PATIENCE, world.fanout.key_frame_wanted(Rendition::Full)).await;
    assert_eq!(asked, Ok(KeyFrameReason::Join), "nobody ever connects here");
}

#[tokio::test]
async fn a_panic_ends_one_session_and_leaves_nothing_of_it() {
    let mut world = World::new(true, Ice::default());
    world.say("good", trickle(OFFER.to_owned())).await;
    world.answer("good").await;
    assert_eq!(world.event().await, "good started");
    let before = world.factory.connections().await;
    world.say("bad", trickle(OFFER.to_owned())).await;
    assert_eq!(world.event().await, "bad started");
    assert_eq!(world.event().await, "bad refused: internal");
    let ended = world.event().await;
    assert!(ended.starts_with("bad ended: internal"), "{ended}");
    let live: Vec<String> = world.sessions.live().iter().map(|live| live.viewer.to_string()).collect();
    assert_eq!(live, ["good"]);
    assert_eq!(*world.fanout.watch_demand().borrow(), 1);
    assert_eq!((world.tasks.panics(), world.tasks.ended_early().borrow().clone()), (1, None));
    // Its connection is closed behind it.
    let closed = async {
        while world.factory.connections().await > before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("the connection of the failed session is closed");
    world.say("good", trickle(OFFER.to_owned())).await;
    world.answer("good").await;
}

/// An address of this machine that a session can send to.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    match socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)) {
        Ok(()) => socket.local_addr().unwrap().ip(),
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

fn candidate(address: IpAddr, port: u16, ufrag: &str) -> UpKind {
    UpKind::Candidate(Some(Candidate {
        candidate: format!("candidate:1 1 udp 2122194687 {address} {port} typ host"),
        sdp_mid: Some("0".into()),
        sdp_mline_index: Some(0),
        username_fragment: Some(ufrag.into()),
    }))
}

#[tokio::test]
async fn each_ice_generation_has_candidates_of_its_own() {
    let mut world = World::new(true, Ice::default());
    world.say("a", trickle(OFFER.to_owned())).await;
    world.answer("a").await;
    for port in 1..=200 {
        world.say("a", candidate([192, 0, 2, 1].into(), port, "mhyC")).await;
        if port % 40 == 0 {
            // It has read what came before.
            world.say("a", trickle(OFFER.to_owned())).await;
            world.answer("a").await;
        }
    }
    world.say("a", trickle(restarted("roam"))).await;
    world.answer("a").await;
    let viewer = tokio::net::UdpSocket::bind((own_address(), 0)).await.unwrap();
    let address = viewer.local_addr().unwrap();
    world.say("a", candidate(address.ip(), address.port(), "roam")).await;
    let mut packet = [0; 1500];
    let length = timeout(PATIENCE, viewer.recv(&mut packet)).await.expect("a connectivity check").unwrap();
    let text = String::from_utf8_lossy(&packet[..length]);
    assert!(packet.starts_with(&[0, 1]) && text.contains("roam:"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_task_sleeps_while_nothing_is_due_and_says_when_it_is_gone() {
    let mut world = World::new(true, Ice::default());
    assert!(world.sessions.ping().await);
    let polls = |world: &World| world.tasks.polls()["sessions"];
    let before = polls(&world);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(polls(&world), before);
    world.say("a", candidate([192, 0, 2, 1].into(), 9, "mhyC")).await;
    assert_eq!(world.event().await, "a refused: no-session", "no offer followed");
    let before = polls(&world);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(polls(&world), before);
    assert!(world.tasks.close(Duration::from_secs(1)).await.is_empty());
    assert!(!world.sessions.ping().await);
    assert_eq!(*world.tasks.ended_early().borrow(), None);
}

#[tokio::test]
async fn a_drained_table_still_answers_and_starts_nothing() {
    let mut world = World::new(true, Ice::default());
    world.say("a", trickle(OFFER.to_owned())).await;
    world.answer("a").await;
    world.sessions.shutdown().await;
    assert_eq!(world.event().await, "a started");
    assert_eq!(world.event().await, "a ended: the device stops");
    world.say("b", trickle(OFFER.to_owned())).await;
    assert!(world.sessions.ping().await && world.sessions.live().is_empty());
    world.sessions.shutdown().await;
    assert_eq!(*world.tasks.ended_early().borrow(), None);
}

#[tokio::test]
async fn sessions_end_with_their_group() {
    let mut world = World::new(true, Ice::default());
    world.say("a", trickle(OFFER.to_owned())).await;
    world.answer("a").await;
    assert!(world.tasks.close(PATIENCE).await.is_empty(), "nothing had to be aborted");
    assert_eq!(*world.fanout.watch_demand().borrow(), 0);
}

/// A reader that stands still at each offer whose text has `stuck` until it is released, and fails at each with `fatal`.
fn slow_reader() -> (ReadSdp, std::sync::mpsc::SyncSender<()>) {
    let (release, released) = std::sync::mpsc::sync_channel(16);
    let released = std::sync::Mutex::new(released);
    let read: ReadSdp = Arc::new(move |sdp| {
        assert!(!sdp.contains("fatal"), "on purpose");
        if sdp.contains("stuck") {
            let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        }
        SdpReading::of(sdp)
    });
    (read, release)
}

fn stuck(origin: u32) -> UpKind {
    trickle(offer_of(origin) + "a=stuck\r\n")
}

/// One offer that is read slowly holds up what comes after it for the same session, and nobody else.
#[tokio::test]
async fn while_an_offer_is_read_the_others_are_served() {
    let (read, release) = slow_reader();
    let mut world = World::reading(true, Ice::default(), read);
    world.say("slow", stuck(1)).await;
    world.say("slow", candidate([192, 0, 2, 1].into(), 9, "mhyC")).await;
    world.say("slow", UpKind::Bye { reason: None }).await;
    world.say("slow", trickle(offer_of(2))).await;
    world.say("other", trickle(offer_of(3))).await;
    world.answer("other").await;
    assert_eq!(world.event().await, "other started");
    assert!(world.sessions.ping().await && world.sessions.live().len() == 1);
    release.send(()).unwrap();
    // All in its order: the first one, its end, and the one after it.
    let events = [world.event().await, world.event().await, world.event().await];
    let mut sorted = events.clone();
    sorted.sort();
    assert_eq!(events[0], "slow started");
    assert_eq!(sorted, ["slow ended: the viewer left: bye", "slow started", "slow started"]);
    world.answer("slow").await;
}

/// What is decided for all while an offer is being read holds for that offer, too.
#[tokio::test]
async fn what_is_decided_while_an_offer_is_read_holds_for_it() {
    let (read, release) = slow_reader();
    let mut world = World::reading(true, Ice::default(), read);
    world.say("a", stuck(1)).await;
    world.sessions.set_streaming(false).await;
    release.send(()).unwrap();
    assert_eq!(world.event().await, "a refused: privacy");
    world.sessions.set_streaming(true).await;
    world.say("a", stuck(2)).await;
    world.sessions.close(None, None).await;
    release.send(()).unwrap();
    assert_eq!(world.event().await, "a started");
    assert_eq!(world.event().await, "a ended: closed from a dashboard");
    world.say("a", stuck(3)).await;
    world.sessions.shutdown().await;
    release.send(()).unwrap();
    assert!(world.sessions.ping().await && world.sessions.live().is_empty());
    assert!(world.events.try_recv().is_err(), "nothing starts any more");
    assert!(world.tasks.close(PATIENCE).await.is_empty());
}

#[tokio::test]
async fn an_offer_whose_reading_fails_is_refused_and_the_next_is_read() {
    let (read, _release) = slow_reader();
    let mut world = World::reading(true, Ice::default(), read);
    world.say("a", trickle(offer_of(1) + "a=fatal\r\n")).await;
    assert_eq!(world.event().await, "a refused: internal");
    world.say("a", trickle(offer_of(2))).await;
    world.answer("a").await;
    assert_eq!((world.tasks.panics(), world.tasks.ended_early().borrow().clone()), (1, None));
}

/// However many offers are read too slowly, all are answered.
#[tokio::test(start_paused = true)]
async fn readers_that_never_come_back_are_given_up() {
    let (read, release) = slow_reader();
    let mut world = World::reading(true, Ice::default(), read);
    for at in 0..12 {
        world.say(&format!("v{at}"), stuck(at)).await;
    }
    // Those that are read hold up those that wait for a reader; none is waited for longer than that.
    assert!(world.sessions.ping().await);
    tokio::time::advance(Duration::from_secs(6)).await;
    for _ in 0..12 {
        let event = world.event().await;
        assert!(event.ends_with("refused: internal"), "{event}");
    }
    for _ in 0..12 {
        let _ = release.send(());
    }
}

/// A refused offer of a connection that goes on is an event like any other refusal.
#[tokio::test]
async fn a_refused_renegotiation_is_told_as_an_event() {
    let mut world = World::new(true, Ice::default());
    world.say("a", trickle(OFFER.to_owned())).await;
    world.answer("a").await;
    assert_eq!(world.event().await, "a started");
    world.say("a", trickle(OFFER.replace("H264/90000", "VP8/90000"))).await;
    assert_eq!(world.event().await, "a refused: no-h264");
    assert_eq!(world.sessions.totals().refused.iter().sum::<u64>(), 1);
    assert_eq!(world.sessions.live().len(), 1, "it goes on");
}
