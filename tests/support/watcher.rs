//! A viewer in this process that counts what it gets, of the daemon in the lab machine: for tests that wait for pictures, and not for
//! the end of a run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use porthole::cli::watch::count::{CountedPacket, Counter, ViewerFigures};
use porthole::peer::receiver::{PacketSink, Received, Receiver as Peer, ReceiverEvent};
use porthole::signaling::message::Candidate;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::PATIENCE;
use super::lab::HOST;
use super::viewer::Viewer;

const SESSION: &str = "lab";
/// How often a key frame is asked for by who can decode nothing.
const TICK: Duration = Duration::from_millis(300);

/// What a viewer got.
#[derive(Default)]
struct Seen {
    counter: Counter,
    shown: Vec<Instant>,
    /// Sequence number and timestamp of the newest packet.
    newest: Option<(u16, u32)>,
    /// RTP timestamps that went back, in the order of sending.
    backward: usize,
    /// What ended the session.
    end: Option<String>,
}

#[derive(Default)]
struct Sink {
    seen: Mutex<Seen>,
    shown: watch::Sender<usize>,
}

impl Sink {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what the last packet, or time, has brought about.
    fn look(&self, now: Instant, mut seen: MutexGuard<'_, Seen>) {
        let shown = usize::try_from(seen.counter.finish(now).shown).unwrap_or(usize::MAX);
        let known = seen.shown.len();
        seen.shown.extend((known..shown).map(|_| now));
        drop(seen);
        self.shown.send_if_modified(|last| std::mem::replace(last, shown) != shown);
    }

    /// Lets time pass. Whether the next picture can be decoded.
    fn tick(&self) -> bool {
        let now = Instant::now();
        let mut seen = self.seen();
        seen.counter.tick(now);
        let decodes = seen.counter.decodes();
        self.look(now, seen);
        decodes
    }

    fn ended(&self, by: String) {
        self.seen().end.get_or_insert(by);
    }
}

impl PacketSink for Sink {
    fn packet(&self, packet: Received<'_>) {
        let now = Instant::now();
        let mut seen = self.seen();
        let Received { sequence, timestamp, marker, payload } = packet;
        seen.counter.packet(now, CountedPacket { sequence, timestamp, marker, payload });
        // What is sent again comes late.
        let is_newer = |last: u16| sequence.wrapping_sub(last).cast_signed() > 0;
        if seen.newest.is_none_or(|(last, _)| is_newer(last)) {
            let step = seen.newest.map_or(0, |(_, last)| timestamp.wrapping_sub(last).cast_signed());
            seen.backward += usize::from(step < 0);
            seen.newest = Some((sequence, timestamp));
        }
        self.look(now, seen);
    }
}

/// As the device tells it; `None` for the end of them.
fn candidate_of(told: &Value) -> Option<Candidate> {
    Some(Candidate {
        candidate: told["candidate"].as_str()?.to_owned(),
        sdp_mid: told["sdpMid"].as_str().map(str::to_owned),
        sdp_mline_index: Some(0),
        username_fragment: None,
    })
}

/// A viewer with one session, which is never begun anew. Cut off on drop, or says goodbye with [`Self::leave`].
pub struct Watcher {
    id: String,
    joined: Instant,
    sink: Arc<Sink>,
    goodbye: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Offers, and has its answer.
    pub async fn join(id: &str) -> Self {
        let mut mailbox = Viewer::at(HOST, 1883, id).await;
        let joined = Instant::now();
        let sink: Arc<Sink> = Arc::default();
        let made = Peer::offer(Arc::clone(&sink) as Arc<dyn PacketSink>).await;
        let (peer, sdp) = made.expect("a peer connection");
        mailbox.offer(SESSION, &sdp).await;
        let answer = mailbox.expect("answer").await;
        peer.accept(answer["sdp"].as_str().expect("sdp").to_owned()).await.expect("an answer");
        let goodbye: Arc<Notify> = Arc::default();
        let task = tokio::spawn(receive(mailbox, peer, Arc::clone(&sink), Arc::clone(&goodbye)));
        Self { id: id.to_owned(), joined, sink, goodbye, task }
    }

    /// Waits for so many pictures from now on that a decoder can show.
    pub async fn shows(&self, pictures: usize, what: &str) {
        let mut shown = self.sink.shown.subscribe();
        let wanted = *shown.borrow() + pictures;
        // Each of them may take its time on a machine that is emulated beside other work.
        while *shown.borrow_and_update() < wanted {
            let came = timeout(PATIENCE, shown.changed()).await;
            let end = self.sink.seen().end.clone();
            assert!(came.is_ok(), "{} gets no picture {what}: {end:?}, {:#?}", self.id, self.figures());
        }
    }

    /// Waits for pictures until what came fits.
    pub async fn until(&self, what: &str, fits: impl Fn(&ViewerFigures) -> bool) {
        let deadline = Instant::now() + 3 * PATIENCE;
        while !fits(&self.figures()) {
            assert!(Instant::now() < deadline, "{}: not {what}: {:#?}", self.id, self.figures());
            self.shows(1, what).await;
        }
    }

    /// What came until now.
    pub fn figures(&self) -> ViewerFigures {
        self.sink.seen().counter.finish(Instant::now())
    }

    /// From the offer to the first picture.
    pub fn first_picture_after(&self) -> Duration {
        let first = self.sink.seen().shown.first().copied();
        first.map_or(Duration::MAX, |first| first - self.joined)
    }

    /// The longest time between two pictures of those from `since` on, with the last one before.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let seen = self.sink.seen();
        let first = seen.shown.partition_point(|at| *at < since).saturating_sub(1);
        let pictures = &seen.shown[first..];
        pictures.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// It is the first session still, its RTP time went forward, and each key frame was one to begin at.
    pub fn assert_well(&self, what: &str) {
        let seen = self.sink.seen();
        let figures = seen.counter.finish(Instant::now());
        assert_eq!(seen.end, None, "{what}: the session of {} ended", self.id);
        assert_eq!(seen.backward, 0, "{what}: RTP time of {} went back: {figures:#?}", self.id);
        assert_eq!(figures.bare_key_frames, 0, "{what}: {} got a bare key frame: {figures:#?}", self.id);
    }

    /// As a page does that is closed.
    pub async fn leave(mut self) {
        self.goodbye.notify_one();
        let ended = timeout(PATIENCE, &mut self.task).await;
        assert!(ended.is_ok(), "{} does not come to its end", self.id);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(mut mailbox: Viewer, mut peer: Peer, sink: Arc<Sink>, goodbye: Arc<Notify>) {
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            () = goodbye.notified() => {
                mailbox.say(json!({"type": "bye", "session": SESSION})).await;
                return peer.close().await;
            }
            message = mailbox.next("a candidate, or nothing") => {
                if message["type"] != "candidate" {
                    return sink.ended(message.to_string());
                }
                if let Some(candidate) = candidate_of(&message["candidate"]) {
                    peer.add_candidate(candidate).await.expect("a candidate");
                }
            }
            event = peer.next() => match event {
                Some(ReceiverEvent::Candidate(candidate)) => {
                    mailbox.say(json!({"type": "candidate", "session": SESSION, "candidate": candidate})).await;
                }
                Some(ReceiverEvent::Connected) => {}
                Some(ReceiverEvent::Ended) | None => return sink.ended("the connection is lost".to_owned()),
            },
            _ = ticks.tick() => {
                if !sink.tick() {
                    peer.request_key_frame().await;
                }
            }
        }
    }
}
