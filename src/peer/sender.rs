//! Access units of the fan-out to RTP packets of one viewer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::packetizer::Payloader;
use rtc::rtp::{Header, Packet};
use tokio::time::timeout;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::burst::Burst;
use super::factory::{ABS_CAPTURE_TIME_URI, CLOCK_RATE_HZ, Connection, PLAYOUT_DELAY_URI};
use super::latency::ntp_q32;
use super::live::{Live, ms};
use super::rate::{Pacer, Path, Thinner, Verdict};
use crate::fanout::{Fanout, Subscription};
use crate::media::AccessUnit;

/// RTP payload bytes that keep the whole packet (IPv6, UDP, SRTP tag, RTP header with
/// extensions, RTX header) within the 1200 bytes that every path on the internet carries.
const MAX_PAYLOAD_BYTES: usize = 1100;

/// The capture time goes with key frames, and at least this often.
const CAPTURE_TIME_EVERY: Duration = Duration::from_secs(1);

/// When this much is under way, the path became narrower while what waits was made for a wider one.
const BLOCKED: Duration = Duration::from_millis(300);

/// The negotiated numbers that every packet of one viewer carries.
pub(super) struct Stamp {
    ssrc: u32,
    payload_type: u8,
    playout_delay: Option<(u8, Bytes)>,
    capture_time_id: Option<u8>,
    capture_time_sent: Option<Instant>,
    sequence_number: u16,
    timestamp_base: u32,
}

impl Stamp {
    /// Reads what was negotiated; call after the local description is set.
    pub async fn of(connection: &Connection) -> Option<Self> {
        let parameters = connection.sender.get_parameters().await.ok()?.rtp_parameters;
        let id_of = |uri| {
            let extension = parameters.header_extensions.iter().find(|extension| extension.uri == uri)?;
            u8::try_from(extension.id).ok()
        };
        let playout_delay = playout_delay(connection.playout_delay_ms);
        Some(Self {
            ssrc: connection.ssrc,
            payload_type: parameters.codecs.first()?.payload_type,
            playout_delay: id_of(PLAYOUT_DELAY_URI).map(|id| (id, playout_delay)),
            capture_time_id: id_of(ABS_CAPTURE_TIME_URI),
            capture_time_sent: None,
            sequence_number: rand::random(),
            timestamp_base: rand::random(),
        })
    }

    /// A packet; its number comes with [`Self::number`].
    fn packet(&self, payload: Bytes, media_time: Duration, marker: bool) -> Packet {
        let header = Header {
            version: 2,
            marker,
            payload_type: self.payload_type,
            timestamp: self.timestamp_base.wrapping_add(rtp_time(media_time)),
            ssrc: self.ssrc,
            ..Default::default()
        };
        Packet { header, payload }
    }

    /// Tells on a picture's first packet how long to hold it; receivers take it from there.
    fn mark_playout_delay(&self, packet: &mut Packet) {
        if let Some((id, delay)) = &self.playout_delay {
            // Fails only for ids that negotiation cannot give.
            let _ = packet.header.set_extension(*id, delay.clone());
        }
    }

    /// Numbers a packet that leaves now, so that those which never leave are not missed.
    fn number(&mut self, packet: &mut Packet) {
        packet.header.sequence_number = self.sequence_number;
        self.sequence_number = self.sequence_number.wrapping_add(1);
    }

    /// Marks the first packet of a key frame, and of one unit a second, with the time of capture.
    fn mark_capture_time(&mut self, packet: &mut Packet, unit: &AccessUnit, now: Instant) {
        let Some(id) = self.capture_time_id else { return };
        let recent = |at: Instant| now.saturating_duration_since(at) < CAPTURE_TIME_EVERY;
        if !unit.key_frame && self.capture_time_sent.is_some_and(recent) {
            return;
        }
        let age = now.saturating_duration_since(unit.captured_at);
        // A clock before 1970 is no clock.
        let Ok(since_unix) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
        let value = ntp_q32(since_unix.saturating_sub(age)).to_be_bytes();
        self.capture_time_sent = Some(now);
        let _ = packet.header.set_extension(id, Bytes::copy_from_slice(&value));
    }
}

/// The extension's two 12-bit values in units of 10 ms, least and most, here the same.
fn playout_delay(ms: u32) -> Bytes {
    let units = (ms / 10).min(0xfff);
    let [_, high, middle, low] = ((units << 12) | units).to_be_bytes();
    Bytes::copy_from_slice(&[high, middle, low])
}

