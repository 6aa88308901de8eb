//! Reading an offer: is there a place for our video, and which of its codecs fits the stream?
//!
//! Pure and bounded. It runs before any peer connection exists, so that a refused
//! offer costs nothing and leaves nothing behind.

pub use super::codec::VideoCodec;
use std::sync::Arc;

use super::codec::{self, OfferedH264};
use super::description::{Description, Direction, Setup};
use super::extension_uri::{VIDEO_EXTENSIONS, VIDEO_ORIENTATION_URI};
use crate::access::proof::Nonce;
use crate::media::ProfileLevelId;
use crate::signaling::message::{ErrorCode, Offer, Refusal};

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

/// The places for our video in an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoOffer {
    /// Its user fragments (RFC 8839 section 5.4), which name its ICE generation.
    pub ufrags: Vec<String>,
    pub(super) description: Arc<Description>,
    /// In the offer's order.
    places: Vec<Place>,
}

/// What an SDP says, before it is decided what that is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpReading {
    /// The `o=` line's session id: constant over the life of one browser-side peer connection (RFC 9429 section 5.2.1),
    /// different for every new one.
    pub origin: String,
    /// The places for our video, or why there is none.
    pub video: Result<VideoOffer, Refusal>,
}

impl SdpReading {
    /// Reads `sdp`.
    ///
    /// # Errors
    /// `bad-offer`: nobody could tell which connection it is of.
    pub fn of(sdp: &str) -> Result<Self, Refusal> {
        let origin = origin(sdp).ok_or_else(no_origin)?.to_owned();
        Ok(Self { origin, video: VideoOffer::read(sdp) })
    }
}

fn no_origin() -> Refusal {
    Refusal::new(ErrorCode::BadOffer, "the SDP has no o= line")
}

/// A video section that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    section: usize,
    formats: Vec<OfferedH264>,
}

fn origin(sdp: &str) -> Option<&str> {
    /// It is the second line (RFC 8866 section 5).
    const FIRST_LINES: usize = 8;
    let line = sdp.lines().take(FIRST_LINES).find_map(|line| line.strip_prefix("o="))?;
    line.split_ascii_whitespace().nth(1)
}

impl VideoOffer {
    /// Reads `sdp`.
    ///
    /// # Errors
    /// `bad-offer`, with what is missing in words.
    pub fn read(sdp: &str) -> Result<Self, Refusal> {
        let bad = |text: String| Refusal::new(ErrorCode::BadOffer, text);
        if !sdp.starts_with("v=0") {
            return Err(bad("the SDP does not begin with v=0".to_owned()));
        }
        if origin(sdp).is_none() {
            return Err(no_origin());
        }
        let description = Description::read(sdp, &VIDEO_EXTENSIONS).map_err(bad)?;
        let (mut places, mut reason) = (Vec::new(), None);
        for at in 0..description.sections.len() {
            match why_not(&description, at) {
                None => {
                    let formats = codec::h264(&description.sections[at]);
                    places.push(Place { section: at, formats });
                }
                // What is said of the section that came nearest.
                Some(why) => reason = reason.max(Some(why)),
            }
        }
        if places.is_empty() {
            return Err(bad(reason.unwrap_or(NotTaken::NoVideo).words().to_owned()));
        }
        let sections = description.sections.iter().filter_map(|section| section.transport.ufrag.clone());
        let mut ufrags: Vec<String> = description.transport.ufrag.iter().cloned().chain(sections).collect();
        ufrags.dedup();
        Ok(Self { ufrags, description: Arc::new(description), places })
    }

    /// What an answer will use for a stream of `stream`'s profile.
    ///
    /// # Errors
    /// `no-h264`, with what is missing in words.
    pub fn codec(&self, stream: ProfileLevelId) -> Result<VideoCodec, Refusal> {
        self.choose(stream, None).map(|(_, codec)| codec)
    }

    /// Whether the viewer turns a picture by what a stream of `stream`'s profile tells of it.
    pub(in crate::peer) fn takes_orientation(&self, stream: ProfileLevelId) -> bool {
        let taken = self.choose(stream, None).ok().and_then(|(at, _)| self.description.sections.get(at));
        taken.is_some_and(|section| section.extensions.iter().any(|one| one.uri == VIDEO_ORIENTATION_URI))
    }

