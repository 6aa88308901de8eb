//! Reading an offer: is there a place for our video, and which of its codecs fits the stream?
//!
//! Pure, line based and bounded. It runs before any peer connection exists, so that a refused
//! offer costs nothing and leaves nothing behind.

use crate::access::proof::Nonce;
use crate::media::ProfileLevelId;
use crate::signaling::message::{ErrorCode, Offer, Refusal};

/// More candidates than this inside one SDP is not a browser but an attack: each costs checks.
const MAX_CANDIDATES: usize = 64;
/// Media sections; browsers with every sensor shared stay far below.
const MAX_SECTIONS: usize = 16;

/// An offer whose sender may watch, read once for all that is to be known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedOffer {
    /// As it came.
    pub offer: Offer,
    /// Its nonce, checked for its form, which the answer names.
    pub nonce: Option<Nonce>,
    /// What was read in it.
    pub video: VideoOffer,
}

/// The place for our video in an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoOffer {
    /// Its user fragments (RFC 8839 section 5.4), which name its ICE generation.
    pub fragments: Vec<String>,
    formats: Vec<Offered>,
    fec_payload_type: Option<u8>,
}

/// What an answer will use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoCodec {
    /// Payload type of H.264 in the offer.
    pub payload_type: u8,
    /// Payload type of its retransmissions (RFC 4588), if offered.
    pub rtx_payload_type: Option<u8>,
    /// Payload type of repairs that come unasked (`flexfec-03`), if offered.
    pub fec_payload_type: Option<u8>,
    /// Profile bytes as offered, level as the encoder makes it.
    pub profile: ProfileLevelId,
}

impl VideoCodec {
    /// The `a=fmtp` parameters of the answer (RFC 6184 section 8.1).
    pub fn fmtp(&self) -> String {
        format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={}", self.profile)
    }
}

/// The `o=` line's session id: constant over the life of one browser-side peer connection
/// (RFC 9429 section 5.2.1), different for every new one.
pub fn origin(sdp: &str) -> Option<&str> {
    let line = sdp.lines().find_map(|line| line.strip_prefix("o="))?;
    line.split_ascii_whitespace().nth(1)
}

/// Judges `sdp` for a stream of `stream`'s profile.
///
/// # Errors
/// `bad-offer` or `no-h264`, with what is missing in words.
pub fn inspect(sdp: &str, stream: ProfileLevelId) -> Result<VideoCodec, Refusal> {
    VideoOffer::read(sdp)?.codec(stream)
}

impl VideoOffer {
    /// Reads `sdp`.
    ///
    /// # Errors
    /// `bad-offer`, with what is missing in words.
    pub fn read(sdp: &str) -> Result<Self, Refusal> {
        let bad = |text: &str| Refusal::new(ErrorCode::BadOffer, text);
        if !sdp.starts_with("v=0") {
            return Err(bad("the SDP does not begin with v=0"));
        }
        if origin(sdp).is_none() {
            return Err(bad("the SDP has no o= line"));
        }
        if attribute_count(sdp, "candidate:") > MAX_CANDIDATES {
            return Err(bad(&format!("the SDP holds more than {MAX_CANDIDATES} candidates")));
        }
        let (session, sections) = split_sections(sdp);
        if sections.len() > MAX_SECTIONS {
            return Err(bad(&format!("the SDP has more than {MAX_SECTIONS} media sections")));
        }
        let mut videos =
            sections.iter().filter(|section| section.kind == "video" && !section.rejected).peekable();
        if videos.peek().is_none() {
            return Err(bad("the offer has no video section; offer a recvonly video transceiver"));
        }
        let video = videos.find(|section| section.receives()).ok_or_else(|| {
            bad("no video section of the offer wants to receive; offer it recvonly or sendrecv")
        })?;
        for (attribute, what) in [
            ("ice-ufrag:", "ICE user name"),
            ("ice-pwd:", "ICE password"),
            ("fingerprint:", "DTLS fingerprint"),
        ] {
            if video.attribute(attribute).is_none()
                && attribute_value(session.iter().copied(), attribute).is_none()
            {
                return Err(bad(&format!("the offer has no {what} (a={attribute}…)")));
            }
        }
        let fragments = sdp.lines().filter_map(|line| line.strip_prefix("a=ice-ufrag:"));
        Ok(Self {
            fragments: fragments.map(|fragment| fragment.trim_end().to_owned()).collect(),
            formats: video.h264(),
            fec_payload_type: video.named("flexfec-03/90000").next(),
        })
    }

