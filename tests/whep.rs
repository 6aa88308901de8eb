//! WHEP of the real daemon, spoken by hand: sessions over HTTP, and a refusal with its status for everything else.

mod support;

use serde_json::{Value, json};
use support::daemon::{Daemon, Settings};
use support::http::{Answer, Site, behind_prefix};
use support::invited;
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER, Viewer, offer_of};

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// A fragment for the session at `path`.
async fn patch(site: &Site, path: &str, headers: &[(&str, &str)], fragment: &str) -> Answer {
    site.request("PATCH", path, &[headers, &[("Content-Type", FRAGMENT)]].concat(), fragment).await
}

struct World {
    dashboard: Dashboard,
    site: Site,
    daemon: Daemon,
    broker: Mosquitto,
}

async fn world(settings: impl Fn(Settings) -> Settings) -> Option<World> {
    let broker = Mosquitto::start()?;
    let daemon = Daemon::run(settings(Settings::new(&broker.url()).value("video.linger_s", 1)));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    dashboard.camera("idle").await;
    let site = Site::of(&daemon.page().await);
    Some(World { dashboard, site, daemon, broker })
}

/// Asserts a session that came about, and gives its path.
fn created(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), "application/sdp");
    assert!(answer.header("etag").starts_with('"'), "{answer:?}");
    let sdp = answer.text();
    assert!(sdp.starts_with("v=0") && sdp.contains("a=sendonly") && sdp.contains(" H264/90000"), "{sdp}");
    assert!(sdp.contains("a=candidate:") && sdp.contains("a=end-of-candidates"), "all at once: {sdp}");
    let location = answer.header("location");
    assert!(location.starts_with("whep/") && location.len() >= "whep/".len() + 22, "{location}");
    resolved("http://camera/whep", location).strip_prefix("http://camera").expect("the same site").to_owned()
}

/// A reference as every client has to read it (RFC 3986 section 5, RFC 9110 section 10.2.2).
fn resolved(base: &str, reference: &str) -> String {
    url::Url::parse(base).expect("a URL").join(reference).expect("a reference").to_string()
}

