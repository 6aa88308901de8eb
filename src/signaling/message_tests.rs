use serde_json::json;

use super::*;

fn parse(value: &Value) -> Result<Up, Rejected> {
    Up::parse(value.to_string().as_bytes())
}

fn code(payload: &[u8]) -> ErrorCode {
    Up::parse(payload).unwrap_err().refusal.code
}

#[test]
fn the_smallest_offer_is_a_local_description() {
    let up = parse(&json!({"type": "offer", "sdp": "v=0"})).unwrap();
    assert_eq!(up.session, Id::default_session());
    assert_eq!(up.kind, UpKind::Offer(Offer { sdp: "v=0".into(), full_ice: false, auth: None }));
}

#[test]
fn unknown_fields_are_ignored() {
    let up =
        parse(&json!({"v": 1, "type": "offer", "sdp": "x", "session": "s1", "ice": "full", "future": [1]}));
    assert_eq!(up.unwrap().kind, UpKind::Offer(Offer { sdp: "x".into(), full_ice: true, auth: None }));
}

#[test]
fn auth_is_taken_as_it_came_and_must_be_whole() {
    let auth = json!({"grant": "anna", "nonce": "n", "sig": "s", "future": 1});
    let up = parse(&json!({"type": "offer", "sdp": "x", "auth": auth})).unwrap();
    let auth = Some(Auth { grant: "anna".into(), nonce: "n".into(), sig: "s".into() });
    assert_eq!(up.kind, UpKind::Offer(Offer { sdp: "x".into(), full_ice: false, auth }));
    for bad in [
        json!("a"),
        json!({}),
        json!({"grant": "a", "nonce": "n"}),
        json!({"grant": 1, "nonce": "n", "sig": "s"}),
    ] {
        let rejected = parse(&json!({"type": "offer", "sdp": "x", "auth": bad})).unwrap_err();
        assert_eq!(rejected.refusal.code, ErrorCode::BadMessage);
    }
}

#[test]
fn candidates_come_as_objects_null_or_empty() {
    let object = json!({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "abcd"});
    let UpKind::Candidate(Some(candidate)) =
        parse(&json!({"type": "candidate", "candidate": object})).unwrap().kind
    else {
        panic!("not a candidate")
    };
    assert_eq!(candidate.sdp_mid.as_deref(), Some("0"));
    assert_eq!(candidate.username_fragment.as_deref(), Some("abcd"));
    for end in [json!(null), json!({"candidate": ""})] {
        assert_eq!(
            parse(&json!({"type": "candidate", "candidate": end})).unwrap().kind,
            UpKind::Candidate(None)
        );
    }
}

#[test]
fn malformed_messages_are_bad_messages() {
    for payload in [
        &b""[..],
        b"\0",
        b"{",
        b"[]",
        b"\"offer\"",
        b"\xff\xfe",
        b"{}",
        br#"{"type":1}"#,
        br#"{"type":"steal"}"#,
        br#"{"type":"offer"}"#,
        br#"{"type":"offer","sdp":7}"#,
        br#"{"type":"offer","sdp":"v=0\u0000"}"#,
        br#"{"type":"offer","sdp":"x","ice":"half"}"#,
        br#"{"type":"offer","sdp":"x","session":"a/b"}"#,
        br#"{"type":"offer","sdp":"x","session":7}"#,
        br#"{"type":"offer","sdp":"x","v":"1"}"#,
        br#"{"type":"candidate"}"#,
        br#"{"type":"candidate","candidate":"c"}"#,
        br#"{"type":"candidate","candidate":{"candidate":"c","sdpMLineIndex":-1}}"#,
        br#"{"type":"candidate","candidate":{"candidate":"c","sdpMLineIndex":70000}}"#,
    ] {
        assert_eq!(code(payload), ErrorCode::BadMessage, "{}", String::from_utf8_lossy(payload));
    }
}

#[test]
fn deep_nesting_is_refused_not_a_stack_overflow() {
    let payload = [b"[".repeat(30_000), b"]".repeat(30_000)].concat();
    assert_eq!(code(&payload), ErrorCode::BadMessage);
}

#[test]
fn long_messages_and_other_versions_have_their_own_codes() {
    assert_eq!(code(&vec![b' '; MAX_SIGNAL_BYTES + 1]), ErrorCode::TooLarge);
    assert_eq!(code(br#"{"type":"offer","sdp":"x","v":2}"#), ErrorCode::UnsupportedVersion);
    assert_eq!(code(br#"{"type":"whatever","v":2}"#), ErrorCode::UnsupportedVersion);
}

#[test]
fn a_rejection_names_the_session_when_it_could_be_read() {
    let rejected = parse(&json!({"type": "offer", "session": "s9"})).unwrap_err();
    assert_eq!(rejected.session.as_str(), "s9");
}

#[test]
fn answers_to_viewers_are_as_documented() {
    let session = Id::new("s1").unwrap();
    let error = Down::Error(Refusal::new(ErrorCode::Busy, "full").retry_after(5)).to_json(&session);
    let error: Value = serde_json::from_slice(&error).unwrap();
    assert_eq!(
        error,
        json!({"v": 1, "type": "error", "session": "s1", "code": "busy", "message": "full", "retryAfter": 5})
    );
    let end: Value = serde_json::from_slice(&Down::Candidate(None).to_json(&session)).unwrap();
    assert_eq!(end, json!({"v": 1, "type": "candidate", "session": "s1", "candidate": null}));
    let identity = AnswerIdentity { key: "k".into(), sig: "s".into() };
    let answer = Down::Answer { sdp: "v=0".into(), ice_servers: vec![], identity }.to_json(&session);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let identity = json!({"key": "k", "sig": "s"});
    assert_eq!(
        answer,
        json!({"v": 1, "type": "answer", "session": "s1", "sdp": "v=0", "identity": identity})
    );
}
