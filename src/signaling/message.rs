//! Signal messages of protocol.md section 2: parsing what viewers send, building what they get.
//!
//! Everything here is a pure function of bytes, so that it can be fuzzed and tested exhaustively.

use serde::Serialize;
use serde_json::{Map, Value};

use super::topic::Id;
use crate::base::text;

/// The longest signal message the device accepts, in bytes.
pub const MAX_SIGNAL_BYTES: usize = 64 * 1024;

/// The protocol version this program speaks.
pub const VERSION: u64 = 1;

/// Why a request was refused (protocol.md section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// Not JSON, or not of a known shape.
    BadMessage,
    /// Longer than [`MAX_SIGNAL_BYTES`].
    TooLarge,
    /// A `v` other than [`VERSION`].
    UnsupportedVersion,
    /// SDP that cannot be parsed or has no video.
    BadOffer,
    /// No H.264 in the offer that the camera's stream fits.
    NoH264,
    /// No such grant, a bad signature, or revoked.
    Unauthorized,
    /// The grant has ended.
    Expired,
    /// The grant lacks the right.
    Forbidden,
    /// The viewer limit is reached.
    Busy,
    /// Too many offers in too short a time.
    RateLimited,
    /// There is no camera, or it does not deliver.
    CameraUnavailable,
    /// The privacy switch is off.
    Privacy,
    /// The message names a session that does not exist.
    NoSession,
    /// Something failed inside the device.
    Internal,
}

impl ErrorCode {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 14] = [
        Self::BadMessage,
        Self::TooLarge,
        Self::UnsupportedVersion,
        Self::BadOffer,
        Self::NoH264,
        Self::Unauthorized,
        Self::Expired,
        Self::Forbidden,
        Self::Busy,
        Self::RateLimited,
        Self::CameraUnavailable,
        Self::Privacy,
        Self::NoSession,
        Self::Internal,
    ];

    /// The code as it stands in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadMessage => "bad-message",
            Self::TooLarge => "too-large",
            Self::UnsupportedVersion => "unsupported-version",
            Self::BadOffer => "bad-offer",
            Self::NoH264 => "no-h264",
            Self::Unauthorized => "unauthorized",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::RateLimited => "rate-limited",
            Self::CameraUnavailable => "camera-unavailable",
            Self::Privacy => "privacy",
            Self::NoSession => "no-session",
            Self::Internal => "internal",
        }
    }
}

/// A refusal: its code, words for people, and when another try makes sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Refusal {
    /// The code that programs act on.
    pub code: ErrorCode,
    /// What happened, to which thing, what to do next.
    pub message: String,
    /// Seconds after which another try may succeed.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal without a hint when to retry.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        // Whoever reads it may read it in a log or a terminal, and it may quote from outside.
        Self { code, message: text::sentence(&message.into()), retry_after_s: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

/// A candidate as `RTCIceCandidate.toJSON()` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // `candidate` is the browsers' name for it
pub struct Candidate {
    /// The candidate-attribute of RFC 8839 section 5.1, with or without the `candidate:` prefix.
    pub candidate: String,
    /// The media section's `a=mid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdp_mid: Option<String>,
    /// The media section's index.
    #[serde(skip_serializing_if = "Option::is_none", rename = "sdpMLineIndex")]
    pub sdp_mline_index: Option<u16>,
    /// The ICE generation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_fragment: Option<String>,
}

/// A message from a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The peer connection it is about.
    pub session: Id,
    /// What it says.
    pub kind: UpKind,
}

/// What a viewer can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpKind {
    /// An SDP offer.
    Offer(Offer),
    /// One candidate, or `None` for the end of candidates.
    Candidate(Option<Candidate>),
    /// The viewer leaves.
    Bye {
        /// In the viewer's words.
        reason: Option<String>,
    },
}

