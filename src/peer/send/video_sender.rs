//! Access units of the fan-out to RTP packets of one viewer: which it gets, in which order, and when they leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::frame_dropper::{FrameDropper, Path, Picture, Verdict};
use super::media_sender::MediaSender;
use super::pacer::Pacer;
use super::packetizer::packetize;
use crate::peer::bwe::Outstanding;
use crate::peer::net::Net;
use crate::peer::rtp::ntp::ntp_q32;
use crate::peer::rtp::rtp_header::CLOCK_RATE_HZ;
use crate::peer::rtp::rtp_sender::Packet;
use crate::peer::stats::{SessionStats, ms};
use crate::stream::{AccessUnit, Fanout, Orientation};

/// The capture time goes with key frames, and at least this often.
const CAPTURE_TIME_EVERY: Duration = Duration::from_secs(1);

/// For so long each picture tells how long to hold it: the first ones may be lost.
const TELL_PLAYOUT_DELAY: Duration = Duration::from_secs(1);

/// When this much is under way, or such a queue stands, the path became narrower while what waits was made for a wider one.
const BLOCKED: Duration = Duration::from_millis(300);
const BLOCKED_QUEUE: Duration = Duration::from_millis(100);

/// Makes the packets of pictures, all but their numbers.
#[derive(Debug)]
struct RtpExtensions {
    playout_delay: [u8; 3],
    /// Since when it is told.
    playout_delay_told: Option<Instant>,
    capture_time_sent: Option<Instant>,
    /// Of the picture before.
    orientation: Option<Orientation>,
    timestamp_base: u32,
}

impl RtpExtensions {
    fn new(playout_delay_ms: u32) -> Self {
        Self {
            playout_delay: playout_delay(playout_delay_ms),
            playout_delay_told: None,
            capture_time_sent: None,
            orientation: None,
            timestamp_base: rand::random(),
        }
    }

    fn timestamp(&self, unit: &AccessUnit) -> u32 {
        self.timestamp_base.wrapping_add(rtp_time(unit.media_time))
    }

    /// How long to hold the picture, told on the first packet of some: receivers take it from there, and
    /// packets of one size are sent in one go.
    fn playout_delay(&mut self, unit: &AccessUnit, now: Instant) -> Option<[u8; 3]> {
        let since = *self.playout_delay_told.get_or_insert(now);
        let is_new = now.saturating_duration_since(since) < TELL_PLAYOUT_DELAY;
        (is_new || unit.key_frame).then_some(self.playout_delay)
    }

    /// How the picture lies: told on the last packet of key frames and where it changes (3GPP TS 26.114 section 7.4.5), and of all
    /// that do not stand upright, because browsers take those that tell nothing for upright.
    fn orientation(&mut self, unit: &AccessUnit) -> Option<u8> {
        let is_other = self.orientation.replace(unit.orientation) != Some(unit.orientation);
        let is_told = is_other || unit.key_frame || unit.orientation != Orientation::UPRIGHT;
        is_told.then(|| unit.orientation.cvo())
    }

    /// When the picture was captured: told on the first packet of a key frame, and of one picture a second.
    fn capture_time(&mut self, unit: &AccessUnit, now: Instant) -> Option<u64> {
        let recent = |at: Instant| now.saturating_duration_since(at) < CAPTURE_TIME_EVERY;
        if !unit.key_frame && self.capture_time_sent.is_some_and(recent) {
            return None;
        }
        let age = now.saturating_duration_since(unit.captured_at);
        // A clock before 1970 is no clock.
        let since_unix = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        self.capture_time_sent = Some(now);
        Some(ntp_q32(since_unix.saturating_sub(age)))
    }
}

/// The extension's two 12-bit values in units of 10 ms, least and most, here the same.
fn playout_delay(ms: u32) -> [u8; 3] {
    let units = (ms / 10).min(0xfff);
    let [_, high, middle, low] = ((units << 12) | units).to_be_bytes();
    [high, middle, low]
}

