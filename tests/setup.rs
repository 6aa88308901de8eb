//! `porthole setup`: what it writes, what it refuses, and how it asks.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use support::PATIENCE;
use support::daemon::porthole;
use support::setup::{assert_done, assert_refused, checked, link, mode, names, pieces, setup, text};

#[test]
fn flags_alone_make_a_configuration_that_passes_its_check() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let printed = assert_done(&setup(
        &file,
        &["--yes", "--id", "cam", "--name", "Front \"door\"", "--camera", "test", "--broker", "embedded"],
    ));
    let link = link(&printed);
    assert!(
        link.contains(":9001/mqtt&device=cam&key=") && link.contains("&grant=owner&secret="),
        "{printed}"
    );
    assert!(printed.contains("shown only now"), "{printed}");
    assert!(printed.contains("porthole run --config"), "{printed}");
    let summary = checked(&file);
    assert!(summary.contains("cam (Front \"door\")") && summary.contains("built in"), "{summary}");
    assert!(summary.contains("grants: whoever has a link"), "{summary}");
    assert_eq!(names(dir.path()), ["porthole.toml", "state"]);
    let config = file.to_str().expect("UTF-8");
    let grants = |more: &[&str]| {
        let output =
            porthole(&[&["grants", "--config", config], more].concat()).output().expect("run grants");
        assert_done(&output)
    };
    assert!(grants(&[]).contains("owner"), "{}", grants(&[]));
    let secret = link.rsplit_once("secret=").expect("a secret").1;
    for kept in names(&dir.path().join("state")) {
        let text = fs::read_to_string(dir.path().join("state").join(&kept)).expect("text");
        assert!(!text.contains(secret), "{kept} holds the secret");
        assert_eq!(mode(&dir.path().join("state").join(&kept)) & 0o077, 0, "{kept}");
    }

    // Its own work may be replaced, as long as nobody has changed it.
    assert_done(&setup(&file, &["--yes", "--id", "cam2", "--camera", "test"]));
    assert!(checked(&file).contains("cam2"));
    assert_eq!(names(dir.path()), ["porthole.toml", "porthole.toml.bak", "state"]);
    let listed: serde_json::Value = serde_json::from_str(&grants(&["--json"])).expect("JSON");
    let listed: Vec<_> = listed.as_array().expect("a list").iter().map(|grant| &grant["name"]).collect();
    assert_eq!(listed, ["owner", "owner-2"], "the link that was given away before still works");

    let printed = assert_done(&setup(&file, &["--yes", "--id", "cam3", "--camera", "test", "--open"]));
    assert!(support::setup::link(&printed).contains("&key="), "{printed}");
    assert!(!support::setup::link(&printed).contains("secret"), "{printed}");
    assert!(printed.contains("Everybody on this network may watch"), "{printed}");
    assert!(checked(&file).contains("open: whoever"), "{}", checked(&file));
}

#[test]
fn an_edited_configuration_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let mine = "[mqtt]\nurl = \"mqtt://mine\"\n";
    fs::write(&file, mine).expect("written");
    let flags = ["--yes", "--camera", "test"];
    assert_refused(&setup(&file, &flags), 1, &["was edited", "--force", "porthole.toml"]);
    assert_eq!(fs::read_to_string(&file).expect("the file"), mine);
    let printed = assert_done(&setup(&file, &["--yes", "--camera", "test", "--force"]));
    assert!(printed.contains("porthole.toml.bak"), "{printed}");
    assert_eq!(fs::read_to_string(dir.path().join("porthole.toml.bak")).expect("the backup"), mine);
    checked(&file);
}

#[test]
fn the_shipped_configuration_may_be_replaced() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/porthole.toml"), &file).expect("copied");
    assert_done(&setup(&file, &["--yes", "--camera", "test"]));
}

#[test]
fn nothing_is_written_where_something_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("new/porthole.toml");
    for (arguments, code, words) in [
        (&[][..], 64, &["no terminal", "--yes", "--broker"][..]),
        (&["--yes", "--broker", "mqtt://u:s3cret@x"], 64, &["--password-file"]),
        (&["--yes", "--broker", "mqtt://x", "--username", "u"], 64, &["--password-file"]),
        (&["--yes", "--id", "a b"], 64, &["--id"]),
        (&["--yes", "--broker", "mosquitto", "--broker-host", "a b"], 64, &["--broker-host"]),
        (&["--renew", "--yes"], 64, &["--renew"]),
        (&["--password", "x"], 64, &["--password"]),
    ] {
        let output = setup(&file, arguments);
        assert_refused(&output, code, words);
        assert!(!text(&output.stderr).contains("s3cret"));
    }
    // It could not be written into a file that is text.
    assert_refused(&setup(&file.join("x/\u{7}"), &["--yes", "--camera", "test"]), 1, &["a path"]);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_failure_half_way_takes_everything_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("etc/porthole.toml");
    // The broker's folder cannot be made: a file is in its place.
    let blocked = dir.path().join("blocked");
    fs::write(&blocked, "x").expect("written");
    let folder = blocked.join("broker");
    let folder = folder.to_str().expect("UTF-8");
    let arguments = ["--yes", "--broker", "mosquitto", "--camera", "test", "--broker-files", folder];
    assert_refused(&setup(&file, &arguments), 1, &["blocked"]);
    assert_eq!(names(dir.path()), ["blocked"], "secrets were left behind");
}

