//! Offers of real clients, and what is made of them: every answer is held against the rules of RFC 3264, 8829, 8843 and 8866.

use super::*;
use crate::media::ProfileLevelId;
use crate::peer::connect::description::Description;
use crate::peer::connect::offer::VideoOffer;

const STREAM_PROFILE: ProfileLevelId =
    ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f };
pub(super) const RECORDED: [(&str, &str); 7] = [
    ("echo show", include_str!("../../../tests/offers/alexa-echo-show.sdp")),
    ("chrome 63", include_str!("../../../tests/offers/chrome-63-android-recvonly.sdp")),
    ("firefox 121", include_str!("../../../tests/offers/firefox-121-sendrecv.sdp")),
    ("gstreamer", include_str!("../../../tests/offers/gstreamer-webrtcbin-no-fmtp.sdp")),
    ("react native", include_str!("../../../tests/offers/react-native-ios-recvonly-derived.sdp")),
    ("safari 12", include_str!("../../../tests/offers/safari-12-macos-av-data.sdp")),
    ("whepclientsrc", include_str!("../../../tests/offers/gstreamer-whepclientsrc.sdp")),
];

pub(super) fn local() -> LocalTransport {
    let hash = ["AB"; 32].join(":");
    let sdp =
        format!("a=fingerprint:sha-256 {hash}\r\na=ice-ufrag:ours\r\na=ice-pwd:0123456789012345678901\r\n");
    LocalTransport::read(&sdp).unwrap()
}

fn candidate(text: &str) -> Candidate {
    Candidate { candidate: text.to_owned(), sdp_mid: None, sdp_mline_index: None, username_fragment: None }
}

pub(super) fn negotiate(offer: &str) -> Result<Negotiation, String> {
    let read = VideoOffer::read(offer).map_err(|refusal| refusal.message)?;
    Negotiation::new(&read, STREAM_PROFILE, None).map_err(|refusal| refusal.message)
}

/// The answer, held against the rules.
fn answered(what: &str, offer: &str) -> String {
    let negotiation = negotiate(offer).unwrap_or_else(|why| panic!("{what} is refused: {why}\n{offer}"));
    let ssrcs = Ssrcs { media: 1, rtx: 2, fec: Some(3), audio: 4 };
    let ours = [candidate("candidate:1 1 udp 2130706431 192.0.2.9 5000 typ host")];
    let answer = AnswerOrigin::default().answer(&negotiation, &local(), &ssrcs, &ours);
    check(offer, &answer)
        .unwrap_or_else(|why| panic!("{what}: {why}\n--- offer\n{offer}\n--- answer\n{answer}"));
    answer
}

/// A section as text: its `m=` words and its other lines.
struct Part<'a> {
    words: Vec<&'a str>,
    lines: Vec<&'a str>,
}

fn parts(sdp: &str) -> (Vec<&str>, Vec<Part<'_>>) {
    let (mut session, mut parts) = (Vec::new(), Vec::<Part>::new());
    for line in sdp.lines().map(str::trim_end) {
        match (line.strip_prefix("m="), parts.last_mut()) {
            (Some(media), _) => parts.push(Part { words: media.split(' ').collect(), lines: Vec::new() }),
            (None, Some(part)) => part.lines.push(line),
            (None, None) => session.push(line),
        }
    }
    (session, parts)
}

impl<'a> Part<'a> {
    fn all(&self, name: &str) -> Vec<&'a str> {
        self.lines.iter().filter_map(|line| line.strip_prefix("a=")?.strip_prefix(name)).collect()
    }

    fn one(&self, name: &str) -> Option<&'a str> {
        self.all(name).first().copied()
    }

    fn has(&self, line: &str) -> bool {
        self.lines.contains(&line)
    }
}

