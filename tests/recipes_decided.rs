//! Every block of code in the documentation has a decision: which test runs it as it is printed, or why none does.

mod support;

use std::path::Path;

use support::recipes::{all_blocks, doc};

/// What becomes of a recipe.
enum Decision {
    /// A test of this name runs it as it is printed, or holds it to what there is.
    Runs(&'static str),
    /// It is `porthole`'s own and must be understood; why it is not carried out here.
    Understood(&'static str),
    /// For who works on this: targets, files and scripts that it names must exist.
    Exists,
    /// It cannot be run here, and why.
    NotHere(&'static str),
    /// It is no recipe but something shown.
    Shown,
}
use Decision::{Exists, NotHere, Runs, Shown, Understood};

/// File, how a command begins, and what becomes of all that begin so. Blocks of TOML are all held to `porthole check`.
type Row = (&'static str, &'static str, Decision);

const SYSTEM: &str = "it changes the machine's service; tests/package.rs does so in a machine of its own";
const PACKAGES: &str = "apt installs packages; tests/package.rs does so in a machine of its own";
const LAB: &str = "it starts or talks to a virtual machine; tests/lab.rs does so";
const SERVER: &str = "it wants a web server; tests/repository.rs has apt read the folder itself";
const BUNDLER: &str = "it wants a bundler; viewer/test/package.test.ts installs the package, tests/element.rs uses the element so";
const OTHER_MACHINE: &str =
    "it wants the broker's machine; tests/setup_mosquitto.rs runs what it carries there";

const COMMANDS: &[Row] = &[
    ("README.md", "make ", Exists),
    ("README.md", "sudo apt install ./porthole_", NotHere(PACKAGES)),
    (
        "README.md",
        "sudo porthole grant desk",
        Runs("what_the_readme_steers_is_steered_by_a_default_installation"),
    ),
    ("README.md", "sudo porthole grant ", Runs("invitations_are_made_as_printed")),
    ("README.md", "sudo porthole check", Runs("invitations_are_made_as_printed")),
    ("README.md", "sudo systemctl ", NotHere(SYSTEM)),
    ("README.md", "mosquitto_", Runs("what_the_readme_steers_is_steered_by_a_default_installation")),
    ("CONTRIBUTING.md", "make ", Exists),
    ("CONTRIBUTING.md", ".ci/run", Exists),
    ("CONTRIBUTING.md", "cargo ", Exists),
    ("CONTRIBUTING.md", "npm ", Exists),
    ("CONTRIBUTING.md", "sudo tests/lab/lab.sh", Exists),
    ("CONTRIBUTING.md", "sudo make lab", Exists),
    ("docs/access.md", "sudo porthole grant ", Runs("invitations_are_made_as_printed")),
    ("docs/boards.md", "sudo apt install ", NotHere(PACKAGES)),
    ("docs/configuration.md", "echo O", Runs("the_switch_at_the_device_is_the_printed_one")),
    ("docs/dashboards/README.md", "T=", Runs("the_shells_recipes_do_what_they_say")),
    ("docs/dashboards/README.md", "mosquitto_", Runs("the_shells_recipes_do_what_they_say")),
    ("docs/dashboards/home-assistant.md", "sudo porthole grant ", Runs("invitations_are_made_as_printed")),
    ("docs/dashboards/prometheus.md", "sudo porthole grant ", Runs("invitations_are_made_as_printed")),
    ("docs/dashboards/whep.md", "gst-launch-1.0 ", Runs("players_play_by_their_recipes")),
    ("docs/dashboards/whep.md", "curl ", Runs("players_play_by_their_recipes")),
    ("docs/image.md", "make ", Exists),
    ("docs/image.md", "sudo make lab", Exists),
    (
        "docs/image.md",
        "rpi-imager ",
        NotHere("Raspberry Pi Imager is a program with windows; tests/imager.rs reads its file"),
    ),
    ("docs/install.md", "sudo apt ", NotHere(PACKAGES)),
    ("docs/install.md", "sudo porthole grant ", Runs("invitations_are_made_as_printed")),
    ("docs/install.md", "sudo cp /etc/porthole/", NotHere(SYSTEM)),
    ("docs/install.md", "sudo systemctl ", NotHere(SYSTEM)),
    ("docs/install.md", "make ", Exists),
    (
        "docs/install.md",
        "docker build -f cross/Dockerfile ",
        NotHere("it builds a container from the internet"),
    ),
    ("docs/picture.md", "mosquitto_pub ", Runs("what_the_docs_publish_is_done")),
    ("docs/protocol.md", "mosquitto_pub ", Runs("the_protocols_examples_get_the_answers_that_are_printed")),
    ("docs/repository.md", "make ", Exists),
    (
        "docs/repository.md",
        "cp ",
        NotHere("it wants a card; cloud-init read these files in the lab, by hand"),
    ),
    ("docs/repository.md", "printf ", Runs("apt_installs_from_it_and_upgrades")),
    ("docs/repository.md", "gpg --quick-generate-key ", Runs("apt_installs_from_it_and_upgrades")),
    ("docs/repository.md", "rsync ", NotHere(SERVER)),
    ("docs/repository.md", "sudo curl ", NotHere(SERVER)),
    ("docs/repository.md", "sudo install ", NotHere(SYSTEM)),
    ("docs/repository.md", "sudo apt ", NotHere(PACKAGES)),
    ("docs/repository.md", "echo 'Unattended-Upgrade", NotHere(SYSTEM)),
    ("docs/setup.md", "sudo porthole setup --yes --broker mqtts://", Understood("it wants that broker")),
    ("docs/setup.md", "sudo porthole setup", Runs("setup_is_done_as_printed")),
    ("docs/setup.md", "sudo scp ", NotHere(OTHER_MACHINE)),
    ("docs/setup.md", "ssh ", NotHere(OTHER_MACHINE)),
    (
        "docs/setup.md",
        "porthole watch ",
        Understood("it wants that broker; tests/setup_mosquitto.rs watches so"),
    ),
    ("docs/sound.md", "sudo porthole doctor", Runs("a_good_machine_is_well_and_nothing_changes")),
    ("docs/sound.md", "sudo systemctl ", NotHere(SYSTEM)),
    ("docs/sound.md", "sudo porthole grant ", Runs("invitations_are_made_as_printed")),
    ("docs/sound.md", "arecord ", NotHere("it lists the sound cards of a machine that has some")),
    ("docs/sound.md", "aplay ", NotHere("it lists the sound cards of a machine that has some")),
    ("docs/sound.md", "mosquitto_pub ", Runs("what_the_docs_of_sound_publish_is_done")),
    ("docs/testing.md", "make ", Exists),
    ("docs/testing.md", "cargo ", Exists),
    ("docs/testing.md", "npm ", Exists),
    ("docs/testing.md", "sudo tests/lab/lab.sh", Exists),
    ("docs/testing.md", "sudo make lab", Exists),
    ("docs/troubleshooting.md", "porthole doctor", Runs("a_good_machine_is_well_and_nothing_changes")),
    ("docs/troubleshooting.md", "mosquitto_sub ", Runs("who_sees_no_picture_asks_as_printed")),
    ("docs/troubleshooting.md", "porthole watch ", Runs("who_sees_no_picture_asks_as_printed")),
    ("docs/troubleshooting.md", "journalctl ", NotHere(SYSTEM)),
    ("docs/troubleshooting.md", "PORTHOLE_BROKER_LISTEN", Runs("a_demo_on_other_ports_starts_as_printed")),
    ("tests/lab/README.md", "sudo tests/lab/lab.sh", Exists),
    ("tests/lab/README.md", "sudo tests/lab/make-lab.sh", Exists),
    ("tests/lab/README.md", "export LAB_STATE=", NotHere(LAB)),
    ("tests/lab/README.md", "unshare ", NotHere(LAB)),
    ("tests/lab/README.md", "tests/lab/lab.sh", Exists),
    ("viewer/README.md", "npm ", Exists),
];

/// Blocks of another kind: file, how the first line begins.
const BLOCKS: &[Row] = &[
    ("README.md", "[mqtt]", Runs("configurations_of_the_docs_are_taken")),
    ("docs/dashboards/README.md", "type: ", Runs("entities_of_the_recipes_are_announced")),
    (
        "docs/dashboards/home-assistant.md",
        "type: picture-entity",
        Runs("home_assistant_shows_the_camera_live_until_its_grant_is_revoked"),
    ),
    (
        "docs/dashboards/home-assistant.md",
        "type: custom:porthole-card",
        Runs("home_assistant_shows_the_camera_live_until_its_grant_is_revoked"),
    ),
    (
        "docs/dashboards/prometheus.md",
        "scrape_configs:",
        NotHere("Prometheus itself is not run here, its promtool is"),
    ),
    ("docs/dashboards/whep.md", "streams:", Runs("players_play_by_their_recipes")),
    ("docs/dashboards/whep.md", "paths:", Runs("players_play_by_their_recipes")),
    ("docs/embedding.md", "<!doctype html>", Runs("the_page_that_the_docs_print_shows_the_picture")),
    ("docs/embedding.md", "porthole-camera {", Runs("the_page_that_the_docs_print_shows_the_picture")),
    (
        "docs/embedding.md",
        "<script type=\"module\"",
        Runs("what_the_docs_give_to_grafanas_text_panel_shows_the_picture_under_its_rules"),
    ),
    (
        "docs/embedding.md",
        "button.onpointerdown",
        NotHere("the element's talk() in Chromium: tests/page_sound.rs"),
    ),
    ("docs/embedding.md", "<iframe", NotHere("the page may be framed: tests/http.rs")),
    ("docs/install.md", "[Service]", NotHere(SYSTEM)),
    ("docs/links.md", "http://CAMERA:8080/", Shown),
    ("docs/links.md", "porthole-offer-v1", Shown),
    ("docs/links.md", "…#broker=", Shown),
    (
        "docs/links.md",
        "<iframe",
        NotHere("a page of another site would have to be served; tests/page_local.rs has the permission"),
    ),
    ("viewer/npm/README.md", "<script", NotHere(BUNDLER)),
    ("viewer/npm/README.md", "const camera", NotHere(BUNDLER)),
    ("docs/protocol.md", "viewer  ", Shown),
    ("docs/protocol.md", "const me", Runs("the_viewer_that_the_protocol_prints_shows_the_picture")),
    ("docs/protocol.md", "{", Shown),
    ("docs/protocol.md", "user ", Runs("setup_is_done_as_printed")),
    ("docs/protocol.md", "pattern ", Runs("setup_is_done_as_printed")),
    ("docs/troubleshooting.md", "ok    camera", Shown),
];

/// The row whose beginning is the longest that fits.
fn row(rows: &'static [Row], file: &str, text: &str) -> Option<usize> {
    let fits = |row: &Row| row.0 == file && text.starts_with(row.1);
    let fitting = rows.iter().enumerate().filter(|(_, row)| fits(row));
    fitting.max_by_key(|(_, row)| row.1.len()).map(|(at, _)| at)
}

/// The words of a command, as a shell has them.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for character in command.replace("\\\n", " ").chars().chain([' ']) {
        match character {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted && !word.is_empty() => words.push(std::mem::take(&mut word)),
            ' ' if !is_quoted => {}
            _ => word.push(character),
        }
    }
    words
}

/// What is wrong with a decision about `command`.
fn wrong(decision: &Decision, command: &str, tests: &str) -> Option<String> {
    match decision {
        Runs(test) => (!tests.contains(&format!("fn {test}("))).then(|| format!("there is no test {test}")),
        Understood(why) => {
            let words = words(command).into_iter().skip_while(|word| word == "sudo");
            let understood = porthole::cli::command().try_get_matches_from(words);
            understood.err().map(|error| format!("not understood ({why}): {error}"))
        }
        Exists => names(command).into_iter().find(|name| !is_there(name)).map(|name| format!("no {name}")),
        NotHere(why) => (why.len() < 10).then(|| "why?".to_owned()),
        Shown => None,
    }
}

/// What a developer's command names: `make` targets, files, scripts of npm.
fn names(command: &str) -> Vec<String> {
    let words = words(command);
    let mut named = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| words[before].as_str());
        match before {
            Some("make") => named.push(format!("make {word}")),
            Some("--test") => named.push(format!("tests/{word}.rs")),
            Some("run" | "viewer") if words.iter().any(|word| word == "npm") && word != "run" => {
                named.push(format!("npm {word}"));
            }
            _ if word.contains('/') && !word.starts_with('/') => named.push(word.clone()),
            _ => {}
        }
    }
    named
}

