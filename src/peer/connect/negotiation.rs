//! What an offer and this side agree on, and what the library is told of it. Pure.
//!
//! The library sees one offer only, of one video section that is always the same but for ICE, and of one for data where that is offered:
//! no text of a viewer reaches it.

use std::fmt::Write;
use std::sync::Arc;

use super::audio::{AudioAbility, AudioTerms};
use super::codec::VideoCodec;
use super::description::{Description, Extension, Section, Setup};
use super::extension_uri::{
    ABS_CAPTURE_TIME_URI, AUDIO_EXTENSIONS, MID_URI, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI, VIDEO_EXTENSIONS,
    VIDEO_ORIENTATION_URI,
};
use super::fingerprint::Fingerprint;
use super::offer::{VideoOffer, carrier};
use super::sctp::Sctp;
use crate::media::ProfileLevelId;
use crate::peer::rtp::rtp_header::{Extensions, Mid};
use crate::signaling::message::Refusal;

/// An offer, and what is taken of it.
#[derive(Clone, Debug)]
pub(in crate::peer) struct Negotiation {
    pub codec: VideoCodec,
    pub(super) description: Arc<Description>,
    /// The section that is taken.
    pub(super) video: usize,
    /// The section whose transport it has.
    pub(super) carrier: usize,
    /// The sound, if it is taken.
    pub audio: Option<AudioTerms>,
    /// The section of the data channel, if it is taken.
    pub(super) data: Option<usize>,
    /// How the viewer's end of the data channel is reached, by this offer or a former one.
    pub sctp: Option<Sctp>,
    ufrag: String,
    pwd: String,
    /// Of the viewer's certificate.
    pub fingerprints: Vec<Fingerprint>,
    /// This side begins the handshake.
    pub is_dtls_client: bool,
    /// The offer leaves that to this side.
    pub leaves_role: bool,
}

impl Negotiation {
    /// What `offer` and a stream of `stream`'s profile agree on. `former` is the payload type that is in use already.
    ///
    /// # Errors
    /// `no-h264`, with what is missing in words.
    pub fn new(offer: &VideoOffer, stream: ProfileLevelId, former: Option<u8>) -> Result<Self, Refusal> {
        let (video, codec) = offer.choose(stream, former)?;
        let carrier = carrier(&offer.description, video).unwrap_or(video);
        let transport = offer.description.transport(carrier);
        let (data, sctp) = data_section(&offer.description, video, carrier).unzip();
        Ok(Self {
            codec,
            description: Arc::clone(&offer.description),
            video,
            carrier,
            audio: None,
            data,
            sctp,
            ufrag: transport.ufrag.unwrap_or_default(),
            pwd: transport.pwd.unwrap_or_default(),
            fingerprints: transport.fingerprints,
            // What is not said is `active` (RFC 4145 section 4).
            is_dtls_client: matches!(transport.setup, Some(Setup::ActPass | Setup::Passive)),
            leaves_role: transport.setup == Some(Setup::ActPass),
        })
    }

    /// The same with the sound that is offered, as far as `ability` goes. `former` is the payload type that is in use already.
    #[must_use]
    pub fn with_audio(mut self, ability: AudioAbility, former: Option<u8>) -> Self {
        self.audio = AudioTerms::of(&self.description, self.video, self.carrier, ability, former);
        self
    }

    fn section(&self, at: usize) -> Option<&Section> {
        self.description.sections.get(at)
    }

    /// Where candidates belong: mid and index of the section that carries the transport.
    pub fn place(&self) -> (Option<String>, Option<u16>) {
        let mid = self.section(self.carrier).and_then(|section| section.mid.clone());
        (mid, u16::try_from(self.carrier).ok())
    }

    /// The viewer's candidates. Those of video count where the section that carries it has none.
    pub fn candidates(&self) -> &[String] {
        let of = |at| self.section(at).map(|section| section.candidates.as_slice()).unwrap_or_default();
        let carrier: &[String] = of(self.carrier);
        if carrier.is_empty() { of(self.video) } else { carrier }
    }