/// What any answer of this side has to hold to.
pub(super) fn check(offer: &str, answer: &str) -> Result<(), String> {
    let must = |is: bool, what: &str| if is { Ok(()) } else { Err(what.to_owned()) };
    let ((offered_session, offered), (session, sections)) = (parts(offer), parts(answer));
    let order: String = session.iter().take(4).filter_map(|line| line.chars().next()).collect();
    must(order == "vost", "v, o, s, t come first and in order (RFC 8866 section 5)")?;
    must(session.contains(&"a=ice-options:trickle"), "trickle is told (RFC 8840 section 4.1.1)")?;
    must(answer.split("\r\n").all(|line| !line.contains(['\r', '\n'])), "lines end with CRLF")?;
    must(offered.len() == sections.len(), "as many sections (RFC 3264 section 6)")?;
    let group = |session: &[&str]| -> Vec<String> {
        let group = session.iter().find_map(|line| line.strip_prefix("a=group:BUNDLE"));
        group.map(|mids| mids.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    };
    let (offered_group, group) = (group(&offered_session), group(&session));
    let mut taken = Vec::new();
    let mut sending = 0;
    for (old, new) in offered.iter().zip(&sections) {
        must(old.words[0] == new.words[0] && old.words[2] == new.words[2], "kind and protocol are echoed")?;
        must(old.one("mid:") == new.one("mid:"), "the mid is the offer's (RFC 5888 section 9.1)")?;
        must(!new.words[3..].is_empty(), "at least one format")?;
        must(new.words[3..].iter().all(|format| old.words[3..].contains(format)), "only offered formats")?;
        must(new.lines.first() == Some(&"c=IN IP4 0.0.0.0"), "an address")?;
        check_for_webrtcbin(&sections[0], old, new)?;
        if new.words[1] == "0" {
            must(new.all("candidate:").is_empty() && !new.has("a=sendonly"), "a refused section is empty")?;
            must(new.one("mid:").is_none_or(|mid| !group.contains(&mid.to_owned())), "refused, not bundled")?;
            continue;
        }
        taken.extend(new.one("mid:").filter(|mid| offered_group.contains(&(*mid).to_owned())));
        sending += usize::from(new.words[0] == "video" && new.has("a=sendonly"));
        check_taken(&offered_session, old, new)?;
    }
    must(sending == 1, "exactly one picture is sent")?;
    must(taken == group, "the bundle is what is taken of it (RFC 9143 section 7.3)")?;
    let carried = sections.iter().find(|section| section.words[1] != "0");
    must(carried.is_some_and(|first| first.all("candidate:").len() == 1), "the first has the candidates")
}

/// What GStreamer's webrtcbin wants of every section of an answer, also of those that are not taken: a transport that is all sections'
/// own, and a name for each dynamic payload type.
fn check_for_webrtcbin(first: &Part<'_>, old: &Part<'_>, new: &Part<'_>) -> Result<(), String> {
    let must = |is: bool, what: &str| if is { Ok(()) } else { Err(format!("webrtcbin: {what}")) };
    let protocol = new.words[2];
    if !protocol.contains("TLS") && !protocol.contains("RTP") {
        return Ok(());
    }
    for needed in ["ice-ufrag:", "ice-pwd:", "fingerprint:", "setup:"] {
        must(new.all(needed).len() == 1, needed)?;
        must(new.one(needed) == first.one(needed), "one transport for all")?;
    }
    let is_data = protocol.contains("SCTP");
    let directions = ["a=inactive", "a=sendonly", "a=recvonly", "a=sendrecv"];
    must(is_data || directions.iter().filter(|line| new.has(line)).count() == 1, "a direction")?;
    let format = new.words[3];
    let rtpmap =
        |part: &Part<'_>| part.all("rtpmap:").iter().any(|line| line.split(' ').next() == Some(format));
    must(is_data || rtpmap(old) == rtpmap(new), "a payload type without a name")
}

fn check_taken(offered_session: &[&str], old: &Part<'_>, new: &Part<'_>) -> Result<(), String> {
    let must = |is: bool, what: &str| if is { Ok(()) } else { Err(what.to_owned()) };
    for needed in ["ice-ufrag:", "ice-pwd:", "fingerprint:", "setup:"] {
        must(new.all(needed).len() == 1, needed)?;
    }
    // Its role is that of the section whose transport it has, which `check_for_webrtcbin` compares.
    if new.words[2].contains("SCTP") {
        must(new.one("sctp-port:").is_some() && new.one("max-message-size:").is_some(), "SCTP is answered")?;
        return must(!new.has("a=rtcp-mux") && !new.has("a=sendonly"), "data is no media");
    }
    let of_session = offered_session.iter().find_map(|line| line.strip_prefix("a=setup:"));
    let setup = match old.one("setup:").or(of_session).unwrap_or("active") {
        "actpass" | "passive" => "active",
        _ => "passive",
    };
    must(new.one("setup:") == Some(setup), "the other role of the handshake (RFC 4145 section 4.1)")?;
    must(new.has("a=rtcp-mux"), "reports come over the same port")?;
    must(old.has("a=rtcp-rsize") || !new.has("a=rtcp-rsize"), "rtcp-rsize was not offered")?;
    for feedback in new.all("rtcp-fb:") {
        let (format, what) = feedback.split_once(' ').unwrap_or_default();
        let is_offered = |line: &str| line == feedback || line == format!("* {what}");
        must(old.all("rtcp-fb:").into_iter().any(is_offered), "feedback was not offered")?;
        must(new.words[3..].contains(&format), "feedback of a format that is not there")?;
    }
    let mut ids = Vec::new();
    for extension in new.all("extmap:") {
        let (id, uri) = extension.split_once(' ').unwrap_or_default();
        let bare = id.split('/').next().unwrap_or_default();
        must(!ids.contains(&bare), "a number of an extension twice")?;
        ids.push(bare);
        let sends = |one: &str| {
            let (offered, same_uri) = one.split_once(' ').unwrap_or_default();
            let (number, direction) = offered.split_once('/').unwrap_or((offered, ""));
            same_uri == uri && number == bare && matches!(direction, "" | "sendrecv" | "recvonly")
        };
        let session = offered_session.iter().filter_map(|line| line.strip_prefix("a=extmap:"));
        must(old.all("extmap:").into_iter().chain(session).any(sends), "an extension was not offered")?;
    }
    for format in &new.words[3..] {
        let rtpmap = |part: &Part<'_>| part.one(&format!("rtpmap:{format} ")).map(str::to_ascii_lowercase);
        must(rtpmap(old) == rtpmap(new), "a payload type means what it meant in the offer")?;
    }
    let fmtp = |part: &Part<'_>| part.one(&format!("fmtp:{} ", new.words[3])).unwrap_or_default().to_owned();
    if new.words[0] == "video" && new.has("a=sendonly") {
        must(fmtp(new).contains("packetization-mode=1"), "payloads are fragmented (RFC 6184 section 8.1)")?;
        let asymmetry = "level-asymmetry-allowed=1";
        must(fmtp(old).contains(asymmetry) == fmtp(new).contains(asymmetry), "asymmetry is the offer's")?;
    }
    Ok(())
}

/// A change of an offer that a client could make, and stays with a right to video.
type Change = (&'static str, fn(&str) -> String);

fn without(sdp: &str, names: &[&str]) -> String {
    let kept = sdp.lines().filter(|line| !names.iter().any(|name| line.starts_with(name)));
    kept.flat_map(|line| [line.trim_end(), "\r\n"]).collect()
}

const CHANGES: [Change; 25] = [
    ("nothing", str::to_owned),
    ("line feeds alone", |sdp| sdp.replace("\r\n", "\n")),
    ("no bundle", |sdp| without(sdp, &["a=group"])),
    ("no mid", |sdp| without(sdp, &["a=mid", "a=group"])),
    ("no direction", |sdp| without(sdp, &["a=recvonly", "a=sendrecv"])),
    ("no fmtp", |sdp| without(sdp, &["a=fmtp"])),
    ("no feedback", |sdp| without(sdp, &["a=rtcp-fb"])),
    ("no rsize", |sdp| without(sdp, &["a=rtcp-rsize"])),
    ("no extensions", |sdp| without(sdp, &["a=extmap"])),
    ("no setup", |sdp| without(sdp, &["a=setup"])),
    ("active", |sdp| sdp.replace("a=setup:actpass", "a=setup:active")),
    ("passive", |sdp| sdp.replace("a=setup:actpass", "a=setup:passive")),
    ("upper-case hash", |sdp| sdp.replace("a=fingerprint:sha-256", "a=fingerprint:SHA-256")),
    ("other profile", |sdp| sdp.replace("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")),
    ("level asymmetry unsaid", |sdp| sdp.replace("level-asymmetry-allowed=1", "max-fr=30")),
    ("feedback for all", |sdp| {
        without(sdp, &["a=rtcp-fb"]).replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-fb:* nack\r\n")
    }),
    ("text last", |sdp| {
        without(sdp, &[]) + "m=text 9 UDP/TLS/RTP/SAVPF 98 99\r\na=mid:t\r\na=rtpmap:98 t140/1000\r\n"
    }),
    ("image last", |sdp| without(sdp, &[]) + "m=image 54111 udptl t38\r\nc=IN IP4 192.0.2.1\r\n"),
    ("old data last", |sdp| {
        without(sdp, &[])
            + "m=application 9 DTLS/SCTP 5000\r\na=mid:d\r\na=sctpmap:5000 webrtc-datachannel 1024\r\n"
    }),
    ("new data last", |sdp| {
        without(sdp, &[])
            + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:e\r\na=sctp-port:5000\r\n"
    }),
    ("data in the bundle", |sdp| with_data(sdp, false)),
    ("second video", |sdp| {
        without(sdp, &[])
            + "m=video 9 UDP/TLS/RTP/SAVPF 100\r\na=mid:two\r\na=rtcp-mux\r\na=rtpmap:100 H264/90000\r\na=fmtp:100 packetization-mode=1\r\n"
    }),
    ("video without H.264 first", |sdp| {
        without(sdp, &[]).replacen(
            "m=",
            "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:vp8\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\nm=",
            1,
        )
    }),
    ("a payload type without rtpmap", |sdp| {
        sdp.replace("m=video 9 UDP/TLS/RTP/SAVPF ", "m=video 9 UDP/TLS/RTP/SAVPF 34 77 ")
    }),
    ("a hundred candidates", |sdp| {
        let many: String = (0..100)
            .flat_map(|at| {
                ["a=candidate:1 1 udp 1 192.0.2.".to_owned(), at.to_string(), " 9 typ host\r\n".to_owned()]
            })
            .collect();
        without(sdp, &[]) + &many
    }),
];

/// `sdp` with a data section that is the last of the bundle, or the first.
fn with_data(sdp: &str, is_first: bool) -> String {
    const DATA: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:b\r\na=sctp-port:5000\r\n";
    let lines = sdp.lines().map(|line| match line.trim_end().strip_prefix("a=group:BUNDLE ") {
        Some(mids) if is_first => format!("a=group:BUNDLE b {mids}\r\n"),
        Some(mids) => format!("a=group:BUNDLE {mids} b\r\n"),
        None => format!("{}\r\n", line.trim_end()),
    });
    let sdp: String = lines.collect();
    if !is_first {
        return sdp + DATA;
    }
    let is_transport =
        |line: &&str| ["a=ice-", "a=fingerprint", "a=setup"].iter().any(|name| line.starts_with(name));
    let shared = sdp.lines().skip_while(|line| !line.starts_with("m=")).filter(is_transport).take(5);
    let shared: String = shared.flat_map(|line| [line, "\r\n"]).collect();
    sdp.replacen("m=", &format!("{DATA}{shared}m="), 1)
}

#[test]
fn data_is_taken_beside_the_picture_and_nowhere_else() {
    let (client, offer) = RECORDED[1];
    let offered = with_data(offer, false);
    let answer = answered(client, &offered);
    for part in [
        "a=group:BUNDLE audio video b\r\n",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        "a=sctp-port:5000\r\n",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    let library = negotiate(&offered).unwrap().library_offer();
    assert!(
        library.contains("a=group:BUNDLE 0 1\r\n") && library.contains("a=mid:1\r\na=sctp-port:5000\r\n"),
        "{library}"
    );
    // Where it is the first of the bundle its section carries the transport.
    let first = answered(client, &with_data(offer, true));
    assert!(first.contains("a=group:BUNDLE b video\r\n"), "{first}");
    for (why, changed) in [
        ("not bundled", offered.replace(" b\r\n", "\r\n")),
        ("closed", offered.replace("a=sctp-port:5000", "a=sctp-port:0")),
        (
            "a transport of its own",
            offered.clone() + "a=ice-ufrag:owns\r\na=ice-pwd:0123456789012345678901\r\n",
        ),
        ("of old browsers", offered.replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")),
        ("something else", offered.replace("webrtc-datachannel", "bfcp")),
    ] {
        let answer = answered(why, &changed);
        assert!(answer.contains("m=application 0 "), "{why}: {answer}");
        assert!(!negotiate(&changed).unwrap().library_offer().contains("m=application"), "{why}");
    }
}

#[test]
fn every_recorded_offer_gets_a_legal_answer_however_it_is_changed() {
    for (client, offer) in RECORDED {
        for (first, change) in CHANGES {
            let once = change(offer);
            answered(&format!("{client}, {first}"), &once);
            for (second, change) in CHANGES {
                // A section that goes in twice has a mid twice, which no offer may.
                if first != second {
                    answered(&format!("{client}, {first}, {second}"), &change(&once));
                }
            }
        }
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let (client, offer) = RECORDED[1];
    let answer = answered(client, offer);
    let wrong: [fn(&str) -> String; 12] = [
        |answer| answer.replace("a=ice-options:trickle\r\n", ""),
        |answer| answer.replace("a=mid:video", "a=mid:0"),
        |answer| answer.replace("a=sendonly", "a=sendrecv"),
        |answer| answer.replace("a=setup:active", "a=setup:actpass"),
        |answer| answer.replace("a=rtcp-fb:127 nack\r\n", "a=rtcp-fb:127 ack\r\n"),
        |answer| answer.replace("a=extmap:5 ", "a=extmap:6 "),
        |answer| answer.replace("SAVPF 127", "SAVPF 120"),
        |answer| answer.replace("a=group:BUNDLE audio video", "a=group:BUNDLE video"),
        |answer| answer.replace("packetization-mode=1", "packetization-mode=0"),
        |answer| answer.replace("SAVPF", "SAVP"),
        |answer| answer.to_owned() + "m=audio 0 X 0\r\n",
        |answer| answer.replacen("a=fingerprint:", "a=no-fingerprint:", 1),
    ];
    for (at, change) in wrong.iter().enumerate() {
        let changed = change(&answer);
        assert_ne!(changed, answer, "{at}");
        assert!(check(offer, &changed).is_err(), "{at}: {changed}");
    }
}

#[test]
fn sections_with_transports_of_their_own_stand_alone() {
    let offer = RECORDED[5].1;
    let video = offer.find("m=video").unwrap();
    let own = offer[video..].replace("KHuC", "other").replace("61015", "7");
    let answer = answered("own transports", &(offer[..video].to_owned() + &own));
    assert!(answer.contains("m=audio 0 ") && answer.contains("a=group:BUNDLE video\r\n"), "{answer}");
    let shared = answered("one transport", offer);
    assert!(shared.contains("m=audio 9 ") && shared.contains("a=inactive"), "{shared}");
    assert!(shared.contains("m=application 0 DTLS/SCTP 5000\r\n"), "{shared}");
}

#[test]
fn video_that_is_only_bundled_is_answered() {
    let offer = RECORDED[1].1.replace("m=video 9", "m=video 0");
    for offer in [offer.clone(), offer.replace("a=mid:video", "a=mid:video\r\na=bundle-only")] {
        let answer = answered("bundled", &offer);
        assert!(answer.contains("m=audio 9 ") && answer.contains("m=video 9 "), "{answer}");
    }
    let alone = without(&offer, &["a=group"]);
    assert!(negotiate(&alone).is_err(), "a section with port 0 that nothing bundles is not offered");
}

#[test]
fn one_section_beside_the_rest_of_a_bundle_has_its_own_words() {
    let answer = answered("gstreamer", RECORDED[3].1);
    assert!(answer.contains("a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n"), "{answer}");
    assert!(answer.contains("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n"), "{answer}");
    let answer = answered("firefox", RECORDED[2].1);
    assert!(answer.contains("a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"), "{answer}");
    assert!(answer.contains("a=extmap:6/sendonly http://www.webrtc.org/"), "{answer}");
    assert!(answer.contains("a=fmtp:127 apt=126\r\n"), "{answer}");
}

#[test]
fn how_pictures_lie_is_told_to_whoever_asks_for_it() {
    let told = |at: usize| {
        let extensions = negotiate(RECORDED[at].1).unwrap().rtp_extensions();
        let answer = answered(RECORDED[at].0, RECORDED[at].1);
        let line = answer.lines().find_map(|line| line.strip_suffix(" urn:3gpp:video-orientation"));
        (extensions.orientation, line.map(str::to_owned))
    };
    assert_eq!(told(1), (Some(4), Some("a=extmap:4".to_owned())), "chrome");
    assert_eq!(told(5), (Some(4), Some("a=extmap:4".to_owned())), "safari");
    assert_eq!(told(2), (None, None), "firefox");
}

#[test]
fn no_text_of_a_viewer_reaches_the_library() {
    let offer = RECORDED[0].1.replace("video0", "strange-mid").replace("a 2 z", "strange-name");
    let negotiation = negotiate(&offer).unwrap();
    let library = negotiation.library_offer();
    assert!(!library.contains("strange") && library.matches("m=").count() == 1, "{library}");
    assert_eq!(negotiation.candidates().len(), 3, "the second component is of no use with rtcp-mux");
    assert_eq!(negotiation.candidates()[0], "candidate:1 1 udp 2013266431 203.0.113.10 60128 typ host");
}

#[test]
fn what_an_offer_can_make_us_keep_is_bounded() {
    let base = RECORDED[1].1;
    let many = |line: &str| base.to_owned() + &line.repeat(1000);
    for line in [
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n",
        "a=rtpmap:1 x/1\r\n",
        "a=rtcp-fb:* nack\r\n",
        "a=fingerprint:sha-256 00\r\n",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
    ] {
        let offer = many(line);
        let read = Description::read(&offer, &[]).unwrap();
        let last = read.sections.last().unwrap();
        assert!(last.candidates.len() <= 64 && last.codecs.len() <= 128 && last.feedback.len() <= 5);
        assert!(last.transport.fingerprints.len() <= 16 && last.extensions.len() <= 64);
        answered(line, &offer);
    }
    assert!(Description::read(&many("m=audio 9 X 0\r\n"), &[]).is_err());
    assert!(Description::read(&(base.to_owned() + &"a=x\r\n".repeat(5000)), &[]).is_err());
    let formats = |count: usize| base.replace("SAVPF 96 ", &format!("SAVPF {}", "96 ".repeat(count)));
    assert!(Description::read(&formats(8000), &[]).is_err());
    answered("a hundred equal formats", &formats(100));
}

#[test]
fn a_full_answer_holds_each_candidate_once_and_their_end() {
    let answer = answered("firefox", RECORDED[2].1);
    let known = candidate("candidate:1 1 udp 2130706431 192.0.2.9 5000 typ host");
    let full = with_candidates(&answer, &[known, candidate("candidate:2 b"), candidate("candidate:2 b")]);
    let (_, sections) = parts(&full);
    assert_eq!(sections[0].all("candidate:").len(), 2);
    assert!(sections[0].has("a=end-of-candidates") && !sections[1].has("a=end-of-candidates"));
    assert_eq!(with_candidates("v=0\r\n", &[]), "v=0\r\na=end-of-candidates\r\n");
}
