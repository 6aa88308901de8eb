//! The one stream of a connection as the library negotiates it: codec, RTX, FEC, extensions.

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_RTX, MediaEngine};
use rtc::peer_connection::transport::RTCIceCandidatePair;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpRtxParameters, RtpCodecKind,
};

use super::codec::VideoCodec;
use super::negotiation::Negotiation;
use crate::peer::error::PeerError;
use crate::peer::rtp::fec::Fec;
use crate::peer::rtp::rtp_header::CLOCK_RATE_HZ;
use crate::peer::rtp::rtp_sender::{Negotiated, NegotiatedAudio};

/// Sources of RTP (RFC 3550 section 3).
#[derive(Clone, Copy, Debug)]
pub(in crate::peer) struct Ssrcs {
    pub media: u32,
    pub rtx: u32,
    pub fec: Option<u32>,
    /// Of the sound, whether it is offered or not: it may be later.
    pub audio: u32,
}

/// What the library knows of the one stream. It only negotiates it: [`crate::peer::send::media_sender`] sends.
pub(in crate::peer) struct Track {
    sender: RTCRtpSenderId,
    pub ssrcs: Ssrcs,
}

impl Track {
    /// What media begins with.
    pub fn negotiated(&self, negotiation: &Negotiation) -> Negotiated {
        let (codec, ssrcs) = (&negotiation.codec, self.ssrcs);
        let fec = codec.fec_payload_type.zip(ssrcs.fec);
        Negotiated {
            ssrc: ssrcs.media,
            payload_type: codec.payload_type,
            rtx: codec.rtx_payload_type.map(|payload_type| (ssrcs.rtx, payload_type)),
            fec: fec.map(|(payload_type, ssrc)| Fec { ssrc, payload_type }),
            nack: negotiation.feedback().contains(&"nack"),
            extensions: negotiation.rtp_extensions(),
        }
    }

    /// What sound begins with, if any goes to the viewer.
    pub fn negotiated_audio(&self, negotiation: &Negotiation) -> Option<NegotiatedAudio> {
        let audio = negotiation.audio.filter(|audio| audio.sends)?;
        Some(NegotiatedAudio {
            ssrc: self.ssrcs.audio,
            payload_type: audio.payload_type,
            extensions: negotiation.audio_rtp_extensions(),
        })
    }

    /// The certificate that the viewer showed, in DER.
    pub fn remote_certificate(&self, pc: &mut RTCPeerConnection) -> Option<Vec<u8>> {
        let sender = pc.rtp_sender(self.sender)?;
        sender.transport()?.get_remote_certificates().first().cloned()
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
        let fec = offered.fec_payload_type.map(|_| rand::random());
        let ssrcs = Ssrcs { media: rand::random(), rtx: rand::random(), fec, audio: rand::random() };
        let coding = RTCRtpCodingParameters {
            ssrc: Some(ssrcs.media),
            rtx: Some(RTCRtpRtxParameters { ssrc: ssrcs.rtx }),
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
        Ok(Self { sender, ssrcs })
    }
}

/// Registers exactly the one codec that the offer inspection chose.
pub(in crate::peer) fn media_engine(codec: &VideoCodec) -> Result<(MediaEngine, RTCRtpCodec), PeerError> {
    let video = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: CLOCK_RATE_HZ,
        channels: 0,
        sdp_fmtp_line: codec.fmtp(),
        rtcp_feedback: Vec::new(),
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
    Ok((engine, video))
}
