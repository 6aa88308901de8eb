//! The house as `lib.rs` draws it: an import against an arrow is an error, and so is a file too long to read.

use std::path::{Path, PathBuf};

/// Lines a source file may have.
const LONGEST: usize = 450;

/// A crate, and where alone it may be named.
const CRATES: &[(&str, &[&str])] = &[
    ("gstreamer", &["media"]),
    ("gstreamer_app", &["media"]),
    ("gstreamer_video", &["media"]),
    ("v4l", &["media"]),
    ("inotify", &["media"]),
    ("libc", &["memory"]),
    ("webrtc", &["peer"]),
    ("rtc", &["peer"]),
    ("rumqttc", &["signaling::mqtt"]),
    ("mqtt5", &["broker"]),
    ("tokio_tungstenite", &["broker"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("tokio_rustls", &["http"]),
    ("prometheus_client", &["http"]),
    ("figment", &["config"]),
    ("clap", &["cli"]),
    ("sd_notify", &["systemd"]),
];

/// A module, and what alone it may import of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("media", &["fanout", "media"]),
    ("fanout", &["media::access_unit", "media::AccessUnit"]),
    ("signaling", &["signaling"]),
    ("first_boot", &["config", "first_boot"]),
    ("access", &["signaling::message", "signaling::topic"]),
    ("broker", &["broker", "config", "signaling::topic"]),
    ("http", &["access", "config", "http", "media", "peer::Replies", "sessions", "signaling"]),
    (
        "peer::driver",
        &[
            "config",
            "fanout",
            "peer::PeerError",
            "peer::connect",
            "peer::net",
            "peer::rtp",
            "peer::send",
            "peer::stats",
            "signaling::message",
        ],
    ),
    (
        "peer::connect",
        &["access", "media::ProfileLevelId", "peer::PeerError", "peer::rtp", "signaling::message"],
    ),
    (
        "peer::send",
        &[
            "fanout",
            "media::AccessUnit",
            "peer::PeerError",
            "peer::bwe",
            "peer::net",
            "peer::rtp",
            "peer::stats",
        ],
    ),
    ("peer::rtp", &["peer::PeerError", "peer::bwe", "peer::net"]),
    ("peer::bwe", &["fanout"]),
    ("peer::net", &["peer::PeerError"]),
    ("rate", &[]),
    ("stats", &[]),
    ("log", &[]),
    ("memory", &[]),
    ("systemd", &[]),
];

/// A module, and what it may never import.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("peer", &["sessions", "app", "cli", "http", "dashboard", "broker"]),
    ("sessions", &["app", "cli", "http", "dashboard", "broker", "signaling::mqtt"]),
    ("dashboard", &["app", "cli", "http", "broker", "signaling::mqtt"]),
    ("config", &["app", "cli", "http", "dashboard", "broker", "sessions", "peer"]),
    ("app", &["cli"]),
];

struct File {
    path: PathBuf,
    /// `media::pipeline` for `src/media/pipeline.rs`.
    module: String,
    /// Without comments and without the text of strings.
    code: String,
    lines: usize,
}

fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                let module = path.strip_prefix(&root).expect("below src").with_extension("");
                let module = module.to_str().expect("UTF-8").replace('/', "::");
                let module = module.trim_end_matches("::mod").to_owned();
                files.push(File { module, code: code_of(&text), lines: text.lines().count(), path });
            }
        }
    }
    assert!(files.len() > 30, "these are not our sources");
    files
}

fn code_of(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    // Odd pieces are inside quotes; exact enough for names of modules.
    lines
        .map(|line| line.split('"').step_by(2).collect::<Vec<_>>().join("\"\""))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_in(module: &str, folder: &str) -> bool {
    module == folder || module.strip_prefix(folder).is_some_and(|rest| rest.starts_with("::"))
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether `code` names the crate: `name::…` as the beginning of a path, or `use name`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = &code[..at];
        !before.ends_with("::") && !before.chars().next_back().is_some_and(is_word)
    }) || code.contains(&format!("use {name} as "))
        || code.contains(&format!("use {name};"))
}

