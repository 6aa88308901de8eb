//! Networks that are not kind: loss, no UDP at all, a TURN server, each in a network namespace of its own.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::browser::Browser;
use support::daemon::{DEVICE, Daemon, Settings, porthole};
use support::http::Site;
use support::mosquitto::{Mosquitto, Options};
use support::namespace::{self, Neighbour, drop_incoming, dropped, inside, run};
use support::relay::CLEAN;
use support::remote::Remote;
use support::viewer::{Dashboard, OFFER, Viewer};

/// The TURN server's address.
const TURN: &str = namespace::SECOND;
/// Its ports for what it relays.
const TURN_PORTS: [u16; 2] = [60_000, 60_100];
/// Another machine's address.
const NEIGHBOUR: &str = "10.78.0.9";
/// Where it reaches the broker.
const BROKER_PORT: u16 = 1883;
/// The machine's address where there is only IPv6.
const SIX: &str = "fd78::1";

fn watching(broker: &str, viewers: u32, seconds: u32) -> Command {
    let (viewers, seconds) = (viewers.to_string(), seconds.to_string());
    porthole(&[
        "watch",
        "--broker",
        broker,
        "--device",
        DEVICE,
        "--viewers",
        &viewers,
        "--seconds",
        &seconds,
        "--json",
    ])
}

async fn report(watching: Command) -> Value {
    let output = tokio::process::Command::from(watching).output().await.expect("run porthole watch");
    serde_json::from_slice(&output.stdout).expect("a report")
}

async fn watch(broker: &str, viewers: u32, seconds: u32) -> Value {
    report(watching(broker, viewers, seconds)).await
}

/// A broker that another machine reaches too, and where.
fn open_broker() -> Option<(Mosquitto, String)> {
    let extra = format!("listener {BROKER_PORT} {}", namespace::HOST);
    let broker = Mosquitto::start_with(&Options { extra: &extra, ..Options::default() })?;
    Some((broker, format!("mqtt://{}:{BROKER_PORT}", namespace::HOST)))
}

