//! Whoever is told no: one `session-refused` on `event` for each refused offer, with its code, over the broker and over HTTP.

mod support;

use std::net::{Ipv4Addr, UdpSocket};

use serde_json::{Value, json};
use support::daemon::{DEVICE, Daemon, Settings, without_plugins};
use support::http::{Answer, Site};
use support::invited::{auth, command, grant};
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER, Viewer, offer_of};

struct World {
    broker: Mosquitto,
    daemon: Daemon,
    dashboard: Dashboard,
    site: Site,
    /// How many viewers there were: each has a name of its own.
    viewers: usize,
}

impl World {
    async fn new(settings: impl Fn(Settings) -> Settings) -> Option<Self> {
        Self::new_with(settings, Vec::new()).await
    }

    async fn new_with(
        settings: impl Fn(Settings) -> Settings,
        environment: Vec<(String, String)>,
    ) -> Option<Self> {
        let broker = Mosquitto::start()?;
        let settings = settings(Settings::new(&broker.url()).value("video.linger_s", 1));
        let daemon = Daemon::run_with(settings, environment);
        let mut dashboard = Dashboard::connect(broker.port()).await;
        dashboard.availability("online").await;
        let site = Site::of(&daemon.page().await);
        Some(Self { broker, daemon, dashboard, site, viewers: 0 })
    }

    async fn viewer(&mut self) -> (String, Viewer) {
        self.viewers += 1;
        let name = format!("viewer-{}", self.viewers);
        let viewer = Viewer::connect(self.broker.port(), &name).await;
        (name, viewer)
    }

    /// Sent over the broker by a new viewer.
    async fn mqtt(&mut self, payload: impl Into<Vec<u8>>, code: &str) {
        let (name, mut viewer) = self.viewer().await;
        viewer.raw(payload).await;
        let told = viewer.refused(code).await;
        let event = self.told(code, |event| event["viewer"] == name.as_str()).await;
        assert_eq!(event["message"], told["message"], "the same words");
    }

    /// An answer over HTTP.
    async fn whep(&mut self, answer: Answer, status: u16, code: &str) {
        let problem = answer.assert_refused(status, code);
        let is_player =
            |event: &Value| event["viewer"].as_str().is_some_and(|name| name.starts_with("whep-"));
        let event = self.told(code, is_player).await;
        assert_eq!(event["message"], problem["detail"], "the same words");
    }

    /// The event of a refusal.
    async fn told(&mut self, code: &str, is_of: impl Fn(&Value) -> bool) -> Value {
        let fits =
            |event: &Value| event["type"] == "session-refused" && event["code"] == code && is_of(event);
        self.dashboard.event(code, fits).await
    }

    /// Nothing was told twice.
    async fn end(mut self) {
        self.mqtt("the last one", "bad-message").await;
        assert_eq!(self.dashboard.left("session-refused"), [&Value::Null; 0]);
        self.daemon.assert_unharmed();
    }
}

fn offer(sdp: &str) -> Vec<u8> {
    json!({"type": "offer", "session": "s", "sdp": sdp}).to_string().into_bytes()
}

