//! A viewer behind a [`Relay`]: receives, knows which pictures a decoder could have shown, and when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use porthole::cli::watch::count::{CountedPacket, Counter};
use porthole::peer::receiver::{PacketSink, Received, Receiver as Peer, ReceiverEvent};
use porthole::signaling::message::Candidate;
use porthole::stream::h264;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use super::PATIENCE;
use super::relay::{Link, Relay};
use super::viewer::Viewer;

/// As often as browsers ask for a key frame while they have none.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// What arrived.
#[derive(Clone, Default)]
pub struct Seen {
    /// RTP payload: when, and how many bytes.
    pub received: Vec<(Instant, usize)>,
    /// When pictures were whole, and everything that they refer to.
    pub shown: Vec<Instant>,
    /// Pictures that something was missing of for good.
    pub broken: u64,
    /// Width and height in pixels, each time they changed.
    pub sizes: Vec<(u32, u32)>,
    /// RTP timestamps of the key frames of which the first packet arrived.
    pub key_frames: Vec<u32>,
}

#[derive(Default)]
struct State {
    counter: Counter,
    seen: Seen,
    has_asked: bool,
}

impl State {
    /// Looks at what the last packet, or time, has brought about.
    fn look(&mut self, now: Instant) {
        let figures = self.counter.finish(now);
        let shown = usize::try_from(figures.shown).unwrap_or(usize::MAX);
        self.seen.shown.extend((self.seen.shown.len()..shown).map(|_| now));
        self.seen.broken = figures.broken;
    }
}

#[derive(Default)]
struct Sink {
    state: Mutex<State>,
    shown: watch::Sender<usize>,
    /// Told of the first picture that cannot be decoded for want of a key frame.
    lacks_key_frame: Notify,
}

impl Sink {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        state.counter.tick(now);
        state.look(now);
        state.counter.decodes()
    }
}

impl PacketSink for Sink {
    fn packet(&self, packet: Received<'_>) {
        let now = Instant::now();
        let mut state = self.state();
        let Received { sequence, timestamp, marker, payload } = packet;
        state.counter.packet(now, CountedPacket { sequence, timestamp, marker, payload });
        state.seen.received.push((now, payload.len()));
        match size(payload) {
            Some(size) => {
                state.seen.key_frames.push(timestamp);
                if state.seen.sizes.last() != Some(&size) {
                    state.seen.sizes.push(size);
                }
            }
            None if state.seen.key_frames.is_empty() && !state.has_asked => {
                state.has_asked = true;
                self.lacks_key_frame.notify_one();
            }
            None => {}
        }
        state.look(now);
        let shown = state.seen.shown.len();
        drop(state);
        self.shown.send_if_modified(|last| std::mem::replace(last, shown) != shown);
    }
}

/// A connected viewer. Cut off on drop.
pub struct Remote {
    pub id: String,
    pub relay: Relay,
    sink: Arc<Sink>,
    task: AbortHandle,
}

impl Remote {
    /// Watches over `link`; returns when media can flow.
    pub async fn join(broker_port: u16, id: &str, link: Link) -> Self {
        Self::join_by(Viewer::connect(broker_port, id).await, link).await
    }

    /// The same by way of any broker.
    pub async fn join_by(mut mailbox: Viewer, link: Link) -> Self {
        let id = mailbox.id.clone();
        let sink: Arc<Sink> = Arc::default();
        let made = Peer::offer(Arc::clone(&sink) as Arc<dyn PacketSink>).await;
        let (mut peer, sdp) = made.expect("a peer connection");
        mailbox.offer("relayed", &sdp).await;
        let (mut answered, mut at) = (false, None);
        while !answered || at.is_none() {
            let message = mailbox.next("an answer and a candidate").await;
            if message["type"] == "answer" {
                peer.accept(without_candidates(message["sdp"].as_str().expect("sdp")))
                    .await
                    .expect("an answer");
                answered = true;
            } else if at.is_none() {
                at = message["candidate"]["candidate"].as_str().and_then(host_address);
            }
        }
        let relay = Relay::before(at.expect("a candidate"), link).await;
        let candidate = Candidate {
            candidate: candidate_of(relay.address),
            sdp_mid: Some("0".to_owned()),
            sdp_mline_index: Some(0),
            username_fragment: None,
        };
        peer.add_candidate(candidate).await.expect("a candidate");
        let connected = timeout(PATIENCE, async {
            loop {
                match peer.next().await {
                    Some(ReceiverEvent::Connected) => return true,
                    Some(ReceiverEvent::Candidate(_)) => {}
                    _ => return false,
                }
            }
        });
        assert_eq!(connected.await, Ok(true), "{id} does not connect through its relay");
        let receiving = Arc::clone(&sink);
        let task = tokio::spawn(async move {
            let _mailbox = mailbox;
            let mut ticks = interval(ASK_EVERY);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        if receiving.tick() {
                            continue;
                        }
                    }
                    // libwebrtc does not wait when the first thing that comes is no key frame.
                    () = receiving.lacks_key_frame.notified() => {}
                }
                peer.request_key_frame().await;
            }
        });
        Self { id, relay, sink, task: task.abort_handle() }
    }

    /// What arrived until now.
    pub fn seen(&self) -> Seen {
        self.sink.state().seen.clone()
    }

    /// Waits until the picture has been so large.
    pub async fn size(&self, wanted: (u32, u32)) {
        let mut shown = self.sink.shown.subscribe();
        let is_so = || self.seen().sizes.last() == Some(&wanted);
        let came = timeout(PATIENCE, shown.wait_for(|_| is_so())).await;
        assert!(came.is_ok(), "{} has seen {:?}, and no {wanted:?}", self.id, self.seen().sizes);
    }

    /// Waits for `count` more pictures.
    pub async fn pictures(&self, count: usize) {
        let mut shown = self.sink.shown.subscribe();
        let wanted = self.seen().shown.len() + count;
        let came = timeout(PATIENCE, shown.wait_for(|shown| *shown >= wanted)).await;
        assert!(came.is_ok(), "{} got no {count} pictures", self.id);
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The size that a key frame's first packet tells: parameter sets go in one STAP-A (RFC 6184 section 5.7.1).
fn size(payload: &[u8]) -> Option<(u32, u32)> {
    let (header, rest) = payload.split_at_checked(3)?;
    let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
    let set = rest.get(..length).filter(|_| header[0] & 0x1f == 24)?;
    let sps = h264::find_sps(&[&[0, 0, 0, 1], set].concat())?;
    Some((sps.width, sps.height))
}

/// Those name the device itself, and all is to go through the relay.
pub fn without_candidates(sdp: &str) -> String {
    sdp.split_inclusive('\n').filter(|line| !line.starts_with("a=candidate")).collect()
}

/// The relay as a candidate.
pub fn candidate_of(address: SocketAddr) -> String {
    format!("candidate:1 1 udp 2130706431 {} {} typ host", address.ip(), address.port())
}

/// Of a candidate over UDP and IPv4 that names the machine itself.
pub fn host_address(candidate: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = candidate.split_ascii_whitespace().collect();
    let is_host = words.get(2)?.eq_ignore_ascii_case("udp") && words.get(7) == Some(&"host");
    let ip: std::net::Ipv4Addr = words.get(4)?.parse().ok()?;
    is_host.then_some(SocketAddr::from((ip, words.get(5)?.parse().ok()?)))
}