fn sessions(state: &Value) -> &[Value] {
    state["viewers"]["sessions"].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_are_sent_again() {
    if !inside("lost_packets_are_sent_again", &[("nft", "nftables")]) {
        return;
    }
    let Some(broker) = Mosquitto::start() else { return };
    let daemon = Daemon::run(Settings::new(&broker.url()).value("camera.fps", 30));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    drop_incoming("udp dport 1024-65535 numgen random mod 100 < 5");
    let report = watch(&broker.url(), 1, 8).await;
    let (dropped, lost) = (dropped(), report["lost"].as_u64().expect("lost"));
    assert_eq!(report["connected"], 1, "{report:#}");
    assert!(dropped >= 10, "the network dropped only {dropped} packets: nothing was shown");
    // Without repair every dropped packet of media would be lost.
    assert!(lost * 5 < dropped, "{lost} of {dropped} dropped packets were never repaired: {report:#}");
    // The session is over, and its part of the sums stays.
    dashboard.viewers(0).await;
    let figures = Site::of(&daemon.page().await).get("/metrics").await.text();
    let total = |name: &str| -> u64 {
        let line = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {figures}"))
    };
    let (asked, repaired) =
        (total("porthole_nacked_packets_total"), total("porthole_repaired_packets_total"));
    assert!(asked > 0 && repaired > 0, "{asked} asked for, {repaired} repaired");
    drop(daemon);
}

/// Viewers that connect at once through lost handshakes.
const VIEWERS: u32 = 20;

/// A fifth of all handshake datagrams is lost, both ways. The library alone waits a second for each
/// lost flight, and for ever where the repeat of one flight meets the loss of the next.
#[tokio::test(flavor = "multi_thread")]
async fn lost_handshakes_are_mended() {
    if !inside("lost_handshakes_are_mended", &[("nft", "nftables")]) {
        return;
    }
    let Some(broker) = Mosquitto::start() else { return };
    let daemon = Daemon::run(Settings::new(&broker.url()).value("viewers.max", VIEWERS));
    Dashboard::connect(broker.port()).await.availability("online").await;
    // The first byte of a datagram: ChangeCipherSpec and handshake messages.
    drop_incoming("udp dport 1024-65535 @th,64,8 { 20, 22 } numgen random mod 100 < 20");
    let report = watch(&broker.url(), VIEWERS, 8).await;
    assert!(dropped() >= 10, "the network dropped hardly anything: nothing was shown");
    eprintln!("first frames after {}", report["first_frame_ms"]);
    assert_eq!(report["connected"], VIEWERS, "{report:#}");
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_without_udp_gets_the_picture_over_the_one_tcp_port() {
    let name = "a_viewer_without_udp_gets_the_picture_over_the_one_tcp_port";
    if !inside(name, &[("nft", "nftables")]) {
        return;
    }
    let options = Options { websocket: true, ..Options::default() };
    let (Some(broker), Some(browser)) = (Mosquitto::start_with(&options), Browser::start().await) else {
        return;
    };
    let daemon = Daemon::run(Settings::new(&broker.url()).value("ice.tcp_port", 8443));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    drop_incoming("meta l4proto udp");
    let link = format!("{}#broker={}&device={DEVICE}", daemon.page().await, broker.ws_url());
    for viewers in 1..=2 {
        browser.open_tab(&link).await;
        browser.phase("live").await;
        browser.frames_advance(10).await;
        dashboard.viewers(viewers).await;
    }
    let over_tcp = |state: &Value| {
        let sessions = state["viewers"]["sessions"].as_array().cloned().unwrap_or_default();
        sessions.len() == 2 && sessions.iter().all(|session| session["protocol"] == "tcp")
    };
    dashboard.state("two sessions over TCP", over_tcp).await;
    browser.close().await;
}

/// A coturn of our own; it ends on drop.
struct TurnServer {
    child: Child,
    dir: tempfile::TempDir,
}

impl TurnServer {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the TURN server");
        std::fs::write(dir.path().join("credential"), "secret\n").expect("write the credential");
        let child = Command::new("turnserver")
            .args([
                "-n",
                "--listening-ip",
                TURN,
                "--relay-ip",
                TURN,
                "--user",
                "porthole:secret",
                "--realm",
                "test",
            ])
            .arg(format!("--min-port={}", TURN_PORTS[0]))
            .arg(format!("--max-port={}", TURN_PORTS[1]))
            .args([
                "--lt-cred-mech",
                "--no-cli",
                "--no-tls",
                "--no-dtls",
                "--allow-loopback-peers",
                "--log-file=stdout",
            ])
            .arg(format!("--pidfile={}", dir.path().join("pid").display()))
            .arg(format!("--userdb={}", dir.path().join("db").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start turnserver");
        Self { child, dir }
    }

    /// As it is named in a configuration.
    fn settings(&self) -> String {
        let credential = self.dir.path().join("credential");
        format!(
            "{{ urls = [\"turn:{TURN}:3478\"], username = \"porthole\", credential_file = \"{}\" }}",
            credential.display()
        )
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stun_and_turn_servers_and_the_port_range_show_in_the_candidates() {
    let name = "stun_and_turn_servers_and_the_port_range_show_in_the_candidates";
    if !inside(name, &[("turnserver", "coturn")]) {
        return;
    }
    let Some(broker) = Mosquitto::start() else { return };
    let turn = TurnServer::start();
    let servers = format!("[{{ urls = [\"stun:{TURN}:3478\"] }}, {}]", turn.settings());
    let settings = Settings::new(&broker.url())
        .value("ice.servers", servers)
        .text("ice.port_range", "50000-50009")
        .text("ice.public_ip", "203.0.113.7");
    let _daemon = Daemon::run(settings);
    Dashboard::connect(broker.port()).await.availability("online").await;
    let mut viewer = Viewer::connect(broker.port(), "tab-1").await;
    viewer.say(json!({ "type": "offer", "ice": "full", "sdp": OFFER })).await;
    let answer = viewer.expect("answer").await;
    assert_eq!(answer["iceServers"][1]["credential"], "secret", "viewers may use the TURN server too");
    let sdp = answer["sdp"].as_str().expect("sdp");
    let candidates: Vec<Vec<&str>> = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"))
        .map(|line| line.split_ascii_whitespace().collect())
        .collect();
    let of = |kind: &str| candidates.iter().filter(move |words| words[7] == kind).collect::<Vec<_>>();
    assert!(!of("relay").is_empty(), "{sdp}");
    assert!(of("srflx").iter().any(|words| words[4] == "203.0.113.7"), "{sdp}");
    let hosts = of("host");
    assert!(!hosts.is_empty(), "{sdp}");
    for words in hosts {
        let port: u16 = words[5].parse().expect("a port");
        assert!((50_000..=50_009).contains(&port), "{words:?}");
    }
}

/// Viewers on another machine from which nothing gets to the device but through the TURN server.
#[tokio::test(flavor = "multi_thread")]
async fn viewers_beyond_a_firewall_get_the_picture_through_the_relay() {
    let name = "viewers_beyond_a_firewall_get_the_picture_through_the_relay";
    let programs = [("turnserver", "coturn"), ("nft", "nftables"), ("nsenter", "util-linux")];
    if !inside(name, &programs) {
        return;
    }
    let Some((broker, url)) = open_broker() else { return };
    let turn = TurnServer::start();
    let settings = Settings::new(&broker.url())
        .value("ice.servers", format!("[{}]", turn.settings()))
        .value("camera.fps", 30);
    let mut daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let [first, last] = TURN_PORTS;
    drop_incoming(&format!("iifname br0 udp dport != {first}-{last}"));
    let neighbour = Neighbour::join(NEIGHBOUR);
    let watching = tokio::spawn(report(neighbour.command(&watching(&url, 3, 10))));
    let relayed = |state: &Value| {
        let is_relayed = |session: &Value| session["path"] == "relay" && session["bitrate"] != 0.0;
        sessions(state).len() == 3 && sessions(state).iter().all(is_relayed)
    };
    dashboard.state("three sessions through the relay", relayed).await;
    let report = watching.await.expect("a report");
    assert!(dropped() > 0, "nothing was tried without the relay");
    let seen = (&report["connected"], &report["lost"], &report["errors"]);
    assert_eq!(seen, (&json!(3), &json!(0), &json!([])), "{report:#}");
    assert!(report["frames"].as_u64().is_some_and(|frames| frames >= 300), "{report:#}");
    dashboard.viewers(0).await;
    daemon.assert_unharmed();
}

/// Viewers whose cable is pulled, and one on the same UDP port whose is not.
#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_vanish_at_once_take_nothing_from_who_stays() {
    let name = "viewers_that_vanish_at_once_take_nothing_from_who_stays";
    if !inside(name, &[("nsenter", "util-linux")]) {
        return;
    }
    let Some((broker, url)) = open_broker() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()).value("camera.fps", 30));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let neighbour = Neighbour::join(NEIGHBOUR);
    let mut command = tokio::process::Command::from(neighbour.command(&watching(&url, 5, 300)));
    let _watching = command.stdout(Stdio::null()).kill_on_drop(true).spawn().expect("start porthole watch");
    let stays = Remote::join(broker.port(), "stays", CLEAN).await;
    let flows = |session: &Value| session["bitrate"].as_f64().is_some_and(|rate| rate > 0.0);
    let all = |state: &Value| sessions(state).len() == 6 && sessions(state).iter().all(flows);
    dashboard.state("six viewers with video", all).await;
    neighbour.unplug();
    // Ended one by one, and each time the picture goes on.
    for _ in 0..5 {
        stays.pictures(30).await;
        let ended = dashboard.event("an end", |event| event["type"] == "session-ended").await;
        assert_ne!(ended["viewer"], "stays", "{ended}");
        // Its path says so, or the broker, whose patience with a silent client is about as long.
        let reasons = ["the viewer is gone", "the viewer left: the viewer vanished"];
        assert!(reasons.iter().any(|reason| ended["reason"] == *reason), "{ended}");
    }
    let state = dashboard.new_state("one viewer", |state| sessions(state).len() == 1).await;
    assert_eq!(sessions(&state)[0]["skipped"], 0, "{state:#}");
    stays.pictures(30).await;
    assert_eq!(stays.seen().broken, 0);
    daemon.assert_unharmed();
}

/// A firewall that lets only one UDP port of the device through, over IPv4 and then over IPv6 alone.
#[tokio::test(flavor = "multi_thread")]
async fn all_viewers_share_one_udp_port() {
    const PORT: u16 = 50_000;
    if !inside("all_viewers_share_one_udp_port", &[("nft", "nftables")]) {
        return;
    }
    let Some(broker) = Mosquitto::start() else { return };
    run(&format!("ip -6 address add {SIX}/64 dev br0 nodad"));
    run("ip route add default dev br0");
    let settings = Settings::new(&broker.url()).value("ice.udp_port", PORT).value("camera.fps", 30);
    let mut daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    drop_incoming("meta l4proto udp");
    for end in ["sport", "dport"] {
        run(&format!("nft 'insert rule inet test in udp {end} {PORT} accept'"));
    }
    let mut viewer = Viewer::connect(broker.port(), "tab-1").await;
    viewer.say(json!({ "type": "offer", "session": "s", "ice": "full", "sdp": OFFER })).await;
    let answer = viewer.expect("answer").await;
    let hosts: Vec<Vec<&str>> = answer["sdp"]
        .as_str()
        .expect("sdp")
        .lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"))
        .map(|line| line.split_ascii_whitespace().collect())
        .collect();
    assert!(hosts.iter().all(|words| words[5] == PORT.to_string()), "{hosts:#?}");
    for address in [namespace::HOST, namespace::SECOND, SIX] {
        assert!(hosts.iter().any(|words| words[4] == address), "{address}: {hosts:#?}");
    }
    viewer.say(json!({ "type": "bye", "session": "s" })).await;
    for round in 0..2 {
        let report = watch(&broker.url(), 3, 3).await;
        let seen = (&report["connected"], &report["lost"], &report["errors"]);
        assert_eq!(seen, (&json!(3), &json!(0), &json!([])), "round {round}: {report:#}");
    }
    dashboard.viewers(0).await;
    run("nft 'insert rule inet test in ip protocol udp drop'");
    let report = watch(&broker.url(), 2, 3).await;
    assert_eq!((&report["connected"], &report["lost"]), (&json!(2), &json!(0)), "{report:#}");
    daemon.logged(&format!("from=\"{SIX} port ")).await;
    daemon.assert_unharmed();
}

/// Page, broker and media over IPv6, on a machine that has no IPv4 but its loopback.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_ipv4_is_enough() {
    if !inside("a_network_without_ipv4_is_enough", &[]) {
        return;
    }
    if !Path::new("/proc/net/if_inet6").exists() {
        eprintln!("SKIPPED: this kernel has no IPv6");
        return;
    }
    run("ip address flush dev br0");
    run(&format!("ip -6 address add {SIX}/64 dev br0 nodad"));
    run("ip -6 route add default dev br0");
    let settings = Settings::new("embedded")
        .text("access.mode", "open")
        .text("broker.listen", format!("[{SIX}]:1883"))
        .text("broker.websocket", format!("[{SIX}]:9001"))
        .text("http.listen", format!("[{SIX}]:8080"));
    let daemon = Daemon::run(settings);
    daemon.logged("connected to the broker").await;
    let report = watch(&format!("mqtt://[{SIX}]:1883"), 1, 5).await;
    assert_eq!((&report["connected"], &report["errors"]), (&json!(1), &json!([])), "{report:#}");
    // Chromium hides its addresses behind names of multicast DNS, which it serves over IPv4 alone.
    let bare = ["--disable-features=WebRtcHideLocalIpsWithMdns"];
    let Some(browser) = Browser::start_with(&bare).await else { return };
    // Nothing but the page's address: where the broker is, the page asks the daemon.
    browser.open(&format!("http://[{SIX}]:8080/")).await;
    browser.phase("live").await;
    browser.frames_advance(10).await;
    browser.assert_test_picture_is_live().await;
    browser.close().await;
    daemon.logged(&format!("from=\"{SIX} port ")).await;
}
