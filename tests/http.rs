//! What programs ask over HTTP: figures, health, state and pictures, and what comes of nonsense.

mod support;

use serde_json::{Value, json};
use support::daemon::{Daemon, Settings};
use support::http::Site;
use support::invited;
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct World {
    dashboard: Dashboard,
    site: Site,
    daemon: Daemon,
    _broker: Mosquitto,
}

async fn world(settings: impl Fn(Settings) -> Settings) -> Option<World> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(settings(Settings::new(&broker.url()).value("video.linger_s", 1)));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let site = Site::of(&daemon.page().await);
    Some(World { dashboard, site, daemon, _broker: broker })
}

/// The number in one line of figures.
fn figure<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_good_for_prometheus() {
    let Some(mut world) = world(|settings| settings).await else { return };
    assert_eq!(world.site.offer("nonsense", None).await.status, 400);
    assert_eq!(world.site.offer(OFFER, None).await.status, 201);
    world.dashboard.camera("live").await;

    let asked = [("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")];
    let open = world.site.request("GET", "/metrics", &asked, "").await;
    assert_eq!(open.status, 200);
    assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let text = open.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(figure(&text, "porthole_viewers"), "1");
    assert_eq!(figure(&text, "porthole_sessions_started_total"), "1");
    assert_eq!(figure(&text, "porthole_sessions_refused_total{code=\"bad-offer\"}"), "1");
    assert_eq!(figure(&text, "porthole_camera_state{state=\"live\"}"), "1");
    assert_eq!(figure(&text, "porthole_mqtt_connected"), "1");
    for (name, least) in [
        ("porthole_frames_total", 1),
        ("porthole_encoded_bytes_total", 100),
        ("process_resident_memory_bytes", 1_000_000),
    ] {
        assert!(figure(&text, name).parse::<u64>().is_ok_and(|number| number >= least), "{name}: {text}");
    }

    let plain = world.site.get("/metrics").await;
    assert!(plain.header("content-type").starts_with("text/plain; version=0.0.4"), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_state_are_told() {
    let Some(mut world) = world(|settings| settings.value("viewers.max", 3)).await else { return };
    let health = world.site.get("/healthz").await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    assert_eq!(world.site.request("HEAD", "/healthz", &[], "").await.status, 200);
    let state = world.site.get("/api/state").await;
    assert_eq!((state.status, state.header("content-type")), (200, "application/json"));
    let (state, told) = (state.json(), world.dashboard.state("any", |_| true).await);
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&state), keys(&told), "the same document as over MQTT");
    assert_eq!((&state["streaming"], &state["viewers"]["max"]), (&json!("ON"), &json!(3)), "{state:#}");
}

