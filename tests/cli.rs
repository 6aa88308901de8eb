//! The command line: exit codes, words about what is wrong, and help that helps.

mod support;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Output;

use support::daemon::{Settings, porthole};

fn run(arguments: &[&str]) -> Output {
    porthole(arguments).output().expect("run porthole")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A configuration file with this text.
fn file(dir: &tempfile::TempDir, toml: &str) -> PathBuf {
    let path = dir.path().join("porthole.toml");
    std::fs::write(&path, toml).expect("write the file");
    path
}

#[test]
fn help_names_every_command_and_each_explains_itself() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help.stdout);
    for command in ["run", "demo", "setup", "check", "cameras", "doctor", "first-boot", "watch"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in the help:\n{help}");
        let own = run(&[command, "--help"]);
        assert_eq!(own.status.code(), Some(0), "{command}");
        let own = text(&own.stdout);
        assert!(own.contains(&format!("Usage: porthole {command}")), "{own}");
        assert!(
            own.lines().next().is_some_and(|line| line.len() > 20),
            "{command} does not say what it does:\n{own}"
        );
    }
    assert!(help.contains("Exit codes"), "{help}");
    let version = text(&run(&["--version"]).stdout);
    assert_eq!(version.trim(), concat!("porthole ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_arguments_exit_64() {
    for arguments in [
        &["dance"][..],
        &[],
        &["run", "--loud"],
        &["watch"],
        &["watch", "--broker", "mqtt://localhost", "--device", "a/b"],
        &["watch", "--broker", "http://localhost", "--device", "cam"],
        &["watch", "--broker", "mqtt://localhost", "--device", "cam", "--viewers", "0"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty(), "{arguments:?} says nothing");
        assert!(output.stdout.is_empty(), "{arguments:?} writes to stdout: {}", text(&output.stdout));
    }
}

/// What is wrong, and the words that have to be in the message: key, value, what would be right.
const BAD: &[(&str, &[&str])] = &[
    ("[viewers]\nmax = 0", &["viewers.max", "0", "1 to 1000"]),
    ("[viewers]\nmax = \"many\"", &["viewers.max", "\"many\"", "a whole number"]),
    ("[viewers]\nmax = -1", &["viewers.max", "-1", "a whole number"]),
    ("[viewers]\nmax = 1.5", &["viewers.max", "1.5", "a whole number"]),
    ("[viewers]\nmax = [1]", &["viewers.max", "a list", "a whole number"]),
    ("[dashboard]\nsnapshots = \"yes\"", &["dashboard.snapshots", "\"yes\"", "true or false"]),
    ("[ice]\nservers = \"stun:x\"", &["ice.servers", "\"stun:x\"", "a list"]),
    ("device = 3", &["device", "3", "keys with values"]),
    ("[viewer]\nmax = 3", &["viewer", "viewers"]),
    ("[camera]\nwidht = 640", &["widht", "width"]),
    ("[camera]\nwidth = 640", &["camera.height", "belong together"]),
    ("[camera]\nwidth = 641\nheight = 480", &["camera.width", "641", "even"]),
    ("[camera]\nfps = 0", &["camera.fps", "0", "1 to 240"]),
    ("[camera]\ndevice = \"webcam\"", &["camera.device", "webcam", "auto"]),
    ("[video]\nencoder = \"nvenc\"", &["video.encoder", "nvenc", "x264enc"]),
    ("[device]\nid = \"front door\"", &["device.id", "front door", "letters"]),
    ("[http]\nlisten = \"8080\"", &["http.listen", "8080", "0.0.0.0:8080"]),
    ("[ice]\nport_range = \"9-1\"", &["ice.port_range", "9-1", "50000-50100"]),
    ("[ice]\nservers = [{ urls = [\"http://x\"] }]", &["ice.servers[0].urls", "http://x", "stun:"]),
    ("[mqtt]\nurl = \"http://broker\"", &["mqtt.url", "http://broker", "mqtt"]),
    (
        "[mqtt]\nurl = \"mqtt://b\"\nusername = \"u\"\npassword_file = \"/nowhere/p\"",
        &["mqtt.password_file", "/nowhere/p"],
    ),
    ("[mqtt]\nurl = \"mqtts://b\"\nca_file = \"/nowhere/ca.pem\"", &["mqtt.ca_file", "/nowhere/ca.pem"]),
    ("[dashboard]\ncommands = \"some\"", &["dashboard.commands", "some", "safe"]),
    ("[access]\nmode = \"closed\"", &["access.mode", "closed", "open"]),
    ("this is no TOML", &["TOML"]),
];

#[test]
fn a_bad_configuration_names_file_key_value_and_what_is_right() {
    let dir = tempfile::tempdir().expect("a directory");
    for (toml, words) in BAD {
        let toml = if toml.contains("[mqtt]") {
            (*toml).to_owned()
        } else {
            format!("{toml}\n[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n")
        };
        let path = file(&dir, &toml);
        for command in ["run", "check"] {
            let output = run(&[command, "--config", path.to_str().expect("UTF-8")]);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{command}: {toml}\n{said}");
            assert!(said.contains(path.to_str().expect("UTF-8")), "the file is not named: {said}");
            for word in *words {
                assert!(said.contains(word), "{word:?} is not in: {said}\nfor:\n{toml}");
            }
        }
    }
}

#[test]
fn the_environment_is_named_where_it_is_wrong() {
    let output = porthole(&["check"])
        .env("PORTHOLE_MQTT_URL", "mqtt://127.0.0.1")
        .env("PORTHOLE_VIEWERS_MAX", "0")
        .output()
        .expect("run porthole");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("PORTHOLE_VIEWERS_MAX") || said.contains("viewers.max"), "{said}");
    let missing = run(&["run", "--config", "/nowhere/porthole.toml"]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(text(&missing.stderr).contains("/nowhere/porthole.toml"));
}

#[test]
fn a_bad_configuration_opens_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let port = listener.local_addr().expect("an address").port();
    let settings = Settings::new(&format!("mqtt://127.0.0.1:{port}"))
        .path("device.state_dir", &dir.path().join("state"))
        .value("viewers.max", 0);
    let path = file(&dir, &settings.toml());
    let output = run(&["run", "--config", path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(64));
    assert!(listener.accept().is_err(), "it connected to the broker");
    assert!(!dir.path().join("state").exists(), "it made its state directory");
}

#[test]
fn a_good_configuration_is_explained() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(&dir, &Settings::new("mqtt://127.0.0.1:1").toml());
    let output = run(&["check", "--config", path.to_str().expect("UTF-8")]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    for word in ["porthole.toml", "mqtt://127.0.0.1:1", "porthole/cam", "640x480"] {
        assert!(said.contains(word), "{word} is not in:\n{said}");
    }
}

#[test]
fn check_says_what_two_renditions_mean_for_the_camera() {
    for (tiers, format, said) in [
        ("1", "auto", "one for all viewers"),
        ("2", "auto", "two: half as wide and high for slow networks"),
        ("2", "h264", "one: a camera that encodes by itself (camera.format = H264) has no second"),
    ] {
        let output = porthole(&["check"])
            .env("PORTHOLE_MQTT_URL", "mqtt://127.0.0.1")
            .env("PORTHOLE_VIDEO_TIERS", tiers)
            .env("PORTHOLE_CAMERA_FORMAT", format)
            .output()
            .expect("run porthole");
        let text = text(&output.stdout);
        assert!(
            text.contains(said),
            "{said:?} is not in:\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn cameras_are_a_list() {
    let output = run(&["cameras", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(list.is_array(), "{list}");
    assert_eq!(run(&["cameras"]).status.code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (variable, key) in
        [("PORTHOLE_HTTP_LISTEN", "http.listen"), ("PORTHOLE_BROKER_LISTEN", "broker.listen")]
    {
        let mut command = porthole(&["demo"]);
        for free in ["PORTHOLE_HTTP_LISTEN", "PORTHOLE_BROKER_LISTEN", "PORTHOLE_BROKER_WEBSOCKET"] {
            command.env(free, "127.0.0.1:0");
        }
        let output =
            command.env("PORTHOLE_CAMERA_DEVICE", "test").env(variable, &address).output().expect("run");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&address) && said.contains(key), "{said}");
    }
}

#[test]
fn watching_nothing_exits_1_and_says_why() {
    let output =
        run(&["watch", "--broker", "mqtt://127.0.0.1:1", "--device", "cam", "--seconds", "1", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    for key in [
        "viewers",
        "connected",
        "first_frame_ms",
        "frames",
        "fps",
        "key_frames",
        "bitrate",
        "lost",
        "longest_gap_ms",
    ] {
        assert!(report.get(key).is_some(), "{key} is missing: {report:#}");
    }
    assert_eq!(report["connected"], 0);
    assert!(report["errors"][0]["message"].as_str().is_some_and(|text| text.len() > 10), "{report:#}");
}

/// Paragraphs of help are broken where the terminal ends, and nowhere else.
#[test]
fn help_is_not_broken_twice() {
    const WIDTH: usize = 70;
    let commands = "run demo cameras setup check doctor first-boot link grant grants revoke watch";
    for command in commands.split(' ') {
        let output =
            porthole(&[command, "--help"]).env("COLUMNS", WIDTH.to_string()).output().expect("run porthole");
        let help = text(&output.stdout);
        let lines: Vec<&str> = help.lines().collect();
        for pair in lines.windows(2) {
            let [line, next] = pair else { continue };
            let is_prose = |line: &str| line.starts_with(|one: char| one.is_alphanumeric());
            if !is_prose(line) || !is_prose(next) || line.ends_with(['.', ':']) {
                continue;
            }
            let word = next.split(' ').next().unwrap_or_default();
            let would_fit = line.chars().count() + 1 + word.chars().count() <= WIDTH;
            assert!(!would_fit, "{command} --help: \"{word}\" would have fitted behind \"{line}\"");
        }
    }
}

/// A machine with IPv6 alone: the link leads to an address that others can open.
#[test]
fn a_link_on_a_machine_with_ipv6_alone_names_its_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = "[device]\nid = \"cam\"\nstate_dir = \"STATE\"\n[mqtt]\nurl = \"embedded\"\n\
        [http]\nlisten = \"[::]:8080\"\n[broker]\nwebsocket = \"[::]:9001\"\n";
    let path = file(&dir, &config.replace("STATE", dir.path().to_str().expect("UTF-8")));
    let script = format!(
        "ip link set lo up && ip link add d0 type dummy && ip addr add 2001:db8:5::7/64 dev d0 nodad && \
         ip link set d0 up && ip -6 route add default dev d0 && exec {} grant anna --config {}",
        env!("CARGO_BIN_EXE_porthole"),
        path.display()
    );
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", &script])
        .output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        eprintln!("SKIPPED: no network namespace with an IPv6 address can be made here");
        return;
    };
    let link = text(&output.stdout);
    assert!(link.starts_with("http://[2001:db8:5::7]:8080/"), "{link}");
    assert!(!link.contains("127.0.0.1"), "{link}");
}
