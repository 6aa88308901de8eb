use clap::Parser;

use super::*;
use crate::signaling::broker_url::Scheme;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SetupArgs,
}

fn args(line: &str) -> SetupArgs {
    Line::try_parse_from(std::iter::once("setup").chain(line.split_whitespace())).expect(line).args
}

fn camera(n: u32, by_id: Option<&str>) -> CameraInfo {
    CameraInfo {
        api: crate::media::CaptureApi::V4l2,
        path: format!("/dev/video{n}").into(),
        by_id: by_id.map(PathBuf::from),
        by_path: None,
        card: format!("Camera {n}"),
        driver: "uvcvideo".into(),
        bus_info: String::new(),
        modes: Vec::new(),
        controls: Vec::new(),
    }
}

fn found(cameras: Vec<CameraInfo>) -> ThisMachine {
    ThisMachine { id: "board".parse().expect("an id"), address: "192.0.2.9".into(), cameras }
}

fn by_flags(line: &str) -> Result<Answers, GatherError> {
    gather(&args(line), None, &found(Vec::new()))
}

fn refusal(line: &str) -> String {
    by_flags(line).expect_err(line).to_string()
}

/// What comes of typing this, and what was shown.
fn typed(line: &str, typed: &str, cameras: Vec<CameraInfo>) -> (Result<Answers, GatherError>, String) {
    let (mut input, mut output) = (typed.as_bytes(), Vec::new());
    let answers = gather(&args(line), Some(&mut Dialogue::new(&mut input, &mut output)), &found(cameras));
    (answers, String::from_utf8(output).expect("text"))
}

#[test]
fn without_flags_and_questions_it_works_by_itself() {
    let answers = by_flags("--yes").expect("answers");
    assert_eq!((answers.id.as_str(), answers.name), ("board", None));
    assert!(matches!(answers.broker, BrokerSetup::Embedded));
    assert_eq!(answers.camera, DeviceChoice::Auto);
    let Ok(Answers { broker: BrokerSetup::Mosquitto { host, secure_websocket }, .. }) =
        by_flags("--broker mosquitto")
    else {
        panic!("no Mosquitto")
    };
    assert_eq!((host.as_str(), secure_websocket), ("192.0.2.9", true));
}

#[test]
fn enter_all_the_way_is_the_same() {
    let (answers, shown) = typed("", "\n\n", vec![camera(0, None)]);
    let answers = answers.expect("answers");
    assert!(matches!(answers.broker, BrokerSetup::Embedded));
    assert_eq!((answers.name, answers.camera), (None, DeviceChoice::Auto));
    assert!(shown.contains("[board]") && shown.contains("Camera 0"), "{shown}");
}

#[test]
fn what_a_flag_says_is_not_asked() {
    let (answers, shown) = typed("--name Door --broker embedded --camera test", "", Vec::new());
    assert_eq!(answers.expect("answers").name.as_deref(), Some("Door"));
    assert_eq!(shown, "");
}

#[test]
fn one_of_several_cameras_is_chosen_by_number_and_kept_by_its_lasting_name() {
    let cameras = || vec![camera(0, None), camera(2, Some("/dev/v4l/by-id/usb-Two"))];
    let flags = "--name Door --broker embedded";
    let (answers, shown) = typed(flags, "9\n2\n", cameras());
    assert_eq!(answers.expect("answers").camera, DeviceChoice::Path("/dev/v4l/by-id/usb-Two".into()));
    assert!(shown.contains("a number from 1 to 2"), "{shown}");
    let (answers, _) = typed(flags, "test\n", cameras());
    assert_eq!(answers.expect("answers").camera, DeviceChoice::Test);
}

#[test]
fn a_mosquitto_is_asked_for_its_host() {
    let (answers, shown) = typed("--name Door --camera auto", "4\n3\nno host\nbroker.local\nn\n", Vec::new());
    let BrokerSetup::Mosquitto { host, secure_websocket } = answers.expect("answers").broker else {
        panic!("no Mosquitto:\n{shown}")
    };
    assert_eq!((host.as_str(), secure_websocket), ("broker.local", false));
    assert!(shown.contains("write 1, 2 or 3") && shown.contains("[192.0.2.9]"), "{shown}");
}

