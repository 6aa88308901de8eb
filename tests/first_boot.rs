//! `porthole first-boot` against folders that look like a card's boot partition, however a PC wrote them.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::daemon::porthole;

const GOOD: &str = "[device]\nid = \"front-door\"\n[mqtt]\nurl = \"mqtt://broker.local\"\n";
const OLD: &str = "[mqtt]\nurl = \"embedded\"\n";

struct Board {
    dir: tempfile::TempDir,
}

impl Board {
    /// A board that has a configuration, and an empty boot partition.
    fn new() -> Self {
        let board = Self { dir: tempfile::tempdir().expect("a folder") };
        for folder in [board.boot(), board.etc()] {
            fs::create_dir(folder).expect("a folder");
        }
        fs::write(board.etc().join("porthole.toml"), OLD).expect("write");
        board
    }

    fn boot(&self) -> PathBuf {
        self.dir.path().join("boot")
    }

    fn etc(&self) -> PathBuf {
        self.dir.path().join("etc")
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        fs::write(self.boot().join(name), bytes).expect("write");
        self
    }

    fn arguments(&self) -> Vec<String> {
        let path = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        vec![
            "first-boot".to_owned(),
            "--boot".to_owned(),
            path(self.boot()),
            "--into".to_owned(),
            path(self.etc()),
        ]
    }

    /// Runs it, and gives the exit code and all that was said.
    fn start(&self) -> (i32, String) {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        said(&porthole(&arguments).output().expect("run porthole"))
    }

    fn good(&self) -> String {
        let (code, said) = self.start();
        assert_eq!(code, 0, "{said}");
        said
    }

    /// It is refused, nothing changes where the daemon looks, and the card says why.
    fn refused(&self) -> String {
        let before = files(&self.etc());
        let (code, said) = self.start();
        assert_eq!(code, 64, "{said}");
        assert_eq!(files(&self.etc()), before, "{said}");
        let told = fs::read_to_string(self.boot().join("porthole-error.txt")).expect("an error file");
        assert!(told.split('\n').all(|line| line.is_empty() || line.ends_with('\r')), "{told:?}");
        let told = told.replace("\r\n", "\n");
        let first = told.trim_start_matches('\u{feff}').lines().next().expect("a line");
        assert!(said.contains(first), "said:\n{said}\ntold:\n{told}");
        told
    }

    fn installed(&self, name: &str) -> String {
        fs::read_to_string(self.etc().join(name)).unwrap_or_default()
    }
}

fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned())
        })
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_keys().collect()
}

#[test]
fn nothing_there_is_nothing_wrong() {
    let board = Board::new();
    let before = files(&board.etc());
    assert!(board.good().contains("nothing new"));
    fs::remove_dir(board.boot()).expect("remove");
    assert!(board.good().contains("nothing new"));
    assert_eq!(files(&board.etc()), before);
}

#[test]
fn a_good_file_is_taken_once() {
    let board = Board::new();
    board.put("porthole.toml", GOOD).put("porthole-error.txt", "from before").put("cmdline.txt", "root=x");
    let said = board.good();
    assert!(said.contains("front-door") && said.contains("mqtt://broker.local"), "{said}");
    assert_eq!(board.installed("porthole.toml"), GOOD);
    assert_eq!(board.installed("porthole.toml.previous"), OLD);
    assert_eq!(names(&board.etc()), ["porthole.toml", "porthole.toml.previous"]);
    assert_eq!(names(&board.boot()), ["cmdline.txt", "porthole.toml.taken"]);
    assert!(board.good().contains("nothing new"));

    // The same again, put there anew: nothing to do but to put it away.
    board.put("porthole.toml", GOOD);
    assert!(board.good().contains("in force already"));
    let said = board.put("porthole.toml", format!("{GOOD}\n\n")).good();
    assert!(!said.contains("password"), "{said}");
    assert_eq!(board.installed("porthole.toml.previous"), GOOD);
    fs::write(board.etc().join("porthole.toml.previous"), OLD).expect("write");
    assert_eq!(board.installed("porthole.toml.previous"), OLD);
    assert_eq!(names(&board.boot()), ["cmdline.txt", "porthole.toml.taken"]);
}

#[test]
fn only_the_daemons_group_may_read_it() {
    let board = Board::new();
    let is_root = fs::metadata(board.etc()).expect("a folder").uid() == 0;
    if is_root {
        std::os::unix::fs::chown(board.etc(), None, Some(4711)).expect("chown");
    }
    board.put("porthole.toml", GOOD);
    board.good();
    for name in ["porthole.toml", "porthole.toml.previous"] {
        let file = fs::metadata(board.etc().join(name)).expect("a file");
        assert_eq!(file.permissions().mode() & 0o777, 0o640, "{name}");
        assert_eq!(file.gid(), fs::metadata(board.etc()).expect("a folder").gid(), "{name}");
    }
}

