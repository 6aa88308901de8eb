//! How the picture looks, seen by a viewer that decodes it and by snapshots: turned, cropped, masked and written into while it
//! watches, in one session; and again after a restart.

mod support;

use serde_json::{Value, json};
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::eye::{Eye, Part, Picture};
use support::http::Site;
use support::mosquitto::Mosquitto;
use support::recipes::{blocks, doc};
use support::viewer::Dashboard;

/// The test picture has bars from bright at the left to dark at the right in its upper part; the block that flashes ends above.
const BRIGHT_END: Part = [2, 20, 10, 12];
const DARK_END: Part = [88, 20, 10, 12];
/// Where the text stands here, on a strip that is neither bright nor dark.
const TEXT: Part = [84, 93, 16, 7];
const HIDDEN: Part = [2, 8, 20, 25];

fn settings(broker: &Mosquitto) -> Settings {
    Settings::new(&broker.url())
        .value("camera.height", 360)
        .text("camera.overlay_corner", "bottom-right")
        .value("dashboard.snapshots", true)
}

fn turned(part: Part, degrees: u32) -> Part {
    let [x, y, w, h] = part;
    match degrees {
        90 => [100 - y - h, x, h, w],
        180 => [100 - x - w, 100 - y - h, w, h],
        270 => [y, 100 - x - w, h, w],
        _ => part,
    }
}

fn mirrored([x, y, w, h]: Part) -> Part {
    [100 - x - w, y, w, h]
}

/// Whether the bars run from here to there.
fn runs(picture: &Picture, bright: Part, dark: Part) -> bool {
    picture.mean(bright) > 150 && picture.mean(dark) < 70
}

fn is_black(picture: &Picture, part: Part) -> bool {
    picture.mean(part) < 20
}

fn has_text(picture: &Picture) -> bool {
    let (darkest, brightest) = picture.extremes(TEXT);
    darkest < 35 && brightest > 218
}

/// A snapshot over MQTT.
async fn snapshot(dashboard: &mut Dashboard, album: &mut Client) -> Picture {
    let answer = dashboard.ask("do/snapshot", "").await;
    assert_eq!(answer["ok"], true, "{answer}");
    let taken = dashboard.event("the picture", |event| event["type"] == "snapshot").await;
    loop {
        let message = album.next("a picture").await;
        if json!(message.payload.len()) == taken["bytes"] {
            return Picture::of_jpeg(&message.payload);
        }
    }
}

async fn set(dashboard: &mut Dashboard, topic: &str, payload: &str) {
    let answer = dashboard.ask(topic, payload).await;
    assert_eq!(answer["ok"], true, "{topic} {payload}: {answer}");
}

struct World {
    broker: Mosquitto,
    daemon: Daemon,
    dashboard: Dashboard,
    album: Client,
}

