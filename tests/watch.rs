//! `porthole watch` against a device made of the protocol alone: what it counts is what was sent.

#[path = "support/fake_device.rs"]
mod fake_device;
mod support;

use porthole::cli::watch::{WatchArgs, WatchReport, measure};
use serde_json::Value;

use fake_device::Behaviour;
use support::mosquitto::Mosquitto;

fn args(broker: &Mosquitto, viewers: u16, seconds: u32) -> WatchArgs {
    WatchArgs {
        broker: Some(broker.url().parse().expect("a url")),
        device: Some("cam".parse().expect("an id")),
        link: None,
        viewers,
        seconds,
        json: true,
        root: None,
        ca_file: None,
        username: None,
        password_file: None,
    }
}

/// Watches a device that behaves like this. `None` without a broker to test with.
async fn watch(viewers: u16, seconds: u32, behaviour: Behaviour) -> Option<(WatchReport, Value)> {
    let broker = Mosquitto::start()?;
    let url = broker.url();
    let (ready, listening) = tokio::sync::oneshot::channel();
    let device = tokio::spawn(async move { fake_device::run(&url, "cam", behaviour, ready).await });
    listening.await.expect("a device that listens");
    let report = measure(&args(&broker, viewers, seconds)).await.expect("a report");
    assert!(!device.is_finished(), "the device broke down");
    device.abort();
    eprintln!("{}", report.table());
    let json = serde_json::from_str(&report.json()).expect("JSON");
    Some((report, json))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stream_is_counted_frame_by_frame() {
    let Some((report, json)) = watch(3, 4, Behaviour::default()).await else { return };
    assert!(report.all_got_video());
    assert_eq!((&json["viewers"], &json["connected"]), (&Value::from(3), &Value::from(3)));
    assert_eq!(json["errors"], serde_json::json!([]));
    assert_eq!(json["lost"], 0);
    let frames = number(&json["frames"]);
    assert!((3.0 * 70.0..=3.0 * 101.0).contains(&frames), "{frames}");
    assert!((number(&json["fps"]["p50"]) - 25.0).abs() < 1.0, "{json}");
    assert!((number(&json["bitrate"]["p50"]) - 800_000.0).abs() < 80_000.0, "{json}");
    assert!(number(&json["first_frame_ms"]["max"]) < 2000.0, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retransmission_repairs_is_not_lost() {
    let behaviour = Behaviour { lose_every: Some(10), ..Behaviour::default() };
    let Some((report, json)) = watch(1, 5, behaviour).await else { return };
    assert!(report.all_got_video());
    assert_eq!(json["lost"], 0, "{json}");
    assert!(number(&json["per_viewer"][0]["late"]) > 20.0, "{json}");
    assert!(number(&json["fps"]["p50"]) > 23.0, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_repairs_is_lost() {
    let behaviour = Behaviour { skip_every: Some(50), ..Behaviour::default() };
    let Some((report, json)) = watch(1, 5, behaviour).await else { return };
    assert!(report.all_got_video());
    let lost = number(&json["lost"]);
    assert!((5.0..=10.0).contains(&lost), "{json}");
    assert!(number(&json["per_viewer"][0]["broken"]) >= lost, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_viewer_is_named_and_fails_the_run() {
    let behaviour = Behaviour { busy_after: Some(1), ..Behaviour::default() };
    let Some((report, json)) = watch(2, 3, behaviour).await else { return };
    assert!(!report.all_got_video());
    assert_eq!(json["connected"], 1);
    assert_eq!(
        (&json["errors"][0]["code"], &json["errors"][0]["message"]),
        (&"busy".into(), &"no room".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn video_without_a_key_frame_is_no_video() {
    let behaviour = Behaviour { no_key_frames: true, ..Behaviour::default() };
    let Some((report, json)) = watch(1, 3, behaviour).await else { return };
    assert!(!report.all_got_video());
    assert_eq!(json["errors"][0]["code"], "no-key-frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_not_there_is_named() {
    let Some(broker) = Mosquitto::start() else { return };
    let report = measure(&args(&broker, 1, 2)).await.expect("a report");
    let json: Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(json["errors"][0]["code"], "no-answer");
    assert_eq!(json["first_frame_ms"]["p50"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "load, for a look at the table: PORTHOLE_TEST_VIEWERS=100 cargo nextest run --run-ignored only --no-capture"]
async fn many_viewers() {
    let viewers = std::env::var("PORTHOLE_TEST_VIEWERS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let Some((report, _)) = watch(viewers, 10, Behaviour::default()).await else { return };
    assert!(report.all_got_video());
}
