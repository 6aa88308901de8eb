//! A dashboard at work: `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr` from a shell, against the real daemon.

mod support;

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings};
use support::mosquitto::{Mosquitto, Options};
use support::viewer::{Dashboard, OFFER, Viewer};
use tokio::process::Command;

/// A shell in which `$P` and `$S` publish and subscribe, and `$T` is the device's topic.
async fn shell(broker: &Mosquitto, script: &str) -> Output {
    let port = broker.port();
    let setup = format!(
        "set -euo pipefail; T=porthole/{DEVICE}; P='mosquitto_pub -h 127.0.0.1 -p {port} -q 1'; \
         S='mosquitto_sub -h 127.0.0.1 -p {port} -q 1 -W 40'; RR='mosquitto_rr -h 127.0.0.1 -p {port} -q 1 -W 40 -V mqttv5';"
    );
    let run =
        Command::new("bash").arg("-c").arg(format!("{setup}\n{script}")).output().await.expect("run bash");
    assert!(
        run.status.success(),
        "{script}\n{}\n{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    run
}

/// What the script printed, as JSON.
async fn shell_json(broker: &Mosquitto, script: &str) -> Value {
    let printed = shell(broker, script).await.stdout;
    serde_json::from_slice(&printed)
        .unwrap_or_else(|error| panic!("{script}: {error}: {}", String::from_utf8_lossy(&printed)))
}

fn settings(broker: &Mosquitto) -> Settings {
    Settings::new(&broker.url()).value("video.linger_s", 1).value("dashboard.snapshots", true)
}

async fn world() -> Option<(Mosquitto, Daemon, Dashboard)> {
    world_with(&Options::default()).await
}

async fn world_with(options: &Options<'_>) -> Option<(Mosquitto, Daemon, Dashboard)> {
    let broker = Mosquitto::start_with(options)?;
    let daemon = Daemon::run(settings(&broker));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.camera("idle").await;
    Some((broker, daemon, dashboard))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_asks_and_is_answered_where_it_wants() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    for (topic, payload, ok) in [
        ("do/keyframe", "", true),
        ("do/warm", r#"{"seconds":30,"id":"bell"}"#, true),
        ("set/bitrate", "900", true),
        ("set/bitrate", "fast", false),
        ("set/resolution", "640x360@15", true),
        ("set/resolution", "123x45", false),
        ("set/control/brightness", "1", false),
        ("do/close", "", true),
        ("do/dance", "", false),
    ] {
        let message = if payload.is_empty() { "-n".to_owned() } else { format!("-m '{payload}'") };
        let answer = shell_json(&broker, &format!("$RR -t $T/{topic} -e answers/shell {message}")).await;
        assert_eq!((&answer["topic"], &answer["ok"]), (&json!(topic), &json!(ok)), "{answer}");
        assert_eq!(answer["error"].is_null(), ok, "{answer}");
        // Everybody else hears the same.
        assert_eq!(dashboard.command(topic).await, answer);
    }
    let set = |state: &Value| state["encoder"]["ceiling"] == 900_000 && state["camera"]["height"] == 360;
    dashboard.state("what was set", set).await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn correlation_data_comes_back_and_nobody_speaks_as_the_device() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    let listening = {
        let shell = shell(&broker, "$S -V mqttv5 -t answers/# -C 1 -F '%t %D %p'");
        let asking = async {
            // Its subscription is told by nobody but the broker.
            let deadline = Instant::now() + support::PATIENCE;
            while !broker.log().contains("answers/# (QoS 1)") {
                assert!(Instant::now() < deadline, "mosquitto_sub does not subscribe");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let ask = "$P -V mqttv5 -t $T/do/keyframe -m '{\"id\":[1]}' -D publish response-topic answers/mine \
                       -D publish correlation-data bell-42";
            self::shell(&broker, ask).await;
        };
        tokio::join!(shell, asking).0
    };
    let printed = String::from_utf8_lossy(&listening.stdout).into_owned();
    assert!(printed.starts_with("answers/mine ") && printed.contains("bell-42"), "{printed}");
    let (_, answer) = printed.split_once('{').expect("JSON");
    let answer: Value = serde_json::from_str(&format!("{{{answer}")).expect("JSON");
    assert_eq!((&answer["ok"], &answer["id"]), (&json!(true), &json!([1])), "{answer}");
    dashboard.command("do/keyframe").await;
    // An answer on one of the device's own topics would be taken for its word.
    let leaves = ["availability", "state", "info", "snapshot", "signal/x/up", "set/streaming"];
    let mut listener = Client::connect(broker.port(), "listener", &[format!("porthole/{DEVICE}/#")]).await;
    for leaf in leaves {
        let script = format!("$P -V mqttv5 -t $T/do/keyframe -n -D publish response-topic $T/{leaf}");
        shell(&broker, &script).await;
        dashboard.command("do/keyframe").await;
    }
    dashboard.ask("do/dance", "").await;
    loop {
        let message = listener.next("the last answer").await;
        let is_answer = message.text().contains("\"type\":\"command\"");
        assert!(!is_answer || message.topic.ends_with("/event"), "answered on {}", message.topic);
        if is_answer && message.text().contains("do/dance") {
            break;
        }
    }
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_a_picture_that_is_kept_until_privacy() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    let script = "$P -t $T/do/snapshot -m '{\"width\":320,\"id\":7}'; $S -t $T/snapshot -C 1 -N";
    let jpeg = shell(&broker, script).await.stdout;
    assert!(jpeg.starts_with(&[0xff, 0xd8, 0xff]) && jpeg.ends_with(&[0xff, 0xd9]), "{} bytes", jpeg.len());
    assert_eq!(size_of_jpeg(&jpeg), Some((320, 240)));
    let event = dashboard.event("the picture", |event| event["type"] == "snapshot").await;
    assert_eq!((&event["width"], &event["bytes"]), (&json!(320), &json!(jpeg.len())), "{event}");
    assert_eq!(dashboard.command("do/snapshot").await["id"], 7);
    dashboard.camera("idle").await;
    // It is kept for whoever comes later.
    assert_eq!(shell(&broker, "$S -t $T/snapshot -C 1 -N").await.stdout, jpeg);
    assert_eq!(dashboard.ask("set/streaming", "OFF").await["ok"], true);
    let retained = "$S -t $T/snapshot -t $T/availability -F '%t' -C 1";
    let first = shell(&broker, retained).await.stdout;
    assert_eq!(String::from_utf8_lossy(&first).trim(), format!("porthole/{DEVICE}/availability"));
    let refused = dashboard.ask("do/snapshot", "").await;
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("privacy")), "{refused}");
    daemon.assert_unharmed();
}

/// Width and height out of a JPEG's frame header.
fn size_of_jpeg(jpeg: &[u8]) -> Option<(u16, u16)> {
    let at = jpeg.windows(2).position(|two| two == [0xff, 0xc0])?;
    let number = |at: usize| Some(u16::from_be_bytes([*jpeg.get(at)?, *jpeg.get(at + 1)?]));
    Some((number(at + 7)?, number(at + 5)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_watches_on_while_pictures_are_taken() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    let url = broker.url();
    let watch = Command::from(support::daemon::porthole(&[
        "watch",
        "--broker",
        &url,
        "--device",
        DEVICE,
        "--seconds",
        "8",
        "--json",
    ]));
    let mut watch = watch;
    let watching =
        watch.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().expect("start a viewer");
    dashboard
        .state("video", |state| {
            state["viewers"]["sessions"][0]["bitrate"].as_f64().is_some_and(|rate| rate > 0.0)
        })
        .await;
    let before = daemon.count("→ live");
    for width in [160, 320, 640] {
        assert_eq!(dashboard.ask("do/snapshot", json!({ "width": width }).to_string()).await["ok"], true);
    }
    let report = watching.wait_with_output().await.expect("an end");
    let report: Value = serde_json::from_slice(&report.stdout).expect("a report");
    assert_eq!((&report["connected"], &report["errors"]), (&json!(1), &json!([])), "{report:#}");
    assert_eq!(daemon.count("→ live"), before, "the camera was started again for a picture");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_by_themselves_and_stop_with_privacy() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut listener =
        Client::connect(broker.port(), "album", &[format!("porthole/{DEVICE}/snapshot")]).await;
    let _daemon = Daemon::run(settings(&broker).value("dashboard.snapshot_interval_s", 1));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    for _ in 0..2 {
        while listener.next("a picture").await.payload.is_empty() {}
    }
    let event = dashboard.event("a picture", |event| event["type"] == "snapshot").await;
    assert_eq!(event["scheduled"], true, "{event}");
    dashboard.ask("set/streaming", "OFF").await;
    dashboard.camera("off").await;
    while !listener.next("an empty one").await.payload.is_empty() {}
    // A reload ends the schedule; nothing more comes in the time of three.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        listener.arrived().is_none_or(|message| message.payload.is_empty()),
        "a picture behind the switch"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_closes_the_camera_ends_sessions_and_says_why() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    shell(&broker, "$P -t $T/set/streaming -m OFF").await;
    assert_eq!(dashboard.command("set/streaming").await["ok"], true);
    let end = viewer.reply("the end").await;
    assert!(end.to_string().contains("privacy"), "{end}");
    let state = dashboard.camera("off").await;
    assert_eq!((&state["streaming"], &state["viewers"]["count"]), (&json!("OFF"), &json!(0)), "{state:#}");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_is_there_after_a_restart_and_auto_goes_back() {
    let Some((_broker, mut daemon, mut dashboard)) = world().await else { return };
    let configured = dashboard.state("an encoder", |state| state["encoder"].is_object()).await;
    for (topic, payload) in [("set/bitrate", "640"), ("set/resolution", "640x360")] {
        assert_eq!(dashboard.ask(topic, payload).await["ok"], true);
    }
    for life in ["ended in order", "killed"] {
        if life == "killed" {
            daemon.kill();
        } else {
            daemon.terminate().await;
        }
        dashboard.availability("offline").await;
        daemon.start_again();
        dashboard.availability("online").await;
        let kept = |state: &Value| state["encoder"]["ceiling"] == 640_000 && state["camera"]["height"] == 360;
        dashboard.new_state(life, kept).await;
    }
    // What is configured goes by the size.
    assert_eq!(dashboard.ask("set/resolution", "640x480").await["ok"], true);
    assert_eq!(dashboard.ask("set/bitrate", "auto").await["ok"], true);
    let back = &configured["encoder"]["ceiling"];
    dashboard.new_state("the configured rate", |state| state["encoder"]["ceiling"] == *back).await;
}

/// Nothing of this is a command; each is answered once, with words.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_payloads_are_refused_in_words() {
    let Some((broker, mut daemon, mut dashboard)) = world().await else { return };
    let deep = format!("{}1{}", r#"{"id":"#.repeat(1500), "}".repeat(1500));
    let payloads: Vec<Vec<u8>> = vec![
        vec![0],
        vec![0xff; 64],
        vec![b'9'; 4000],
        vec![b'x'; 5000],
        vec![b'['; 4096],
        vec![0; 300_000],
        deep.into_bytes(),
        br#"{"width":1e999}"#.to_vec(),
        br#"{"seconds":-1,"width":"\ud800"}"#.to_vec(),
        "９００".as_bytes().to_vec(),
        b"{{ 7 * 7 }}".to_vec(),
        b"$(reboot)`reboot`;'\"".to_vec(),
    ];
    let topics = [
        "set/streaming",
        "set/bitrate",
        "set/resolution",
        "set/control/a",
        "do/snapshot",
        "do/warm",
        "do/close",
    ];
    for topic in topics {
        for payload in &payloads {
            let event = dashboard.ask(topic, payload.clone()).await;
            assert_eq!(event["ok"], false, "{topic}: {event}");
            assert!(event["error"].as_str().is_some_and(|error| (8..600).contains(&error.len())), "{event}");
        }
    }
    let long = "x".repeat(60_000);
    for name in ["/", "a/b/c/d", "control/", "control/../../x", "control/\u{1F4F7}", "control/A B", &long] {
        for way in ["set", "do"] {
            dashboard.publish(&format!("{way}/{name}"), "1").await;
            let answer = dashboard.event(name, |event| event["type"] == "command").await;
            assert_eq!(answer["ok"], false, "{answer}");
            assert!(answer.to_string().len() < 2000, "an answer of {} bytes", answer.to_string().len());
        }
    }
    // Kept by the broker, as by a careless dashboard: a restart does not obey it.
    dashboard.publish_retained("set/streaming", "OFF").await;
    dashboard.command("set/streaming").await;
    assert_eq!(dashboard.ask("set/streaming", "ON").await["ok"], true);
    daemon.terminate().await;
    daemon.start_again();
    dashboard.availability("online").await;
    let state = dashboard.new_state("a state", |state| state["camera"]["state"] == "idle").await;
    assert_eq!(state["streaming"], "ON", "{state:#}");
    drop(broker);
}

/// Each one is confirmed, the last one counts, and a viewer does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_settings_a_second() {
    // The broker drops nothing of what it cannot deliver at once.
    let options = Options { extra: "max_queued_messages 0", ..Options::default() };
    let Some((broker, mut daemon, mut dashboard)) = world_with(&options).await else { return };
    let mut viewer = Viewer::connect(broker.port(), "viewer").await;
    let script = "for n in $(seq 1 3000); do echo $((100 + n)); if [ $((n % 50)) = 0 ]; then sleep 0.05; fi; done \
                  | $P -t $T/set/bitrate -l";
    let started = Instant::now();
    shell(&broker, script).await;
    let took = started.elapsed();
    let mut confirmed = 0;
    let mut carried_out = 0;
    while confirmed < 3000 {
        let event = dashboard.command("set/bitrate").await;
        confirmed += 1;
        carried_out += usize::from(event["ok"] == true);
    }
    eprintln!("3000 settings in {took:?}, {carried_out} carried out, the others superseded");
    assert!((1..3000).contains(&carried_out), "{carried_out}");
    dashboard.state("the last one", |state| state["encoder"]["ceiling"] == 3_100_000).await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    // What was set last is what is remembered.
    daemon.assert_unharmed();
    daemon.terminate().await;
    daemon.start_again();
    dashboard.availability("online").await;
    dashboard.new_state("the last one", |state| state["encoder"]["ceiling"] == 3_100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_sees_the_whole_truth() {
    let Some((broker, _daemon, mut dashboard)) = world().await else { return };
    for (topic, payload) in [
        ("set/bitrate", "777"),
        ("set/resolution", "640x360"),
        ("do/snapshot", ""),
        ("do/warm", "{\"seconds\":600}"),
    ] {
        assert_eq!(dashboard.ask(topic, payload).await["ok"], true);
    }
    let settled =
        |state: &Value| state["camera"]["state"] == "live" && state["encoder"]["ceiling"] == 777_000;
    dashboard.new_state("all of it", settled).await;
    // Only what the broker keeps: retained messages, and nothing that is published later.
    let script = "$S -t \"$T/#\" -t 'homeassistant/#' --retained-only -C 5 -F '{\"topic\":\"%t\",\"bytes\":%l,\"hex\":\"%x\"}' -N \
                  | sed 's/}{/}\\n{/g'";
    let kept = shell(&broker, script).await.stdout;
    let kept: Vec<Value> = serde_json::Deserializer::from_slice(&kept)
        .into_iter::<Value>()
        .map(|one| one.expect("JSON of mosquitto_sub"))
        .collect();
    let payload = |topic: &str| -> Vec<u8> {
        let found = kept.iter().find(|one| one["topic"].as_str().is_some_and(|name| name.ends_with(topic)));
        let hex = found.unwrap_or_else(|| panic!("{topic} is not kept"))["hex"].as_str().expect("text");
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    };
    assert_eq!(payload("/availability"), b"online");
    let state: Value = serde_json::from_slice(&payload("/state")).expect("JSON");
    assert!(settled(&state) && state["camera"]["height"] == 360 && state["streaming"] == "ON", "{state:#}");
    let info: Value = serde_json::from_slice(&payload("/info")).expect("JSON");
    assert!(info["camera"]["modes"].as_array().is_some_and(|modes| !modes.is_empty()), "{info:#}");
    assert_eq!(size_of_jpeg(&payload("/snapshot")), Some((640, 360)));
    let announced: Value = serde_json::from_slice(&payload("/config")).expect("JSON");
    assert!(announced["components"].is_object());
}
