//! Pictures over a path that loses both ways, in simulated time, to a viewer that asks for packets as libwebrtc does: how long
//! nothing new is shown.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc::crypto::default_provider;
use rtc::rtcp;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc, SymbolTypeTcc,
    TransportLayerCc,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::rtp;
use rtc::rtp::header::Header;
use rtc::shared::marshal::Unmarshal;
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::*;
use crate::base::tasks::TaskGroup;
use crate::peer::net::recorded_inbox::RecordedInbox;
use crate::peer::net::selected_path::SelectedPath;
use crate::peer::rtp::keys::Master;
use crate::peer::rtp::keys::tests::agreed;
use crate::peer::rtp::rtp_header::Extensions;
use crate::peer::rtp::rtp_sender::Negotiated;
use crate::signaling::topic::Id;
use crate::stream::Rendition;

const SSRC: u32 = 7;
const RTX_SSRC: u32 = 8;
const TRANSPORT_CC: u8 = 5;
const STEP: Duration = Duration::from_millis(5);
const STEPS_A_SECOND: u32 = 200;
/// In steps: pictures, feedback on single packets, a look for what is to be asked for again.
const PICTURE: u32 = 7;
const FEEDBACK: u32 = 10;
const NACK_LOOK: u32 = 4;
/// libwebrtc asks again after the round trip, which a viewer that only receives takes for this, and so often.
const ASK_AGAIN: Duration = Duration::from_millis(100);
const ASK_MOST: u8 = 10;
const FULL_RATE: f64 = 2e6;
const KEY_FRAME_GAP: Duration = Duration::from_secs(1);

/// What a path does, both ways alike.
#[derive(Clone, Copy, Debug)]
struct Path {
    way: Duration,
    loss: f64,
}

/// One direction.
struct Pipe {
    rng: StdRng,
    under_way: VecDeque<(Instant, Vec<u8>)>,
}

impl Pipe {
    fn take(&mut self, now: Instant, path: Path, datagram: Vec<u8>) {
        if !self.rng.random_bool(path.loss) {
            self.under_way.push_back((now + path.way, datagram));
        }
    }

    fn due(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.under_way.pop_front_if(|(at, _)| *at <= now).map(|(_, datagram)| datagram)
    }
}

/// The far end.
struct Viewer {
    opening: Context,
    protecting: Context,
    first: Option<u16>,
    /// Packets by number from the first one on: time, and whether they end their picture.
    there: BTreeMap<u16, (u32, bool)>,
    /// What is missing: when it was asked for, and how often.
    missing: BTreeMap<u16, (Option<Instant>, u8)>,
    newest: u16,
    /// The first that is not there.
    next: u16,
    shown: Vec<Instant>,
    start: Instant,
    reported: u16,
    reports: u8,
    arrivals: BTreeMap<u16, Instant>,
}

impl Viewer {
    fn receive(&mut self, now: Instant, datagram: &[u8]) {
        let header = Header::unmarshal(&mut &datagram[..]).unwrap();
        let number = header.get_extension(TRANSPORT_CC).unwrap();
        self.arrivals.insert(u16::from_be_bytes([number[0], number[1]]), now);
        let mut sequence = header.sequence_number;
        if header.ssrc == RTX_SSRC {
            let mut opened = self.opening.decrypt_rtp(datagram).unwrap().freeze();
            let payload = rtp::Packet::unmarshal(&mut opened).unwrap().payload;
            sequence = u16::from_be_bytes([payload[0], payload[1]]);
        }
        let at = sequence.wrapping_sub(*self.first.get_or_insert(sequence));
        self.there.insert(at, (header.timestamp, header.marker));
        self.missing.remove(&at);
        let new = self.newest + 1..at;
        self.missing.extend(new.map(|lost| (lost, (None, 0))));
        self.newest = self.newest.max(at);
        while let Some((_, ends)) = self.there.get(&self.next) {
            self.next += 1;
            if *ends {
                self.shown.push(now);
            }
        }
    }

    /// A whole key frame of so many packets is shown whatever is missing before it.
    fn key_frame(&mut self, now: Instant, packets: usize) {
        let mut of_time: BTreeMap<u32, BTreeSet<u16>> = BTreeMap::new();
        for (at, (time, _)) in self.there.range(self.next..) {
            of_time.entry(*time).or_default().insert(*at);
        }
        let whole = of_time.into_values().find(|numbers| numbers.len() == packets);
        if let Some(last) = whole.and_then(|numbers| numbers.last().copied()) {
            self.next = last + 1;
            self.missing.retain(|at, _| *at > last);
            self.shown.push(now);
        }
    }

