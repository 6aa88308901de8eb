//! The one stream of a connection as the library negotiates it: codec, repairs, extensions.

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_RTX, MediaEngine};
use rtc::peer_connection::transport::RTCIceCandidatePair;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};

use super::answer::with_repairs;
use super::offer::VideoCodec;
use crate::peer::error::PeerError;
use crate::peer::rtp::fec::Fec;
use crate::peer::rtp::packet::{CLOCK_RATE_HZ, Extensions};
use crate::peer::rtp::stream::Negotiated;

/// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`: asks the browser to show a
/// picture as soon as it is decoded.
pub(in crate::peer) const PLAYOUT_DELAY_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// When a picture was captured, on the sender's clock: what glass-to-glass figures are made of.
pub(in crate::peer) const ABS_CAPTURE_TIME_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// Transport-wide sequence numbers: the viewer reports when each packet came.
pub(in crate::peer) const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// What the library knows of the one stream. It only negotiates it: [`crate::peer::send::media_sender`] sends.
pub(in crate::peer) struct Track {
    sender: RTCRtpSenderId,
    ssrc: u32,
    rtx_ssrc: u32,
    rtx_payload_type: Option<u8>,
    fec: Option<Fec>,
}

impl Track {
    /// Reads what was negotiated; call after the local description is set.
    pub fn negotiated(&self, pc: &mut RTCPeerConnection) -> Option<Negotiated> {
        let mut sender = pc.rtp_sender(self.sender)?;
        let parameters = &sender.get_parameters().rtp_parameters;
        let id_of = |uri| {
            let extension = parameters.header_extensions.iter().find(|extension| extension.uri == uri)?;
            u8::try_from(extension.id).ok()
        };
        let codec = parameters.codecs.first()?;
        let mut feedback = codec.rtp_codec.rtcp_feedback.iter();
        Some(Negotiated {
            ssrc: self.ssrc,
            payload_type: codec.payload_type,
            rtx: self.rtx_payload_type.map(|payload_type| (self.rtx_ssrc, payload_type)),
            fec: self.fec,
            nack: feedback.any(|feedback| feedback.typ == "nack" && feedback.parameter.is_empty()),
            extensions: Extensions {
                transport_cc: id_of(TRANSPORT_CC_URI),
                playout_delay: id_of(PLAYOUT_DELAY_URI),
                capture_time: id_of(ABS_CAPTURE_TIME_URI),
            },
        })
    }

    /// `answer` with what the library leaves out of it.
    pub fn complete(&self, answer: &str) -> String {
        self.fec.map_or_else(|| answer.to_owned(), |fec| with_repairs(answer, self.ssrc, fec))
    }

    /// The pair of candidates that ICE has chosen.
    pub fn selected_pair(&self, pc: &mut RTCPeerConnection) -> Option<RTCIceCandidatePair> {
        pc.rtp_sender(self.sender)?.transport()?.ice_transport().get_selected_candidate_pair()
    }

    /// Adds it to `pc`.
    pub fn add(
        pc: &mut RTCPeerConnection,
        codec: RTCRtpCodec,
        offered: &VideoCodec,
    ) -> Result<Self, PeerError> {
        let rtx_payload_type = offered.rtx_payload_type;
        let fec = offered.fec_payload_type.map(|payload_type| Fec { ssrc: rand::random(), payload_type });
        let (ssrc, rtx_ssrc) = (rand::random(), rand::random());
        let coding = RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            rtx: Some(RTCRtpRtxParameters { ssrc: rtx_ssrc }),
            ..Default::default()
        };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: coding,
            active: true,
            codec,
            ..Default::default()
        };
        let sender = pc.add_track(MediaStreamTrack::new(
            "porthole".to_owned(),
            "video".to_owned(),
            "camera".to_owned(),
            RtpCodecKind::Video,
            vec![encoding],
        ))?;
        Ok(Self { sender, ssrc, rtx_ssrc, rtx_payload_type, fec })
    }
}

/// Registers exactly the one codec that the offer inspection chose.
pub(in crate::peer) fn media_engine(codec: &VideoCodec) -> Result<(MediaEngine, RTCRtpCodec), PeerError> {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let video = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: CLOCK_RATE_HZ,
        channels: 0,
        sdp_fmtp_line: codec.fmtp(),
        rtcp_feedback: vec![
            feedback("nack", ""),
            feedback("nack", "pli"),
            feedback("ccm", "fir"),
            feedback("goog-remb", ""),
            feedback("transport-cc", ""),
        ],
    };
    let mut engine = MediaEngine::default();
    let parameters = RTCRtpCodecParameters { rtp_codec: video.clone(), payload_type: codec.payload_type };
    engine.register_codec(parameters, RtpCodecKind::Video)?;
    if let Some(payload_type) = codec.rtx_payload_type {
        let rtx = RTCRtpCodec {
            mime_type: MIME_TYPE_RTX.to_owned(),
            clock_rate: CLOCK_RATE_HZ,
            channels: 0,
            sdp_fmtp_line: format!("apt={}", codec.payload_type),
            rtcp_feedback: vec![],
        };
        engine.register_codec(RTCRtpCodecParameters { rtp_codec: rtx, payload_type }, RtpCodecKind::Video)?;
    }
    for uri in [PLAYOUT_DELAY_URI, ABS_CAPTURE_TIME_URI, TRANSPORT_CC_URI] {
        let extension = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
        engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    }
    Ok((engine, video))
}
