//! What holds for any bytes from outside: shared by the fuzzers and by the test that replays their corpus.

use std::path::Path;
use std::time::{Duration, Instant};

use porthole::config::{Config, Moved};
use porthole::http::sdp_fragment::{self, SdpFragment};
use porthole::media::ProfileLevelId;
use porthole::peer::offer::SdpReading;
use porthole::signaling::message::{Down, ErrorCode, Up, UpKind};
use porthole::signaling::topic::{Id, Inbound, Topics};

/// Time that a byte of an offer may take, however slow the build and the machine.
const PER_BYTE: Duration = Duration::from_micros(5);
/// What x264 makes of 640x480.
const STREAM: ProfileLevelId = ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1e };

/// A signal message: it is understood, or refused with an error that is a message itself.
pub fn signal(input: &[u8]) {
    match Up::parse(input) {
        Ok(up) => {
            assert!(Id::new(up.session.as_str()).is_ok());
            if let UpKind::Offer(offer) = up.kind {
                sdp(offer.sdp.as_bytes());
            }
        }
        Err(rejected) => {
            use ErrorCode::{BadMessage, TooLarge, UnsupportedVersion};
            assert!(matches!(rejected.refusal.code, BadMessage | TooLarge | UnsupportedVersion));
            let error = Down::Error(rejected.refusal).to_json(&rejected.session);
            // The daemon's own parser judges whether it is whole JSON; `error` is none of its types.
            let parsed = Up::parse(&error).err().map(|rejected| rejected.refusal.message);
            assert!(parsed.is_none_or(|message| !message.contains("not JSON")));
        }
    }
}

/// A topic: whoever it names can be answered on one that MQTT allows.
pub fn topic(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(device) = Id::new("front-door") else { return };
    let topics = Topics::new("porthole", &device);
    match topics.parse(text) {
        Inbound::Signal(viewer) => {
            assert_eq!(topics.up(&viewer), text);
            assert!(!topics.down(&viewer).contains(['+', '#', '\0']));
        }
        Inbound::Set(rest) | Inbound::Do(rest) => assert!(text.ends_with(rest)),
        Inbound::BadViewer | Inbound::Other => {}
    }
}

/// An offer's SDP: a codec that it really holds, or one of two errors in words.
pub fn sdp(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let began = Instant::now();
    match SdpReading::of(text).and_then(|reading| reading.video).and_then(|offer| offer.codec(STREAM)) {
        Ok(codec) => {
            assert!(text.contains(&codec.payload_type.to_string()));
            // Its own, or a larger one that the offer holds: whoever plays Main plays Constrained Baseline too.
            let fmtp = codec.fmtp().to_ascii_lowercase();
            let (_, profile) = fmtp.split_once("profile-level-id=").unwrap_or_default();
            let offered = text.to_ascii_lowercase();
            assert!(
                profile.starts_with("42")
                    || profile
                        .get(..4)
                        .is_some_and(|profile| offered.contains(&format!("profile-level-id={profile}")))
            );
        }
        Err(refusal) => {
            assert!(matches!(refusal.code, ErrorCode::BadOffer | ErrorCode::NoH264));
            assert!(!refusal.message.is_empty() && refusal.message.len() < 4096);
        }
    }
    // A good reader needs some tens of nanoseconds for a byte; this catches one whose work grows with the square.
    let allowed = Duration::from_millis(500) + PER_BYTE * u32::try_from(input.len()).unwrap_or(u32::MAX);
    assert!(began.elapsed() < allowed, "{} bytes took {:?}", input.len(), began.elapsed());
}

/// What a WHEP player adds to its offer: candidates of its own lines, and at most one new generation of its offer.
pub fn fragment(input: &[u8]) {
    const OFFER: &str = include_str!("corpus/sdp/chromium");
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read = match SdpFragment::parse(text) {
        Ok(read) => read,
        Err(words) => return assert!(!words.is_empty() && words.len() < 4096),
    };
    // One more, for their end.
    assert!(read.candidates.len() <= sdp_fragment::MAX_CANDIDATES + 1);
    for candidate in read.candidates.iter().flatten() {
        assert!(text.contains(&candidate.candidate) && !candidate.candidate.contains('\n'));
        assert_eq!(candidate.username_fragment, read.ufrag);
    }
    if let Ok(Some((ufrag, pwd))) = read.restarts(OFFER) {
        let offer = sdp_fragment::restarted(OFFER, ufrag, pwd);
        assert_eq!(read.restarts(&offer), Ok(None));
        assert_eq!(offer.lines().count(), OFFER.lines().filter(|line| !line.contains("candidate")).count());
        sdp(offer.as_bytes());
    }
    // Any text may stand where an answer does.
    assert!(sdp_fragment::of_answer(text).len() <= 2 * text.len() + 2);
}

/// A configuration: read the same way twice, or refused in words.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read = || Config::rehearse(Path::new("porthole.toml"), text, &[], &Moved::default());
    match (read(), read()) {
        (Ok(first), Ok(second)) => assert!(first.changed_keys(&second).is_empty()),
        (Err(first), Err(second)) => {
            assert!(!first.to_string().is_empty());
            assert_eq!(first.to_string(), second.to_string());
        }
        _ => panic!("read once and refused once"),
    }
}