    /// The section that is taken, and what is used of it; only `payload_type`, where that is given: the meaning of one that is in use
    /// does not change (RFC 3264 section 8.3.2).
    pub(super) fn choose(
        &self,
        stream: ProfileLevelId,
        payload_type: Option<u8>,
    ) -> Result<(usize, VideoCodec), Refusal> {
        let mut chosen = self.places.iter().filter_map(|place| {
            let codec = codec::choose(&place.formats, stream, payload_type)?;
            let fec_payload_type = codec::fec(self.description.sections.get(place.section)?);
            Some((place.section, VideoCodec { fec_payload_type, ..codec }))
        });
        chosen.next().ok_or_else(|| {
            let all: Vec<&OfferedH264> = self.places.iter().flat_map(|place| &place.formats).collect();
            codec::refusal(&all, stream)
        })
    }
}

/// Why a section is no place for our video; the later one came nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NotTaken {
    NoVideo,
    NotRtp,
    DoesNotReceive,
    NoUfrag,
    NoPwd,
    NoFingerprint,
    OtherHash,
    HoldsConnection,
    NoMux,
    BundledWithOther,
}

impl NotTaken {
    fn words(self) -> &'static str {
        match self {
            Self::NoVideo => "the offer has no video section; offer a recvonly video transceiver",
            Self::NotRtp => "the video section is not offered over RTP with DTLS; UDP/TLS/RTP/SAVPF is right",
            Self::DoesNotReceive => {
                "no video section of the offer wants to receive; offer it recvonly or sendrecv"
            }
            Self::NoUfrag => "the offer has no ICE user name (a=ice-ufrag:…)",
            Self::NoPwd => "the offer has no ICE password (a=ice-pwd:…)",
            Self::NoFingerprint => "the offer has no DTLS fingerprint (a=fingerprint:…)",
            Self::OtherHash => {
                "no DTLS fingerprint of the offer can be used; one of sha-256, sha-384 or sha-512 is needed"
            }
            Self::HoldsConnection => "the offer holds its connection back (a=setup:holdconn); offer actpass",
            Self::NoMux => {
                "the video section has no a=rtcp-mux, and this device sends media and reports over one port \
                 (RFC 8834 section 4.5); offer it"
            }
            Self::BundledWithOther => {
                "the video section has no port of its own and is bundled with a section that cannot be answered; \
                 put video first, or give it a port"
            }
        }
    }
}

fn why_not(description: &Description, at: usize) -> Option<NotTaken> {
    let section = description.sections.get(at)?;
    if !section.kind.eq_ignore_ascii_case("video") || !description.is_alive(at) {
        return Some(NotTaken::NoVideo);
    }
    if !section.is_rtp() {
        return Some(NotTaken::NotRtp);
    }
    if matches!(description.direction(at), Direction::SendOnly | Direction::Inactive) {
        return Some(NotTaken::DoesNotReceive);
    }
    let Some(carrier) = carrier(description, at) else { return Some(NotTaken::BundledWithOther) };
    let transport = description.transport(carrier);
    if transport.ufrag.is_none() {
        return Some(NotTaken::NoUfrag);
    }
    if transport.pwd.is_none() {
        return Some(NotTaken::NoPwd);
    }
    if transport.fingerprints.is_empty() {
        let why = if transport.has_other_hash { NotTaken::OtherHash } else { NotTaken::NoFingerprint };
        return Some(why);
    }
    if transport.setup == Some(Setup::HoldConn) {
        return Some(NotTaken::HoldsConnection);
    }
    let has_mux =
        section.rtcp_mux || description.sections.get(carrier).is_some_and(|carrier| carrier.rtcp_mux);
    (!has_mux).then_some(NotTaken::NoMux)
}

/// The section whose transport the video section `at` has: its own, or that of the first one of its group (RFC 9143 section 7.3.1).
/// `None` if that one cannot be answered.
///
/// A first section that shares its transport with video is kept, although nothing is sent in it: browsers that bundle at most make no
/// other transport, and lose it with that section.
pub(super) fn carrier(description: &Description, at: usize) -> Option<usize> {
    let video = description.sections.get(at)?;
    let first = description.group(at).and_then(|group| description.named(group.first()?));
    let Some(first) = first.filter(|first| *first != at) else { return Some(at) };
    let tagged = description.sections.get(first)?;
    let can_keep = tagged.port != 0 && (tagged.is_rtp() || tagged.is_data_channel());
    let has_own = video.port != 0;
    let own = &video.transport.ufrag;
    let is_shared = own.is_none() || *own == tagged.transport.ufrag;
    match (can_keep && (is_shared || !has_own), has_own) {
        (true, _) => Some(first),
        // Without the first one video carries itself, as far as it can.
        (false, true) => Some(at),
        (false, false) if tagged.port == 0 && own.is_some() => Some(at),
        (false, false) => None,
    }
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