/// Media time in the 90 kHz clock, modulo 2^32 as RFC 3550 wants it.
fn rtp_time(media_time: Duration) -> u32 {
    let ticks = media_time.as_nanos() * u128::from(CLOCK_RATE_HZ) / 1_000_000_000;
    u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or_default()
}

/// A packet on its way out, and what its leaving means for its picture.
struct Outgoing {
    packet: Packet,
    /// When the picture left the encoder.
    encoded_at: Instant,
    key_frame: bool,
    is_first: bool,
    is_last: bool,
}

/// What one viewer's packets are made with, and those that wait.
pub(in crate::peer) struct VideoSender {
    extensions: RtpExtensions,
    fanout: Fanout,
    live: Arc<SessionStats>,
    frame_dropper: FrameDropper,
    pacer: Pacer<Outgoing>,
    /// Some of a key frame's packets wait.
    is_key_frame_waiting: bool,
    /// When the first packet of the picture that is being sent left.
    first_out: Option<Instant>,
    /// Time and capture of the last picture, which reports refer to.
    last: Option<(u32, Instant)>,
}

impl VideoSender {
    /// For a viewer that is told to hold each picture for `playout_delay_ms`. Key frames are asked of `fanout`.
    pub fn new(playout_delay_ms: u32, fanout: Fanout, live: Arc<SessionStats>) -> Self {
        Self {
            extensions: RtpExtensions::new(playout_delay_ms),
            fanout,
            live,
            frame_dropper: FrameDropper::default(),
            pacer: Pacer::default(),
            is_key_frame_waiting: false,
            first_out: None,
            last: None,
        }
    }

    /// How long until [`Self::send`] has something to do, if no picture comes; `None`: nothing waits.
    pub fn wait(&self, rate: Option<f64>) -> Option<Duration> {
        (!self.pacer.is_empty()).then(|| self.pacer.wait(rate))
    }

    /// Makes packets of `unit`, if this viewer gets it.
    pub fn take(&mut self, now: Instant, unit: &AccessUnit, rate: Option<f64>) {
        if !self.wants(now, unit, rate) {
            return;
        }
        let payloads = packetize(unit);
        let timestamp = self.extensions.timestamp(unit);
        let (mut playout_delay, mut capture_time) =
            (self.extensions.playout_delay(unit, now), self.extensions.capture_time(unit, now));
        let orientation = self.extensions.orientation(unit);
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.iter().enumerate() {
            let packet = Packet {
                payload: payload.clone(),
                timestamp,
                marker: index == last,
                playout_delay: playout_delay.take(),
                capture_time: capture_time.take(),
                orientation: orientation.filter(|_| index == last),
            };
            let bits = payload.len() as f64 * 8.0;
            let (encoded_at, key_frame) = (unit.encoded_at, unit.key_frame);
            let (is_first, is_last) = (index == 0, index == last);
            self.pacer.push(Outgoing { packet, encoded_at, key_frame, is_first, is_last }, bits);
        }
        self.last = Some((timestamp, unit.captured_at));
        self.is_key_frame_waiting |= unit.key_frame;
    }

