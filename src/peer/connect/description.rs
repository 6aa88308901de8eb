//! An offer as it stands on the wire, read once into typed sections: tolerant, in one pass, and bounded. Pure.
//!
//! Whatever is not known here is left out, as RFC 8866 section 5 asks of a reader; only what an answer could not name again is refused.

use std::collections::BTreeMap;

use super::fingerprint::Fingerprint;
use super::sctp::SctpAttributes;

/// Lines of one description. Chromium with twenty transceivers stays below.
const MAX_LINES: usize = 4096;
/// Media sections; browsers with every sensor shared stay far below.
pub(super) const MAX_SECTIONS: usize = 32;
/// Formats of one section: there are no more payload types (RFC 3550 section 5.1).
pub(super) const MAX_FORMATS: usize = 128;
/// Candidates that are used of one section; each costs checks. A computer with many bridges may offer more.
pub(super) const MAX_CANDIDATES: usize = 64;
const MAX_GROUPS: usize = 8;
/// Numbers of known header extensions.
const MAX_EXTENSIONS: usize = 16;
/// Lengths that RFC 8839 section 5.4 allows a user name and a password.
const MAX_CREDENTIAL_CHARS: usize = 256;
/// Of what the answer repeats: kinds, protocols, formats, mids.
const MAX_TOKEN_CHARS: usize = 64;
/// Of parameters of a format; browsers stay below 200.
const MAX_PARAMETER_CHARS: usize = 1024;

/// What is understood of `a=rtcp-fb` (RFC 4585 section 4.2, RFC 5104 section 7.1, and Google's two).
pub(super) const FEEDBACK: [&str; 5] = ["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"];

/// Who sends in a section (RFC 8866 section 6.7), as its offerer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    fn of(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

/// Who begins the DTLS handshake (RFC 4145 section 4), as the offerer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    ActPass,
    HoldConn,
}

/// What a section, or all of them, say of the way to the offerer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transport {
    pub ufrag: Option<String>,
    pub pwd: Option<String>,
    pub fingerprints: Vec<Fingerprint>,
    /// Hashes that are not known or not safe any more were named.
    pub has_other_hash: bool,
    pub setup: Option<Setup>,
}

/// What is said of one payload type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FormatAttributes {
    /// `a=rtpmap`: name, clock and channels.
    pub encoding: Option<String>,
    pub fmtp: Option<String>,
    /// Of [`FEEDBACK`].
    pub feedback: Vec<&'static str>,
}

/// A header extension that is known (RFC 8285 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extension {
    pub id: u8,
    pub uri: &'static str,
    /// The offerer named a direction, so that the answer has to name one too.
    pub has_direction: bool,
}

/// One `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub kind: String,
    pub port: u16,
    pub protocol: String,
    /// As they stand, for whoever repeats them.
    pub formats: Vec<String>,
    pub mid: Option<String>,
    pub direction: Option<Direction>,
    pub bundle_only: bool,
    pub rtcp_mux: bool,
    pub rtcp_rsize: bool,
    pub transport: Transport,
    pub codecs: BTreeMap<u8, FormatAttributes>,
    /// `a=rtcp-fb:*`.
    pub feedback: Vec<&'static str>,
    pub extensions: Vec<Extension>,
    pub sctp: SctpAttributes,
    /// Without the `a=`.
    pub candidates: Vec<String>,
}

/// A whole offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// Each with its mids (RFC 9143 section 5).
    pub groups: Vec<Vec<String>>,
    pub sections: Vec<Section>,
    pub transport: Transport,
    pub direction: Option<Direction>,
    pub is_ice_lite: bool,
    extensions: Vec<Extension>,
}