async fn world(settings: impl Fn(Settings) -> Settings) -> Option<World> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(settings(self::settings(&broker)));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.state("a look", |state| state["picture"].is_object()).await;
    let album = Client::connect(broker.port(), "album", &[format!("porthole/{DEVICE}/snapshot")]).await;
    Some(World { broker, daemon, dashboard, album })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_viewer_sees_each_change_and_so_do_snapshots() {
    let Some(World { broker, mut daemon, mut dashboard, mut album }) = world(|settings| settings).await
    else {
        return;
    };
    let eye = Eye::join(broker.port(), "eye").await;
    eye.sees("upright", |picture| runs(picture, BRIGHT_END, DARK_END)).await;
    let starts = daemon.count("→ live");

    set(&mut dashboard, "set/rotate", "180").await;
    let (bright, dark) = (turned(BRIGHT_END, 180), turned(DARK_END, 180));
    eye.sees("upside down", |picture| runs(picture, bright, dark)).await;
    assert!(runs(&snapshot(&mut dashboard, &mut album).await, bright, dark));
    set(&mut dashboard, "set/rotate", "0").await;

    set(&mut dashboard, "set/mirror", "ON").await;
    eye.sees("mirrored", |picture| runs(picture, mirrored(BRIGHT_END), mirrored(DARK_END))).await;
    set(&mut dashboard, "set/mirror", "OFF").await;
    eye.sees("upright again", |picture| runs(picture, BRIGHT_END, DARK_END)).await;

    set(&mut dashboard, "set/crop", "[0, 0.06, 0.3, 0.3]").await;
    let is_enlarged = |picture: &Picture| picture.mean([70, 70, 25, 25]) > 110 && picture.width == 640;
    eye.sees("enlarged", is_enlarged).await;
    assert!(is_enlarged(&snapshot(&mut dashboard, &mut album).await));
    set(&mut dashboard, "set/crop", "[]").await;
    eye.sees("all of it", |picture| runs(picture, BRIGHT_END, DARK_END)).await;

    set(&mut dashboard, "set/overlay", "{name}").await;
    eye.sees("with its text", has_text).await;
    assert!(has_text(&snapshot(&mut dashboard, &mut album).await));
    set(&mut dashboard, "set/overlay", "").await;
    eye.sees("without text", |picture| !has_text(picture)).await;

    set(&mut dashboard, "set/mask", "[0, 0, 0.3, 0.4]").await;
    eye.sees("masked", |picture| is_black(picture, HIDDEN) && picture.mean(DARK_END) > 25).await;
    let taken = snapshot(&mut dashboard, &mut album).await;
    assert!(is_black(&taken, HIDDEN) && taken.mean([45, 10, 8, 20]) > 80);
    // It stays on what it covers.
    set(&mut dashboard, "set/mirror", "ON").await;
    let is_moved = |picture: &Picture| is_black(picture, mirrored(HIDDEN)) && !is_black(picture, HIDDEN);
    eye.sees("masked at the other side", is_moved).await;
    let told = dashboard.state("where it is", |state| state["picture"]["mirror"] == true).await;
    assert_eq!(told["picture"]["mask"], json!([[0.7, 0.0, 0.3, 0.4]]));
    assert_eq!(daemon.count("→ live"), starts, "none of this takes a start of the camera");

    set(&mut dashboard, "set/rotate", "90").await;
    let hidden = mirrored(turned(HIDDEN, 90));
    let is_upright =
        |picture: &Picture| (picture.width, picture.height) == (360, 640) && is_black(picture, hidden);
    eye.sees("upright and masked", is_upright).await;
    assert!(is_upright(&snapshot(&mut dashboard, &mut album).await));
    assert!(eye.is_connected(), "it was one session");
    let state = dashboard.state("the size", |state| state["camera"]["height"] == 640).await;
    assert_eq!(state["viewers"]["count"], 1, "{state:#}");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_is_there_after_a_restart() {
    let Some(World { broker, mut daemon, mut dashboard, mut album }) = world(|settings| settings).await
    else {
        return;
    };
    for (topic, payload) in [
        ("set/rotate", "180"),
        ("set/mirror", "ON"),
        ("set/overlay", "{name}"),
        ("set/mask", "[[0,0,0.3,1]]"),
    ] {
        set(&mut dashboard, topic, payload).await;
    }
    daemon.kill();
    dashboard.availability("offline").await;
    daemon.start_again();
    dashboard.availability("online").await;
    let kept = |state: &Value| {
        let picture = &state["picture"];
        picture["rotate"] == 180 && picture["mirror"] == true && picture["overlay"] == "{name}"
    };
    let state = dashboard.new_state("what was set", kept).await;
    assert_eq!(state["picture"]["mask"], json!([[0.0, 0.0, 0.3, 1.0]]), "{state:#}");
    // Upside down and mirrored, what was at the left above is at the left below, under the mask.
    let looks = |picture: &Picture| {
        is_black(picture, turned(mirrored(BRIGHT_END), 180))
            && has_text(picture)
            && picture.mean([50, 70, 10, 20]) > 60
    };
    let eye = Eye::join(broker.port(), "eye").await;
    eye.sees("as it was set", looks).await;
    assert!(looks(&snapshot(&mut dashboard, &mut album).await));
    // Over HTTP it is the same picture and the same state.
    let told = Site::of(&daemon.page().await).get("/api/state").await.json();
    assert!(kept(&told), "{told:#}");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured_holds_from_the_first_picture_on() {
    let configured = |settings: Settings| {
        settings
            .value("camera.rotate", 90)
            .value("camera.mask", "[[0, 0, 1, 0.3]]")
            .text("camera.overlay", "{name}")
            .value("camera.scene.night.gain", 5)
            .text("dashboard.commands", "safe")
    };
    let Some(World { broker, mut daemon, mut dashboard, mut album }) = world(configured).await else {
        return;
    };
    let eye = Eye::join(broker.port(), "eye").await;
    let first = eye.sees("anything", |_| true).await;
    assert_eq!((first.width, first.height), (360, 640));
    assert!(is_black(&first, [0, 0, 100, 28]) && !is_black(&first, [60, 40, 30, 20]));
    assert!(is_black(&snapshot(&mut dashboard, &mut album).await, [0, 0, 100, 28]));
    let refused = dashboard.ask("set/mask", "[]").await;
    assert!(refused["error"].as_str().is_some_and(|words| words.contains("camera.mask")), "{refused}");
    let scenes = dashboard.info("its scenes", |info| info["scenes"] == json!(["night"])).await;
    assert!(scenes["features"].as_array().is_some_and(|all| all.contains(&json!("mask"))), "{scenes:#}");
    let refused = dashboard.ask("set/scene", "night").await;
    assert!(
        refused["error"].as_str().is_some_and(|words| words.contains("no camera that has controls")),
        "{refused}"
    );
    let refused = dashboard.ask("set/scene", "day").await;
    assert!(refused["error"].as_str().is_some_and(|words| words.contains("night")), "{refused}");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_docs_publish_is_done() {
    let Some(World { broker, mut daemon, mut dashboard, .. }) = world(|settings| settings).await else {
        return;
    };
    let printed = blocks(&doc("docs/picture.md")).into_iter().flat_map(|block| block.commands());
    let commands: Vec<String> = printed.filter(|command| command.starts_with("mosquitto_pub ")).collect();
    assert!(commands.len() > 2, "{commands:?}");
    for command in commands {
        let here = command.replace("-h BROKER", &format!("-h 127.0.0.1 -p {} -q 1", broker.port()));
        let here = here.replace("porthole/front-door/", &format!("porthole/{DEVICE}/"));
        let done = tokio::process::Command::new("bash").args(["-c", &here]).status().await.expect("run bash");
        assert!(done.success(), "{here}");
        let answer = dashboard.event(&command, |event| event["type"] == "command").await;
        assert_eq!(answer["ok"], true, "{command}: {answer}");
    }
    daemon.assert_unharmed();
}

/// Each is answered once, with the setting and what would be right; nothing changes.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_in_one_line() {
    let Some(World { broker: _broker, mut daemon, mut dashboard, .. }) = world(|settings| settings).await
    else {
        return;
    };
    let before = dashboard.state("a look", |state| state["picture"].is_object()).await["picture"].clone();
    let (long, longer) = ("x".repeat(4000), "x".repeat(10_000));
    let many = format!("[{}]", vec!["[0,0,1,1]"; 40].join(","));
    for (topic, payload, right) in [
        ("set/rotate", "45", "0, 90, 180 or 270"),
        ("set/rotate", "ninety", "0, 90, 180 or 270"),
        ("set/mirror", "1", "ON nor OFF"),
        ("set/crop", "[0.5,0.5,0.6,0.1]", "at most 1"),
        ("set/crop", "[0,0,0.01,0.01]", "too small"),
        ("set/crop", "0.5", "[x, y, width, height]"),
        ("set/mask", "[[0,0,0.5,0.5],[1.5,0,0.1,0.1]]", "from 0 to 1"),
        ("set/mask", "{}", "[x, y, width, height]"),
        ("set/mask", &many, "at most 16"),
        ("set/overlay", &long, "at most 100"),
        ("set/overlay", &longer, "at most 100"),
        ("set/overlay", "%Q", "strftime"),
        ("set/overlay", "{nmae}", "{name}"),
        ("set/scene", "night", "no scene"),
    ] {
        let answer = dashboard.ask(topic, payload).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(answer["ok"] == false && error.contains(right) && !error.contains('\n'), "{topic}: {answer}");
        assert!(error.len() < 500, "{answer}");
    }
    set(&mut dashboard, "set/rotate", "0").await;
    let after = dashboard.new_state("a look", |state| state["picture"].is_object()).await;
    assert_eq!(after["picture"], before);
    daemon.assert_unharmed();
}

/// The same in the file and in the environment: it ends before anything is opened, with one line.
#[test]
fn nonsense_in_the_configuration_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("porthole.toml");
    let longer = format!("\"{}\"", "x".repeat(10_000));
    for (key, value, right) in [
        ("rotate", "45", "0, 90, 180 or 270"),
        ("mask", "[[0.5, 0.5, 0.6, 0.1]]", "at most 1"),
        ("mask", "[[0, 0, 640, 480]]", "from 0 to 1"),
        ("crop", "[0.5, 0.5, 0.6, 0.1]", "at most 1"),
        ("overlay", &longer, "at most 100"),
    ] {
        let settings = Settings::new("mqtt://127.0.0.1:1");
        let good = settings.toml();
        let bad = settings.value(&format!("camera.{key}"), value).toml();
        let variable = format!("PORTHOLE_CAMERA_{}", key.to_uppercase());
        for (toml, environment) in [(bad, None), (good, Some((variable, value.trim_matches('"'))))] {
            std::fs::write(&file, toml).expect("write");
            let run = ["run", "--config", file.to_str().expect("UTF-8")];
            let output = porthole(&run).envs(environment.clone()).output().expect("run porthole");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(64), "{said}");
            assert_eq!(said.trim().lines().count(), 1, "{said}");
            let where_it_stands =
                environment.map_or_else(|| format!("camera.{key}"), |(variable, _)| variable);
            let is_named = said.contains(&where_it_stands) || said.contains(&format!("camera.{key}"));
            assert!(is_named && said.contains(right) && said.len() < 600, "{said}");
        }
    }
}