#[test]
fn whatever_windows_makes_of_it_is_the_same_file() {
    let windows = GOOD.replace('\n', "\r\n");
    let utf16 = [0xff, 0xfe]
        .into_iter()
        .chain(windows.encode_utf16().flat_map(u16::to_le_bytes))
        .collect::<Vec<u8>>();
    for (name, bytes) in [
        ("porthole.toml", windows.clone().into_bytes()),
        ("porthole.toml", [b"\xef\xbb\xbf", windows.as_bytes()].concat()),
        ("porthole.toml", utf16.clone()),
        ("porthole.toml.txt", windows.into_bytes()),
        ("PORTHOLE.TOML", GOOD.as_bytes().to_vec()),
        ("Porthole.toml.txt", utf16),
    ] {
        let board = Board::new();
        board.put(name, &bytes);
        board.good();
        assert_eq!(board.installed("porthole.toml"), GOOD, "{name} {bytes:?}");
        assert_eq!(names(&board.boot()), ["porthole.toml.taken"], "{name}");
        assert!(board.good().contains("nothing new"));
    }
}

#[test]
fn a_wrong_file_is_explained_and_changes_nothing() {
    let board = Board::new();
    board.put("porthole.toml", "[mqtt]\r\nurl = \"embedded\"\r\n\r\n[camera]\r\nfps = 500\r\n");
    let told = board.refused();
    for part in ["porthole.toml was not taken over", "Line 5:  fps = 500", "camera.fps", "from 1 to 240"] {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
    assert_eq!(names(&board.boot()), ["porthole-error.txt", "porthole.toml"]);
    // Each start says so, until the file is corrected.
    board.refused();
    board.put("porthole.toml", GOOD);
    board.good();
    assert_eq!(names(&board.boot()), ["porthole.toml.taken"]);
    assert_eq!(board.installed("porthole.toml"), GOOD);
}

#[test]
fn each_kind_of_mistake_says_what_would_be_right() {
    let large = "#".repeat(300 * 1024);
    for (name, bytes, words) in [
        ("porthole.toml", &b"[mqtt]\nurl = mqtt://broker\n"[..], "text in quotes"),
        ("porthole.toml", "[mqtt]\nurl = „embedded“\n".as_bytes(), "plain quotes"),
        ("porthole.toml", b"[mqtt]\nurl = \"embedded\"\n[device]\nname = \"K\xfcche\"\n", "Line 4"),
        ("porthole.toml", b"\xff\xfe[\0m", "UTF-16"),
        ("porthole.toml", b"{\\rtf1 [mqtt]}", "Plain Text"),
        ("porthole.toml", b"[mqtt]\nuri = \"embedded\"\n", "`uri` is not a key of [mqtt]"),
        ("porthole.toml", b"", "mqtt.url"),
        ("porthole.toml", large.as_bytes(), "larger than"),
        ("porthole.env", b"PORTHOLE_CAMERA_FPS=500\r\n", "from 1 to 240"),
        ("porthole.env", b"export PORTHOLE_CAMERA_FPS=5\n", "without export"),
        ("porthole.env.txt", b"PORTHOLE_CAMRA_FPS=5\n", "no section"),
    ] {
        let board = Board::new();
        board.put(name, bytes);
        let told = board.refused();
        assert!(told.contains(words), "{words:?} is missing in:\n{told}");
    }
}

#[test]
fn two_files_that_are_meant_as_one_are_refused() {
    let board = Board::new();
    board.put("porthole.toml", GOOD).put("porthole.toml.txt", OLD);
    assert!(board.refused().contains("remove one of them"));
}

#[test]
fn variables_are_checked_together_with_the_configuration() {
    let board = Board::new();
    board.put("porthole.env", "\u{feff}PORTHOLE_DEVICE_ID=garden\r\nPORTHOLE_LOG=debug\r\n");
    assert!(board.good().contains("garden"));
    assert_eq!(board.installed("porthole.env"), "PORTHOLE_DEVICE_ID=garden\nPORTHOLE_LOG=debug\n");
    assert_eq!(board.installed("porthole.toml"), OLD);
    assert_eq!(names(&board.boot()), ["porthole.env.taken"]);

    // A file alone is checked with the variables that are in force, as the daemon will read both.
    board.put("porthole.toml", "[mqtt]\nurl = \"embedded\"\n[video]\nmin_bitrate_kbps = 900\n");
    board.good();
    board.put("porthole.env", "PORTHOLE_VIDEO_BITRATE_KBPS=800\n");
    let told = board.refused();
    assert!(told.contains("video.min_bitrate_kbps") && told.contains("800"), "{told}");
}

#[test]
fn files_that_it_names_come_along_and_leave_the_card() {
    let board = Board::new();
    let file = board.etc().join("mqtt-password");
    let toml = format!("{GOOD}username = \"cam\"\npassword_file = {file:?}\n");
    board.put("porthole.toml", &toml);
    let told = board.refused();
    assert!(told.contains("mqtt.password_file") && told.contains("cannot be read"), "{told}");

    board.put("mqtt-password.txt", "\u{feff}hunter2\r\n");
    let said = board.good();
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(board.installed("mqtt-password"), "hunter2\n");
    assert_eq!(names(&board.boot()), ["porthole.toml.taken"]);

    // Not taken where the configuration is refused: the old one needs its old password.
    board.put("mqtt-password", "other").put("porthole.toml", format!("{toml}[camera]\nfps = 0\n"));
    board.refused();
    assert_eq!(board.installed("mqtt-password"), "hunter2\n");
}

#[test]
fn no_password_stays_on_the_card_or_in_the_log() {
    let board = Board::new();
    board.put("porthole.toml", "[mqtt]\nurl = \"mqtt://cam:hunter2@broker\"\n");
    let said = board.good();
    assert!(said.contains("held a password") && !said.contains("hunter2"), "{said}");
    assert!(board.installed("porthole.toml").contains("hunter2"));
    let left = fs::read_to_string(board.boot().join("porthole.toml.taken")).expect("what was taken");
    assert!(left.contains("mqtt://cam:***@broker") && !left.contains("hunter2"), "{left}");
    assert_eq!(names(&board.boot()), ["porthole.toml.taken"]);
}

/// The power may go at each step: what is there afterwards is brought to its end.
#[test]
fn an_interrupted_attempt_is_finished() {
    // Before anything got its name: a half-written file is written again.
    let board = Board::new();
    board.put("porthole.toml", GOOD);
    fs::write(board.etc().join(".porthole.toml.first-boot"), "[mq").expect("write");
    board.good();
    assert_eq!(board.installed("porthole.toml"), GOOD);
    assert_eq!(board.installed("porthole.toml.previous"), OLD);

    // After it was installed, before it was put away.
    board.put("porthole.toml", GOOD);
    board.good();
    assert_eq!(board.installed("porthole.toml.previous"), OLD, "the previous one is not overwritten");
    assert_eq!(names(&board.etc()), ["porthole.toml", "porthole.toml.previous"]);
    assert_eq!(names(&board.boot()), ["porthole.toml.taken"]);
}

#[test]
fn on_a_read_only_boot_partition_a_file_is_taken_once() {
    let board = Board::new();
    board.put("porthole.toml", GOOD);
    // A user namespace gives the right to mount; what is mounted in it goes with it.
    let read_only = |board: &Board| {
        let boot = board.boot();
        let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", mount])
            .arg(&boot)
            .arg(env!("CARGO_BIN_EXE_porthole"))
            .args(board.arguments())
            .output()
    };
    let can = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED: user namespaces are not permitted here, and the read-only mount of this test needs one"
        );
        return;
    }
    let (code, said_first) = said(&read_only(&board).expect("unshare"));
    assert_eq!(code, 0, "{said_first}");
    assert!(said_first.contains("only when it changes"), "{said_first}");
    assert_eq!(board.installed("porthole.toml"), GOOD);

    // What is changed on the board since is not undone by the file that had to stay.
    let changed = format!("{GOOD}[camera]\nfps = 15\n");
    fs::write(board.etc().join("porthole.toml"), &changed).expect("write");
    let (code, said_again) = said(&read_only(&board).expect("unshare"));
    assert_eq!(code, 0, "{said_again}");
    assert_eq!(board.installed("porthole.toml"), changed);

    // Nor by another file beside it, which is taken by itself.
    board.put("porthole.env", "PORTHOLE_LOG=debug\n");
    let (code, said_env) = said(&read_only(&board).expect("unshare"));
    assert_eq!(code, 0, "{said_env}");
    assert!(said_env.contains("porthole.env"), "{said_env}");
    assert_eq!(board.installed("porthole.toml"), changed);
    fs::remove_file(board.boot().join("porthole.env")).expect("remove");

    board.put("porthole.toml", "[camera]\nfps = 0\n");
    let (code, said_wrong) = said(&read_only(&board).expect("unshare"));
    assert_eq!(code, 64, "{said_wrong}");
    assert!(
        said_wrong.contains("from 1 to 240") && said_wrong.contains("nobody could be told"),
        "{said_wrong}"
    );
    assert_eq!(board.installed("porthole.toml"), changed);

    // Writable again, it is put away and forgotten.
    board.put("porthole.toml", OLD);
    board.good();
    assert_eq!(
        names(&board.etc()),
        ["porthole.env", "porthole.env.left", "porthole.toml", "porthole.toml.previous"]
    );
}
