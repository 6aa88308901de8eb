//! What a process uses, and what a bare loop would use in its place.

use std::net::UdpSocket;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Pictures a second of every stream here.
pub const FPS: u32 = 30;
/// RTP header and its extension with a transport-wide number (RFC 3550 section 5.1, RFC 8285).
const HEADER_BYTES: usize = 20;

/// RTP packets and the bytes of their payloads.
#[derive(Clone, Copy)]
pub struct Sent {
    pub bytes: f64,
    pub packets: f64,
}

impl Sent {
    /// For each of `count` viewers since `before`.
    pub fn since(self, before: Self, count: u32) -> Self {
        let each = |now: f64, before: f64| (now - before) / f64::from(count);
        Self { bytes: each(self.bytes, before.bytes), packets: each(self.packets, before.packets) }
    }
}

/// The thread of ours that all viewers' connections live on.
const CONNECTIONS_THREAD: &str = "porthole-peers";

/// Shares of one core.
#[derive(Clone, Copy)]
pub struct Busy {
    pub process: f64,
    /// Of it the connections' thread, without the encoder beside it: steadier for few viewers. NaN where there is none.
    pub connections: f64,
}

/// The share of one core that a process uses for `time`.
pub fn busy(pid: u32, time: Duration) -> Busy {
    let (before, start) = (run_time_s(pid), Instant::now());
    sleep(time);
    let (after, took) = (run_time_s(pid), start.elapsed().as_secs_f64());
    let share = |after: f64, before: f64| (after - before) / took;
    Busy {
        process: share(after.process, before.process),
        connections: share(after.connections, before.connections),
    }
}

/// Time that the process's threads have run, in seconds.
fn run_time_s(pid: u32) -> Busy {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut time = Busy { process: 0.0, connections: f64::NAN };
    for task in tasks {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let Some(run_ns) =
            read("schedstat").split_ascii_whitespace().next().and_then(|run| run.parse::<f64>().ok())
        else {
            continue;
        };
        time.process += run_ns / 1e9;
        if read("comm").trim() == CONNECTIONS_THREAD {
            time.connections = run_ns / 1e9;
        }
    }
    time
}

/// Its resident memory in MiB.
pub fn mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

/// How many threads it has.
pub fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// A core's share that one viewer costs who only encrypts packets and sends them, each with a system call: as many
/// packets as one viewer was sent in `look`, as large as those were, to as many sockets.
pub fn bare(count: u32, sent: Sent, look: Duration) -> f64 {
    // The first of the profiles that both sides offer (RFC 7714).
    let Ok(key) = UnboundKey::new(&AES_128_GCM, &[7; 16]).map(LessSafeKey::new) else { return f64::NAN };
    let pair = || {
        let (from, to) = (UdpSocket::bind("127.0.0.1:0").ok()?, UdpSocket::bind("127.0.0.1:0").ok()?);
        from.connect(to.local_addr().ok()?).ok()?;
        to.set_nonblocking(true).ok()?;
        Some((from, to))
    };
    let Some(pairs) = (0..count).map(|_| pair()).collect::<Option<Vec<_>>>() else { return f64::NAN };
    let picture = Duration::from_secs(1) / FPS;
    let per_picture = sent.packets / look.as_secs_f64() / f64::from(FPS);
    let payload_bytes = sent.bytes / sent.packets;
    if !(per_picture.is_finite() && (1.0..2000.0).contains(&payload_bytes)) {
        return f64::NAN;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in the range just looked at
    let payload_bytes = payload_bytes as usize;
    let (mut owed, mut packet, mut seen) = (0.0, Vec::with_capacity(2048), [0; 2048]);
    let (mut worked, mut pictures, start) = (Duration::ZERO, 0, Instant::now());
    while start.elapsed() < look / 3 {
        let begin = Instant::now();
        owed += per_picture;
        let packets = f64::floor(owed);
        owed -= packets;
        for (from, _) in &pairs {
            let mut left = packets;
            while left >= 1.0 {
                packet.clear();
                packet.resize(HEADER_BYTES, 0x80);
                packet.resize(HEADER_BYTES + payload_bytes, 1);
                let (header, payload) = packet.split_at_mut(HEADER_BYTES);
                let nonce = Nonce::assume_unique_for_key([3; 12]);
                if let Ok(tag) = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload) {
                    packet.extend_from_slice(tag.as_ref());
                    let _ = from.send(&packet);
                }
                left -= 1.0;
            }
        }
        worked += begin.elapsed();
        // The receivers' work is nobody's here.
        for (_, to) in &pairs {
            while to.recv(&mut seen).is_ok() {}
        }
        pictures += 1;
        sleep((picture * pictures).saturating_sub(start.elapsed()));
    }
    worked.as_secs_f64() / (f64::from(pictures) * picture.as_secs_f64()) / f64::from(count)
}