    /// Sends what may leave now.
    pub fn send(&mut self, now: Instant, rate: Option<f64>, media: &mut MediaSender, net: &mut Net) {
        self.pacer.fill(now, rate);
        let (mut bytes, mut marks) = (0, Vec::new());
        let (pacer, feedback) = (&mut self.pacer, &self.live.feedback);
        let leaving = std::iter::from_fn(|| {
            let out = pacer.pop()?;
            bytes += out.packet.payload.len();
            if out.key_frame {
                feedback.key_frame_sent(now, out.is_first, out.is_last);
            }
            marks.push((out.encoded_at, out.is_first, out.is_last));
            Some(out.packet)
        });
        media.send(net, now, leaving);
        self.is_key_frame_waiting &= !self.pacer.is_empty();
        if let Some((timestamp, captured_at)) = self.last {
            media.report(net, now, timestamp, captured_at);
        }
        for mark in marks {
            self.has_left(mark);
        }
        if bytes > 0 {
            self.live.feedback.sent(now, bytes);
            self.live.sent.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        if bytes > 0 && rate.is_some() && self.pacer.is_empty() {
            media.probe(net, now);
        }
    }

    /// Whether this viewer gets `unit`; one whose path is too narrow gets fewer.
    fn wants(&mut self, now: Instant, unit: &AccessUnit, rate: Option<f64>) -> bool {
        let Outstanding { backlog, queue, overflowed } = self.live.feedback.outstanding(now);
        let path = Path {
            rate,
            backlog: backlog + self.pacer.backlog(rate),
            queue,
            overflowed,
            is_starved: self.live.control.starved.load(Ordering::Relaxed),
        };
        let picture = Picture {
            bits: unit.data.len() as f64 * 8.0,
            key_frame: unit.key_frame,
            disposable: unit.disposable,
        };
        let verdict = self.frame_dropper.judge(now, path, picture);
        self.live.feedback.is_skipping.store(self.frame_dropper.is_skipping(), Ordering::Relaxed);
        if verdict == Verdict::SkipAndAsk {
            self.fanout.request_key_frame();
        }
        // A key frame is large on any path, and what the viewer goes on from.
        let is_blocked = backlog > BLOCKED || (queue > BLOCKED_QUEUE && !self.is_key_frame_waiting);
        if matches!(verdict, Verdict::Skip | Verdict::SkipAndAsk) && is_blocked {
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
            sent.send_times.record(after(first_out), after(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn media_time_becomes_90_khz_and_wraps() {
        assert_eq!(rtp_time(Duration::from_secs(1)), 90_000);
        assert_eq!(rtp_time(Duration::from_millis(33)), 2_970);
        let wrap = Duration::from_secs(u64::from(u32::MAX) / 90_000 + 1);
        assert!(rtp_time(wrap) < 90_000);
    }

    #[test]
    fn the_first_pictures_key_frames_and_one_a_second_tell_more() {
        let mut extensions = RtpExtensions::new(100);
        let start = Instant::now();
        let mut tells = |key_frame, ms| {
            let at = start + Duration::from_millis(ms);
            let unit = AccessUnit::new(Bytes::new(), Duration::ZERO, at, at, key_frame);
            (extensions.capture_time(&unit, at).is_some(), extensions.playout_delay(&unit, at).is_some())
        };
        let seen = [(false, 0), (false, 33), (true, 66), (false, 900), (false, 1066), (true, 1100)];
        let told = seen.map(|(key, ms)| tells(key, ms));
        assert_eq!(told.map(|(capture, _)| capture), [true, false, true, false, true, true]);
        assert_eq!(told.map(|(_, delay)| delay), [true, true, true, true, false, true]);
    }

    #[test]
    fn key_frames_changes_and_turned_pictures_tell_how_they_lie() {
        let (mut extensions, now) = (RtpExtensions::new(0), Instant::now());
        let mut tells = |key_frame, quarters| {
            let unit = AccessUnit::new(Bytes::new(), Duration::ZERO, now, now, key_frame);
            extensions.orientation(&unit.oriented(Orientation::of_quarters(quarters)))
        };
        let upright = [tells(true, 0), tells(false, 0), tells(true, 0)];
        assert_eq!(upright, [Some(0), None, Some(0)]);
        let turned = [tells(false, 1), tells(false, 1), tells(true, 1), tells(false, 3)];
        assert_eq!(turned, [Some(1), Some(1), Some(1), Some(3)]);
        assert_eq!([tells(false, 0), tells(false, 0)], [Some(0), None], "turned back between key frames");
    }

    #[test]
    fn the_playout_delay_is_two_values_of_12_bits() {
        assert_eq!(playout_delay(0), [0, 0, 0]);
        assert_eq!(playout_delay(100), [0x00, 0xa0, 0x0a]);
        assert_eq!(playout_delay(u32::MAX), [0xff, 0xff, 0xff]);
    }
}

#[cfg(test)]
#[path = "lossy_path_tests.rs"]
mod lossy_path_tests;
