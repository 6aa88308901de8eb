use serde_json::json;

use super::*;

const OPEN: Policy = Policy { commands: Commands::All, snapshots: false, off_locally: false };
const SAFE: Policy = Policy { commands: Commands::Safe, ..OPEN };
const CLOSED: Policy = Policy { commands: Commands::None, snapshots: true, off_locally: false };

fn asked(setting: &str, payload: &[u8]) -> Result<Command, String> {
    set(setting, payload, OPEN).command
}

fn done(name: &str, payload: &[u8]) -> Result<Command, String> {
    action(name, payload, OPEN).command
}

#[test]
fn the_privacy_switch_is_on_or_off() {
    assert_eq!(asked("streaming", b"OFF"), Ok(Command::Streaming(false)));
    assert_eq!(asked("streaming", b"ON\n"), Ok(Command::Streaming(true)));
    for payload in [&b"off"[..], b"", b"\xff", b"1", &[b'x'; 5000]] {
        assert!(asked("streaming", payload).is_err());
    }
}

#[test]
fn sound_is_on_or_off_and_talking_is_asked_for_elsewhere() {
    assert_eq!(asked("audio", b"OFF"), Ok(Command::Audio(false)));
    assert_eq!(asked("audio", b" ON\n"), Ok(Command::Audio(true)));
    for payload in [&b"off"[..], b"", b"\xff", b"true", b"{}", &[b'x'; 5000]] {
        assert!(asked("audio", payload).is_err());
    }
    assert!(set("audio", b"ON", CLOSED).command.is_err());
    assert!(asked("sound", b"ON").is_err_and(|words| words.contains("audio")));
    assert!(done("talk", b"{\"on\":true}").is_err_and(|words| words.contains("data channel")));
}

#[test]
fn bit_rates_are_kbit_per_second_or_auto() {
    assert_eq!(asked("bitrate", b"1500"), Ok(Command::Bitrate(Some(1500))));
    assert_eq!(asked("bitrate", b"auto"), Ok(Command::Bitrate(None)));
    for payload in [&b"0"[..], b"49", b"50001", b"-1", b"1e3", b"99999999999999999999", b"", b"fast"] {
        assert!(asked("bitrate", payload).is_err());
    }
}

#[test]
fn resolutions_are_sizes_with_or_without_a_rate() {
    let resolution = |width, height, fps| Ok(Command::Resolution(Resolution { width, height, fps }));
    assert_eq!(asked("resolution", b"1280x720"), resolution(1280, 720, None));
    assert_eq!(asked("resolution", b"640x480@15"), resolution(640, 480, Some(15)));
    assert_eq!("640x480@15".parse::<Resolution>().unwrap().to_string(), "640x480@15");
    for payload in [
        "",
        "x",
        "640",
        "640x",
        "640x480@",
        "640x480@0",
        "0x0",
        "640x480x2",
        "+640x480",
        "999999x2",
        " 1 x 2",
    ] {
        assert!(asked("resolution", payload.as_bytes()).is_err(), "{payload}");
    }
}

#[test]
fn controls_have_names_and_values() {
    let control = Command::Control { name: "power_line_frequency".into(), value: "60 Hz".into() };
    assert_eq!(asked("control/power_line_frequency", b" 60 Hz\n"), Ok(control));
    for name in [
        "control/",
        "control/a/b",
        "control/A",
        "control/../x",
        "control",
        &format!("control/{}", "x".repeat(65)),
    ] {
        assert!(asked(name, b"1").is_err(), "{name}");
    }
    assert!(asked("control/hue", b"").is_err());
    assert!(asked("hue", b"7").unwrap_err().contains("bitrate"));
}

