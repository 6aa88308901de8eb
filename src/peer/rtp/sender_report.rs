//! Sender reports: which RTP time is which time of day, and how much was sent (RFC 3550 section 6.4.1). Pure.

use std::time::{Duration, Instant};

use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtc::shared::marshal::Marshal;

/// As often as browsers report.
const EVERY: Duration = Duration::from_secs(1);
/// The same for every stream of this side (RFC 3550 section 6.5.1).
pub(in crate::peer) const CNAME: &str = "porthole";

/// What one stream's reports tell.
#[derive(Debug)]
pub(in crate::peer) struct SenderReports {
    ssrc: u32,
    clock_rate_hz: u32,
    packets: u32,
    octets: u32,
    last: Option<Instant>,
}

impl SenderReports {
    /// Of a stream whose RTP time has `clock_rate_hz` ticks in a second.
    pub fn new(ssrc: u32, clock_rate_hz: u32) -> Self {
        Self { ssrc, clock_rate_hz, packets: 0, octets: 0, last: None }
    }

    /// A packet with so much payload left. The counts turn over.
    pub fn sent(&mut self, payload_bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(u32::try_from(payload_bytes).unwrap_or(u32::MAX));
    }

    /// Whether it is time for one.
    pub fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY)
    }

    /// A compound packet of a report and the stream's name. It is `ntp` now, and `age` ago what has `timestamp`
    /// was captured.
    pub fn make(&mut self, now: Instant, ntp: u64, timestamp: u32, age: Duration) -> Vec<u8> {
        self.last = Some(now);
        let passed = age.as_nanos() * u128::from(self.clock_rate_hz) / 1_000_000_000;
        let report = SenderReport {
            ssrc: self.ssrc,
            ntp_time: ntp,
            rtp_time: timestamp.wrapping_add(u32::try_from(passed & 0xffff_ffff).unwrap_or_default()),
            packet_count: self.packets,
            octet_count: self.octets,
            ..Default::default()
        };
        let name = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: CNAME.into() };
        let names = SourceDescription {
            chunks: vec![SourceDescriptionChunk { source: self.ssrc, items: vec![name] }],
        };
        let mut packet = Vec::new();
        // Neither can fail: both are far within what their lengths can tell.
        for part in [report.marshal(), names.marshal()].into_iter().flatten() {
            packet.extend_from_slice(&part);
        }
        packet
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::packet::unmarshal;

    use super::*;

    #[test]
    fn a_report_tells_times_and_counts_once_a_second() {
        let (mut reports, now) = (SenderReports::new(7, 90_000), Instant::now());
        assert!(reports.is_due(now));
        reports.sent(1000);
        reports.sent(500);
        let packet = reports.make(now, 42 << 32, u32::MAX, Duration::from_millis(100));
        let packets = unmarshal(&mut &packet[..]).unwrap();
        let report = packets[0].as_any().downcast_ref::<SenderReport>().unwrap();
        assert_eq!((report.ssrc, report.ntp_time, report.rtp_time), (7, 42 << 32, 8_999));
        assert_eq!((report.packet_count, report.octet_count), (2, 1500));
        let names = packets[1].as_any().downcast_ref::<SourceDescription>().unwrap();
        assert_eq!((names.chunks[0].source, &names.chunks[0].items[0].text[..]), (7, CNAME.as_bytes()));
        assert!(!reports.is_due(now + EVERY / 2) && reports.is_due(now + EVERY));
    }

    #[test]
    fn picture_and_sound_of_one_moment_have_the_same_time_of_day() {
        const PICTURE: u32 = 90_000;
        const SOUND: u32 = 48_000;
        let captured = |rate: u32, timestamp: u32, now: Instant, ntp_ms: u64, age_ms: u64| {
            let ntp = (ntp_ms << 32) / 1000;
            let report = SenderReports::new(1, rate).make(now, ntp, timestamp, Duration::from_millis(age_ms));
            let packets = unmarshal(&mut &report[..]).unwrap();
            let report = packets[0].as_any().downcast_ref::<SenderReport>().unwrap();
            let since_ms = f64::from(report.rtp_time.wrapping_sub(timestamp)) / f64::from(rate) * 1e3;
            report.ntp_time as f64 / f64::from(u32::MAX) * 1e3 - since_ms
        };
        // Both of the moment 1,000,000 ms, reported when the picture is 40 ms old and the sound 515.
        let now = Instant::now();
        let picture = captured(PICTURE, 7, now, 1_000_040, 40);
        let sound = captured(SOUND, u32::MAX - 3, now + Duration::from_millis(475), 1_000_515, 515);
        assert!((picture - sound).abs() < 0.1, "{picture} {sound}");
    }
}