    /// What an answer will use for a stream of `stream`'s profile.
    ///
    /// # Errors
    /// `no-h264`, with what is missing in words.
    pub fn codec(&self, stream: ProfileLevelId) -> Result<VideoCodec, Refusal> {
        let codec = choose(&self.formats, stream)?;
        Ok(VideoCodec { fec_payload_type: self.fec_payload_type, ..codec })
    }
}

struct Section<'a> {
    kind: &'a str,
    rejected: bool,
    formats: Vec<u8>,
    lines: Vec<&'a str>,
}

/// One H.264 format of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offered {
    payload_type: u8,
    rtx_payload_type: Option<u8>,
    packetization_mode: u8,
    profile: ProfileLevelId,
}

fn split_sections(sdp: &str) -> (Vec<&str>, Vec<Section<'_>>) {
    let mut session = Vec::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in sdp.lines().map(|line| line.trim_end_matches('\r')) {
        if let Some(media) = line.strip_prefix("m=") {
            if sections.len() > MAX_SECTIONS {
                break;
            }
            let mut words = media.split_ascii_whitespace();
            let kind = words.next().unwrap_or_default();
            let port = words.next().unwrap_or_default();
            let formats = words.skip(1).filter_map(|format| format.parse().ok()).collect();
            sections.push(Section { kind, rejected: false, formats, lines: Vec::new() });
            if let Some(section) = sections.last_mut() {
                section.rejected = port == "0";
            }
        } else if let Some(section) = sections.last_mut() {
            // A section with port 0 that is only bundled is alive (RFC 9143 section 6).
            section.rejected &= line != "a=bundle-only";
            section.lines.push(line);
        } else {
            session.push(line);
        }
    }
    (session, sections)
}

fn attribute_count(sdp: &str, name: &str) -> usize {
    sdp.lines().filter(|line| line.strip_prefix("a=").is_some_and(|line| line.starts_with(name))).count()
}

fn attribute_value<'a>(lines: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    lines.into_iter().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name))
}

impl<'a> Section<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        attribute_value(self.lines.iter().copied(), name)
    }

    fn receives(&self) -> bool {
        !self.lines.iter().any(|line| matches!(*line, "a=sendonly" | "a=inactive"))
    }

    fn fmtp(&self, payload_type: u8) -> Option<&'a str> {
        self.attribute(&format!("fmtp:{payload_type} "))
    }

    fn encoding(&self, payload_type: u8) -> Option<&'a str> {
        self.attribute(&format!("rtpmap:{payload_type} "))
    }

    fn rtx_of(&self, payload_type: u8) -> Option<u8> {
        let apt = format!("apt={payload_type}");
        self.formats.iter().copied().find(|format| {
            self.encoding(*format).is_some_and(|name| name.eq_ignore_ascii_case("rtx/90000"))
                && self.fmtp(*format).is_some_and(|fmtp| fmtp.split(';').any(|part| part.trim() == apt))
        })
    }

    /// Formats with this encoding.
    fn named(&self, name: &str) -> impl Iterator<Item = u8> {
        let is_it = |format: &u8| self.encoding(*format).is_some_and(|own| own.eq_ignore_ascii_case(name));
        self.formats.iter().copied().filter(is_it)
    }

    fn h264(&self) -> Vec<Offered> {
        self.named("H264/90000")
            .map(|format| {
                let fmtp = self.fmtp(format).unwrap_or_default();
                Offered {
                    payload_type: format,
                    rtx_payload_type: self.rtx_of(format),
                    packetization_mode: parameter(fmtp, "packetization-mode")
                        .and_then(|mode| mode.parse().ok())
                        .unwrap_or(0),
                    // RFC 6184 section 8.1: without the parameter, Baseline level 1.
                    profile: parameter(fmtp, "profile-level-id")
                        .and_then(parse_profile)
                        .unwrap_or(ProfileLevelId { profile_idc: 0x42, profile_iop: 0, level_idc: 0x0a }),
                }
            })
            .collect()
    }
}

fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn parse_profile(text: &str) -> Option<ProfileLevelId> {
    if text.len() != 6 || !text.is_ascii() {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
    Some(ProfileLevelId { profile_idc: byte(0)?, profile_iop: byte(2)?, level_idc: byte(4)? })
}

/// The best offered format for the stream: packetization mode 1 (our payloads are fragmented),
/// and a decoder profile that contains the stream's, the closest first.
fn choose(offered: &[Offered], stream: ProfileLevelId) -> Result<VideoCodec, Refusal> {
    if offered.is_empty() {
        return Err(Refusal::new(
            ErrorCode::NoH264,
            "this browser offers no H.264, and the camera's stream is H.264. \
             Firefox needs its OpenH264 plugin; a Chromium built without codecs cannot play it",
        ));
    }
    let best = offered
        .iter()
        .filter(|format| format.packetization_mode == 1)
        .filter_map(|format| Some((distance(format.profile, stream)?, format)))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, format)) = best {
        let profile = ProfileLevelId { level_idc: stream.level_idc, ..format.profile };
        return Ok(VideoCodec {
            payload_type: format.payload_type,
            rtx_payload_type: format.rtx_payload_type,
            fec_payload_type: None,
            profile,
        });
    }
    let list: Vec<String> = offered
        .iter()
        .take(8)
        .map(|format| format!("{} in packetization mode {}", format.profile, format.packetization_mode))
        .collect();
    Err(Refusal::new(
        ErrorCode::NoH264,
        format!(
            "the camera's stream is H.264 profile {stream} in packetization mode 1; this browser offers only {}",
            list.join(", ")
        ),
    ))
}

