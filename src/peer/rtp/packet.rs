//! One RTP packet: its header, its payload, protected, at the end of a batch.

use super::rtp_header::{Extensions, RtpHeader};
use super::srtp::Srtp;
use crate::peer::error::PeerError;
use crate::peer::net::batch::Batch;

/// Adds a packet whose payload is `payload`, one part after another. `index` is its number, as [`Srtp::protect`] wants it.
pub(super) fn write_packet(
    extensions: Extensions,
    batch: &mut Batch,
    srtp: &mut Srtp,
    header: &RtpHeader,
    index: u64,
    payload: &[&[u8]],
) -> Result<(), PeerError> {
    batch.packet(|bytes| {
        let start = bytes.len();
        extensions.write(header, bytes);
        let header_bytes = bytes.len() - start;
        for part in payload {
            bytes.extend_from_slice(part);
        }
        srtp.protect(bytes, start, header_bytes, header.ssrc, index)
    })
}

/// Adds a compound RTCP packet.
pub(super) fn write_report(batch: &mut Batch, srtp: &mut Srtp, report: &[u8]) -> Result<(), PeerError> {
    let report = srtp.protect_rtcp(report)?;
    batch.packet(|bytes| {
        bytes.extend_from_slice(&report);
        Ok(())
    })
}
