//! Sound as dashboards see it: switched, kept, told, and refused where there is none.

mod support;

use serde_json::{Value, json};
use support::daemon::{DEVICE, Daemon, Settings};
use support::http::Site;
use support::mosquitto::Mosquitto;
use support::recipes::{blocks, doc};
use support::viewer::Dashboard;

async fn world(change: impl FnOnce(Settings) -> Settings) -> Option<(Mosquitto, Daemon, Dashboard)> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(change(Settings::new(&broker.url()).value("video.linger_s", 1)));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.camera("idle").await;
    Some((broker, daemon, dashboard))
}

fn tone(settings: Settings) -> Settings {
    settings.text("audio.device", "test")
}

fn has(info: &Value, feature: &str) -> bool {
    info["features"].as_array().is_some_and(|all| all.contains(&json!(feature)))
}

#[tokio::test(flavor = "multi_thread")]
async fn off_is_kept_over_a_kill_and_told() {
    let Some((_broker, mut daemon, mut dashboard)) = world(tone).await else { return };
    let info = dashboard.info("sound", |info| info["audio"] == true).await;
    assert!(has(&info, "audio") && !has(&info, "talk"), "{info:#}");
    let is = |on: &'static str, state: &'static str| {
        move |told: &Value| told["audio"]["on"] == on && told["audio"]["state"] == state
    };
    let state = dashboard.state("a closed microphone", is("ON", "idle")).await;
    assert_eq!((&state["audio"]["level"], &state["audio"]["speaker"]), (&Value::Null, &Value::Null));
    for wrong in ["off", "1", "", "ON OFF", "{}"] {
        let refused = dashboard.ask("set/audio", wrong).await;
        assert_eq!(refused["ok"], false, "{wrong}: {refused}");
        let words = refused["error"].as_str().unwrap_or_default();
        assert!(words.contains("neither ON nor OFF") && !words.contains('\n'), "{wrong}: {refused}");
    }
    for (payload, state) in [("OFF", "off"), ("ON", "idle"), ("OFF", "off")] {
        let answer = dashboard.ask("set/audio", payload).await;
        assert_eq!((&answer["ok"], &answer["topic"]), (&json!(true), &json!("set/audio")), "{answer}");
        daemon.kill();
        dashboard.availability("offline").await;
        dashboard.forget_state();
        daemon.start_again();
        dashboard.availability("online").await;
        dashboard.new_state("the switch as it was left", is(payload, state)).await;
    }
    assert_eq!(dashboard.left("command"), Vec::<&Value>::new(), "each is answered once");
}

#[tokio::test(flavor = "multi_thread")]
async fn privacy_silences_and_leaves_the_switch_as_it_was() {
    let Some((_broker, mut daemon, mut dashboard)) = world(tone).await else { return };
    assert_eq!(dashboard.ask("set/streaming", "OFF").await["ok"], true);
    let silent = |told: &Value| told["audio"]["on"] == "ON" && told["audio"]["state"] == "off";
    dashboard.new_state("silence", silent).await;
    assert_eq!(dashboard.ask("set/audio", "OFF").await["ok"], true);
    assert_eq!(dashboard.ask("set/streaming", "ON").await["ok"], true);
    let still = |told: &Value| told["streaming"] == "ON" && told["audio"]["state"] == "off";
    dashboard.new_state("silence by set/audio", still).await;
    assert_eq!(dashboard.ask("set/audio", "ON").await["ok"], true);
    dashboard.new_state("a microphone", |told| told["audio"]["state"] == "idle").await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_sound_has_nothing_to_tell_or_to_switch() {
    let Some((_broker, mut daemon, mut dashboard)) = world(|settings| settings).await else { return };
    let info = dashboard.info("no sound", |info| info["audio"] == false).await;
    assert!(!has(&info, "audio") && !has(&info, "talk"), "{info:#}");
    let state = dashboard.state("a state", |_| true).await;
    assert_eq!(state.get("audio"), None, "{state:#}");
    for payload in ["ON", "OFF"] {
        let refused = dashboard.ask("set/audio", payload).await;
        assert!(refused["error"].as_str().is_some_and(|words| words.contains("[audio]")), "{refused}");
    }
    let refused = dashboard.ask("do/talk", r#"{"on":true}"#).await;
    assert!(refused["error"].as_str().is_some_and(|words| words.contains("data channel")), "{refused}");
    let figures = Site::of(&daemon.page().await).get("/metrics").await.text();
    assert!(figures.contains("porthole_frames") && !figures.contains("porthole_audio"), "{figures}");
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_of_it_and_a_card_that_is_not_there_stops_no_picture() {
    let missing = |settings: Settings| settings.text("audio.device", "no such card");
    let Some((broker, mut daemon, mut dashboard)) = world(missing).await else { return };
    let site = Site::of(&daemon.page().await);
    let figures = site.get("/metrics").await.text();
    for name in [
        "porthole_audio_state{state=\"off\"} 0",
        "porthole_audio_starts_total 0",
        "porthole_audio_gaps_total 0",
    ] {
        assert!(figures.contains(name), "{name} is not in {figures}");
    }
    let health = site.get("/healthz").await;
    assert_eq!(health.json()["status"], "ok");
    let viewer = support::viewer::Viewer::connect(broker.port(), "v1").await;
    viewer.offer("one", support::viewer::OFFER).await;
    dashboard.camera("live").await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_docs_of_sound_publish_is_done() {
    let Some((broker, mut daemon, mut dashboard)) = world(tone).await else { return };
    let printed = blocks(&doc("docs/sound.md")).into_iter().flat_map(|block| block.commands());
    let commands: Vec<String> = printed.filter(|command| command.starts_with("mosquitto_pub ")).collect();
    assert!(commands.len() > 1, "{commands:?}");
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