/// Whatever the camera does meanwhile, and whatever was told a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn the_switch_is_told_at_once_and_the_same_everywhere() {
    let Some(mut world) = world(|settings| settings).await else { return };
    for (turn, camera) in [("OFF", "off"), ("ON", "idle"), ("OFF", "off")] {
        let before = world.site.get("/api/state").await.json();
        assert_ne!(before["streaming"], turn, "{before:#}");
        assert_eq!(world.dashboard.ask("set/streaming", turn).await["ok"], true);
        let told = world.site.get("/api/state").await.json();
        assert_eq!(told["streaming"], turn, "{told:#}");
        let fits = |state: &Value| state["streaming"] == turn && state["camera"]["state"] == camera;
        world.dashboard.state("the camera's end or beginning", fits).await;
        let told = world.site.get("/api/state").await.json();
        assert!(fits(&told), "{told:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_one_policy_and_may_be_framed() {
    let Some(world) = world(|settings| settings).await else { return };
    let page = world.site.get("/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains('\n'), "{policy}");
    assert!(!page.text().contains("http-equiv=\"Content-Security-Policy\""), "a second policy");
    // Dashboards of any origin show it in an iframe (docs/dashboards).
    assert!(!policy.contains("frame-ancestors"), "{policy}");
    assert_eq!(page.header("x-frame-options"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_origin_may_import_the_element_and_its_card_and_nothing_else() {
    let Some(world) = world(|settings| settings).await else { return };
    for path in ["/porthole-camera.js", "/porthole-card.js"] {
        let module = world.site.get(path).await;
        assert_eq!((module.status, module.header("access-control-allow-origin")), (200, "*"), "{path}");
        assert_eq!(module.header("content-type"), "text/javascript", "{path}");
        assert_eq!((module.header("cache-control"), module.header("etag").is_empty()), ("no-cache", false));
    }
    for path in ["/", "/app.js", "/viewer.json"] {
        assert_eq!(world.site.get(path).await.header("access-control-allow-origin"), "", "{path}");
    }
}

/// The size that a JPEG says it has, if it is whole.
fn jpeg_size(bytes: &[u8]) -> Option<(u16, u16)> {
    if !bytes.starts_with(&[0xff, 0xd8, 0xff]) || !bytes.ends_with(&[0xff, 0xd9]) {
        return None;
    }
    let mut at = 2;
    loop {
        let [0xff, kind, high, low] = *bytes.get(at..at + 4)?.first_chunk()? else { return None };
        if (0xc0..=0xc3).contains(&kind) {
            let size: [u8; 4] = *bytes.get(at + 5..at + 9)?.first_chunk()?;
            return Some((u16::from_be_bytes([size[2], size[3]]), u16::from_be_bytes([size[0], size[1]])));
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_a_picture_of_bounded_rate() {
    let Some(mut world) = world(|settings| settings).await else { return };
    let picture = world.site.get("/snapshot.jpg?_=1").await;
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/jpeg"), "{picture:?}");
    assert_eq!(picture.header("cache-control"), "no-store");
    assert_eq!(jpeg_size(&picture.body), Some((640, 480)));
    let small = world.site.get("/snapshot.jpg?width=160").await;
    assert_eq!(jpeg_size(&small.body), Some((160, 120)), "{small:?}");
    world.site.get("/snapshot.jpg?width=0").await.assert_refused(400, "bad-message");
    world.site.get("/snapshot.jpg?width=1e9").await.assert_refused(400, "bad-message");
    world.dashboard.camera("idle").await;

    world.dashboard.ask("set/streaming", "OFF").await;
    world.site.get("/snapshot.jpg").await.assert_refused(403, "privacy");
    // Refusals are cheap, and counted all the same.
    let mut limited = None;
    for _ in 0..200 {
        let answer = world.site.get("/snapshot.jpg").await;
        if answer.status != 403 {
            limited = Some(answer);
            break;
        }
    }
    limited.expect("a limit").assert_refused(429, "rate-limited");
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_grants_only_the_health_is_for_everybody() {
    let Some(world) = invited::World::new().await else { return };
    let site = Site::of(&world.daemon.page().await);
    assert_eq!(site.get("/healthz").await.status, 200);
    let viewer = world.grant("viewer", &["--rights", "view"]).await;
    let bearer = format!("Bearer {}", viewer.grant.as_ref().expect("a grant").1.bearer());
    let bearer = [("Authorization", bearer.as_str())];
    for path in ["/metrics", "/api/state", "/snapshot.jpg"] {
        site.get(path).await.assert_refused(401, "unauthorized");
        site.request("GET", path, &[("Authorization", "Bearer x")], "")
            .await
            .assert_refused(401, "unauthorized");
    }
    for path in ["/metrics", "/api/state"] {
        assert_eq!(site.request("GET", path, &bearer, "").await.status, 200, "{path}");
    }
    site.request("GET", "/snapshot.jpg", &bearer, "").await.assert_refused(403, "forbidden");
    // A program's own, as its owner gets it.
    let before = world.daemon.count("the grants were read again");
    let printed = world.command(&["grant", "prometheus", "--token"]).expect("a token");
    let again = |log: &str| (log.matches("the grants were read again").count() > before).then_some(());
    world.daemon.find("the new grant", again).await;
    let bearer = format!("Bearer {}", printed.trim());
    let figures = site.request("GET", "/metrics", &[("Authorization", &bearer)], "").await;
    assert_eq!((figures.status, printed.lines().count()), (200, 1), "{printed}");
    let taker = world.grant("taker", &["--rights", "snapshot"]).await;
    let bearer = format!("Bearer {}", taker.grant.as_ref().expect("a grant").1.bearer());
    let picture = site.request("GET", "/snapshot.jpg", &[("Authorization", &bearer)], "").await;
    assert!(jpeg_size(&picture.body).is_some(), "{picture:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_can_be_switched_off() {
    let Some(world) = world(|settings| settings.value("http.metrics", false)).await else { return };
    assert_ne!(world.site.get("/metrics").await.status, 200);
    assert_eq!(world.site.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_and_ends_nothing() {
    let Some(mut world) = world(|settings| settings).await else { return };
    let site = &world.site;
    let long = "a".repeat(100_000);
    let whep =
        |more: &str| format!("POST /whep HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n{more}");
    for bytes in [
        "\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(3000)),
        "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /%2e%2e/%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /viewer.json HTTP/1.1\r\nHost: \u{7f}\u{ff}\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: \u{ff}\r\nConnection: close\r\n\r\n".to_owned(),
        whep("Content-Length: 99999999999999999999\r\n\r\nv=0"),
        whep("Content-Length: -1\r\n\r\nv=0"),
        whep("Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nFFFFFFFFFFFFFFFFF\r\nv=0"),
        whep("Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\nv=0\r\n0\r\n\r\n"),
        whep("Content-Length: 4\r\nConnection: close\r\n\r\nv=0\u{0}"),
        whep("Authorization: Bearer \u{ff}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nv=0"),
    ] {
        let answer = site.raw(bytes.as_bytes()).await;
        let status = support::http::Answer::parse(&answer).map(|answer| answer.status);
        // 503: a binary that was built without its page.
        let fits = status.is_none_or(|status| (400..500).contains(&status) || [200, 503].contains(&status));
        assert!(fits, "{status:?} to {:?}", bytes.chars().take(100).collect::<String>());
    }
    let mut not_text = whep("Content-Length: 4\r\nConnection: close\r\n\r\n").into_bytes();
    not_text.extend([0xff, 0xfe, 0x80, 0xc0]);
    let answer = support::http::Answer::parse(&site.raw(&not_text).await).expect("an answer");
    answer.assert_refused(400, "bad-message");
    // A body that is longer than it may be is refused before it has come.
    let huge = whep(&format!("Content-Length: {}\r\n\r\n{}", 1 << 30, "x".repeat(70_000)));
    let answer = support::http::Answer::parse(&site.raw(huge.as_bytes()).await).expect("an answer");
    answer.assert_refused(413, "too-large");
    for path in [
        "/whep/",
        "/whep/%00",
        "/whep/../whep/x",
        &format!("/whep/{}", "a".repeat(5000)),
        "/api",
        "/api/state/x",
    ] {
        let status = site.request("DELETE", path, &[], "").await.status;
        assert!((400..500).contains(&status) || status == 503, "{path}: {status}");
    }
    for path in ["/metrics", "/healthz", "/api/state", "/snapshot.jpg"] {
        assert_eq!(site.request("POST", path, &[], "x").await.status, 405, "{path}");
    }
    world.daemon.assert_unharmed();
    world.dashboard.viewers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_crowds_do_not_lock_others_out() {
    let Some(mut world) = world(|settings| settings).await else { return };
    // Connections that say nothing, or half of something; this machine may have all of them.
    let mut silent = Vec::new();
    for n in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(&world.site.0).await.expect("a connection");
        if n % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost").await.expect("written");
        }
        silent.push(stream);
    }
    assert_eq!(world.site.get("/healthz").await.status, 200, "there is room for others");
    // Nobody waits for them for ever.
    for mut stream in silent {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(support::PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a silent connection stays open");
    }
    assert_eq!(world.site.get("/healthz").await.status, 200);
    world.daemon.assert_unharmed();
}