/// The paths after `crate::`, one for each leaf of `crate::{a, b::c}`, at most two names long.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Who may see something is no import.
    let code = code.replace("pub(in crate::", "pub(in ");
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = &group[..group.find("};").unwrap_or(group.len())];
            let mut depth = 0;
            let top = group.split(|character| {
                depth += i32::from(character == '{') - i32::from(character == '}');
                character == ',' && depth == 0
            });
            found.extend(top.map(|path| path.trim().to_owned()));
        } else {
            let path: Vec<&str> = rest.split("::").take(2).collect();
            let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
            let first = word(path[0]);
            let ends_there = path[0].len() != first.len();
            let second = path.get(1).filter(|_| !ends_there).map(|text| word(text)).unwrap_or_default();
            found.push(if second.is_empty() { first } else { format!("{first}::{second}") });
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

#[test]
fn only_one_folder_knows_each_outside_crate() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (name, homes) in CRATES {
            if names_crate(&file.code, name) && !homes.iter().any(|home| is_in(&file.module, home)) {
                wrong.push(format!("{} names {name}, which belongs to {homes:?}", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_is_one_call_in_one_file() {
    let word = |code: &str| code.split(|c| !is_word(c)).filter(|word| *word == "unsafe").count();
    let unsafes: Vec<_> = sources().iter().map(|file| (file.module.clone(), word(&file.code))).collect();
    let unsafes: Vec<_> = unsafes.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(unsafes, [&("memory".to_owned(), 1)]);
}

#[test]
fn imports_follow_the_arrows() {
    let mut wrong = Vec::new();
    for file in sources() {
        for import in imports(&file.code) {
            let allowed = ARROWS.iter().find(|(module, _)| is_in(&file.module, module));
            let is_allowed =
                allowed.is_none_or(|(own, to)| is_in(&import, own) || to.iter().any(|to| is_in(&import, to)));
            let forbidden = FORBIDDEN.iter().filter(|(module, _)| is_in(&file.module, module));
            let is_forbidden = forbidden.flat_map(|(_, to)| *to).any(|to| is_in(&import, to));
            let into_cli = is_in(&import, "cli") && !is_in(&file.module, "cli") && file.module != "main";
            if !is_allowed || is_forbidden || into_cli {
                wrong.push(format!("{} imports {import}", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_can_be_read_in_one_go() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|file| file.lines > LONGEST)
        .map(|file| format!("{}: {} lines", file.path.display(), file.lines))
        .collect();
    assert!(long.is_empty(), "longer than {LONGEST} lines: {long:#?}");
}

#[test]
fn this_test_sees_what_it_looks_for() {
    assert!(names_crate("use rtc::ice;", "rtc"));
    assert!(names_crate("let x = rtc::ice::new();", "rtc"));
    assert!(names_crate("use gstreamer as gst;", "gstreamer"));
    assert!(!names_crate("use webrtc::ice;", "rtc"));
    assert!(!names_crate("porthole::rtc::x", "rtc"));
    assert_eq!(imports("use crate::peer::{self, X};"), ["peer"]);
    assert_eq!(imports("use crate::media::AccessUnit;"), ["media::AccessUnit"]);
    assert_eq!(imports("use crate::{app, media::Media};"), ["app", "media::Media"]);
    assert_eq!(imports("crate::log::start();"), ["log::start"]);
    assert_eq!(imports("pub(in crate::peer) struct X;"), [""; 0]);
    assert_eq!(code_of("let a = \"crate::x\"; // crate::y"), "let a = \"\"; ");
    assert!(is_in("signaling::mqtt::task", "signaling::mqtt"));
    assert!(!is_in("signaling::mqtt_other", "signaling::mqtt"));
}