    fn asks(&mut self, now: Instant) -> Option<Vec<u8>> {
        let first = self.first?;
        self.missing.retain(|_, (_, tries)| *tries < ASK_MOST);
        let due =
            self.missing.iter_mut().filter(|(_, (asked, _))| asked.is_none_or(|at| now >= at + ASK_AGAIN));
        let due: Vec<u16> = due
            .map(|(at, (asked, tries))| {
                (*asked, *tries) = (Some(now), *tries + 1);
                first.wrapping_add(*at)
            })
            .collect();
        let nacks = nack_pairs_from_sequence_numbers(&due);
        (!due.is_empty())
            .then(|| self.protect(&TransportLayerNack { sender_ssrc: 1, media_ssrc: SSRC, nacks }))
    }

    /// On all packets since the last report.
    fn report(&mut self) -> Option<Vec<u8>> {
        const REFERENCE: Duration = Duration::from_millis(64);
        let arrivals = std::mem::take(&mut self.arrivals);
        let newest = *arrivals.last_key_value()?.0;
        let mut at = Duration::ZERO;
        let (mut symbols, mut recv_deltas, mut reference_time) = (Vec::new(), Vec::new(), None);
        for number in self.reported..=newest {
            let Some(arrival) = arrivals.get(&number) else {
                symbols.push(SymbolTypeTcc::PacketNotReceived);
                continue;
            };
            let arrival = *arrival - self.start;
            if reference_time.is_none() {
                let periods = u32::try_from(arrival.as_millis() / REFERENCE.as_millis()).unwrap();
                (reference_time, at) = (Some(periods), REFERENCE * periods);
            }
            let delta = i64::try_from(arrival.saturating_sub(at).as_micros()).unwrap();
            let symbol = if delta < 63_750 {
                SymbolTypeTcc::PacketReceivedSmallDelta
            } else {
                SymbolTypeTcc::PacketReceivedLargeDelta
            };
            symbols.push(symbol);
            recv_deltas.push(RecvDelta { type_tcc_packet: symbol, delta });
            at = arrival;
        }
        let chunk = |symbols: &[SymbolTypeTcc]| {
            PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: SymbolSizeTypeTcc::TwoBit,
                symbol_list: symbols.to_vec(),
            })
        };
        let report = TransportLayerCc {
            sender_ssrc: 1,
            media_ssrc: SSRC,
            base_sequence_number: self.reported,
            packet_status_count: u16::try_from(symbols.len()).unwrap(),
            reference_time: reference_time?,
            fb_pkt_count: self.reports,
            packet_chunks: symbols.chunks(7).map(chunk).collect(),
            recv_deltas,
        };
        (self.reports, self.reported) = (self.reports.wrapping_add(1), newest + 1);
        Some(self.protect(&report))
    }

    fn protect(&mut self, packet: &dyn rtcp::Packet) -> Vec<u8> {
        self.protecting.encrypt_rtcp(&packet.marshal().unwrap()).unwrap().to_vec()
    }
}

/// A sender, its path and its viewer.
struct World {
    socket: UdpSocket,
    media: MediaSender,
    net: Net,
    video_sender: VideoSender,
    live: Arc<SessionStats>,
    fanout: Fanout,
    viewer: Viewer,
    path: Path,
    down: Pipe,
    up: Pipe,
    now: Instant,
    steps: u32,
    last_key_frame: Option<Instant>,
    wants_key_frame: bool,
    key_frame_packets: usize,
}

impl World {
    async fn new(path: Path, seed: u64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let now = Instant::now();
        let mut net = Net::new(None, None, &RecordedInbox::new().1, &TaskGroup::new());
        net.udp.bind(&[IpAddr::from([127, 0, 0, 1])], now).unwrap();
        // The system has to call the socket writable.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let fanout = Fanout::default();
        let live = Arc::new(SessionStats::new(Id::new("tab").unwrap(), Id::default_session(), 1, None));
        live.control.wanted.store(2_000_000, Ordering::Relaxed);
        let mut media = MediaSender::new(1, Arc::clone(&live.feedback), fanout.clone());
        let from = net.udp.addresses().next().unwrap();
        media.path = Some(SelectedPath::Udp { from, to: socket.local_addr().unwrap() });
        let keys = agreed(ProtectionProfile::AeadAes128Gcm);
        let negotiated = Negotiated {
            ssrc: SSRC,
            payload_type: 102,
            rtx: Some((RTX_SSRC, 103)),
            fec: None,
            nack: true,
            extensions: Extensions { transport_cc: Some(TRANSPORT_CC), ..Default::default() },
        };
        media.start(&negotiated, &keys).unwrap();
        let provider = default_provider().unwrap();
        let context = |master: &Master| {
            let salt = master.salt(keys.profile);
            Context::new(master.key.as_ref(), salt, keys.profile, None, None, provider.crypto()).unwrap()
        };
        let viewer = Viewer {
            opening: context(&keys.local),
            protecting: context(&keys.remote),
            first: None,
            there: BTreeMap::new(),
            missing: BTreeMap::new(),
            newest: 0,
            next: 0,
            shown: Vec::new(),
            start: now,
            reported: 0,
            reports: 0,
            arrivals: BTreeMap::new(),
        };
        let pipe = |seed| Pipe { rng: StdRng::seed_from_u64(seed), under_way: VecDeque::new() };
        Self {
            socket,
            media,
            net,
            video_sender: VideoSender::new(0, fanout.clone(), Arc::clone(&live)),
            live,
            fanout,
            viewer,
            path,
            down: pipe(seed * 2 + 1),
            up: pipe(seed * 2 + 2),
            now,
            steps: 0,
            last_key_frame: None,
            wants_key_frame: true,
            key_frame_packets: 0,
        }
    }

