//! What offers and answers say of SCTP, which carries data channels (RFC 8841). Pure.

use crate::peer::channel::MAX_MESSAGE_BYTES;

/// The port of SCTP on this side, and the usual one (RFC 8841 section 5.1).
const SCTP_PORT: u16 = 5000;
/// What a peer takes that does not say it (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_BYTES: u64 = 65_536;

/// What an offer says of SCTP in a section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SctpAttributes {
    port: Option<u16>,
    max_message_bytes: Option<u64>,
}

impl SctpAttributes {
    /// Takes an attribute of a section, if it is one of these.
    pub fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "sctp-port" => self.port = value.parse().ok(),
            "max-message-size" => self.max_message_bytes = value.parse().ok(),
            _ => {}
        }
    }
}

/// How the viewer's end of SCTP is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::peer) struct Sctp {
    port: u16,
    /// The longest message that the viewer takes, in bytes; 0: any.
    max_message_bytes: u64,
}

impl Sctp {
    /// What was offered; `None`: the offer closes the association (RFC 8841 section 5.2).
    pub(super) fn of(offered: SctpAttributes) -> Option<Self> {
        let port = offered.port.unwrap_or(SCTP_PORT);
        let max_message_bytes = offered.max_message_bytes.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
        (port != 0).then_some(Self { port, max_message_bytes })
    }

    /// What the library is told of it, without the transport.
    pub fn library_section(self) -> String {
        // It counts with 32 bits, and 0 is no exception to it.
        let most = match self.max_message_bytes {
            0 => u64::from(u32::MAX),
            most => most.min(u64::from(u32::MAX)),
        };
        format!(
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sctp-port:{}\r\na=max-message-size:{most}\r\n",
            self.port
        )
    }
}

/// What the answer says of SCTP on this side.
pub(super) fn answered() -> String {
    format!("a=sctp-port:{SCTP_PORT}\r\na=max-message-size:{MAX_MESSAGE_BYTES}")
}