/// Media time in the 90 kHz clock, modulo 2^32 as RFC 3550 wants it.
fn rtp_time(media_time: Duration) -> u32 {
    let ticks = media_time.as_nanos() * u128::from(CLOCK_RATE_HZ) / 1_000_000_000;
    u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or_default()
}

/// The RTP payloads of `unit` (RFC 6184 packetization mode 1), made once for all viewers.
pub fn payloads(unit: &AccessUnit) -> &[Bytes] {
    unit.payloads.get_or_init(|| {
        H264Payloader::default().payload(MAX_PAYLOAD_BYTES, &unit.data).unwrap_or_else(|error| {
            tracing::warn!(%error, "an access unit could not be packetised and is skipped");
            Vec::new()
        })
    })
}

/// A packet on its way out, and what its leaving means for its picture.
struct Outgoing {
    packet: Packet,
    /// When the picture left the encoder.
    encoded_at: Instant,
    is_first: bool,
    is_last: bool,
}

/// Sends until the connection closes.
pub(super) async fn run(
    track: Arc<TrackLocalStaticRTP>,
    burst: Burst,
    stamp: Stamp,
    mut subscription: Subscription,
    fanout: Fanout,
    live: Arc<Live>,
) {
    let mut sending = Sending {
        stamp,
        fanout,
        live,
        thinner: Thinner::default(),
        pacer: Pacer::default(),
        first_out: None,
    };
    loop {
        let rate = sending.live.feedback.rate(Instant::now());
        let unit = if sending.pacer.is_empty() {
            Some(subscription.next().await)
        } else {
            timeout(sending.pacer.wait(rate), subscription.next()).await.ok()
        };
        let now = Instant::now();
        if let Some(unit) = unit {
            sending.take(now, &unit, rate);
        }
        sending.pacer.fill(now, rate);
        let (mut bytes, mut packets, mut marks) = (0, Vec::new(), Vec::new());
        while let Some(mut out) = sending.pacer.pop() {
            sending.stamp.number(&mut out.packet);
            bytes += out.packet.payload.len();
            marks.push((out.encoded_at, out.is_first, out.is_last));
            packets.push(out.packet);
        }
        if burst.send(track.as_ref(), packets).await.is_err() {
            return;
        }
        for mark in marks {
            sending.has_left(mark);
        }
        if bytes > 0 {
            sending.live.feedback.sent(now, bytes);
            sending.live.sent.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

/// What one viewer's packets are made with, and those that wait.
struct Sending {
    stamp: Stamp,
    fanout: Fanout,
    live: Arc<Live>,
    thinner: Thinner,
    pacer: Pacer<Outgoing>,
    /// When the first packet of the picture that is being sent left.
    first_out: Option<Instant>,
}

impl Sending {
    /// Makes packets of `unit`, if this viewer gets it.
    fn take(&mut self, now: Instant, unit: &AccessUnit, rate: Option<f64>) {
        if !self.wants(now, unit, rate) {
            return;
        }
        let payloads = payloads(unit);
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.iter().enumerate() {
            let (is_first, is_last) = (index == 0, index == last);
            let mut packet = self.stamp.packet(payload.clone(), unit.media_time, is_last);
            if is_first {
                self.stamp.mark_playout_delay(&mut packet);
                self.stamp.mark_capture_time(&mut packet, unit, now);
            }
            let bits = payload.len() as f64 * 8.0;
            self.pacer.push(Outgoing { packet, encoded_at: unit.encoded_at, is_first, is_last }, bits);
        }
    }

    /// Whether this viewer gets `unit`; one whose path is too narrow gets fewer.
    fn wants(&mut self, now: Instant, unit: &AccessUnit, rate: Option<f64>) -> bool {
        let on_the_way = self.live.feedback.backlog(now);
        let path = Path {
            rate,
            backlog: on_the_way + self.pacer.backlog(rate),
            is_starved: self.live.starved.load(Ordering::Relaxed),
        };
        let verdict = self.thinner.judge(now, path, unit.data.len() as f64 * 8.0, unit.key_frame);
        self.live.feedback.is_skipping.store(self.thinner.is_skipping(), Ordering::Relaxed);
        if verdict == Verdict::SkipAndAsk {
            self.fanout.request_key_frame();
        }
        if verdict != Verdict::Send && on_the_way > BLOCKED {
            // Late already, and it would keep the path full for longer.
            self.pacer.clear();
        }
        if verdict != Verdict::Send {
            self.live.skipped.fetch_add(1, Ordering::Relaxed);
        }
        verdict == Verdict::Send
    }

    /// Counts a packet that was handed to the network.
    fn has_left(&mut self, (encoded_at, is_first, is_last): (Instant, bool, bool)) {
        let sent = &self.live.sent;
        sent.packets.fetch_add(1, Ordering::Relaxed);
        if !is_first && !is_last {
            return;
        }
        let now = Instant::now();
        if is_first {
            self.first_out = Some(now);
        }
        if !is_last {
            return;
        }
        sent.units.fetch_add(1, Ordering::Relaxed);
        self.live.first_frame.get_or_init(|| {
            let first_frame = self.live.offered_at.elapsed();
            tracing::info!(ms = ms(first_frame), "first picture sent");
            first_frame
        });
        if let Some(first_out) = self.first_out.take() {
            let after = |at: Instant| at.saturating_duration_since(encoded_at);
            sent.stages.record(after(first_out), after(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_time_becomes_90_khz_and_wraps() {
        assert_eq!(rtp_time(Duration::from_secs(1)), 90_000);
        assert_eq!(rtp_time(Duration::from_millis(33)), 2_970);
        let wrap = Duration::from_secs(u64::from(u32::MAX) / 90_000 + 1);
        assert!(rtp_time(wrap) < 90_000);
    }

    #[test]
    fn payloads_are_made_once_and_fit() {
        let mut data = vec![0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0, 0, 0, 1, 0x68, 0xce, 0, 0, 0, 1, 0x65];
        data.extend(std::iter::repeat_n(0xaa, 5_000));
        let now = Instant::now();
        let unit = AccessUnit::new(data.into(), Duration::ZERO, now, now, true);
        let first = payloads(&unit).as_ptr();
        assert_eq!(payloads(&unit.clone()).as_ptr(), first, "shared, not made again");
        assert!(payloads(&unit).len() >= 5);
        assert!(payloads(&unit).iter().all(|payload| payload.len() <= MAX_PAYLOAD_BYTES));
    }

    #[test]
    fn packets_are_numbered_and_share_a_timestamp() {
        let mut stamp = Stamp {
            ssrc: 7,
            payload_type: 99,
            playout_delay: Some((3, playout_delay(0))),
            capture_time_id: Some(4),
            capture_time_sent: None,
            sequence_number: u16::MAX,
            timestamp_base: u32::MAX,
        };
        let mut first = stamp.packet(Bytes::from_static(b"a"), Duration::from_secs(1), false);
        stamp.mark_playout_delay(&mut first);
        let mut second = stamp.packet(Bytes::from_static(b"b"), Duration::from_secs(1), true);
        stamp.number(&mut first);
        stamp.number(&mut second);
        assert_eq!(first.header.timestamp, 89_999);
        assert_eq!((first.header.sequence_number, second.header.sequence_number), (u16::MAX, 0));
        assert!(!first.header.marker && second.header.marker);
        assert_eq!(first.header.get_extension(3), Some(Bytes::from_static(&[0, 0, 0])));

        let start = Instant::now();
        let mut marked = |key_frame, ms| {
            let at = start + Duration::from_millis(ms);
            let unit = AccessUnit::new(Bytes::new(), Duration::ZERO, at, at, key_frame);
            let mut packet = stamp.packet(Bytes::from_static(b"c"), Duration::ZERO, false);
            stamp.mark_capture_time(&mut packet, &unit, at);
            packet.header.get_extension(4).is_some_and(|value| value.len() == 8)
        };
        let seen = [(false, 0), (false, 33), (true, 66), (false, 900), (false, 1066)];
        assert_eq!(seen.map(|(key, ms)| marked(key, ms)), [true, false, true, false, true]);
    }

    #[test]
    fn the_playout_delay_is_two_values_of_12_bits() {
        assert_eq!(playout_delay(0)[..], [0, 0, 0]);
        assert_eq!(playout_delay(100)[..], [0x00, 0xa0, 0x0a]);
        assert_eq!(playout_delay(u32::MAX)[..], [0xff, 0xff, 0xff]);
    }
}
