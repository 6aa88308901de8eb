//! What of the viewer's voice arrived, as its receiver reports tell it (RFC 3550 sections 6.4.1, A.3 and A.8). Pure.

use std::time::{Duration, Instant};

use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::shared::marshal::Marshal;

use crate::stream::OPUS_CLOCK_RATE_HZ;

/// As often as browsers report.
const EVERY: Duration = Duration::from_secs(1);

/// What came of one source.
#[derive(Debug)]
pub(in crate::peer) struct Reception {
    ssrc: u32,
    first: u32,
    /// The highest one, with the turns of its 16 bits counted above them.
    highest: u32,
    received: u32,
    /// What the last report began with: expected and received.
    reported: (u32, u32),
    /// In ticks of the RTP clock.
    jitter: f64,
    transit: Option<f64>,
    began: Instant,
    last_report: Option<Instant>,
}

impl Reception {
    /// Of a source whose first packet has this number.
    pub fn new(ssrc: u32, sequence_number: u16, now: Instant) -> Self {
        let first = u32::from(sequence_number);
        Self {
            ssrc,
            first,
            highest: first,
            received: 0,
            reported: (0, 0),
            jitter: 0.0,
            transit: None,
            began: now,
            last_report: None,
        }
    }

    /// The source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// A packet came.
    pub fn received(&mut self, sequence_number: u16, timestamp: u32, now: Instant) {
        // Ahead by less than half a turn is newer (section A.1).
        #[allow(clippy::cast_possible_truncation)]
        let ahead = sequence_number.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        }
        self.received = self.received.wrapping_add(1);
        let arrival = now.saturating_duration_since(self.began).as_secs_f64() * f64::from(OPUS_CLOCK_RATE_HZ);
        let transit = arrival - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit - before).abs();
            // One that is not of the clock (a turn of it, silence that was not counted) says nothing.
            if difference < f64::from(OPUS_CLOCK_RATE_HZ) {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
    }

    /// The next report, once a second. `reporter` is an SSRC of this side.
    pub fn report(&mut self, reporter: u32, now: Instant) -> Option<Vec<u8>> {
        if self.last_report.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            return None;
        }
        self.last_report = Some(now);
        let expected = self.highest.wrapping_sub(self.first).wrapping_add(1);
        let (new, came) =
            (expected.wrapping_sub(self.reported.0), self.received.wrapping_sub(self.reported.1));
        self.reported = (expected, self.received);
        // Repeats can make more come than was expected.
        let lost = new.saturating_sub(came);
        let fraction = if new == 0 { 0 } else { (u64::from(lost) * 256 / u64::from(new)).min(255) };
        let report = ReceptionReport {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            // 24 bits with a sign.
            total_lost: expected.saturating_sub(self.received).min(0x007f_ffff),
            last_sequence_number: self.highest,
            // Far below what the field holds.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            jitter: self.jitter as u32,
            last_sender_report: 0,
            delay: 0,
        };
        let report = ReceiverReport { ssrc: reporter, reports: vec![report], ..Default::default() };
        report.marshal().ok().map(|bytes| bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::packet::unmarshal;

    use super::*;

    fn read(report: &[u8]) -> ReceptionReport {
        let packets = unmarshal(&mut &report[..]).unwrap();
        packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap().reports[0].clone()
    }

    #[test]
    fn loss_is_told_across_the_turn_of_the_numbers_once_a_second() {
        let start = Instant::now();
        let mut reception = Reception::new(9, 65_530, start);
        let at = |packet: u32| start + Duration::from_millis(u64::from(packet) * 20);
        for packet in (0..20_u32).filter(|packet| packet % 4 != 3) {
            let number = 65_530_u16.wrapping_add(u16::try_from(packet).unwrap());
            reception.received(number, packet * 960, at(packet));
        }
        let report = read(&reception.report(1, at(20)).unwrap());
        assert_eq!((report.ssrc, report.last_sequence_number), (9, 65_530 + 18));
        assert_eq!((report.total_lost, report.fraction_lost), (4, 53));
        assert!(report.jitter <= 1, "{report:?}");
        assert!(reception.report(1, at(21)).is_none());
        for packet in 19..70_u32 {
            let number = 65_530_u16.wrapping_add(u16::try_from(packet).unwrap());
            // Every other one comes 10 ms late.
            let late = Duration::from_millis(if packet % 2 == 0 { 10 } else { 0 });
            reception.received(number, packet * 960, at(packet) + late);
        }
        let report = read(&reception.report(1, at(71)).unwrap());
        assert_eq!((report.total_lost, report.fraction_lost), (4, 0));
        assert!((300..=500).contains(&report.jitter), "{report:?}");
    }
}
