//! A network that is not kind, in user space: a UDP relay with loss, bursts, delay, jitter, and a rate with its queue.

use std::collections::VecDeque;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// What the network does to datagrams, in both directions alike; only the rate is that towards the viewer.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Lost of all, 0 to 1.
    pub loss: f64,
    /// How many are lost in a row, in the mean.
    pub burst: f64,
    /// There and back together.
    pub round_trip: Duration,
    /// Each way takes up to this much longer; nothing overtakes.
    pub jitter: Duration,
    /// Bit/s; infinite for no limit.
    pub rate: f64,
    /// What would wait for longer than this is lost.
    pub queue: Duration,
    /// Beside that, each so many-th packet of the media is lost, but none of its repairs; 0 for none.
    pub media_lost_every: u32,
    /// All that belongs to the very first picture is lost, its repairs too.
    pub is_first_picture_lost: bool,
    /// Of what chance decides, from the relay's beginning.
    pub seed: u64,
}

/// Nothing happens to anything.
pub const CLEAN: Link = Link {
    loss: 0.0,
    burst: 1.0,
    round_trip: Duration::ZERO,
    jitter: Duration::ZERO,
    rate: f64::INFINITY,
    queue: Duration::from_millis(500),
    media_lost_every: 0,
    is_first_picture_lost: false,
    seed: 0,
};

/// One direction. Decides when a datagram leaves, if it does.
struct Pipe {
    rng: StdRng,
    losing: bool,
    /// SSRC of the first RTP packet, and how many of it came.
    media: Option<([u8; 4], u32)>,
    /// RTP timestamp of the first picture: its repairs carry it too.
    first_picture: Option<u32>,
    busy_until: Option<Instant>,
    last_out: Option<Instant>,
    waiting: VecDeque<(Instant, Vec<u8>)>,
}

impl Pipe {
    fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self {
            rng,
            losing: false,
            media: None,
            first_picture: None,
            busy_until: None,
            last_out: None,
            waiting: VecDeque::new(),
        }
    }

    /// Two states: in one everything is lost, in the other nothing (Gilbert's model).
    fn loses(&mut self, link: &Link) -> bool {
        let ends = 1.0 / link.burst.max(1.0);
        if link.loss >= 1.0 {
            return true;
        }
        let begins = (ends * link.loss / (1.0 - link.loss)).min(1.0);
        self.losing = self.rng.random_bool(if self.losing { 1.0 - ends } else { begins });
        self.losing
    }

    fn loses_media(&mut self, link: &Link, datagram: &[u8]) -> bool {
        let [0x80..=0xbf, 0..192 | 224.., _, _, timestamp @ ..] = datagram else { return false };
        let Some((timestamp, ssrc)) = timestamp.split_first_chunk() else { return false };
        let Some(ssrc) = ssrc.first_chunk() else { return false };
        let timestamp = u32::from_be_bytes(*timestamp);
        if *self.first_picture.get_or_insert(timestamp) == timestamp && link.is_first_picture_lost {
            return true;
        }
        let (media, count) = self.media.get_or_insert((*ssrc, 0));
        *count += u32::from(media == ssrc);
        media == ssrc && link.media_lost_every > 0 && count.is_multiple_of(link.media_lost_every)
    }

    fn take(&mut self, now: Instant, link: &Link, rate: f64, datagram: &[u8]) {
        if self.loses(link) | self.loses_media(link, datagram) {
            return;
        }
        let mut out = now;
        if rate.is_finite() {
            let start = self.busy_until.map_or(now, |busy| busy.max(now));
            if start - now > link.queue {
                return;
            }
            out = start + Duration::from_secs_f64(datagram.len() as f64 * 8.0 / rate);
            self.busy_until = Some(out);
        }
        out += link.round_trip / 2 + link.jitter.mul_f64(self.rng.random::<f64>());
        out = self.last_out.map_or(out, |last| last.max(out));
        self.last_out = Some(out);
        self.waiting.push_back((out, datagram.to_vec()));
    }

    fn due(&mut self, now: Instant) -> Option<Vec<u8>> {
        let due = self.waiting.front().is_some_and(|(at, _)| *at <= now);
        if due { self.waiting.pop_front().map(|(_, datagram)| datagram) } else { None }
    }
}

/// What came in from the device.
#[derive(Default)]
struct Seen {
    /// Sizes by time.
    sent: Vec<(Instant, usize)>,
    first_picture: Option<u32>,
}

type Log = Arc<Mutex<Seen>>;

/// A relay in front of one address of the device. Ends on drop.
pub struct Relay {
    /// Where the viewer is to send to.
    pub address: SocketAddr,
    link: Arc<Mutex<Link>>,
    log: Log,
    task: AbortHandle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Stands before `device`.
    pub async fn before(device: SocketAddr, link: Link) -> Self {
        let bind = |ip: IpAddr| async move { UdpSocket::bind((ip, 0)).await.expect("a socket") };
        // On this machine's side of the way to it.
        let any: IpAddr = if device.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
        let way = bind(any).await;
        way.connect(device).await.expect("a way to the device");
        let near = way.local_addr().expect("its address").ip();
        let (outer, inner) = (bind(near).await, bind(near).await);
        let address = outer.local_addr().expect("its address");
        let (link, log) = (Arc::new(Mutex::new(link)), Log::default());
        let task = tokio::spawn(run(outer, inner, device, Arc::clone(&link), Arc::clone(&log)));
        Self { address, link, log, task: task.abort_handle() }
    }

    /// The network changes.
    pub fn set(&self, link: Link) {
        *lock(&self.link) = link;
    }

    /// What the device has sent: when, and how many bytes.
    pub fn sent(&self) -> Vec<(Instant, usize)> {
        lock(&self.log).sent.clone()
    }

    /// The RTP timestamp of the first picture that the device sent.
    pub fn first_picture(&self) -> Option<u32> {
        lock(&self.log).first_picture
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(outer: UdpSocket, inner: UdpSocket, device: SocketAddr, link: Arc<Mutex<Link>>, log: Log) {
    let seed = lock(&link).seed * 2;
    let (mut up, mut down) = (Pipe::new(seed + 1), Pipe::new(seed + 2));
    let (mut from_viewer, mut from_device) = ([0; 2048], [0; 2048]);
    let mut viewer = None;
    loop {
        let next = up.waiting.front().into_iter().chain(down.waiting.front()).map(|(at, _)| *at).min();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            Ok((length, from)) = outer.recv_from(&mut from_viewer) => {
                viewer = Some(from);
                up.take(Instant::now(), &lock(&link).clone(), f64::INFINITY, &from_viewer[..length]);
            }
            Ok(length) = inner.recv(&mut from_device) => {
                let (now, link) = (Instant::now(), *lock(&link));
                down.take(now, &link, link.rate, &from_device[..length]);
                let mut log = lock(&log);
                log.sent.push((now, length));
                log.first_picture = down.first_picture;
            }
            () = timer => {}
        }
        let now = Instant::now();
        while let Some(datagram) = up.due(now) {
            let _ = inner.send_to(&datagram, device).await;
        }
        while let Some(datagram) = down.due(now) {
            if let Some(viewer) = viewer {
                let _ = outer.send_to(&datagram, viewer).await;
            }
        }
    }
}
