//! Our answer, written from the offer and from what the library made up: its ICE credentials and its certificate. Pure.
//!
//! It has the offer's sections in the offer's order (RFC 3264 section 6): those that are taken, and all others with port 0.

use std::fmt::Write;

use super::audio::{AudioTerms, Stream};
use super::description::Section;
use super::negotiation::Negotiation;
use super::sctp;
use super::track::Ssrcs;
use crate::signaling::message::Candidate;

/// `a=repair-window` of browsers, in microseconds.
const REPAIR_WINDOW: &str = "repair-window=10000000";
/// CNAME, stream and track as viewers see them.
const STREAM: &str = "porthole";
const TRACK: &str = "video";
const AUDIO_TRACK: &str = "audio";

/// Who answers: constant over a connection but for the version, which grows by one with each new answer (RFC 3264 section 8).
#[derive(Debug)]
pub(in crate::peer) struct AnswerOrigin {
    session: u64,
    version: u64,
}

impl Default for AnswerOrigin {
    fn default() -> Self {
        // 62 bits, as RFC 8829 section 5.2.1 has it: readers of signed numbers take it too.
        Self { session: rand::random::<u64>() >> 2, version: 0 }
    }
}

/// What the library made up for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::peer) struct LocalTransport {
    pub ufrag: String,
    pwd: String,
    /// Of our certificate: hash and value.
    fingerprint: String,
}

impl LocalTransport {
    /// Reads it in the library's own answer.
    pub fn read(sdp: &str) -> Option<Self> {
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name));
        let text = |name: &str| value(name).map(|value| value.trim_end().to_owned());
        Some(Self { ufrag: text("ice-ufrag:")?, pwd: text("ice-pwd:")?, fingerprint: text("fingerprint:")? })
    }
}

impl AnswerOrigin {
    /// The next answer, with the `candidates` that are known already.
    pub fn answer(
        &mut self,
        negotiation: &Negotiation,
        local: &LocalTransport,
        ssrcs: &Ssrcs,
        candidates: &[Candidate],
    ) -> String {
        self.version += 1;
        let mut sdp = format!(
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{}a=ice-options:trickle\r\na=msid-semantic:WMS *\r\n",
            self.session,
            self.version,
            group(negotiation)
        );
        for (at, section) in negotiation.description.sections.iter().enumerate() {
            if at == negotiation.video {
                video(&mut sdp, negotiation, section, local, ssrcs);
            } else if let Some(terms) = negotiation.audio.filter(|audio| audio.section == at) {
                audio(&mut sdp, negotiation, terms, section, local, ssrcs);
            } else if negotiation.data == Some(at) {
                data(&mut sdp, negotiation, section, local);
            } else {
                let port = if at == negotiation.carrier { 9 } else { 0 };
                unused(&mut sdp, port, negotiation, section, local);
            }
            if at == negotiation.carrier {
                sdp.extend(candidates.iter().flat_map(|candidate| [line(candidate), "\r\n".to_owned()]));
            }
        }
        sdp
    }
}

/// `sdp`, one of our answers, with all candidates and their end, in the section that carries the transport: the one that has
/// candidates, or else the first that is taken.
pub(in crate::peer) fn with_candidates(sdp: &str, candidates: &[Candidate]) -> String {
    let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
    let is_taken = |line: &String| line.starts_with("m=") && line.split(' ').nth(1) != Some("0");
    let begin = lines.iter().position(is_taken).unwrap_or(lines.len());
    let length = lines.iter().skip(begin + 1).position(|line| line.starts_with("m="));
    let end = length.map_or(lines.len(), |length| begin + 1 + length);
    let mut new = Vec::new();
    for candidate in candidates.iter().map(line) {
        if !lines.contains(&candidate) && !new.contains(&candidate) {
            new.push(candidate);
        }
    }
    new.push("a=end-of-candidates".to_owned());
    lines.splice(end..end, new);
    lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect()
}

/// `candidate` as an attribute.
fn line(candidate: &Candidate) -> String {
    format!("a={}", candidate.candidate.trim_start_matches("a="))
}

/// The sections that are taken, if they were offered as a bundle (RFC 9143 section 7.3).
fn group(negotiation: &Negotiation) -> String {
    let Negotiation { description, video, carrier, audio, data, .. } = negotiation;
    if description.group(*video).is_none() {
        return String::new();
    }
    // The one that carries the transport is the first (RFC 9143 section 7.3.2).
    let mut taken = vec![*carrier];
    for at in [Some(*video), audio.map(|audio| audio.section), *data].into_iter().flatten() {
        if !taken.contains(&at) {
            taken.push(at);
        }
    }
    let mids = taken.into_iter().filter_map(|at| description.sections.get(at)?.mid.as_deref());
    format!("a=group:BUNDLE {}\r\n", mids.collect::<Vec<_>>().join(" "))
}

fn push(sdp: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = write!(sdp, "{line}\r\n");
}

fn mid(sdp: &mut String, section: &Section) {
    if let Some(mid) = &section.mid {
        push(sdp, format_args!("a=mid:{mid}"));
    }
}

fn transport(sdp: &mut String, negotiation: &Negotiation, section: &Section, local: &LocalTransport) {
    if !section.has_dtls() {
        return;
    }
    let setup = if negotiation.is_dtls_client { "active" } else { "passive" };
    let LocalTransport { ufrag, pwd, fingerprint } = local;
    push(sdp, format_args!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}"));
    push(sdp, format_args!("a=fingerprint:{fingerprint}\r\na=setup:{setup}"));
    if section.is_rtp() {
        push(sdp, format_args!("a=rtcp-mux"));
    }
}