impl Description {
    /// Reads `sdp`; `known` are the header extensions that are of use.
    ///
    /// # Errors
    /// What cannot be answered, in words.
    pub fn read(sdp: &str, known: &[&'static str]) -> Result<Self, String> {
        let mut description = Self::default();
        for (at, line) in sdp.lines().enumerate() {
            if at == MAX_LINES {
                return Err(format!("the SDP has more than {MAX_LINES} lines"));
            }
            let line = line.trim_end();
            if let Some(media) = line.strip_prefix("m=") {
                if description.sections.len() == MAX_SECTIONS {
                    return Err(format!("the SDP has more than {MAX_SECTIONS} media sections"));
                }
                description.sections.push(Section::read(media)?);
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                description.attribute(name, value.trim(), known)?;
            }
        }
        description.check_mids()?;
        for section in &mut description.sections {
            section.extensions.extend(&description.extensions);
        }
        Ok(description)
    }

    fn attribute(&mut self, name: &str, value: &str, known: &[&'static str]) -> Result<(), String> {
        if let Some(section) = self.sections.last_mut() {
            return section.attribute(name, value, known);
        }
        match name {
            "group" => {
                let mut words = value.split_ascii_whitespace();
                if words.next() == Some("BUNDLE") && self.groups.len() < MAX_GROUPS {
                    self.groups.push(words.take(MAX_SECTIONS).map(str::to_owned).collect());
                }
            }
            "ice-lite" => self.is_ice_lite = true,
            "extmap" => add_extension(&mut self.extensions, value, known),
            _ => match Direction::of(name) {
                Some(direction) => self.direction = Some(direction),
                None => self.transport.attribute(name, value)?,
            },
        }
        Ok(())
    }

    /// A mid names one section (RFC 5888 section 9.1).
    fn check_mids(&self) -> Result<(), String> {
        let mut mids: Vec<&str> = self.sections.iter().filter_map(|section| section.mid.as_deref()).collect();
        let count = mids.len();
        mids.sort_unstable();
        mids.dedup();
        if mids.len() == count { Ok(()) } else { Err("two media sections have the same a=mid".to_owned()) }
    }

    /// The group that the section `at` is bundled in.
    pub fn group(&self, at: usize) -> Option<&[String]> {
        let mid = self.sections.get(at)?.mid.as_ref()?;
        self.groups.iter().find(|group| group.contains(mid)).map(Vec::as_slice)
    }

    /// The section with this mid.
    pub fn named(&self, mid: &str) -> Option<usize> {
        self.sections.iter().position(|section| section.mid.as_deref() == Some(mid))
    }

    /// The direction of the section `at`, which is inherited (RFC 8866 section 6.7).
    pub fn direction(&self, at: usize) -> Direction {
        let own = self.sections.get(at).and_then(|section| section.direction);
        own.or(self.direction).unwrap_or(Direction::SendRecv)
    }

    /// What the section `at` and the session say of the way to the offerer.
    pub fn transport(&self, at: usize) -> Transport {
        let mut transport =
            self.sections.get(at).map(|section| section.transport.clone()).unwrap_or_default();
        let session = &self.transport;
        if transport.ufrag.is_none() {
            (transport.ufrag, transport.pwd) = (session.ufrag.clone(), session.pwd.clone().or(transport.pwd));
        }
        transport.pwd = transport.pwd.or_else(|| session.pwd.clone());
        if transport.fingerprints.is_empty() && !transport.has_other_hash {
            transport.fingerprints.clone_from(&session.fingerprints);
            transport.has_other_hash = session.has_other_hash;
        }
        transport.setup = transport.setup.or(session.setup);
        transport
    }

    /// Whether the section `at` is offered at all: one with port 0 is only if it is bundled with another (RFC 9143 section 6).
    pub fn is_alive(&self, at: usize) -> bool {
        let Some(section) = self.sections.get(at) else { return false };
        section.port != 0 || section.bundle_only || self.group(at).is_some_and(|group| self.has_port(group))
    }

    /// Whether the section `at` is offered in one bundle with the section `with`, over the transport of the section `carrier`.
    pub fn shares_transport(&self, at: usize, with: usize, carrier: usize) -> bool {
        let (Some(group), Some(carrying)) = (self.group(with), self.sections.get(carrier)) else {
            return false;
        };
        let Some(section) = self.sections.get(at) else { return false };
        let is_bundled = section.mid.as_ref().is_some_and(|mid| group.contains(mid));
        let ufrag = &section.transport.ufrag;
        let is_shared = ufrag.is_none() || *ufrag == carrying.transport.ufrag || section.port == 0;
        is_bundled && is_shared && self.is_alive(at)
    }

    fn has_port(&self, group: &[String]) -> bool {
        let is_in = |section: &&Section| section.mid.as_ref().is_some_and(|mid| group.contains(mid));
        self.sections.iter().filter(is_in).any(|section| section.port != 0)
    }
}

impl Transport {
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "ice-ufrag" => self.ufrag = Some(credential(name, value)?),
            "ice-pwd" => self.pwd = Some(credential(name, value)?),
            "fingerprint" => match Fingerprint::read(value) {
                Some(fingerprint) => Fingerprint::add(&mut self.fingerprints, fingerprint),
                None => self.has_other_hash = true,
            },
            "setup" => {
                self.setup = match value.to_ascii_lowercase().as_str() {
                    "active" => Some(Setup::Active),
                    "passive" => Some(Setup::Passive),
                    "actpass" => Some(Setup::ActPass),
                    "holdconn" => Some(Setup::HoldConn),
                    _ => None,
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Section {
    /// `<media> <port>[/<count>] <proto> <fmt> …` (RFC 8866 section 5.14).
    fn read(media: &str) -> Result<Self, String> {
        let mut words = media.split_ascii_whitespace();
        let mut word = |what: &str| {
            let word = words.next().filter(|word| is_token(word));
            word.map(str::to_owned).ok_or_else(|| format!("an m= line of the SDP has no usable {what}"))
        };
        let (kind, port, protocol) = (word("kind")?, word("port")?, word("protocol")?);
        let port = port.split('/').next().and_then(|port| port.parse().ok());
        let port = port.ok_or("an m= line of the SDP has no usable port")?;
        let mut formats = Vec::new();
        for format in words {
            if formats.len() == MAX_FORMATS {
                return Err(format!("a media section of the SDP has more than {MAX_FORMATS} formats"));
            }
            if is_token(format) {
                formats.push(format.to_owned());
            }
        }
        if formats.is_empty() {
            return Err("an m= line of the SDP has no format".to_owned());
        }
        Ok(Self {
            kind,
            port,
            protocol,
            formats,
            mid: None,
            direction: None,
            bundle_only: false,
            rtcp_mux: false,
            rtcp_rsize: false,
            transport: Transport::default(),
            codecs: BTreeMap::new(),
            feedback: Vec::new(),
            extensions: Vec::new(),
            sctp: SctpAttributes::default(),
            candidates: Vec::new(),
        })
    }

    fn attribute(&mut self, name: &str, value: &str, known: &[&'static str]) -> Result<(), String> {
        match name {
            "mid" if is_token(value) => self.mid = Some(value.to_owned()),
            "mid" => return Err("an a=mid of the SDP is no token (RFC 5888 section 9.1)".to_owned()),
            "bundle-only" => self.bundle_only = true,
            // The second one means the first one too (RFC 8858 section 4.1).
            "rtcp-mux" | "rtcp-mux-only" => self.rtcp_mux = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "rtpmap" | "fmtp" | "rtcp-fb" => self.of_format(name, value),
            "sctp-port" | "max-message-size" => self.sctp.attribute(name, value),
            "extmap" => add_extension(&mut self.extensions, value, known),
            "candidate" if self.candidates.len() < MAX_CANDIDATES => self.candidates.extend(candidate(value)),
            _ => match Direction::of(name) {
                Some(direction) => self.direction = Some(direction),
                None => self.transport.attribute(name, value)?,
            },
        }
        Ok(())
    }

    fn of_format(&mut self, name: &str, value: &str) {
        let Some((format, value)) = value.split_once([' ', '\t']) else { return };
        let value = value.trim();
        if name == "rtcp-fb" && format == "*" {
            add_feedback(&mut self.feedback, value);
            return;
        }
        let payload_type = format.parse().ok().filter(|payload_type| *payload_type < 128);
        let Some(payload_type) = payload_type else { return };
        let format = self.codecs.entry(payload_type).or_default();
        // The first one counts; a later one is no way to more memory.
        match name {
            "rtpmap" if value.len() <= MAX_TOKEN_CHARS && format.encoding.is_none() => {
                format.encoding = Some(value.to_owned());
            }
            "fmtp" if value.len() <= MAX_PARAMETER_CHARS && format.fmtp.is_none() => {
                format.fmtp = Some(value.to_owned());
            }
            "rtcp-fb" => add_feedback(&mut format.feedback, value),
            _ => {}
        }
    }

    /// Payload types of the `m=` line, each once.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        let mut seen = 0_u128;
        self.formats.iter().filter_map(|format| format.parse().ok()).filter(move |payload_type: &u8| {
            let bit = 1_u128.checked_shl(u32::from(*payload_type)).unwrap_or_default();
            let is_new = bit & !seen != 0;
            seen |= bit;
            is_new
        })
    }

    /// Whether `payload_type` has this encoding.
    pub fn is(&self, payload_type: u8, encoding: &str) -> bool {
        let own = self.codecs.get(&payload_type).and_then(|format| format.encoding.as_deref());
        own.is_some_and(|own| own.eq_ignore_ascii_case(encoding))
    }

    /// The parameters of `payload_type`, empty without any.
    pub fn fmtp(&self, payload_type: u8) -> &str {
        self.codecs.get(&payload_type).and_then(|format| format.fmtp.as_deref()).unwrap_or_default()
    }

    /// Feedback that is offered for `payload_type`.
    pub fn feedback(&self, payload_type: u8) -> Vec<&'static str> {
        let own = self.codecs.get(&payload_type).map(|format| format.feedback.as_slice()).unwrap_or_default();
        FEEDBACK.into_iter().filter(|name| own.contains(name) || self.feedback.contains(name)).collect()
    }

    /// Whether it is RTP over DTLS-SRTP. RFC 8829 section 5.1.2 names these spellings, and calls them equal.
    pub fn is_rtp(&self) -> bool {
        let profile = self.protocol.rsplit("RTP/").next().unwrap_or_default();
        self.protocol.contains("RTP/") && matches!(profile, "SAVPF" | "SAVP" | "AVPF" | "AVP")
    }

    /// Whether it is for data channels, as browsers have offered them since 2018 (RFC 8841 section 4).
    pub fn is_data_channel(&self) -> bool {
        self.kind == "application"
            && matches!(self.protocol.as_str(), "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP")
            && self.formats.iter().any(|format| format == "webrtc-datachannel")
    }

    /// Whether its transport is one of ICE and DTLS, for media or data: `DTLS/SCTP` of old browsers too.
    pub fn has_dtls(&self) -> bool {
        self.is_rtp() || self.protocol.contains("TLS/")
    }
}

/// Something that may be repeated in an answer and shown to people.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TOKEN_CHARS && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn credential(name: &str, value: &str) -> Result<String, String> {
    let length = if name == "ice-ufrag" { 4 } else { 22 };
    let is_good = (length..=MAX_CREDENTIAL_CHARS).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good { Ok(value.to_owned()) } else { Err(format!("the a={name} is not what RFC 8839 allows")) }
}

fn add_feedback(feedback: &mut Vec<&'static str>, value: &str) {
    let known = FEEDBACK.into_iter().find(|known| known.eq_ignore_ascii_case(value));
    feedback.extend(known.filter(|known| !feedback.contains(known)));
}

fn add_extension(extensions: &mut Vec<Extension>, value: &str, known: &[&'static str]) {
    if extensions.len() < MAX_EXTENSIONS {
        extensions.extend(extension(value, known));
    }
}

/// `<id>[/<direction>] <uri>`, if this side may send it.
fn extension(value: &str, known: &[&'static str]) -> Option<Extension> {
    let mut words = value.split_ascii_whitespace();
    let (id, direction) = words.next().map(|word| word.split_once('/').unwrap_or((word, "")))?;
    let uri = words.next()?;
    let uri = known.iter().find(|known| **known == uri)?;
    let id = id.parse().ok().filter(|id| *id != 0)?;
    let may_send = matches!(direction, "" | "sendrecv" | "recvonly");
    may_send.then_some(Extension { id, uri, has_direction: !direction.is_empty() })
}

/// The candidate for media; with `rtcp-mux` nothing goes to the second component (RFC 5761 section 5.1.1).
fn candidate(value: &str) -> Option<String> {
    let mut words: Vec<&str> = value.split_ascii_whitespace().collect();
    let protocol = words.get(2)?.to_ascii_lowercase();
    if words.len() > 64 || words.get(1) != Some(&"1") {
        return None;
    }
    words[2] = &protocol;
    Some(format!("candidate:{}", words.join(" ")))
}
