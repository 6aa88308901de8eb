//! Brokers without MQTT 5, and two devices with one id: real brokers, the real daemon, a viewer that counts.

mod support;

use porthole::base::tasks::TaskGroup;
use porthole::signaling::mqtt::{MqttClientConfig, MqttEvent, connect};
use serde_json::Value;
use support::PATIENCE;
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::mosquitto::Mosquitto;
use support::old_broker::OldBroker;
use support::viewer::Dashboard;
use tokio::time::timeout;

/// All of it over MQTT 3.1.1: a viewer gets pictures, a dashboard is obeyed, and doctor says what it can.
async fn serves(broker: OldBroker) {
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.camera("idle").await;
    assert_eq!(daemon.count("does not speak MQTT 5"), 1, "it is said, once");
    let url = broker.url();
    let watched = tokio::task::spawn_blocking(move || {
        porthole(&["watch", "--broker", &url, "--device", DEVICE, "--seconds", "2", "--json"]).output()
    });
    let done = watched.await.expect("a run").expect("run porthole watch");
    let report: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&done.stderr)));
    assert!(done.status.success(), "{report:#}");
    assert_eq!(dashboard.ask("set/bitrate", "700").await["ok"], true);
    let refused = dashboard.ask("set/resolution", "1x1").await;
    assert_eq!(refused["ok"], false, "{refused}");
    daemon.terminate().await;
    dashboard.availability("offline").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aedes_is_spoken_to_in_the_older_version() {
    let Some(broker) = OldBroker::aedes() else { return };
    serves(broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amqtt_is_spoken_to_in_the_older_version() {
    let Some(broker) = OldBroker::amqtt() else { return };
    serves(broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_devices_with_one_id_one_gives_way_and_says_why() {
    let Some(broker) = Mosquitto::start() else { return };
    let open =
        || connect(MqttClientConfig::new(broker.url().parse().expect("a URL"), "cam"), &TaskGroup::new());
    let (first, mut one) = open().expect("a link");
    let (second, mut other) = open().expect("a link");
    let words = timeout(PATIENCE, async {
        loop {
            let event = tokio::select! { event = one.recv() => event, event = other.recv() => event };
            if let Some(MqttEvent::Disconnected { reason }) = event
                && reason.contains("stays away")
            {
                return reason;
            }
        }
    });
    let words = words.await.expect("one of them gives way");
    assert!(words.contains("`cam`") && words.contains("device.id"), "{words}");
    // The other one has the broker for itself from now on: nobody is thrown out for as long as it took them before.
    let before = broker.log().matches("already connected").count();
    let mut witness = Client::connect(broker.port(), "witness", &["t".to_owned()]).await;
    for n in 0..20 {
        witness.publish("t", n.to_string()).await;
        witness.next("its own message").await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        broker.log().matches("already connected").count(),
        before,
        "they still fight:\n{}",
        broker.log()
    );
    drop((first, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_that_comes_late_is_corrected() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.camera("idle").await;
    for _ in 0..3 {
        dashboard.publish_retained("availability", "offline").await;
        dashboard.availability("offline").await;
        dashboard.availability("online").await;
    }
    // It is what the broker keeps, too.
    let mut late = Dashboard::connect(broker.port()).await;
    late.availability("online").await;
    daemon.terminate().await;
    dashboard.availability("offline").await;
    late.availability("offline").await;
}
