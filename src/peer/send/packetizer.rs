//! Access units to RTP payloads (RFC 6184), made once for all viewers.

use bytes::Bytes;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::packetizer::Payloader;

use crate::stream::AccessUnit;

/// RTP payload bytes that keep the whole packet (IPv6, UDP, SRTP tag, RTP header with
/// extensions, RTX header) within the 1200 bytes that every path on the internet carries.
/// A parity packet has up to 32 bytes more, and stays within the 1280 of IPv6.
const MAX_PAYLOAD_BYTES: usize = 1100;

/// The RTP payloads of `unit` (RFC 6184 packetization mode 1), made once for all viewers.
pub fn packetize(unit: &AccessUnit) -> &[Bytes] {
    unit.payloads(|data| {
        H264Payloader::default().payload(MAX_PAYLOAD_BYTES, data).unwrap_or_else(|error| {
            tracing::warn!(%error, "an access unit could not be packetised and is skipped");
            Vec::new()
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn payloads_are_made_once_and_fit() {
        let mut data = vec![0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0, 0, 0, 1, 0x68, 0xce, 0, 0, 0, 1, 0x65];
        data.extend(std::iter::repeat_n(0xaa, 5_000));
        let now = Instant::now();
        let unit = AccessUnit::new(data.into(), Duration::ZERO, now, now, true);
        let first = packetize(&unit).as_ptr();
        assert_eq!(packetize(&unit.clone()).as_ptr(), first, "shared, not made again");
        assert!(packetize(&unit).len() >= 5);
        assert!(packetize(&unit).iter().all(|payload| payload.len() <= MAX_PAYLOAD_BYTES));
    }
}