/// How far a decoder's profile is from the stream's; `None` if it need not decode the stream
/// (ITU-T H.264 annex A.2: a profile contains the constrained ones below it).
fn distance(decoder: ProfileLevelId, stream: ProfileLevelId) -> Option<u8> {
    const BASELINE: u8 = 0x42;
    const MAIN: u8 = 0x4d;
    const HIGH: u8 = 0x64;
    if decoder.profile_idc == stream.profile_idc {
        return Some(u8::from(decoder.profile_iop != stream.profile_iop));
    }
    match (stream.profile_idc, decoder.profile_idc) {
        // No encoder in use makes the parts of Baseline that Main lacks (FMO, ASO, redundant slices).
        (BASELINE, MAIN) | (MAIN, HIGH) => Some(2),
        (BASELINE, HIGH) => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTRAINED_BASELINE: ProfileLevelId =
        ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f };
    const HIGH: ProfileLevelId = ProfileLevelId { profile_idc: 0x64, profile_iop: 0, level_idc: 0x28 };

    fn offer(video: &str) -> String {
        format!(
            "v=0\r\no=- 46117317 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101\r\nc=IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=recvonly\r\n{video}"
        )
    }

    fn chromium() -> String {
        offer(
            "a=rtpmap:96 VP8/90000\r\n\
             a=rtpmap:97 H264/90000\r\na=fmtp:97 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f\r\n\
             a=rtpmap:98 H264/90000\r\na=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
             a=rtpmap:99 H264/90000\r\na=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
             a=rtpmap:100 rtx/90000\r\na=fmtp:100 apt=99\r\n\
             a=rtpmap:101 H264/90000\r\na=fmtp:101 packetization-mode=1;profile-level-id=64001f\r\n",
        )
    }

    #[test]
    fn the_closest_profile_in_mode_1_is_chosen_with_its_rtx() {
        let codec = inspect(&chromium(), CONSTRAINED_BASELINE).unwrap();
        assert_eq!((codec.payload_type, codec.rtx_payload_type), (99, Some(100)));
        assert_eq!(codec.fec_payload_type, None);
        assert_eq!(codec.fmtp(), "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
    }

    #[test]
    fn repairs_that_come_unasked_are_taken_where_they_are_offered() {
        let sdp = chromium() + "a=rtpmap:96 flexfec-03/90000\r\n";
        assert_eq!(inspect(&sdp, CONSTRAINED_BASELINE).unwrap().fec_payload_type, None, "96 is VP8");
        let sdp = chromium().replace("VP8/90000", "flexfec-03/90000");
        assert_eq!(inspect(&sdp, CONSTRAINED_BASELINE).unwrap().fec_payload_type, Some(96));
    }

    #[test]
    fn the_answer_promises_the_level_that_the_encoder_makes() {
        let codec = inspect(&chromium(), HIGH).unwrap();
        assert_eq!(codec.payload_type, 101);
        assert_eq!(codec.profile.to_string(), "640028");
    }

    #[test]
    fn a_main_decoder_takes_a_baseline_stream_but_not_the_reverse() {
        let main =
            offer("a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=4d001f\r\n");
        assert_eq!(inspect(&main, CONSTRAINED_BASELINE).unwrap().payload_type, 96);
        let refusal = inspect(&main, HIGH).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::NoH264);
        assert!(
            refusal.message.contains("4d001f") && refusal.message.contains("640028"),
            "{}",
            refusal.message
        );
    }

    #[test]
    fn no_h264_says_what_the_browser_lacks() {
        let none = offer("a=rtpmap:96 VP8/90000\r\n");
        assert_eq!(inspect(&none, CONSTRAINED_BASELINE).unwrap_err().code, ErrorCode::NoH264);
        let mode_0 = offer("a=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e01f\r\n");
        let refusal = inspect(&mode_0, CONSTRAINED_BASELINE).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::NoH264);
        assert!(refusal.message.contains("packetization mode 0"), "{}", refusal.message);
    }

    #[test]
    fn offers_without_a_place_for_video_are_bad() {
        let audio = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        for sdp in [
            String::new(),
            "hello".to_owned(),
            "v=0\r\n".to_owned(),
            audio.to_owned(),
            chromium().replace("recvonly", "sendonly"),
            chromium().replace("m=video 9", "m=video 0"),
            chromium().replace("a=fingerprint", "a=finger"),
            chromium().replace("a=ice-ufrag", "a=ice"),
            chromium() + &"a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(500),
            chromium() + &"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(500),
        ] {
            assert_eq!(
                inspect(&sdp, CONSTRAINED_BASELINE).map_err(|refusal| refusal.code),
                Err(ErrorCode::BadOffer),
                "{sdp:.60}"
            );
        }
    }

    #[test]
    fn odd_parameters_do_not_panic() {
        for fmtp in ["profile-level-id=zzzzzz", "profile-level-id=é€", "profile-level-id=", "=;=", ";;;"] {
            let sdp = offer(&format!("a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;{fmtp}\r\n"));
            assert!(inspect(&sdp, CONSTRAINED_BASELINE).is_ok(), "{fmtp}: default profile is baseline");
        }
    }

    #[test]
    fn the_origin_tells_peer_connections_apart() {
        assert_eq!(origin(&chromium()), Some("46117317"));
        assert_eq!(origin("v=0"), None);
    }
}