#[test]
fn a_broker_that_is_there_is_asked_for_all_it_needs() {
    let dialogue = "2\nmqtt://u:s3cret@broker\nmqtts://broker\ncam\ns3cret pass\n\nws://broker:9002\n";
    let (answers, shown) = typed("--name Door --camera auto", dialogue, Vec::new());
    let BrokerSetup::Existing { url, login, ca_file, websocket, websocket_is_guessed } =
        answers.expect("answers").broker
    else {
        panic!("another broker:\n{shown}")
    };
    assert_eq!((url.address().as_str(), ca_file), ("mqtts://broker:8883", None));
    let Some(Login { username, password: Password::Typed(password) }) = login else { panic!("no login") };
    assert_eq!((username.as_str(), password.expose()), ("cam", "s3cret pass"));
    assert_eq!((websocket.scheme(), websocket.port(), websocket_is_guessed), (Scheme::Ws, 9002, false));
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn nobody_answers() {
    let (answers, _) = typed("", "Door\n", Vec::new());
    assert!(matches!(answers, Err(GatherError::Dialogue(DialogueError::Left))));
}

#[test]
fn flags_that_do_not_fit_are_refused_with_what_would() {
    for (line, words) in [
        ("--id a/b", &["--id", "letters"][..]),
        ("--broker http://x", &["--broker", "ws://"]),
        ("--broker mqtt://u:s3cret@x", &["--password-file"]),
        ("--broker mqtt://x --username u", &["--username", "--password-file"]),
        ("--broker mqtt://x --password-file /dev/null", &["--username"]),
        ("--broker mqtt://x --username u --password-file /dev/null", &["/dev/null", "empty"]),
        ("--broker mqtt://x --ca-file /dev/null", &["--ca-file", "mqtts"]),
        ("--broker mqtts://x --ca-file /no/such", &["--ca-file", "/no/such"]),
        ("--broker mqtt://x --websocket mqtt://x", &["--websocket", "wss://"]),
        ("--broker mqtt://x --broker-host y", &["--broker-host", "mosquitto"]),
        ("--broker mosquitto --username u", &["--username", "URL"]),
        ("--username u", &["--username", "URL"]),
        ("--broker mosquitto --broker-host a:1", &["--broker-host"]),
        ("--broker mosquitto --id viewer", &["--id", "viewer"]),
        ("--camera webcam", &["--camera", "porthole cameras"]),
        ("--root a/#", &["--root"]),
    ] {
        let refusal = refusal(line);
        for word in words {
            assert!(refusal.contains(word), "{line}: {refusal}");
        }
        assert!(!refusal.contains("s3cret"), "{refusal}");
    }
}

#[test]
fn auto_becomes_the_camera_that_it_means() {
    let (path, by_id) = (|text: &str| DeviceChoice::Path(text.into()), "/dev/v4l/by-id/usb-One");
    let one = path(by_id);
    for (choice, cameras, now, later) in [
        (DeviceChoice::Auto, vec![camera(1, Some(by_id)), camera(2, None)], one.clone(), one.clone()),
        (DeviceChoice::Auto, vec![camera(1, None)], path("/dev/video1"), DeviceChoice::Auto),
        (DeviceChoice::Auto, vec![], DeviceChoice::Auto, DeviceChoice::Auto),
        (path("/dev/video7"), vec![camera(1, Some(by_id))], path("/dev/video7"), path("/dev/video7")),
        (DeviceChoice::Test, vec![camera(1, Some(by_id))], DeviceChoice::Test, DeviceChoice::Test),
    ] {
        assert_eq!(now_and_later(&choice, &cameras), (now, later), "{choice:?}, {} cameras", cameras.len());
    }
}

#[test]
fn a_camera_that_chose_a_hostile_name_is_one_short_line() {
    let hostile = format!("a\nFORGED \u{1b}[2J\u{202e}{}", "x".repeat(5000));
    for cameras in [1, 2] {
        let cameras = (0..cameras).map(|n| CameraInfo { card: hostile.clone(), ..camera(n, None) }).collect();
        let (_, shown) = typed("", "\n\n\n\n\n\n\n\n", cameras);
        assert!(shown.contains("a\\nFORGED") && !shown.contains(&"x".repeat(201)), "{shown:?}");
        assert!(shown.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')), "{shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("FORGED")), "{shown:?}");
    }
}