/// An SDP offer, the same from the wire to the peer connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The session description, byte for byte as it came: signatures are over it.
    pub sdp: String,
    /// `"ice":"full"`: the answer waits for all of the device's candidates.
    pub full_ice: bool,
    /// Who offers, not verified yet; `None` if it is not signed.
    pub auth: Option<Auth>,
}

/// `auth` of an offer as it came (protocol.md section 2.2): nothing of it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The name of the grant.
    pub grant: String,
    /// 16 random bytes in base64url.
    pub nonce: String,
    /// The signature in base64url.
    pub sig: String,
}

/// `identity` of an answer: who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerIdentity {
    /// The device's public key in base64url.
    pub key: String,
    /// The signature in base64url.
    pub sig: String,
}

/// A refused message, with the session it named if that much could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The session to name in the error message.
    pub session: Id,
    /// Why.
    pub refusal: Refusal,
}

/// A message to a viewer.
#[derive(Clone, Debug, PartialEq)]
pub enum Down {
    /// The answer to an offer.
    Answer {
        /// The session description.
        sdp: String,
        /// `iceServers` as in `RTCConfiguration`; left out when empty.
        ice_servers: Vec<IceServer>,
        /// Proof of who answers.
        identity: AnswerIdentity,
    },
    /// One of the device's candidates, or `None` for the end of candidates.
    Candidate(Option<Candidate>),
    /// The device ended the session.
    Bye {
        /// Why, for people.
        reason: String,
    },
    /// The device refuses something.
    Error(Refusal),
}

/// One entry of `RTCConfiguration.iceServers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` addresses.
    pub urls: Vec<String>,
    /// TURN user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl Up {
    /// Parses one signal message.
    ///
    /// # Errors
    /// `too-large`, `bad-message` or `unsupported-version`, never a panic.
    pub fn parse(payload: &[u8]) -> Result<Self, Rejected> {
        let nobody = Id::default_session;
        if payload.len() > MAX_SIGNAL_BYTES {
            let text =
                format!("the message has {} bytes; at most {MAX_SIGNAL_BYTES} are accepted", payload.len());
            return Err(reject(nobody(), ErrorCode::TooLarge, text));
        }
        let value: Value = serde_json::from_slice(payload)
            .map_err(|error| reject(nobody(), ErrorCode::BadMessage, format!("not JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(reject(nobody(), ErrorCode::BadMessage, "the message is not a JSON object"));
        };
        let session = session_of(&fields).map_err(|text| reject(nobody(), ErrorCode::BadMessage, text))?;
        check_version(&fields).map_err(|refusal| Rejected { session: session.clone(), refusal })?;
        match kind_of(&fields) {
            Ok(kind) => Ok(Self { session, kind }),
            Err(text) => Err(reject(session, ErrorCode::BadMessage, text)),
        }
    }
}

fn reject(session: Id, code: ErrorCode, text: impl Into<String>) -> Rejected {
    Rejected { session, refusal: Refusal::new(code, text) }
}

fn session_of(fields: &Map<String, Value>) -> Result<Id, String> {
    match fields.get("session") {
        None | Some(Value::Null) => Ok(Id::default_session()),
        Some(Value::String(text)) => Id::new(text).map_err(|error| format!("`session`: {error}")),
        Some(_) => Err("`session` is not a string".to_owned()),
    }
}

fn check_version(fields: &Map<String, Value>) -> Result<(), Refusal> {
    match fields.get("v") {
        None | Some(Value::Null) => Ok(()),
        Some(version) if version.as_u64() == Some(VERSION) => Ok(()),
        Some(Value::Number(version)) => Err(Refusal::new(
            ErrorCode::UnsupportedVersion,
            format!("the message is of protocol version {version}; this device speaks version {VERSION}"),
        )),
        Some(_) => Err(Refusal::new(ErrorCode::BadMessage, "`v` is not a number")),
    }
}

fn kind_of(fields: &Map<String, Value>) -> Result<UpKind, String> {
    let kind = text(fields, "type")?.ok_or("`type` is missing")?;
    match kind.as_str() {
        "offer" => {
            let sdp = text(fields, "sdp")?.ok_or("an offer needs `sdp`")?;
            let full_ice = match text(fields, "ice")?.as_deref() {
                None | Some("trickle") => false,
                Some("full") => true,
                Some(other) => {
                    return Err(format!("`ice` is \"{}\"; \"trickle\" or \"full\" is right", clip(other)));
                }
            };
            let auth = auth_of(fields)?;
            Ok(UpKind::Offer(Offer { sdp, full_ice, auth }))
        }
        "candidate" => match fields.get("candidate") {
            None => Err("a candidate message needs `candidate` (an object, or null for the end)".to_owned()),
            Some(Value::Null) => Ok(UpKind::Candidate(None)),
            Some(Value::Object(candidate)) => candidate_of(candidate).map(UpKind::Candidate),
            Some(_) => Err("`candidate` is neither an object nor null".to_owned()),
        },
        "bye" => Ok(UpKind::Bye { reason: text(fields, "reason")?.map(|reason| clip(&reason).to_owned()) }),
        other => Err(format!("`type` is \"{}\"; offer, candidate or bye is right", clip(other))),
    }
}

fn auth_of(fields: &Map<String, Value>) -> Result<Option<Auth>, String> {
    let fields = match fields.get("auth") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err("`auth` is not an object".to_owned()),
    };
    let part = |name: &str| {
        text(fields, name)
            .map_err(|error| format!("in `auth`: {error}"))?
            .ok_or_else(|| format!("`auth.{name}` is missing"))
    };
    Ok(Some(Auth { grant: part("grant")?, nonce: part("nonce")?, sig: part("sig")? }))
}

