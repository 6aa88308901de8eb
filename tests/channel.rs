//! The data channel, spoken by a real Chromium: what a viewer is told, what it may ask, and what it cannot do to others.

mod support;

use serde_json::{Value, json};
use support::channel_page::{Offered, ask, join, page, told};
use support::daemon::{Daemon, Settings};
use support::invited;
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;

/// A page that has joined a device that asks for invitations, with a grant of these rights.
async fn joined(rights: &str) -> Option<(support::browser::Browser, invited::World)> {
    let browser = page().await?;
    let world = invited::World::new().await?;
    let link = world.grant("guest", &["--rights", rights]).await;
    let token = link.grant.expect("a grant").1.bearer();
    let whep = format!("{}whep", world.daemon.page().await);
    join(&browser, &whep, Some(&token), &Offered::default()).await;
    Some((browser, world))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_is_told_how_things_are_and_steers_what_its_grant_allows() {
    let Some((browser, mut world)) = joined("view,control").await else { return };
    browser.frames_advance(20).await;
    let camera = told(&browser, "m.type === 'camera' && m.camera.state === 'live'").await;
    assert_eq!(camera["camera"]["width"], 640, "{camera:#}");
    for _ in 0..2 {
        let stats = told(&browser, "m.type === 'stats' && m.session.bitrate > 0").await;
        let session = &stats["session"];
        assert_eq!((&session["grant"], &session["protocol"]), (&json!("guest"), &json!("udp")), "{stats:#}");
        assert!(stats["encoder"]["name"].is_string() && stats["latency"]["send"].is_object(), "{stats:#}");
        browser.run("told.length = 0; return 0").await;
    }
    let sent = browser.run("return Date.now()").await.as_u64().expect("ms");
    let pong = ask(&browser, &json!({"type": "ping", "t": 12.5})).await;
    assert_eq!((&pong["type"], &pong["t"]), (&json!("pong"), &json!(12.5)));
    assert!(pong["time"].as_u64().is_some_and(|time| time.abs_diff(sent) < 60_000), "{pong}");
    let done = ask(&browser, &json!({"type": "set", "name": "bitrate", "value": 700})).await;
    assert_eq!((&done["type"], &done["ok"]), (&json!("reply"), &json!(true)), "{done}");
    world.dashboard.state("the ceiling", |state| state["encoder"]["ceiling"] == 700_000).await;
    let done = ask(&browser, &json!({"type": "set", "name": "mirror", "value": true})).await;
    assert_eq!(done["ok"], true, "{done}");
    world.dashboard.state("a mirrored picture", |state| state["picture"]["mirror"] == true).await;
    let done = ask(&browser, &json!({"type": "do", "action": "keyframe"})).await;
    assert_eq!(done["ok"], true, "{done}");
    for (wrong, words) in [
        (json!({"type": "set", "name": "bitrate", "value": "fast"}), "kbit/s"),
        (json!({"type": "set", "name": "nothing", "value": 1}), "no such setting"),
        (json!({"type": "set", "name": "control/focus", "value": 1}), "control"),
        (json!({"type": "do", "action": "fly"}), "no such action"),
        (json!({"type": "do", "action": "snapshot"}), "snapshot"),
        (json!({"type": "sing"}), "set, do and ping"),
    ] {
        let refused = ask(&browser, &wrong).await;
        let told = refused["message"].as_str().unwrap_or_default();
        assert!(refused["ok"] == false && told.contains(words), "{wrong}: {refused}");
    }
    let refused = ask(&browser, &json!({"type": "do", "action": "snapshot"})).await;
    assert_eq!(refused["error"], "forbidden", "a picture needs a right of its own");
    browser.frames_advance(20).await;
    world.daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_watch_is_told_so_and_is_told_how_things_are() {
    let Some((browser, mut world)) = joined("view").await else { return };
    for wish in [
        json!({"type": "set", "name": "bitrate", "value": 700}),
        json!({"type": "set", "name": "streaming", "value": "OFF"}),
        json!({"type": "do", "action": "close"}),
        json!({"type": "do", "action": "snapshot"}),
    ] {
        let refused = ask(&browser, &wish).await;
        assert_eq!((&refused["ok"], &refused["error"]), (&json!(false), &json!("forbidden")), "{wish}");
        assert!(refused["message"].as_str().is_some_and(|words| words.contains("control")), "{refused}");
    }
    let stats = told(&browser, "m.type === 'stats'").await;
    assert_eq!(stats["rights"], json!(["view"]), "{stats:#}");
    assert_eq!(ask(&browser, &json!({"type": "ping", "t": null})).await["type"], "pong");
    let whole = world.dashboard.new_state("a state", |_| true).await;
    assert_eq!((&whole["streaming"], &whole["viewers"]["count"]), (&json!("ON"), &json!(1)), "{whole:#}");
    world.daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_session_needs_no_brokers_word_and_one_in_open_access_has_no_more() {
    let Some(browser) = page().await else { return };
    let Some(broker) = Mosquitto::start() else { return };
    let settings = || Settings::new(&broker.url()).text("dashboard.commands", "none");
    let wish = json!({"type": "set", "name": "bitrate", "value": 700});
    let mut signed = Daemon::run(settings().text("access.mode", "grants"));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.state("a daemon", |_| true).await;
    let token = invited::grant(&signed, "guest", &["--rights", "view,control"]).await.grant.expect("a grant");
    let whep = format!("{}whep", signed.page().await);
    join(&browser, &whep, Some(&token.1.bearer()), &Offered::default()).await;
    assert_eq!(ask(&browser, &wish).await["ok"], true);
    assert_eq!(dashboard.ask("set/bitrate", "800").await["ok"], false);
    signed.assert_unharmed();
    signed.terminate().await;
    let mut open = Daemon::run(settings());
    let whep = format!("{}whep", open.page().await);
    join(&browser, &whep, None, &Offered::default()).await;
    let refused = ask(&browser, &wish).await;
    assert!(
        refused["message"].as_str().is_some_and(|words| words.contains("dashboard.commands")),
        "{refused}"
    );
    open.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_fast_too_long_or_garbled_is_answered_and_nothing_else_suffers() {
    let Some((browser, mut world)) = joined("view,control").await else { return };
    browser.frames_advance(10).await;
    // A thousand at once: each is answered, most of them with a refusal.
    let flood = "await opened;
        const all = Array.from({ length: 1000 }, (_, n) => ask({ type: 'set', name: 'bitrate', value: 500 + n }));
        const answers = await Promise.all(all);
        return [answers.length, answers.filter((a) => a.ok).length, answers.filter((a) => a.error === 'rate-limited').length];";
    let counts = browser.run_async(flood).await;
    assert_eq!(counts[0], 1000, "{counts}");
    assert!(counts[1].as_u64().is_some_and(|done| done >= 1), "{counts}");
    assert!(counts[2].as_u64().is_some_and(|limited| limited > 500), "{counts}");
    // Its answer says what is too long; a browser does not even send it.
    let long =
        "try { channel.send('x'.repeat(10_000_000)); return 'sent' } catch (error) { return error.name }";
    assert_eq!(browser.run(long).await, "TypeError");
    let garbled = "told.length = 0;
        channel.send('{'); channel.send(new Uint8Array([1, 2, 3])); channel.send('[]'); channel.send('\"\\ud800\"');
        const is = (m) => m.type === 'reply' && m.error === 'bad-message';
        await tell(() => told.filter(is).length === 4); return told.filter(is).map((m) => m.message)";
    let words = browser.run_async(garbled).await;
    assert_eq!(words.as_array().map(Vec::len), Some(4), "{words}");
    browser.frames_advance(20).await;
    assert_eq!(ask(&browser, &json!({"type": "ping", "t": 1})).await["type"], "pong");
    world.daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_of_other_names_or_kinds_are_closed_and_the_picture_goes_on() {
    let Some(browser) = page().await else { return };
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    let whep = format!("{}whep", daemon.page().await);
    for (label, options) in [
        ("other", json!({})),
        ("porthole", json!({"ordered": false})),
        ("porthole", json!({"maxRetransmits": 0})),
    ] {
        join(&browser, &whep, None, &Offered { label, options, is_first: false }).await;
        browser.run_async("await closed; return 0").await;
        browser.frames_advance(10).await;
        browser.run_async("await fetch(resource, { method: 'DELETE' }); pc.close(); return 0").await;
    }
    // One that opens nothing else is no viewer.
    join(&browser, &whep, None, &Offered::default()).await;
    let many =
        "await opened; for (let n = 0; n < 100; n += 1) pc.createDataChannel('more'); await closed; return 0";
    browser.run_async(many).await;
    daemon.logged("one data channel after the other").await;
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_offered_before_the_picture_carries_both() {
    let Some(browser) = page().await else { return };
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    let whep = format!("{}whep", daemon.page().await);
    let offered = Offered { is_first: true, ..Offered::default() };
    let answer = join(&browser, &whep, None, &offered).await;
    assert!(answer.contains("a=sctp-port:5000"), "{answer}");
    browser.frames_advance(20).await;
    assert_eq!(ask(&browser, &json!({"type": "ping", "t": 1})).await["type"], "pong");
    let info = dashboard.info("features", |info| info["features"].is_array()).await;
    let features: Vec<&Value> = info["features"].as_array().into_iter().flatten().collect();
    assert!(features.contains(&&json!("channel")), "{info:#}");
    // It may be closed and opened anew over the same connection.
    let anew = "channel.close(); await closed;
        const next = pc.createDataChannel('porthole');
        return await new Promise((done) => {
            next.onmessage = (event) => { const m = JSON.parse(event.data); if (m.type === 'pong') done(m); };
            next.onopen = () => next.send(JSON.stringify({ type: 'ping', t: 2 }));
        })";
    assert_eq!(browser.run_async(anew).await["t"], 2);
    browser.run("pc.close(); return 0").await;
    dashboard.viewers(0).await;
    daemon.assert_unharmed();
    browser.close().await;
}