    async fn run(&mut self, seconds: u32) {
        for _ in 0..seconds * STEPS_A_SECOND {
            let rate = self.live.feedback.rate(self.now);
            if self.steps.is_multiple_of(PICTURE) {
                self.picture(rate).await;
            }
            self.video_sender.send(self.now, rate, &mut self.media, &mut self.net);
            assert!(self.media.finish(&mut self.net, self.now));
            self.carry();
            self.now += STEP;
            self.steps += 1;
        }
    }

    /// As the encoder makes one that follows the estimate.
    async fn picture(&mut self, rate: Option<f64>) {
        let asked = timeout(Duration::ZERO, self.fanout.key_frame_wanted(Rendition::Full)).await;
        self.wants_key_frame |= asked.is_ok();
        let is_free = self.last_key_frame.is_none_or(|at| self.now - at >= KEY_FRAME_GAP);
        let key_frame = self.wants_key_frame && is_free;
        let bits = rate.unwrap_or(f64::INFINITY).clamp(2e5, FULL_RATE) * (STEP * PICTURE).as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bytes = (bits / 8.0) as usize * if key_frame { 5 } else { 1 };
        let mut data = vec![0, 0, 0, 1, if key_frame { 0x65 } else { 0x41 }];
        data.resize(bytes, 0xaa);
        let media_time = self.now - self.viewer.start;
        let unit = AccessUnit::new(Bytes::from(data), media_time, self.now, self.now, key_frame);
        if key_frame {
            (self.wants_key_frame, self.last_key_frame) = (false, Some(self.now));
            self.key_frame_packets = packetize(&unit).len();
        }
        self.video_sender.take(self.now, &unit, rate);
    }

    fn carry(&mut self) {
        let mut datagram = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            if !(192..=223).contains(&datagram[1]) {
                self.down.take(self.now, self.path, datagram[..length].to_vec());
            }
        }
        while let Some(datagram) = self.down.due(self.now) {
            self.viewer.receive(self.now, &datagram);
        }
        self.viewer.key_frame(self.now, self.key_frame_packets);
        let feedback = self.steps.is_multiple_of(FEEDBACK).then(|| self.viewer.report()).flatten();
        let nack = self.steps.is_multiple_of(NACK_LOOK).then(|| self.viewer.asks(self.now)).flatten();
        for datagram in feedback.into_iter().chain(nack) {
            self.up.take(self.now, self.path, datagram);
        }
        while let Some(datagram) = self.up.due(self.now) {
            self.media.received(&mut self.net, &datagram, "127.0.0.1:9".parse().unwrap(), self.now);
        }
    }

    /// The longest time without a new picture from `since` on, in ms.
    fn longest_gap(&self, since: Instant) -> u128 {
        let times: Vec<Instant> =
            self.viewer.shown.iter().copied().filter(|at| *at >= since).chain([self.now]).collect();
        times.windows(2).map(|two| (two[1] - two[0]).as_millis()).max().unwrap_or(u128::MAX)
    }
}

/// The longest gaps over this path, with other losses each time.
async fn gaps(path: Path, seeds: u64, seconds: u32) -> Vec<u128> {
    let mut gaps = Vec::new();
    for seed in 0..seeds {
        let mut world = World::new(Path { loss: 0.0, ..path }, seed).await;
        world.run(2).await;
        let since = world.now;
        world.path = path;
        world.run(seconds).await;
        let skipped = world.live.skipped.load(Ordering::Relaxed);
        let rate = world.live.feedback.rate(world.now);
        println!("{path:?}, {seed}: {} ms, {skipped} left out, {rate:?}", world.longest_gap(since));
        gaps.push(world.longest_gap(since));
    }
    gaps
}

#[tokio::test]
async fn nobody_stands_still_because_packets_are_lost() {
    let all = async {
        let path = Path { way: Duration::from_millis(25), loss: 0.05 };
        let gaps = gaps(path, 24, 12).await;
        assert!(gaps.iter().all(|gap| *gap < 400), "{gaps:?}");
    };
    LocalSet::new().run_until(all).await;
}
