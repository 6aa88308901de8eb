//! The broker inside the daemon against clients that want more than is theirs.

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use porthole::base::tasks::TaskGroup;
use porthole::broker::{ClientAuthenticator, ClientRights, EmbeddedBroker, OpenAccess};
use porthole::config::Broker;
use porthole::signaling::topic::Id;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde_json::json;
use support::attacker::{Attacker, Comes, comes};
use support::daemon::{DEVICE, Daemon};
use support::viewer::{Dashboard, OFFER, Viewer};
use support::{PATIENCE, free_ports};
use tokio::sync::watch;
use tokio::time::timeout;

fn topic(leaf: &str) -> String {
    format!("porthole/{DEVICE}/{leaf}")
}

async fn demo() -> (Daemon, u16, Dashboard) {
    let [port] = free_ports();
    let daemon = Daemon::open_demo(port);
    daemon.link().await;
    let mut dashboard = Dashboard::connect(port).await;
    dashboard.availability("online").await;
    (daemon, port, dashboard)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attacker_hears_and_says_nothing_for_others() {
    let (mut daemon, port, mut dashboard) = demo().await;
    let mut attacker = Attacker::anonymous(port, "attacker").await;
    for filter in ["#", "+/#", "porthole/#", "$SYS/#", "$share/all/#"] {
        assert!(!attacker.may_read(filter).await, "{filter}");
    }
    for leaf in
        ["#", "signal/#", "signal/+/down", "signal/+/up", "signal/viewer/down", "signal/viewer/up", "set/#"]
    {
        assert!(!attacker.may_read(&topic(leaf)).await, "{leaf}");
    }
    assert!(attacker.may_read(&topic("+")).await);
    assert!(attacker.may_read(&topic("signal/attacker/down")).await);

    let mut viewer = Viewer::connect(port, "viewer").await;
    for leaf in ["signal/viewer/down", "signal/viewer/up", "availability", "info", "state", "event", "other"]
    {
        let forged = r#"{"type":"bye"}"#;
        assert_eq!(attacker.says(&topic(leaf), forged, false).await, Some(false), "{leaf}");
        assert_eq!(attacker.says(&topic(leaf), forged, true).await, Some(false), "{leaf}");
    }
    viewer.say(json!({"type": "offer", "sdp": OFFER})).await;
    // The first that it hears is its own answer.
    assert_eq!(viewer.next("an answer").await["type"], "answer");
    // Sent behind everything that was to be seen.
    attacker.says(&topic("signal/attacker/up"), "{", false).await;
    attacker.hears(&topic("signal/attacker/down")).await;
    let strange = attacker.got.iter().find(|(of, _)| of.contains("/viewer/") || of.ends_with("/up"));
    assert_eq!(strange, None);
    assert!(attacker.got.iter().all(|(_, payload)| payload != br#"{"type":"bye"}"#), "{:?}", attacker.got);
    dashboard.viewers(1).await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_the_place_of_the_device() {
    let (mut daemon, port, mut dashboard) = demo().await;
    let as_device = Attacker::enter(port, Comes { id: DEVICE, ..Comes::default() }).await;
    assert_eq!(as_device.err(), Some(ConnectReturnCode::ClientIdentifierNotValid));
    let by_name = Comes { id: DEVICE, as_user: Some((DEVICE, "")), will: None };
    assert!(Attacker::enter(port, by_name).await.is_err());
    // A will that would say that the device is gone is not heard; the next message is.
    let offline = topic("availability");
    let liar = Comes { id: "liar", as_user: None, will: Some((&offline, true)) };
    drop(Attacker::enter(port, liar).await.expect("to be let in"));
    let own = topic("signal/keeper/up");
    let keeper = Comes { id: "keeper", as_user: None, will: Some((&own, true)) };
    assert_eq!(Attacker::enter(port, keeper).await.err(), Some(ConnectReturnCode::NotAuthorized));
    assert_eq!(dashboard.ask("do/keyframe", "").await["topic"], "do/keyframe");
    let mut late = Dashboard::connect(port).await;
    late.availability("online").await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_wants_kept_is_delivered_and_not_kept() {
    let (mut daemon, _, mut dashboard) = demo().await;
    dashboard.publish_retained("do/dance", "").await;
    assert_eq!(dashboard.command("do/dance").await["ok"], false);
    dashboard.publish_retained("do/dance", "{\"id\":1}").await;
    assert_eq!(dashboard.command("do/dance").await["id"], 1);
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_does_not_keep_others_from_watching() {
    let (mut daemon, port, mut dashboard) = demo().await;
    let flood = Attacker::anonymous(port, "flood").await;
    let up = topic("signal/flood/up");
    let Attacker { mqtt, mut events, .. } = flood;
    let sending = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    for _ in 0..900 {
        mqtt.try_publish(&up, QoS::AtLeastOnce, false, vec![b'x'; 8192]).expect("room in the client");
    }
    let mut viewer = Viewer::connect(port, "viewer").await;
    viewer.say(json!({"type": "offer", "sdp": OFFER})).await;
    viewer.expect("answer").await;
    dashboard.viewers(1).await;
    sending.abort();
    // More than the broker takes costs the sender its connection.
    let mut huge = Attacker::anonymous(port, "huge").await;
    let text = "x".repeat(2 * 1024 * 1024);
    assert_eq!(huge.says(&topic("signal/huge/up"), &text, false).await, None);
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_neither_block_browsers_nor_the_device() {
    let [mqtt, websocket] = free_ports();
    let settings = support::daemon::Settings::new("embedded")
        .text("broker.listen", format!("127.0.0.1:{mqtt}"))
        .text("broker.websocket", format!("127.0.0.1:{websocket}"));
    let mut daemon = Daemon::run(settings);
    Dashboard::connect(mqtt).await.availability("online").await;
    let address = SocketAddr::from(([127, 0, 0, 1], websocket));
    let silent: Vec<_> =
        (0..50).map(|_| std::net::TcpStream::connect(address).expect("a connection")).collect();
    let url = format!("ws://{address}/mqtt");
    let mut options = MqttOptions::new("browser", url, websocket);
    options.set_transport(rumqttc::Transport::Ws);
    let (_client, mut events) = AsyncClient::new(options, 10);
    let greeting = timeout(PATIENCE, events.poll()).await.expect("an answer in time").expect("to be let in");
    assert!(matches!(greeting, Event::Incoming(Packet::ConnAck(_))), "{greeting:?}");
    drop(silent);
    daemon.assert_unharmed();
}

/// Lets in who is in the map, with the password `right`; the value is the right to control.
#[derive(Default)]
struct Guests {
    list: Mutex<HashMap<&'static str, bool>>,
    generation: watch::Sender<u64>,
}

impl Guests {
    fn change(&self, change: impl FnOnce(&mut HashMap<&'static str, bool>)) {
        change(&mut self.list.lock().expect("the guests"));
        self.generation.send_modify(|generation| *generation += 1);
    }
}

impl ClientAuthenticator for Guests {
    fn admit(&self, user: Option<&str>, password: Option<&[u8]>) -> Option<ClientRights> {
        let guests = self.list.lock().expect("the guests");
        let may_control = *guests.get(user.filter(|_| password == Some(b"right"))?)?;
        let rights = if may_control { "view,control" } else { "view" };
        Some(ClientRights { grant: user.map(str::to_owned), rights: rights.parse().ok()?, ends: false })
    }

    fn generation(&self) -> Option<watch::Receiver<u64>> {
        Some(self.generation.subscribe())
    }
}

/// A broker for anna, who may watch, and ben, who may control too; and the device's own connection.
async fn guarded() -> (EmbeddedBroker, Arc<Guests>, Attacker) {
    let guests = Arc::new(Guests::default());
    guests.change(|guests| guests.extend([("anna", false), ("ben", true)]));
    let (broker, device) = start(guests.clone()).await;
    (broker, guests, device)
}

async fn start(gatekeeper: Arc<dyn ClientAuthenticator>) -> (EmbeddedBroker, Attacker) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let addresses = Broker { listen: loopback, websocket: loopback };
    let id = Id::new(DEVICE).expect("an id");
    let broker = EmbeddedBroker::start(addresses, "porthole", &id, gatekeeper, &TaskGroup::new())
        .await
        .expect("a broker");
    let own = Some((broker.own.username.as_str(), broker.own.password.expose()));
    let comes = Comes { id: DEVICE, as_user: own, will: None };
    let device = Attacker::enter(broker.tcp.port(), comes).await.expect("the device is let in");
    (broker, device)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_the_door_and_rights_decide_behind_it() {
    let (broker, _guests, mut device) = guarded().await;
    let port = broker.tcp.port();
    let refused = Some(ConnectReturnCode::BadUserNamePassword);
    for as_user in [None, Some(("anna", "wrong")), Some(("carl", "right")), Some(("", ""))] {
        assert_eq!(Attacker::enter(port, Comes { id: "x", as_user, will: None }).await.err(), refused);
    }
    let half = Some((broker.own.username.as_str(), "right"));
    assert_eq!(Attacker::enter(port, Comes { id: "x", as_user: half, will: None }).await.err(), refused);

    let mut anna = Attacker::enter(port, comes("tab", "anna")).await.expect("anna");
    let mut ben = Attacker::enter(port, comes("board", "ben")).await.expect("ben");
    assert!(device.may_read(&topic("set/#")).await && device.may_read(&topic("signal/+/up")).await);
    assert_eq!(anna.says(&topic("set/streaming"), "OFF", false).await, Some(false));
    assert_eq!(anna.says(&topic("do/close"), "", false).await, Some(false));
    assert_eq!(ben.says(&topic("set/streaming"), "ON", false).await, Some(true));
    assert_eq!(device.hears(&topic("set/streaming")).await, b"ON", "anna's did not come before");
    assert_eq!(anna.says(&topic("signal/tab/up"), "hello", false).await, Some(true));
    assert_eq!(device.hears(&topic("signal/tab/up")).await, b"hello");
    assert_eq!(ben.says(&topic("signal/tab/up"), "I am anna", false).await, Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_cannot_be_taken_from_another_grant() {
    let (broker, _guests, mut device) = guarded().await;
    let port = broker.tcp.port();
    let mut anna = Attacker::enter(port, comes("tab", "anna")).await.expect("anna");
    let taken = Some(ConnectReturnCode::ClientIdentifierNotValid);
    assert_eq!(Attacker::enter(port, comes("tab", "ben")).await.err(), taken);
    assert_eq!(Attacker::enter(port, comes(DEVICE, "ben")).await.err(), taken);
    assert!(anna.may_read(&topic("signal/tab/down")).await, "she is still there");
    let mut again = Attacker::enter(port, comes("tab", "anna")).await.expect("anna again");
    anna.is_thrown_out().await;
    drop(anna);
    assert_eq!(Attacker::enter(port, comes("tab", "ben")).await.err(), taken);
    assert!(again.may_read(&topic("signal/tab/down")).await);
    assert_eq!(device.says(&topic("signal/tab/down"), "for anna", false).await, Some(true));
    assert_eq!(again.hears(&topic("signal/tab/down")).await, b"for anna");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_shown_out_and_a_smaller_one_is_smaller_at_once() {
    let (broker, guests, mut device) = guarded().await;
    let port = broker.tcp.port();
    let up = topic("signal/tab/up");
    let with_will = Comes { will: Some((&up, false)), ..comes("tab", "anna") };
    let mut anna = Attacker::enter(port, with_will).await.expect("anna");
    assert!(anna.may_read(&topic("state")).await);
    let mut ben = Attacker::enter(port, comes("board", "ben")).await.expect("ben");
    assert_eq!(ben.says(&topic("do/close"), "", false).await, Some(true));

    guests.change(|guests| {
        guests.remove("anna");
        guests.insert("ben", false);
    });
    // What he had subscribed would still come to him, so he has to come in anew.
    ben.is_thrown_out().await;
    let mut ben = Attacker::enter(port, comes("board", "ben")).await.expect("ben, with less");
    assert_eq!(ben.says(&topic("do/close"), "", false).await, Some(false));
    assert!(!ben.may_read(&topic("event")).await);
    anna.is_thrown_out().await;
    let refused = Some(ConnectReturnCode::BadUserNamePassword);
    assert_eq!(Attacker::enter(port, comes("tab", "anna")).await.err(), refused);
    assert!(ben.may_read(&topic("state")).await, "the other one stays");
    assert_eq!(device.says(&topic("state"), "for ben", false).await, Some(true));
    assert_eq!(ben.hears(&topic("state")).await, b"for ben");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_speaks_for_its_own_client_only() {
    let (broker, mut device) = start(Arc::new(OpenAccess)).await;
    let port = broker.tcp.port();
    assert!(device.may_read(&topic("signal/+/up")).await);
    let (own, others) = (topic("signal/tab/up"), topic("signal/other/up"));
    for (id, will) in [("liar", &others), ("tab", &own)] {
        let comes = Comes { id, as_user: None, will: Some((will, false)) };
        drop(Attacker::enter(port, comes).await.expect("to be let in"));
    }
    assert_eq!(device.hears(&own).await, b"the will");
    assert!(device.got.iter().all(|(topic, _)| *topic != others), "{:?}", device.got);
}