/// A section that nothing is sent in. With port 0 it is not taken (RFC 3264 section 6); the other is the first of a bundle, which
/// carries the transport.
///
/// One that is not taken needs no transport, but GStreamer's webrtcbin refuses the whole answer without (`No fingerprint lines in sdp
/// for media 1`), and says so to nobody. libwebrtc writes all this into such sections too.
fn unused(sdp: &mut String, port: u16, negotiation: &Negotiation, section: &Section, local: &LocalTransport) {
    let known = section.payload_types().find(|format| section.codecs.contains_key(format));
    let format = known.map_or_else(
        || section.formats.first().cloned().unwrap_or_else(|| "0".to_owned()),
        |format| format.to_string(),
    );
    push(sdp, format_args!("m={} {port} {} {format}\r\nc=IN IP4 0.0.0.0", section.kind, section.protocol));
    mid(sdp, section);
    transport(sdp, negotiation, section, local);
    if section.is_rtp() {
        push(sdp, format_args!("a=inactive"));
    }
    let Some(known) = known.and_then(|format| section.codecs.get(&format)) else { return };
    if let Some(encoding) = &known.encoding {
        push(sdp, format_args!("a=rtpmap:{format} {encoding}"));
    }
    if let Some(fmtp) = known.fmtp.as_ref().filter(|_| port != 0) {
        push(sdp, format_args!("a=fmtp:{format} {fmtp}"));
    }
}

/// The section of the data channel.
fn data(sdp: &mut String, negotiation: &Negotiation, section: &Section, local: &LocalTransport) {
    let formats = section.formats.join(" ");
    push(sdp, format_args!("m={} 9 {} {formats}\r\nc=IN IP4 0.0.0.0", section.kind, section.protocol));
    mid(sdp, section);
    transport(sdp, negotiation, section, local);
    push(sdp, format_args!("{}", sctp::answered()));
}

/// The section of the sound.
fn audio(
    sdp: &mut String,
    negotiation: &Negotiation,
    terms: AudioTerms,
    section: &Section,
    local: &LocalTransport,
    ssrcs: &Ssrcs,
) {
    let format = terms.payload_type;
    push(sdp, format_args!("m={} 9 {} {format}\r\nc=IN IP4 0.0.0.0", section.kind, section.protocol));
    mid(sdp, section);
    transport(sdp, negotiation, section, local);
    let stream = Stream { name: STREAM, track: AUDIO_TRACK, ssrc: ssrcs.audio };
    terms.write(sdp, section, &negotiation.audio_extensions(), &stream);
}

/// The section that the camera's picture is sent in.
fn video(
    sdp: &mut String,
    negotiation: &Negotiation,
    section: &Section,
    local: &LocalTransport,
    ssrcs: &Ssrcs,
) {
    let codec = &negotiation.codec;
    let own = codec.payload_type;
    let rtx = codec.rtx_payload_type.zip(Some(ssrcs.rtx));
    let fec = codec.fec_payload_type.zip(ssrcs.fec);
    let others = [rtx, fec].into_iter().flatten().map(|(payload_type, _)| format!(" {payload_type}"));
    let others: String = others.collect();
    push(sdp, format_args!("m={} 9 {} {own}{others}\r\nc=IN IP4 0.0.0.0", section.kind, section.protocol));
    mid(sdp, section);
    transport(sdp, negotiation, section, local);
    push(sdp, format_args!("a=sendonly"));
    if section.rtcp_rsize {
        push(sdp, format_args!("a=rtcp-rsize"));
    }
    for extension in negotiation.extensions() {
        let direction = if extension.has_direction { "/sendonly" } else { "" };
        push(sdp, format_args!("a=extmap:{}{direction} {}", extension.id, extension.uri));
    }
    push(sdp, format_args!("a=rtpmap:{own} H264/90000\r\na=fmtp:{own} {}", codec.fmtp()));
    for feedback in negotiation.feedback() {
        push(sdp, format_args!("a=rtcp-fb:{own} {feedback}"));
    }
    if let Some((payload_type, ssrc)) = rtx {
        push(sdp, format_args!("a=rtpmap:{payload_type} rtx/90000\r\na=fmtp:{payload_type} apt={own}"));
        push(sdp, format_args!("a=ssrc-group:FID {} {ssrc}", ssrcs.media));
    }
    if let Some((payload_type, ssrc)) = fec {
        push(sdp, format_args!("a=rtpmap:{payload_type} flexfec-03/90000"));
        push(sdp, format_args!("a=fmtp:{payload_type} {REPAIR_WINDOW}"));
        for feedback in section.feedback(payload_type) {
            push(sdp, format_args!("a=rtcp-fb:{payload_type} {feedback}"));
        }
        push(sdp, format_args!("a=ssrc-group:FEC-FR {} {ssrc}", ssrcs.media));
    }
    push(sdp, format_args!("a=msid:{STREAM} {TRACK}"));
    let protecting = [rtx, fec].into_iter().flatten().map(|(_, ssrc)| ssrc);
    for ssrc in [ssrcs.media].into_iter().chain(protecting) {
        push(sdp, format_args!("a=ssrc:{ssrc} cname:{STREAM}\r\na=ssrc:{ssrc} msid:{STREAM} {TRACK}"));
    }
}

#[cfg(test)]
#[path = "answer_audio_tests.rs"]
mod audio_tests;
#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
