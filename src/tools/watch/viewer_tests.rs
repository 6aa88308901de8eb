use super::*;
use crate::signaling::message::{Offer, Up, UpKind};

#[test]
fn what_it_says_is_what_devices_understand() {
    let offer = Up::parse(&message("offer", json!({ "sdp": "v=0" }))).expect("an offer");
    assert_eq!(offer.session.as_str(), SESSION);
    assert_eq!(offer.kind, UpKind::Offer(Offer { sdp: "v=0".into(), full_ice: false, auth: None }));
    let candidate = Candidate {
        candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".into(),
        sdp_mid: Some("0".into()),
        sdp_mline_index: Some(0),
        username_fragment: None,
    };
    for one in [Some(candidate), None] {
        let text = message("candidate", json!({ "candidate": one }));
        assert_eq!(Up::parse(&text).expect("a candidate").kind, UpKind::Candidate(one));
    }
    let bye = Up::parse(&message("bye", json!({ "reason": "x" }))).expect("a bye");
    assert_eq!(bye.kind, UpKind::Bye { reason: Some("x".into()) });
}

#[test]
fn it_understands_what_devices_say() {
    let parse = |text: &str| serde_json::from_str::<Down>(text).expect(text);
    assert!(matches!(parse(r#"{"type":"answer","sdp":"v=0","future":1}"#), Down::Answer { .. }));
    assert!(matches!(parse(r#"{"type":"candidate","candidate":null}"#), Down::Candidate { candidate: None }));
    let Down::Candidate { candidate: Some(candidate) } =
        parse(r#"{"type":"candidate","candidate":{"candidate":"c","sdpMid":"0","sdpMLineIndex":0}}"#)
    else {
        panic!("no candidate")
    };
    assert_eq!((candidate.sdp_mid.as_deref(), candidate.sdp_mline_index), (Some("0"), Some(0)));
    assert!(matches!(parse(r#"{"type":"bye"}"#), Down::Bye { reason: None }));
    assert!(matches!(
        parse(r#"{"type":"error","code":"busy","message":"full","retryAfter":5}"#),
        Down::Error { code, .. } if code == "busy"
    ));
}