/// An empty candidate string means the end of candidates too (W3C WebRTC section 4.8.2).
fn candidate_of(fields: &Map<String, Value>) -> Result<Option<Candidate>, String> {
    let candidate = text(fields, "candidate")?.ok_or("`candidate.candidate` is missing")?;
    if candidate.is_empty() {
        return Ok(None);
    }
    let sdp_mline_index = match fields.get("sdpMLineIndex") {
        None | Some(Value::Null) => None,
        Some(index) => {
            let index = index.as_u64().and_then(|index| u16::try_from(index).ok());
            Some(index.ok_or("`candidate.sdpMLineIndex` is not a small number")?)
        }
    };
    Ok(Some(Candidate {
        candidate,
        sdp_mid: text(fields, "sdpMid")?,
        sdp_mline_index,
        username_fragment: text(fields, "usernameFragment")?,
    }))
}

/// A string field; absent and `null` are the same. NUL never has a place in any of them.
fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.contains('\0') => Err(format!("`{name}` contains a NUL character")),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{name}` is not a string")),
    }
}

/// Text from outside is quoted back only in part.
fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(100).map_or(text.len(), |(index, _)| index);
    &text[..end]
}

impl Down {
    /// The JSON that goes on the wire for `session`.
    pub fn to_json(&self, session: &Id) -> Vec<u8> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        put("v", VERSION.into());
        put("session", session.as_str().into());
        match self {
            Self::Answer { sdp, ice_servers, identity } => {
                put("type", "answer".into());
                put("sdp", sdp.as_str().into());
                put("identity", serde_json::to_value(identity).unwrap_or_default());
                if !ice_servers.is_empty() {
                    put("iceServers", serde_json::to_value(ice_servers).unwrap_or_default());
                }
            }
            Self::Candidate(candidate) => {
                put("type", "candidate".into());
                put("candidate", serde_json::to_value(candidate).unwrap_or_default());
            }
            Self::Bye { reason } => {
                put("type", "bye".into());
                put("reason", reason.as_str().into());
            }
            Self::Error(refusal) => {
                put("type", "error".into());
                put("code", refusal.code.as_str().into());
                put("message", refusal.message.as_str().into());
                if let Some(seconds) = refusal.retry_after_s {
                    put("retryAfter", seconds.into());
                }
            }
        }
        Value::Object(fields).to_string().into_bytes()
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
