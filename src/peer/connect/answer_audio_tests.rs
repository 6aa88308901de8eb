//! Sound in offers of real clients: taken as far as the device and the viewer's rights go, and no further.

use super::tests::{RECORDED, check, local, negotiate};
use super::*;
use crate::peer::connect::audio::AudioAbility;

const MICROPHONE: AudioAbility = AudioAbility { sends: true, is_stereo: false, receives: false };
const SPEAKER: AudioAbility = AudioAbility { sends: false, is_stereo: false, receives: true };
const BOTH: AudioAbility = AudioAbility { sends: true, is_stereo: true, receives: true };

/// The answer of a device with this ability, held against the rules.
fn answered(offer: &str, ability: AudioAbility, former: Option<u8>) -> String {
    let negotiation = negotiate(offer).unwrap().with_audio(ability, former);
    let ssrcs = Ssrcs { media: 1, rtx: 2, fec: Some(3), audio: 4 };
    let text = "candidate:1 1 udp 2130706431 192.0.2.9 5000 typ host".to_owned();
    let ours = [Candidate { candidate: text, sdp_mid: None, sdp_mline_index: None, username_fragment: None }];
    let answer = AnswerOrigin::default().answer(&negotiation, &local(), &ssrcs, &ours);
    check(offer, &answer).unwrap_or_else(|why| panic!("{why}\n--- offer\n{offer}\n--- answer\n{answer}"));
    answer
}

/// The audio section of `sdp`.
fn audio(sdp: &str) -> String {
    let begin = sdp.find("m=audio").unwrap();
    let rest = &sdp[begin + 2..];
    rest[..rest.find("\r\nm=").map_or(rest.len(), |end| end + 2)].to_owned()
}

fn direction(sdp: &str) -> String {
    let section = audio(sdp);
    let port = section.split(' ').nth(1).unwrap().to_owned();
    let found = ["sendrecv", "sendonly", "recvonly", "inactive"]
        .into_iter()
        .find(|direction| section.contains(&format!("a={direction}\r\n")));
    format!("{port} {}", found.unwrap())
}

#[test]
fn sound_goes_where_the_offer_the_device_and_the_right_allow_it() {
    // What each client offers, and what a device with a microphone, with a speaker, and with both answers.
    let expected = [
        ("echo show", ["9 sendonly", "9 recvonly", "9 sendrecv"]),
        ("chrome 63", ["9 sendonly", "9 inactive", "9 sendonly"]),
        ("firefox 121", ["9 sendonly", "9 recvonly", "9 sendrecv"]),
        // Port 0 and no Opus.
        ("gstreamer", ["0 inactive", "0 inactive", "0 inactive"]),
        ("safari 12", ["9 sendonly", "9 recvonly", "9 sendrecv"]),
        // Port 0 in a bundle that has one, and its own name for Opus.
        ("whepclientsrc", ["9 sendonly", "0 inactive", "9 sendonly"]),
    ];
    for (client, directions) in expected {
        let (_, offer) = RECORDED.iter().find(|(name, _)| *name == client).unwrap();
        let answers = [MICROPHONE, SPEAKER, BOTH].map(|ability| direction(&answered(offer, ability, None)));
        assert_eq!(answers, directions, "{client}");
        let without = answered(offer, AudioAbility::default(), None);
        assert!(!audio(&without).contains("useinbandfec=1\r\na=msid"), "{client}: {without}");
    }
}

#[test]
fn what_is_sent_is_named_as_one_with_the_picture() {
    let (_, offer) = RECORDED[1];
    let answer = answered(offer, BOTH, None);
    let section = audio(&answer);
    for part in [
        "a=rtpmap:111 opus/48000/2\r\n",
        "a=fmtp:111 minptime=10;useinbandfec=1;sprop-stereo=1\r\n",
        "a=msid:porthole audio\r\n",
        "a=ssrc:4 cname:porthole\r\n",
    ] {
        assert!(section.contains(part), "{part}: {section}");
    }
    assert!(answer.contains("a=group:BUNDLE audio video\r\n"), "{answer}");
    assert!(answer.contains("a=msid:porthole video\r\n"), "{answer}");
    assert!(!audio(&answered(offer, MICROPHONE, None)).contains("stereo"));
    // Who is only heard names nothing of its own.
    let (_, talking) = RECORDED[2];
    let heard = audio(&answered(talking, SPEAKER, None));
    assert!(!heard.contains("a=msid") && !heard.contains("a=ssrc"), "{heard}");
}

#[test]
fn a_device_without_sound_answers_as_it_always_did() {
    for (client, offer) in RECORDED {
        let plain = negotiate(offer).unwrap();
        let none = plain.clone().with_audio(AudioAbility::default(), None);
        assert_eq!((plain.audio, none.audio), (None, None), "{client}");
    }
}

#[test]
fn other_codecs_transports_and_payload_types_are_not_taken() {
    let (_, offer) = RECORDED[2];
    for (why, changed) in [
        ("no Opus", offer.replace("opus/48000/2", "speex/16000")),
        ("not bundled", offer.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1")),
        (
            "it is over",
            offer.replacen("m=audio 9 ", "m=audio 0 ", 1).replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1"),
        ),
    ] {
        let terms = negotiate(&changed).unwrap().with_audio(BOTH, None).audio;
        assert_eq!(terms, None, "{why}");
    }
    let kept = |former| negotiate(offer).unwrap().with_audio(BOTH, Some(former)).audio;
    assert!(kept(109).is_some_and(|audio| audio.payload_type == 109));
    assert_eq!(kept(111), None, "the meaning of a payload type in use does not change");
}

#[test]
fn a_viewer_that_holds_its_sound_keeps_the_section() {
    let (_, offer) = RECORDED[2];
    let held = offer.replacen("a=sendrecv", "a=inactive", 1);
    assert_eq!(direction(&answered(&held, BOTH, Some(109))), "9 inactive");
    let deaf = offer.replacen("a=sendrecv", "a=sendonly", 1);
    assert_eq!(direction(&answered(&deaf, BOTH, Some(109))), "9 recvonly");
}
