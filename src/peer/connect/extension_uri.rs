//! RTP header extensions that this side knows (RFC 8285 section 5), by the names that SDP has for them.

/// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`: asks the browser to show a
/// picture as soon as it is decoded.
pub(in crate::peer) const PLAYOUT_DELAY_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// When a picture was captured, on the sender's clock: what glass-to-glass figures are made of.
pub(in crate::peer) const ABS_CAPTURE_TIME_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// Transport-wide sequence numbers: the viewer reports when each packet came.
pub(in crate::peer) const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// How a picture lies, and so how it has to be turned (3GPP TS 26.114 section 7.4.5).
pub(in crate::peer) const VIDEO_ORIENTATION_URI: &str = "urn:3gpp:video-orientation";

/// Which section of a bundle a packet belongs to (RFC 9143 section 15).
pub(in crate::peer) const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// Those that are sent with pictures.
pub(in crate::peer) const VIDEO_EXTENSIONS: [&str; 5] =
    [TRANSPORT_CC_URI, PLAYOUT_DELAY_URI, ABS_CAPTURE_TIME_URI, VIDEO_ORIENTATION_URI, MID_URI];

/// Those that are sent with sound.
pub(in crate::peer) const AUDIO_EXTENSIONS: [&str; 3] = [TRANSPORT_CC_URI, ABS_CAPTURE_TIME_URI, MID_URI];