fn is_there(name: &str) -> bool {
    match name.split_once(' ') {
        Some(("make", target)) => doc("Makefile").contains(&format!("\n{target}:")),
        Some(("npm", script)) => doc("viewer/package.json").contains(&format!("\"{script}\": ")),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(),
    }
}

#[test]
fn every_recipe_of_the_docs_has_a_decision() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = std::fs::read_dir(folder).expect("the tests").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let tests: String = files.map(|path| std::fs::read_to_string(path).expect("a test")).collect();
    let (mut troubles, mut used) = (Vec::new(), std::collections::BTreeSet::new());
    let mut decide = |file: &str, kind: &str, text: &str, found: Option<(usize, &'static Row)>| {
        let Some((at, row)) = found else {
            troubles.push(format!("{file}: no decision about {text:?}"));
            return;
        };
        used.insert(format!("{kind}{at}"));
        troubles.extend(wrong(&row.2, text, &tests).map(|why| format!("{file}: {text:?}: {why}")));
    };
    for (file, block) in all_blocks() {
        let first = block.lines.first().map_or("", |line| line.trim_start());
        if let Some(at) = row(BLOCKS, &file, first) {
            decide(&file, "block", first, Some((at, &BLOCKS[at])));
        } else if block.language != "toml" {
            for command in block.commands() {
                let found = row(COMMANDS, &file, &command).map(|at| (at, &COMMANDS[at]));
                decide(&file, "command", &command, found);
            }
        }
    }
    for (kind, rows) in [("command", COMMANDS), ("block", BLOCKS)] {
        let stale = rows.iter().enumerate().filter(|(at, _)| !used.contains(&format!("{kind}{at}")));
        troubles.extend(stale.map(|(_, row)| format!("{}: nothing begins with {:?} any more", row.0, row.1)));
    }
    assert!(troubles.is_empty(), "{troubles:#?}");
}