fn long() -> String {
    format!("{OFFER}a=x:{}\r\n", "x".repeat(70_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_taken() {
    let Some(mut world) = World::new(|settings| settings).await else { return };
    let no_video = OFFER.replace("m=video", "m=audio");
    let no_h264 = OFFER.replace("H264/90000", "VP8/90000");
    for (payload, code) in [
        (b"hello".to_vec(), "bad-message"),
        (json!({"type": "offer", "session": "a/b", "sdp": OFFER}).to_string().into_bytes(), "bad-message"),
        (offer(&long()), "too-large"),
        (json!({"type": "offer", "sdp": OFFER, "v": 2}).to_string().into_bytes(), "unsupported-version"),
        (offer("v=0"), "bad-offer"),
        (offer(&no_video), "bad-offer"),
        (offer(&no_h264), "no-h264"),
    ] {
        world.mqtt(payload, code).await;
    }
    for (sdp, status, code) in [
        (long().as_str(), 413, "too-large"),
        ("v=0", 400, "bad-offer"),
        ("\0", 400, "bad-message"),
        (&no_video, 400, "bad-offer"),
        (&no_h264, 406, "no-h264"),
    ] {
        let answer = world.site.offer(sdp, None).await;
        world.whep(answer, status, code).await;
    }
    let answer = world.site.request("POST", "/whep", &[("Content-Type", "text/plain")], OFFER).await;
    world.whep(answer, 415, "bad-message").await;
    // A session that runs: what it offers further is told the same way, and it goes on.
    let answer = world.site.offer(OFFER, None).await;
    assert_eq!(answer.status, 201);
    let path = format!("/{}", answer.header("location"));
    let fragment = [("Content-Type", "application/trickle-ice-sdpfrag")];
    let answer = world.site.request("PATCH", &path, &fragment, &long()).await;
    world.whep(answer, 413, "too-large").await;
    let (name, mut viewer) = world.viewer().await;
    viewer.raw(offer(OFFER)).await;
    viewer.expect("answer").await;
    viewer.raw(offer(&no_h264)).await;
    viewer.refused("no-h264").await;
    world.told("no-h264", |event| event["viewer"] == name.as_str()).await;
    // A candidate whose offer never comes.
    let candidate = json!({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"});
    world.mqtt(json!({"type": "candidate", "candidate": candidate}).to_string(), "no-session").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for() {
    let Some(mut world) = World::new(|settings| settings.value("viewers.max", 1)).await else { return };
    assert_eq!(world.site.offer(OFFER, None).await.status, 201);
    world.mqtt(offer(OFFER), "busy").await;
    let answer = world.site.offer(OFFER, None).await;
    world.whep(answer, 503, "busy").await;
    assert_eq!(world.dashboard.ask("set/streaming", "OFF").await["ok"], true);
    world.mqtt(offer(OFFER), "privacy").await;
    let answer = world.site.offer(OFFER, None).await;
    world.whep(answer, 403, "privacy").await;
    let (name, mut viewer) = world.viewer().await;
    for _ in 0..40 {
        viewer.raw(offer(OFFER)).await;
    }
    world.told("rate-limited", |event| event["viewer"] == name.as_str()).await;
    let mut refused = 0;
    for _ in 0..40 {
        refused += usize::from(viewer.reply("40 refusals").await["code"] == "rate-limited");
    }
    // Some by the sessions, and those after them by what counts requests. Not each is told singly, but each is counted.
    for _ in 0..100 {
        refused += usize::from(world.site.offer(&offer_of(7), None).await.status == 429);
    }
    // What came before it has been counted by then.
    world.mqtt("the last one", "bad-message").await;
    let line = format!("porthole_sessions_refused_total{{code=\"rate-limited\"}} {refused}");
    let metrics = world.site.get("/metrics").await;
    assert!(metrics.text().contains(&line), "{line}: {}", metrics.text());
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_device_cannot_do() {
    let missing = |settings: Settings| settings.text("camera.device", "/dev/video99");
    // With an encoder its viewers would see words.
    let nothing = tempfile::tempdir().expect("a folder");
    let Some(mut world) = World::new_with(missing, without_plugins(nothing.path())).await else { return };
    world.dashboard.camera("lost").await;
    world.mqtt(offer(OFFER), "camera-unavailable").await;
    let answer = world.site.offer(OFFER, None).await;
    world.whep(answer, 503, "camera-unavailable").await;
    world.end().await;
    let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    let port = holder.local_addr().expect("an address").port();
    let one = |settings: Settings| settings.text("ice.port_range", format!("{port}-{port}"));
    let Some(mut world) = World::new(one).await else { return };
    world.mqtt(offer(OFFER), "internal").await;
    let answer = world.site.offer(OFFER, None).await;
    world.whep(answer, 503, "internal").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not() {
    let Some(mut world) = World::new(|settings| settings.text("access.mode", "grants")).await else { return };
    let deaf = grant(&world.daemon, "deaf", &["--rights", "talk"]).await;
    let brief = grant(&world.daemon, "brief", &["--expires", "1s"]).await;
    world.mqtt(offer(OFFER), "unauthorized").await;
    for token in [None, Some("wrong")] {
        let answer = world.site.offer(OFFER, token).await;
        world.whep(answer, 401, "unauthorized").await;
    }
    while !command(&world.daemon, &["grants"]).expect("a list").contains(" (") {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for (link, status, code) in [(&deaf, 403, "forbidden"), (&brief, 401, "expired")] {
        let (name, mut viewer) = world.viewer().await;
        let auth = auth(link, DEVICE, &name, "s", OFFER);
        viewer.say(json!({"type": "offer", "session": "s", "sdp": OFFER, "auth": auth})).await;
        viewer.refused(code).await;
        let event = world.told(code, |event| event["viewer"] == name.as_str()).await;
        let grant = &link.grant.as_ref().expect("a grant").0;
        assert_eq!(event["grant"], grant.as_str(), "the grant that it named");
        let token = link.grant.as_ref().expect("a grant").1.bearer();
        let answer = world.site.offer(OFFER, Some(&token)).await;
        world.whep(answer, status, code).await;
    }
    world.end().await;
}