fn sessions(state: &Value) -> &[Value] {
    state["viewers"]["sessions"].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_makes_a_session_and_delete_ends_it() {
    let Some(mut world) = world(|settings| settings).await else { return };
    let path = created(&world.site.offer(OFFER, None).await);
    let state = world.dashboard.viewers(1).await;
    let viewer = sessions(&state)[0]["viewer"].as_str().expect("a name").to_owned();
    assert!(
        viewer.starts_with("whep-") && !path.contains(&viewer[5..]),
        "the name tells the secret: {viewer}"
    );
    let started = world.dashboard.event("its start", |event| event["type"] == "session-started").await;
    assert_eq!(started["viewer"], viewer.as_str(), "{started}");

    // Nobody on the broker can end or take over what came over HTTP, though its name is known there.
    let mut other = Viewer::connect(world.broker.port(), &viewer).await;
    for message in [json!({"type": "bye"}), json!({"type": "offer", "sdp": OFFER})] {
        other.say(message).await;
        other.refused("no-session").await;
    }
    world.dashboard.new_state("the same session", |state| sessions(state).len() == 1).await;

    assert_eq!(world.site.request("DELETE", &path, &[], "").await.status, 200);
    let ended = world.dashboard.event("its end", |event| event["type"] == "session-ended").await;
    assert_eq!(ended["viewer"], viewer.as_str(), "{ended}");
    world.dashboard.viewers(0).await;
    world.site.request("DELETE", &path, &[], "").await.assert_refused(404, "no-session");
    world.dashboard.camera("idle").await;
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_status_and_code() {
    let Some(mut world) = world(|settings| settings.value("viewers.max", 1)).await else { return };
    let site = world.site.clone();
    site.offer("hello", None).await.assert_refused(400, "bad-offer");
    site.offer("v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\n", None).await.assert_refused(400, "bad-offer");
    site.offer(&OFFER.replace("H264", "H265"), None).await.assert_refused(406, "no-h264");
    site.offer(&format!("{OFFER}{}", "a=x\r\n".repeat(20_000)), None).await.assert_refused(413, "too-large");
    site.request("POST", "/whep", &[("Content-Type", "text/plain")], OFFER)
        .await
        .assert_refused(415, "bad-message");
    site.request("POST", "/whep", &[], "").await.assert_refused(415, "bad-message");
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH"] {
        let answer = site.request(method, "/whep", &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "OPTIONS, POST"), "{method}");
    }
    let unknown = "/whep/AAAAAAAAAAAAAAAAAAAAAA";
    site.request("DELETE", unknown, &[], "").await.assert_refused(404, "no-session");
    assert_eq!(site.get(unknown).await.status, 405);

    let path = created(&site.offer(OFFER, None).await);
    let busy = site.offer(&offer_of(7), None).await;
    let problem = busy.assert_refused(503, "busy");
    assert_eq!(busy.header("retry-after"), problem["retryAfter"].to_string());
    assert_eq!(site.request("DELETE", &path, &[], "").await.status, 200);
    world.dashboard.viewers(0).await;

    world.dashboard.ask("set/streaming", "OFF").await;
    site.offer(OFFER, None).await.assert_refused(403, "privacy");
    // One host has twenty offers at once; nine of them are used up.
    let mut refused = None;
    for _ in 0..60 {
        let answer = site.offer(OFFER, None).await;
        if answer.status != 403 {
            refused = Some(answer);
            break;
        }
    }
    let limited = refused.expect("a limit");
    limited.assert_refused(429, "rate-limited");
    assert!(limited.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{limited:?}");
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_may_play() {
    let servers = "[{ urls = [\"stun:192.0.2.9:3478\"] }, { urls = [\"turn:192.0.2.9:3478\"], username = \"u\", credential_file = \"CREDENTIAL\" }]";
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "swordfish").expect("write");
    let servers = servers.replace("CREDENTIAL", secret.path().to_str().expect("UTF-8"));
    let Some(world) = world(|settings| settings.value("ice.servers", &servers)).await else { return };
    let asked = world.site.request("OPTIONS", "/whep", &[("Origin", "https://example.org")], "").await;
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, "*"));
    assert!(asked.header("access-control-allow-methods").contains("DELETE"), "{asked:?}");
    assert!(asked.header("access-control-allow-headers").contains("Authorization"), "{asked:?}");
    assert_eq!(asked.header("accept-post"), "application/sdp");
    // Here everybody would get them with an answer, so they are told at once: some players ask for them by OPTIONS alone.
    let early = asked.header("link").to_owned();
    // The servers cannot be reached, and the answer comes all the same.
    let answer = world.site.offer(OFFER, None).await;
    created(&answer);
    assert!(answer.header("access-control-expose-headers").contains("Location"), "{answer:?}");
    let links: Vec<&str> = answer.header("link").lines().collect();
    assert_eq!(links.len(), 2, "{answer:?}");
    assert!(links[1].contains("username=\"u\"; credential=\"swordfish\""), "{links:?}");
    assert_eq!(early, answer.header("link"));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_told_to_whoever_may_watch_and_passwords_to_nobody_else() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "swordfish").expect("write");
    let servers = format!(
        "[{{ urls = [\"stun:192.0.2.9:3478\"] }}, {{ urls = [\"turn:192.0.2.9:3478\"], username = \"u\", credential_file = {:?} }}]",
        secret.path()
    );
    let with = |settings: Settings| settings.value("ice.servers", &servers).text("access.mode", "grants");
    let Some(world) = world(with).await else { return };
    let token = |link: &porthole::access::link::ViewingLink| link.grant.as_ref().expect("a grant").1.bearer();
    let anna = token(&invited::grant(&world.daemon, "anna", &[]).await);
    let deaf = token(&invited::grant(&world.daemon, "deaf", &["--rights", "snapshot"]).await);
    let links = async |token: Option<&str>| {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> =
            bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let asked = world.site.request("OPTIONS", "/whep", &headers, "").await;
        assert_eq!(asked.status, 204, "{asked:?}");
        asked.header("link").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = links(Some(&anna)).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[1].contains("credential=\"swordfish\""), "{all:?}");
    // A preflight of a browser bears no token.
    for token in [None, Some("AAAA"), Some(deaf.as_str())] {
        assert_eq!(links(token).await, ["<stun:192.0.2.9:3478>; rel=\"ice-server\""], "{token:?}");
    }
    assert_eq!(world.site.offer(OFFER, Some(&anna)).await.header("link").lines().collect::<Vec<_>>(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_takes_a_prefix_away_a_session_is_steered_and_ended() {
    let Some(mut world) = world(|settings| settings).await else { return };
    let front = behind_prefix(&world.site).await;
    let endpoint = format!("http://{}/front/whep", front.0);
    let headers = [("Content-Type", "application/sdp")];
    let answer = front.request("POST", "/front/whep", &headers, OFFER).await;
    created(&answer);
    let session = resolved(&endpoint, answer.header("location"));
    let path = session.strip_prefix(&format!("http://{}", front.0)).expect("the same site");
    assert!(path.starts_with("/front/whep/"), "{path}");
    world.dashboard.viewers(1).await;
    let more = patch(&front, path, &[("If-Match", answer.header("etag"))], "a=end-of-candidates").await;
    assert_eq!(more.status, 204, "{more:?}");
    assert_eq!(front.request("OPTIONS", path, &[], "").await.status, 204);
    assert_eq!(front.request("DELETE", path, &[], "").await.status, 200);
    world.dashboard.viewers(0).await;
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_and_its_end_closes() {
    let Some(mut world) = invited::World::new().await else { return };
    let site = Site::of(&world.daemon.page().await);
    world.dashboard.camera("idle").await;
    let token = |link: &porthole::access::link::ViewingLink| link.grant.as_ref().expect("a grant").1.bearer();
    let anna = token(&world.grant("anna", &[]).await);
    let deaf = token(&world.grant("deaf", &["--rights", "snapshot"]).await);
    let other = token(&world.grant("other", &[]).await);

    let refused = site.offer(OFFER, None).await;
    refused.assert_refused(401, "unauthorized");
    assert!(refused.header("www-authenticate").starts_with("Bearer"), "{refused:?}");
    site.offer(OFFER, Some("AAAA")).await.assert_refused(401, "unauthorized");
    site.offer(OFFER, Some(&deaf)).await.assert_refused(403, "forbidden");

    let path = created(&site.offer(OFFER, Some(&anna)).await);
    let state = world.dashboard.viewers(1).await;
    assert_eq!(sessions(&state)[0]["grant"], "anna", "{state:#}");
    // Players that say no token after their offer are known by the session's secret URL; a wrong token is refused.
    for wrong in [
        format!("Bearer {other}"),
        format!("Bearer {deaf}"),
        "Bearer".into(),
        "Digest x".into(),
        String::new(),
    ] {
        let shown = [("Authorization", wrong.as_str())];
        site.request("DELETE", &path, &shown, "").await.assert_refused(401, "unauthorized");
        patch(&site, &path, &shown, "a=end-of-candidates").await.assert_refused(401, "unauthorized");
    }
    let restart = "a=ice-ufrag:newu\r\na=ice-pwd:0123456789abcdefghijklmn\r\n";
    for shown in [vec![], vec![("Authorization", format!("Bearer {anna}"))]] {
        let shown: Vec<(&str, &str)> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(patch(&site, &path, &shown, "a=end-of-candidates").await.status, 204);
        let restarted = patch(&site, &path, &[&shown[..], &[("If-Match", "*")]].concat(), restart).await;
        assert!([200, 204].contains(&restarted.status), "{restarted:?}");
    }
    let state = world.dashboard.viewers(1).await;
    assert_eq!(sessions(&state)[0]["grant"], "anna", "{state:#}");
    assert_eq!(site.request("DELETE", &path, &[], "").await.status, 200);
    world.dashboard.viewers(0).await;
    let path = created(&site.offer(OFFER, Some(&anna)).await);
    world.dashboard.viewers(1).await;
    world.command(&["revoke", "anna"]).expect("revoked");
    world.dashboard.viewers(0).await;
    let bearer = format!("Bearer {anna}");
    let late = site.request("DELETE", &path, &[("Authorization", &bearer)], "").await;
    late.assert_refused(404, "no-session");
    site.offer(OFFER, Some(&anna)).await.assert_refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_hangs_up_leaves_nothing() {
    let Some(mut world) = world(|settings| settings).await else { return };
    let request = format!(
        "POST /whep HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{OFFER}",
        OFFER.len()
    );
    let mut stream = tokio::net::TcpStream::connect(&world.site.0).await.expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("written");
    world.dashboard.event("its start", |event| event["type"] == "session-started").await;
    drop(stream);
    world.dashboard.event("its end", |event| event["type"] == "session-ended").await;
    world.dashboard.viewers(0).await;
    created(&world.site.offer(OFFER, None).await);
    world.daemon.assert_unharmed();
}

/// The value of an SDP attribute.
fn attribute(sdp: &str, name: &str) -> String {
    let line = sdp.lines().find_map(|line| line.strip_prefix(&format!("a={name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {sdp}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_trickle_in_and_are_used() {
    let Some(mut world) = world(|settings| settings).await else { return };
    let socket = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket");
    let offer =
        OFFER.lines().filter(|line| !line.starts_with("a=candidate")).collect::<Vec<_>>().join("\r\n")
            + "\r\n";
    let answer = world.site.offer(&offer, None).await;
    let path = created(&answer);
    assert_eq!(answer.header("accept-patch"), FRAGMENT);
    let port = socket.local_addr().expect("an address").port();
    let ufrag = attribute(&offer, "ice-ufrag");
    let fragment = format!(
        "a=ice-ufrag:{ufrag}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2122194687 {} {port} typ host\r\na=end-of-candidates\r\n",
        socket.local_addr().expect("an address").ip()
    );
    let etag = answer.header("etag").to_owned();
    let patched = patch(&world.site, &path, &[("If-Match", &etag)], &fragment).await;
    assert_eq!((patched.status, patched.body.len()), (204, 0), "{patched:?}");
    world.dashboard.viewers(1).await;
    // The same without `If-Match`, as many players send it.
    assert_eq!(patch(&world.site, &path, &[], &fragment).await.status, 204);

    let stale = patch(&world.site, &path, &[("If-Match", "\"other\"")], &fragment).await;
    stale.assert_refused(412, "bad-message");
    for nonsense in ["", "hello", "a=ice-ufrag:x", "a=ice-ufrag:otherone"] {
        patch(&world.site, &path, &[("If-Match", &etag)], nonsense).await.assert_refused(400, "bad-message");
    }
    let wrong = world.site.request("PATCH", &path, &[("Content-Type", "application/sdp")], &fragment).await;
    wrong.assert_refused(415, "bad-message");
    patch(&world.site, "/whep/unknown", &[], &fragment).await.assert_refused(404, "no-session");
    let asked = world.site.request("OPTIONS", &path, &[], "").await;
    assert_eq!((asked.status, asked.header("allow")), (204, "OPTIONS, PATCH, DELETE"));
    assert_eq!(world.site.request("DELETE", &path, &[], "").await.status, 200);
    world.dashboard.viewers(0).await;
    patch(&world.site, &path, &[("If-Match", &etag)], &fragment).await.assert_refused(404, "no-session");
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_restarts_within_the_session() {
    let Some(mut world) = world(|settings| settings).await else { return };
    let answer = world.site.offer(OFFER, None).await;
    let path = created(&answer);
    let first = answer.text();
    let before = world.dashboard.viewers(1).await;
    let fragment = "a=ice-ufrag:newu\r\na=ice-pwd:0123456789abcdefghijklmn\r\n";
    patch(&world.site, &path, &[], fragment).await.assert_refused(428, "bad-message");
    patch(&world.site, &path, &[("If-Match", "\"other\"")], fragment)
        .await
        .assert_refused(412, "bad-message");
    let restarted = patch(&world.site, &path, &[("If-Match", "*")], fragment).await;
    assert_eq!((restarted.status, restarted.header("content-type")), (200, FRAGMENT), "{restarted:?}");
    assert_ne!(restarted.header("etag"), answer.header("etag"));
    let second = restarted.text();
    assert_ne!(attribute(&first, "ice-ufrag"), attribute(&second, "ice-ufrag"), "{second}");
    assert!(!attribute(&second, "ice-pwd").is_empty() && second.contains("a=candidate:"), "{second}");
    // The same session as before, and its former generation is over.
    let after = world.dashboard.new_state("one session", |state| sessions(state).len() == 1).await;
    assert_eq!(sessions(&before)[0]["viewer"], sessions(&after)[0]["viewer"]);
    let old = format!("a=ice-ufrag:{}\r\na=end-of-candidates\r\n", attribute(OFFER, "ice-ufrag"));
    let stale = patch(&world.site, &path, &[("If-Match", answer.header("etag"))], &old).await;
    assert!([400, 412].contains(&stale.status), "{stale:?}");
    let more =
        patch(&world.site, &path, &[("If-Match", restarted.header("etag"))], "a=end-of-candidates").await;
    assert_eq!(more.status, 204);
    world.daemon.assert_unharmed();
}
