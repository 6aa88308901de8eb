//! Which of an offer's H.264 formats plays the camera's stream (RFC 6184 section 8). Pure.

use super::description::Section;
use crate::media::ProfileLevelId;
use crate::signaling::message::{ErrorCode, Refusal};

/// What stands in messages at most of it.
const MAX_LISTED: usize = 8;

/// What an answer will use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoCodec {
    /// Payload type of H.264 in the offer.
    pub payload_type: u8,
    /// Payload type of its retransmissions (RFC 4588), if offered.
    pub rtx_payload_type: Option<u8>,
    /// Payload type of parity packets (FEC) (`flexfec-03`), if offered.
    pub fec_payload_type: Option<u8>,
    /// Profile bytes as offered, level as the encoder makes it.
    pub profile: ProfileLevelId,
    /// The offer allows its own level and ours to differ (RFC 6184 section 8.1).
    pub level_asymmetry: bool,
}

impl VideoCodec {
    /// The `a=fmtp` parameters of the answer (RFC 6184 section 8.1).
    pub fn fmtp(&self) -> String {
        let asymmetry = if self.level_asymmetry { "level-asymmetry-allowed=1;" } else { "" };
        format!("{asymmetry}packetization-mode=1;profile-level-id={}", self.profile)
    }
}

/// One H.264 format of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfferedH264 {
    pub payload_type: u8,
    rtx_payload_type: Option<u8>,
    /// `None`: not said.
    packetization_mode: Option<u8>,
    /// `None`: not said.
    profile: Option<ProfileLevelId>,
    level_asymmetry: bool,
}

/// The H.264 formats of `section`, in its order.
pub(super) fn h264(section: &Section) -> Vec<OfferedH264> {
    let mut rtx = [None; 128];
    for format in section.payload_types().filter(|format| section.is(*format, "rtx/90000")) {
        let of = parameter(section.fmtp(format), "apt").and_then(|of| of.parse::<usize>().ok());
        if let Some(place) = of.and_then(|of| rtx.get_mut(of)) {
            place.get_or_insert(format);
        }
    }
    let formats = section.payload_types().filter(|format| section.is(*format, "H264/90000"));
    let read = |payload_type: u8| {
        let fmtp = section.fmtp(payload_type);
        OfferedH264 {
            payload_type,
            rtx_payload_type: rtx.get(usize::from(payload_type)).copied().flatten(),
            packetization_mode: parameter(fmtp, "packetization-mode").map(|mode| mode.parse().unwrap_or(0)),
            profile: parameter(fmtp, "profile-level-id").and_then(parse_profile),
            level_asymmetry: parameter(fmtp, "level-asymmetry-allowed") == Some("1"),
        }
    };
    formats.map(read).collect()
}

/// The payload type of parity packets (FEC).
pub(super) fn fec(section: &Section) -> Option<u8> {
    section.payload_types().find(|format| section.is(*format, "flexfec-03/90000"))
}

fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn parse_profile(text: &str) -> Option<ProfileLevelId> {
    if text.len() != 6 || !text.is_ascii() {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
    Some(ProfileLevelId { profile_idc: byte(0)?, profile_iop: byte(2)?, level_idc: byte(4)? })
}

impl OfferedH264 {
    /// How far it is from `stream`; `None` if it need not play it. Our payloads are fragmented, which mode 0 does not allow. Where no
    /// mode is named RFC 6184 means 0, but those who name none (devices, GStreamer) play every one and take the answer's.
    fn distance(&self, stream: ProfileLevelId) -> Option<u8> {
        /// Behind all that say what they want.
        const UNSAID: u8 = 8;
        let mode = match self.packetization_mode {
            Some(1) => 0,
            Some(_) => return None,
            None => UNSAID,
        };
        Some(mode + self.profile.map_or(Some(UNSAID / 2), |profile| distance(profile, stream))?)
    }

    fn codec(&self, stream: ProfileLevelId) -> VideoCodec {
        let offered = self.profile.unwrap_or(stream);
        // Where both sides' levels are one, the lower one is in force (RFC 6184 section 8.2.2).
        let level_idc = if self.level_asymmetry || self.profile.is_none() {
            stream.level_idc
        } else {
            stream.level_idc.min(offered.level_idc)
        };
        VideoCodec {
            payload_type: self.payload_type,
            rtx_payload_type: self.rtx_payload_type,
            fec_payload_type: None,
            profile: ProfileLevelId { level_idc, ..offered },
            level_asymmetry: self.level_asymmetry,
        }
    }
}

/// The best of `offered` for `stream`; of these only `payload_type`, where that is given.
pub(super) fn choose(
    offered: &[OfferedH264],
    stream: ProfileLevelId,
    payload_type: Option<u8>,
) -> Option<VideoCodec> {
    let allowed = offered.iter().filter(|format| payload_type.is_none_or(|only| format.payload_type == only));
    let near = allowed.filter_map(|format| Some((format.distance(stream)?, format)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, format)| format.codec(stream))
}

/// Why none of `offered` was chosen.
pub(super) fn refusal(offered: &[&OfferedH264], stream: ProfileLevelId) -> Refusal {
    if offered.is_empty() {
        return Refusal::new(
            ErrorCode::NoH264,
            "the offer has no H.264, and the camera's stream is H.264. \
             Firefox needs its OpenH264 plugin; a Chromium built without codecs cannot play it",
        );
    }
    let list: Vec<String> = offered
        .iter()
        .take(MAX_LISTED)
        .map(|format| {
            let profile = format.profile.map_or("no profile".to_owned(), |profile| profile.to_string());
            format!("{profile} in packetization mode {}", format.packetization_mode.unwrap_or(0))
        })
        .collect();
    let list = list.join(", ");
    let text = format!(
        "the camera's stream is H.264 profile {stream} in packetization mode 1; the offer has only {list}"
    );
    Refusal::new(ErrorCode::NoH264, text)
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