    /// Feedback that is offered for our stream.
    pub fn feedback(&self) -> Vec<&'static str> {
        self.section(self.video).map(|section| section.feedback(self.codec.payload_type)).unwrap_or_default()
    }

    /// Header extensions that our stream in the section `at` will have: those of `known`.
    fn extensions_of(&self, at: usize, known: &[&str]) -> Vec<Extension> {
        let Some(section) = self.section(at) else { return Vec::new() };
        let mut taken: Vec<Extension> = Vec::new();
        for extension in section.extensions.iter().filter(|extension| known.contains(&extension.uri)) {
            let is_new = taken.iter().all(|one| one.id != extension.id && one.uri != extension.uri);
            if is_new && (extension.uri != MID_URI || self.mid(at).is_some()) {
                taken.push(*extension);
            }
        }
        taken
    }

    /// Those of the picture.
    pub(super) fn extensions(&self) -> Vec<Extension> {
        self.extensions_of(self.video, &VIDEO_EXTENSIONS)
    }

    /// Those of the sound.
    pub(super) fn audio_extensions(&self) -> Vec<Extension> {
        self.audio.map_or_else(Vec::new, |audio| self.extensions_of(audio.section, &AUDIO_EXTENSIONS))
    }

    /// The mid that bundled packets tell the section `at` by (RFC 9143 section 15), if it fits into a short extension.
    fn mid(&self, at: usize) -> Option<&str> {
        self.description.group(at)?;
        self.section(at)?.mid.as_deref().filter(|mid| mid.len() <= Mid::MAX_BYTES)
    }

    /// The numbers of the picture's header extensions.
    pub fn rtp_extensions(&self) -> Extensions {
        self.numbers(self.video, &self.extensions())
    }

    /// The numbers of the sound's.
    pub fn audio_rtp_extensions(&self) -> Extensions {
        self.audio
            .map_or_else(Extensions::default, |audio| self.numbers(audio.section, &self.audio_extensions()))
    }

    fn numbers(&self, at: usize, taken: &[Extension]) -> Extensions {
        let id = |uri| taken.iter().find(|extension| extension.uri == uri).map(|extension| extension.id);
        Extensions {
            transport_cc: id(TRANSPORT_CC_URI),
            playout_delay: id(PLAYOUT_DELAY_URI),
            capture_time: id(ABS_CAPTURE_TIME_URI),
            orientation: id(VIDEO_ORIENTATION_URI),
            mid: id(MID_URI).zip(self.mid(at)).and_then(|(id, mid)| Mid::new(id, mid)),
        }
    }

    /// The offer as the library gets it. Candidates are given to it one by one, and certificates are compared by this side.
    pub fn library_offer(&self) -> String {
        let VideoCodec { payload_type, rtx_payload_type, .. } = self.codec;
        let lite = if self.description.is_ice_lite { "a=ice-lite\r\n" } else { "" };
        let rtx = rtx_payload_type.map(|rtx| format!(" {rtx}")).unwrap_or_default();
        // Who is who: the library takes the other role.
        let setup = if self.is_dtls_client { "passive" } else { "active" };
        let no_fingerprint = ["00"; 32].join(":");
        let bundle = if self.sctp.is_some() { "0 1" } else { "0" };
        let transport = format!(
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {no_fingerprint}\r\n\
             a=setup:{setup}\r\n",
            self.ufrag, self.pwd
        );
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{lite}a=group:BUNDLE {bundle}\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {payload_type}{rtx}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
             {transport}a=rtpmap:{payload_type} H264/90000\r\na=fmtp:{payload_type} {}\r\n",
            self.codec.fmtp()
        );
        if let Some(rtx) = rtx_payload_type {
            // Writing to memory does not fail.
            let _ = write!(sdp, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={payload_type}\r\n");
        }
        if let Some(sctp) = self.sctp {
            sdp.push_str(&sctp.library_section());
            sdp.push_str(&transport);
        }
        sdp
    }
}

/// The section for a data channel that shares the transport of `carrier` with the section `video`.
fn data_section(description: &Description, video: usize, carrier: usize) -> Option<(usize, Sctp)> {
    let is_meant = |(at, section): &(usize, &Section)| {
        section.is_data_channel() && description.shares_transport(*at, video, carrier)
    };
    let (at, section) = description.sections.iter().enumerate().find(is_meant)?;
    Some((at, Sctp::of(section.sctp)?))
}
