//! The audio section of an offer: what is taken of it, and how it is answered (RFC 7587). Pure.

use std::fmt::Write;

use super::description::{Description, Direction, Extension, Section};

/// What SDP calls Opus (RFC 7587 section 7): always two channels of 48 kHz, whatever is in the packets. GStreamer leaves them out.
const OPUS: [&str; 2] = ["opus/48000/2", "opus/48000"];

/// What this side can do with sound for one viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::peer) struct AudioAbility {
    /// There is a microphone.
    pub sends: bool,
    /// What it captures has two channels.
    pub is_stereo: bool,
    /// There is a speaker, and the viewer may talk to it.
    pub receives: bool,
}

/// What is taken of an offer's audio section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::peer) struct AudioTerms {
    /// The section.
    pub(super) section: usize,
    /// Of Opus in the offer.
    pub payload_type: u8,
    /// Sound goes to the viewer.
    pub sends: bool,
    /// The viewer's voice comes.
    pub receives: bool,
    pub(super) is_stereo: bool,
}

impl AudioTerms {
    /// What is taken of the sound in `description`, where video is the section `video` and `carrier` has the transport. `former` is the
    /// payload type that is in use already.
    pub(super) fn of(
        description: &Description,
        video: usize,
        carrier: usize,
        ability: AudioAbility,
        former: Option<u8>,
    ) -> Option<Self> {
        if !ability.sends && !ability.receives {
            return None;
        }
        let terms = |at: usize| {
            let section = description.sections.get(at)?;
            if !section.kind.eq_ignore_ascii_case("audio") || !section.is_rtp() {
                return None;
            }
            if !description.shares_transport(at, video, carrier) {
                return None;
            }
            let opus =
                section.payload_types().filter(|format| OPUS.iter().any(|opus| section.is(*format, opus)));
            // The meaning of one that is in use does not change (RFC 3264 section 8.3.2).
            let payload_type =
                opus.into_iter().find(|format| former.is_none_or(|former| former == *format))?;
            let direction = description.direction(at);
            let sends = ability.sends && matches!(direction, Direction::SendRecv | Direction::RecvOnly);
            let receives = ability.receives && matches!(direction, Direction::SendRecv | Direction::SendOnly);
            // One that is on hold is kept (RFC 3264 section 8.4).
            let is_kept = sends || receives || direction == Direction::Inactive;
            let is_stereo = ability.is_stereo;
            is_kept.then_some(Self { section: at, payload_type, sends, receives, is_stereo })
        };
        (0..description.sections.len()).find_map(terms)
    }

    fn direction(self) -> &'static str {
        match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }

    /// The `a=fmtp` parameters of the answer (RFC 7587 section 6.1): what this side wants to get, and that it may send two channels.
    fn fmtp(self) -> &'static str {
        if self.is_stereo {
            "minptime=10;useinbandfec=1;sprop-stereo=1"
        } else {
            "minptime=10;useinbandfec=1"
        }
    }

    /// Appends what the answer's section says beyond its transport.
    pub(super) fn write(
        self,
        sdp: &mut String,
        section: &Section,
        extensions: &[Extension],
        stream: &Stream<'_>,
    ) {
        let Self { payload_type, .. } = self;
        let Stream { name, track, ssrc } = stream;
        let mut push = |line: std::fmt::Arguments<'_>| {
            // Writing to memory does not fail.
            let _ = write!(sdp, "{line}\r\n");
        };
        let direction = self.direction();
        push(format_args!("a={direction}"));
        if section.rtcp_rsize {
            push(format_args!("a=rtcp-rsize"));
        }
        for extension in extensions {
            let way = if extension.has_direction { format!("/{direction}") } else { String::new() };
            push(format_args!("a=extmap:{}{way} {}", extension.id, extension.uri));
        }
        let known = section.codecs.get(&payload_type).and_then(|format| format.encoding.as_deref());
        let encoding = known.unwrap_or(OPUS[0]);
        push(format_args!("a=rtpmap:{payload_type} {encoding}\r\na=fmtp:{payload_type} {}", self.fmtp()));
        for feedback in
            section.feedback(payload_type).into_iter().filter(|feedback| *feedback == "transport-cc")
        {
            push(format_args!("a=rtcp-fb:{payload_type} {feedback}"));
        }
        if self.sends {
            push(format_args!("a=msid:{name} {track}"));
            push(format_args!("a=ssrc:{ssrc} cname:{name}\r\na=ssrc:{ssrc} msid:{name} {track}"));
        }
    }
}

/// How the sound is called.
pub(super) struct Stream<'a> {
    /// CNAME and stream, the picture's: what has the same one is played together.
    pub name: &'a str,
    pub track: &'a str,
    pub ssrc: u32,
}