#[test]
fn a_broker_that_is_there_is_named_with_its_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, password) = (dir.path().join("porthole.toml"), dir.path().join("secret"));
    fs::write(&password, "s3cret\n").expect("written");
    let password_file = password.to_str().expect("UTF-8");
    let printed = assert_done(&setup(
        &file,
        &[
            "--yes",
            "--id",
            "cam",
            "--camera",
            "test",
            "--broker",
            "mqtts://broker.example",
            "--username",
            "cam",
            "--password-file",
            password_file,
        ],
    ));
    assert!(link(&printed).contains("#broker=wss://broker.example:9001/&device=cam"), "{printed}");
    assert!(printed.contains("guess"), "{printed}");
    let written = fs::read_to_string(&file).expect("the file");
    assert!(written.contains(&format!("password_file = \"{password_file}\"")), "{written}");
    assert!(!printed.contains("s3cret") && !written.contains("s3cret"));
    checked(&file);
}

/// A person at a terminal: the program `script` makes one.
struct Person {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Person {
    fn runs(file: &Path) -> Self {
        let command = format!(
            "exec {} setup --id cam --camera test --output {}",
            env!("CARGO_BIN_EXE_porthole"),
            file.display()
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run script, of util-linux");
        let screen = pieces(child.stdout.take().expect("its output"));
        let keyboard = child.stdin.take().expect("its input");
        Self { child, keyboard, screen, seen: String::new() }
    }

    fn sees(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(more) = self.screen.recv_timeout(left) else {
                panic!("{words:?} is not on the screen:\n{}", self.seen)
            };
            let _ = write!(self.seen, "{}", text(&more));
        }
    }

    fn answers(&mut self, question: &str, answer: &str) {
        self.sees(question);
        writeln!(self.keyboard, "{answer}").expect("typed");
    }

    fn ends(mut self) -> (i32, String) {
        let status = self.child.wait().expect("its end");
        while let Ok(more) = self.screen.recv_timeout(PATIENCE) {
            let _ = write!(self.seen, "{}", text(&more));
        }
        (status.code().expect("a code"), self.seen)
    }
}

#[test]
fn a_person_at_a_terminal_answers_and_their_password_is_not_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let mut person = Person::runs(&file);
    person.answers("Name of this camera", "Front door");
    person.answers("Which broker [1]", "2");
    person.answers("Its URL", "mqtt://broker.example");
    person.answers("User name at the broker [none]", "cam");
    person.answers("Its password (not shown)", "s3cret word");
    person.answers("WebSocket address, for browsers [ws://broker.example:9001/]", "");
    person.sees("#broker=ws://broker.example:9001/&device=cam");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains("s3cret"), "the password was shown:\n{seen}");
    assert!(checked(&file).contains("cam (Front door)"));
    let password = dir.path().join("mqtt-password");
    assert_eq!(fs::read_to_string(&password).expect("the password"), "s3cret word\n");
    assert_eq!(mode(&password) & 0o007, 0);
}

#[test]
fn a_person_who_leaves_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut person = Person::runs(&dir.path().join("porthole.toml"));
    // Ctrl-D.
    person.answers("Name of this camera", "x\n\u{4}");
    let (code, seen) = person.ends();
    assert_eq!(code, 1, "{seen}");
    assert!(seen.contains("nothing is written"), "{seen}");
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_brokers_settings_are_not_made_twice_by_accident() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let flags = ["--yes", "--camera", "test", "--broker", "mosquitto", "--broker-host", "broker.local"];
    assert_done(&setup(&file, &flags));
    let before = fs::read(dir.path().join("broker/passwords")).expect("passwords");
    assert_refused(&setup(&file, &flags), 1, &["--force", "--renew", "mqtts://"]);
    assert_eq!(before, fs::read(dir.path().join("broker/passwords")).expect("passwords"));
    assert_done(&setup(&file, &[&flags[..], &["--force"]].concat()));
    assert_ne!(before, fs::read(dir.path().join("broker/passwords")).expect("passwords"));
    // The old ones can still be gone back to.
    assert_eq!(before, fs::read(dir.path().join("broker/passwords.bak")).expect("passwords"));
    assert_refused(&setup(&dir.path().join("other.toml"), &["--renew"]), 64, &["other.toml"]);
}