#[test]
fn actions_take_nothing_or_an_object() {
    assert_eq!(done("keyframe", b""), Ok(Command::KeyFrame));
    assert_eq!(done("restart", b"{}"), Ok(Command::Restart));
    assert_eq!(done("warm", br#"{"seconds":9}"#), Ok(Command::Warm(Duration::from_secs(9))));
    assert_eq!(done("warm", b""), Ok(Command::Warm(Duration::from_mins(1))));
    assert_eq!(done("snapshot", b""), Ok(Command::Snapshot { width: None }));
    assert_eq!(done("snapshot", br#"{"width":320}"#), Ok(Command::Snapshot { width: Some(320) }));
    let close = action("close", br#"{"viewer":"tab-1","id":7}"#, OPEN);
    assert_eq!(close.id, Some(json!(7)));
    assert_eq!(close.command, Ok(Command::Close { viewer: Some(Id::new("tab-1").unwrap()), session: None }));
}

#[test]
fn nonsense_is_refused_in_words() {
    for (name, payload) in [
        ("warm", &br#"{"seconds":0}"#[..]),
        ("warm", br#"{"seconds":"long"}"#),
        ("close", br#"{"viewer":"a/b"}"#),
        ("close", br#"{"session":7}"#),
        ("snapshot", br#"{"width":1}"#),
        ("snapshot", br#"{"width":-320}"#),
        ("snapshot", br#"{"width":"wide"}"#),
        ("keyframe", b"[]"),
        ("keyframe", b"{"),
        ("dance", b""),
        ("keyframe", b"\0"),
    ] {
        assert!(done(name, payload).is_err(), "{name}");
    }
}

#[test]
fn none_is_none() {
    for request in
        [set("streaming", b"OFF", CLOSED), set("bitrate", b"auto", CLOSED), action("snapshot", b"", CLOSED)]
    {
        assert!(request.command.unwrap_err().contains("dashboard.commands"));
    }
}

#[test]
fn safe_leaves_out_what_shows_more_than_was_granted_and_nothing_else() {
    assert_eq!(set("streaming", b"ON", SAFE).command, Ok(Command::Streaming(true)));
    let locally = Policy { off_locally: true, ..SAFE };
    assert!(set("streaming", b"ON", locally).command.unwrap_err().contains("turned off at the device"));
    assert_eq!(set("streaming", b"OFF", locally).command, Ok(Command::Streaming(false)));
    assert!(set("streaming", b"ON", Policy { off_locally: true, ..OPEN }).command.is_ok());
    assert!(action("snapshot", b"", SAFE).command.unwrap_err().contains("dashboard.snapshots"));
    assert!(action("snapshot", b"", Policy { snapshots: true, ..SAFE }).command.is_ok());
    assert!(action("snapshot", b"", OPEN).command.is_ok());
    for name in ["keyframe", "restart", "warm", "close"] {
        assert!(action(name, b"", SAFE).command.is_ok(), "{name}");
    }
}

#[test]
fn names_and_ids_are_repeated_as_they_came_and_hostile_ones_harmlessly() {
    let policy = Policy { commands: Commands::All, snapshots: true, off_locally: false };
    let name = "x".repeat(65);
    assert_eq!(set(&name, b"1", policy).topic, format!("set/{name}"), "whoever waits for it finds it");
    assert_eq!(action(&name, b"1", policy).topic, format!("do/{name}"));
    let odd = set("a\n\u{1b}[2J", "\u{9b}31m".as_bytes(), policy);
    assert!(!odd.topic.contains(['\n', '\u{1b}']), "{odd:?}");
    assert!(!set("streaming", "\u{1b}[2J\n".as_bytes(), policy).command.unwrap_err().contains('\u{1b}'));
    for (payload, id) in [("{\"id\":1}", Some(1)), ("1", None), ("", None)] {
        assert_eq!(action("dance", payload.as_bytes(), policy).id, id.map(Value::from), "{payload}");
        assert_eq!(set("dance", payload.as_bytes(), policy).id, id.map(Value::from), "{payload}");
    }
    let long = format!("{{\"id\":\"{}\"}}", "i".repeat(3000));
    let refused = action("keyframe", long.as_bytes(), policy);
    assert!(refused.id.is_none() && refused.command.is_err(), "{refused:?}");
}
