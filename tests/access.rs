//! Who may watch: invited viewers, uninvited ones, and a broker that changes what they say.

mod support;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use porthole::access::proof::Nonce;
use serde_json::{Value, json};

use support::daemon::{DEVICE, Daemon, Settings, porthole};

use support::invited::{Change, Hostile, World, auth, auth_with, command, grant, watch};
use support::viewer::{OFFER, Viewer, offer_of};

fn offer(session: &str, auth: &Value) -> Value {
    json!({"type": "offer", "session": session, "sdp": OFFER, "auth": auth})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_viewer_watches_and_everybody_can_see_who_it_is() {
    let Some(mut world) = World::new().await else { return };
    let link = world.grant("anna", &["--rights", "view,talk"]).await;
    let key = link.key.expect("a key").encode();
    world.dashboard.info("the key", |info| info["key"] == key && info["access"] == "grants").await;
    let port = world.broker.port();
    let watching = tokio::spawn(async move { watch(&link, port, 6).await });
    let state = world.dashboard.viewers(1).await;
    assert_eq!(state["viewers"]["sessions"][0]["grant"], "anna", "{state:#}");
    let started = world.dashboard.event("a start", |event| event["type"] == "session-started").await;
    assert_eq!(started["grant"], "anna", "{started}");
    let report = watching.await.expect("a report");
    assert_eq!((&report["connected"], &report["errors"]), (&json!(1), &json!([])), "{report}");
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 10), "{report}");
    let ended = world.dashboard.event("an end", |event| event["type"] == "session-ended").await;
    assert_eq!(ended["grant"], "anna", "{ended}");
    let listed: Value =
        serde_json::from_str(&world.command(&["grants", "--json"]).expect("a list")).expect("JSON");
    assert_eq!((&listed[0]["name"], &listed[0]["rights"]), (&json!("anna"), &json!(["view", "talk"])));
    assert!(world.command(&["grant", "anna"]).expect_err("twice").contains("already"));
    // Key and grants outlive a restart.
    world.daemon.start_again();
    world
        .daemon
        .find("it is back", |log| (log.matches("connected to the broker").count() > 1).then_some(()))
        .await;
    assert!(world.command(&["link"]).expect("a link").contains(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_invited_is_told_so_and_starts_nothing() {
    let Some(mut world) = World::new().await else { return };
    let anna = world.grant("anna", &[]).await;
    let deaf = world.grant("deaf", &["--rights", "talk"]).await;
    let gone = world.grant("gone", &[]).await;
    let brief = world.grant("brief", &["--expires", "1s"]).await;
    world.command(&["revoke", "gone"]).expect("revoked");
    world.daemon.find("all changes", |log| (log.matches("were read again").count() >= 5).then_some(())).await;
    let mut viewer = Viewer::connect(world.broker.port(), "tab").await;
    let good = auth(&anna, DEVICE, "tab", "s", OFFER);
    let mut stranger = auth(&deaf, DEVICE, "tab", "s", OFFER);
    stranger["grant"] = json!("anna");
    let sig = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = URL_SAFE_NO_PAD.decode(good["sig"].as_str().expect("a signature")).expect("base64");
        change(&mut bytes);
        let mut auth = good.clone();
        auth["sig"] = json!(URL_SAFE_NO_PAD.encode(bytes));
        auth
    };
    for (case, auth, code) in [
        ("unsigned", Value::Null, "unauthorized"),
        ("another key", stranger, "unauthorized"),
        ("for another device", auth(&anna, "other", "tab", "s", OFFER), "unauthorized"),
        ("for another viewer", auth(&anna, DEVICE, "other", "s", OFFER), "unauthorized"),
        ("for another session", auth(&anna, DEVICE, "tab", "t", OFFER), "unauthorized"),
        ("for another offer", auth(&anna, DEVICE, "tab", "s", "v=0"), "unauthorized"),
        ("cut short", sig(&|bytes| bytes.truncate(63)), "unauthorized"),
        ("malleable", sig(&|bytes| add_order(&mut bytes[32..])), "unauthorized"),
        ("revoked", auth(&gone, DEVICE, "tab", "s", OFFER), "unauthorized"),
        ("without the right", auth(&deaf, DEVICE, "tab", "s", OFFER), "forbidden"),
        ("no object", json!("anna"), "bad-message"),
    ] {
        eprintln!("{case}");
        viewer.say(offer("s", &auth)).await;
        viewer.refused(code).await;
    }
    while !world.command(&["grants"]).expect("a list").contains("(expired)") {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    viewer.say(offer("s", &auth(&brief, DEVICE, "tab", "s", OFFER))).await;
    viewer.refused("expired").await;
    let state = world.dashboard.viewers(0).await;
    assert_eq!(state["camera"]["state"], "idle", "nobody started it: {state:#}");
    assert_eq!(world.daemon.count("session granted"), 0);
    let refused = world.dashboard.event("a refusal", |event| event["code"] == "forbidden").await;
    assert_eq!((&refused["grant"], &refused["viewer"]), (&json!("deaf"), &json!("tab")), "{refused}");
    // None of it spent the good one, which is good once, and again for its own session.
    viewer.say(offer("s", &good)).await;
    let answer = viewer.expect("answer").await;
    viewer.say(offer("s", &good)).await;
    assert_eq!(viewer.expect("answer").await, answer);
    viewer.say(json!({"type": "bye", "session": "s"})).await;
    world.dashboard.event("its end", |event| event["type"] == "session-ended").await;
    viewer.say(offer("s", &good)).await;
    viewer.refused("unauthorized").await;
    world.daemon.assert_unharmed();
}

/// Adds the order of the group (RFC 8032 section 5.1), little-endian: another text for the same S.
fn add_order(s: &mut [u8]) {
    let mut order = [0_u8; 32];
    order[..16].copy_from_slice(&27_742_317_777_372_353_535_851_937_790_883_648_493_u128.to_le_bytes());
    order[31] = 0x10;
    let mut carry = 0;
    for (byte, more) in s.iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_ends_its_sessions_and_no_others() {
    let Some(mut world) = World::new().await else { return };
    let (anna, bob) = (world.grant("anna", &[]).await, world.grant("bob", &[]).await);
    let port = world.broker.port();
    let annas = tokio::spawn(async move { watch(&anna, port, 60).await });
    let bobs = tokio::spawn(async move { watch(&bob, port, 12).await });
    let both = |state: &Value| {
        let sessions = state["viewers"]["sessions"].as_array().cloned().unwrap_or_default();
        sessions.len() == 2 && sessions.iter().all(|session| session["path"].is_string())
    };
    world.dashboard.state("both watch", both).await;
    world.command(&["revoke", "anna"]).expect("revoked");
    let report = annas.await.expect("a report");
    assert_eq!(report["errors"][0]["code"], "bye", "{report}");
    assert!(report["errors"][0]["message"].as_str().is_some_and(|text| text.contains("revoked")), "{report}");
    let ended = world.dashboard.event("the end", |event| event["type"] == "session-ended").await;
    assert_eq!(ended["grant"], "anna", "{ended}");
    let report = bobs.await.expect("a report");
    assert_eq!(report["errors"], json!([]), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_runs_out_ends_its_session() {
    let Some(mut world) = World::new().await else { return };
    // Time enough to connect on a busy machine; what is waited for is the end.
    let brief = world.grant("brief", &["--expires", "10s"]).await;
    let report = watch(&brief, world.broker.port(), 90).await;
    assert_eq!((&report["connected"], &report["errors"][0]["code"]), (&json!(1), &json!("bye")), "{report}");
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 0), "{report}");
    assert!(report["errors"][0]["message"].as_str().is_some_and(|text| text.contains("expired")), "{report}");
    let ended = world.dashboard.event("the end", |event| event["type"] == "session-ended").await;
    assert_eq!(ended["grant"], "brief", "{ended}");
    assert!(ended["reason"].as_str().is_some_and(|text| text.contains("expired")), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_good_for_the_device_that_made_it() {
    let (Some(mut world), Some(other)) = (World::new().await, World::new().await) else { return };
    let (ours, theirs) = (world.grant("anna", &[]).await, other.grant("anna", &[]).await);
    let port = world.broker.port();
    let report = watch(&theirs, port, 5).await;
    assert_eq!(report["errors"][0]["code"], "unauthorized", "{report}");
    // The device would let this one in; the viewer was invited by another.
    let mixed = porthole::access::link::ViewingLink { key: theirs.key, ..ours };
    let report = watch(&mixed, port, 5).await;
    assert_eq!(
        (&report["errors"][0]["code"], &report["frames"]),
        (&json!("wrong-device"), &json!(0)),
        "{report}"
    );
    world.dashboard.viewers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_is_good_for_one_offer() {
    let Some(world) = World::new().await else { return };
    let anna = world.grant("anna", &[]).await;
    let nonce = Nonce::random().expect("random numbers");
    let mut viewer = Viewer::connect(world.broker.port(), "tab").await;
    let signed = |session: &str, sdp: &str| {
        json!({"type": "offer", "session": session, "sdp": sdp,
               "auth": auth_with(&anna, &nonce, DEVICE, "tab", session, sdp)})
    };
    viewer.say(signed("s", OFFER)).await;
    viewer.expect("answer").await;
    let other = offer_of(77);
    assert_ne!(other, OFFER);
    for (session, sdp) in [("t", OFFER), ("s", other.as_str())] {
        viewer.say(signed(session, sdp)).await;
        viewer.refused("unauthorized").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_offer_is_not_answered_after_a_restart() {
    let Some(mut world) = World::new().await else { return };
    let anna = world.grant("anna", &[]).await;
    let mut viewer = Viewer::connect(world.broker.port(), "tab").await;
    let recorded = offer("s", &auth(&anna, DEVICE, "tab", "s", OFFER));
    viewer.say(recorded.clone()).await;
    viewer.expect("answer").await;
    world.dashboard.viewers(1).await;
    // Not told to end: what it has to remember is kept already.
    world.daemon.kill();
    world.daemon.start_again();
    let online = |log: &str| (log.matches("connected to the broker").count() >= 2).then_some(());
    world.daemon.find("the daemon back at the broker", online).await;
    viewer.say(recorded).await;
    let refused = viewer.refused("unauthorized").await;
    assert!(refused["message"].as_str().is_some_and(|words| words.contains("used before")), "{refused}");
    viewer.say(offer("s", &auth(&anna, DEVICE, "tab", "s", OFFER))).await;
    viewer.expect("answer").await;
}

/// Another fingerprint, as of somebody in between.
fn swapped(mut message: Value) -> Value {
    if let Some(sdp) = message["sdp"].as_str() {
        let (before, rest) = sdp.split_once("a=fingerprint:sha-256 ").expect("a fingerprint");
        let after = rest.split_once("\r\n").expect("more lines").1;
        let fake = ["AB"; 32].join(":");
        message["sdp"] = json!(format!("{before}a=fingerprint:sha-256 {fake}\r\n{after}"));
    }
    message
}

fn is(message: &Value, kind: &str) -> bool {
    message["type"] == kind
}

/// Watches through a broker that changes things: the code of the trouble, and that nothing was seen.
async fn attacked(
    world: &World,
    link: &porthole::access::link::ViewingLink,
    as_viewer: Option<&str>,
    change: Box<Change>,
) -> String {
    let hostile = Hostile::between(world.broker.port(), as_viewer, change).await;
    let report = watch(link, hostile.viewers.port(), 5).await;
    assert_eq!((&report["connected"], &report["frames"]), (&json!(0), &json!(0)), "{report}");
    report["errors"][0]["code"].as_str().unwrap_or_else(|| panic!("no trouble: {report}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_broker_can_neither_watch_nor_pose_as_the_camera() {
    let Some(mut world) = World::new().await else { return };
    let link = world.grant("anna", &[]).await;
    // A broker that only delivers is no obstacle: what follows fails for its changes alone.
    let honest = Hostile::between(world.broker.port(), None, Box::new(|_, message| vec![message])).await;
    let report = watch(&link, honest.viewers.port(), 4).await;
    assert_eq!((&report["connected"], &report["errors"]), (&json!(1), &json!([])), "{report}");
    let change = |kind: &'static str, how: fn(Value) -> Value| -> Box<Change> {
        Box::new(move |_, message| vec![if is(&message, kind) { how(message) } else { message }])
    };
    let strip = |field: &'static str, kind: &'static str| -> Box<Change> {
        Box::new(move |_, mut message| {
            if is(&message, kind) {
                message.as_object_mut().expect("an object").remove(field);
            }
            vec![message]
        })
    };
    let both: Box<Change> = Box::new(|_, message| vec![swapped(message)]);
    let wrong_session = |mut message: Value| {
        message["session"] = json!("other");
        message
    };
    let other_key = |mut message: Value| {
        message["identity"]["key"] = json!("A".repeat(43));
        message
    };
    for (case, change, code) in [
        ("fingerprint of the offer", change("offer", swapped), "unauthorized"),
        ("fingerprint of the answer", change("answer", swapped), "wrong-device"),
        ("fingerprints of both", both, "unauthorized"),
        ("auth stripped", strip("auth", "offer"), "unauthorized"),
        ("identity stripped", strip("identity", "answer"), "wrong-device"),
        ("identity of another key", change("answer", other_key), "wrong-device"),
        ("session changed", change("offer", wrong_session), "unauthorized"),
    ] {
        eprintln!("{case}");
        assert_eq!(attacked(&world, &link, None, change).await, code, "{case}");
    }
    let pass: Box<Change> = Box::new(|_, message| vec![message]);
    assert_eq!(attacked(&world, &link, Some("somebody"), pass).await, "unauthorized", "viewer changed");
    world.dashboard.viewers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_is_worth_nothing_to_a_hostile_broker() {
    let Some(mut world) = World::new().await else { return };
    let link = world.grant("anna", &[]).await;
    // It keeps the first offer and the first answer, and gives them out in place of the later ones.
    let kept = std::sync::Arc::new(std::sync::Mutex::new((Value::Null, Value::Null)));
    let keeping = std::sync::Arc::clone(&kept);
    let recorder = Box::new(move |up: bool, message: Value| {
        let mut kept = keeping.lock().expect("no panic");
        if is(&message, "offer") || is(&message, "answer") {
            *(if up { &mut kept.0 } else { &mut kept.1 }) = message.clone();
        }
        vec![message]
    });
    let through = Hostile::between(world.broker.port(), None, recorder).await;
    let mut viewer = Viewer::connect(through.viewers.port(), "fixed").await;
    viewer.say(offer("s", &auth(&link, DEVICE, "fixed", "s", OFFER))).await;
    viewer.expect("answer").await;
    viewer.say(json!({"type": "bye", "session": "s"})).await;
    world.dashboard.event("its end", |event| event["type"] == "session-ended").await;
    let (old_offer, old_answer) = kept.lock().expect("no panic").clone();
    assert!(is(&old_offer, "offer") && is(&old_answer, "answer"));
    let mut replayed = Viewer::connect(world.broker.port(), "fixed").await;
    replayed.say(old_offer).await;
    replayed.refused("unauthorized").await;
    let stale: Box<Change> = Box::new(move |_, message| {
        if !is(&message, "answer") {
            return vec![message];
        }
        let mut stale = old_answer.clone();
        stale["session"] = message["session"].clone();
        vec![stale]
    });
    assert_eq!(attacked(&world, &link, None, stale).await, "wrong-device", "an old answer");
    world.dashboard.viewers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_out_of_order_connect_nobody_to_another() {
    let Some(mut world) = World::new().await else { return };
    let link = world.grant("anna", &[]).await;
    // The first viewer's answer goes to the second one, whose own is lost.
    let mut held: Option<Value> = None;
    let crossed: Box<Change> = Box::new(move |_, message| {
        if !is(&message, "answer") {
            return vec![message];
        }
        let Some(mut first) = held.take() else {
            held = Some(message);
            return vec![];
        };
        first["session"] = message["session"].clone();
        vec![first]
    });
    let hostile = Hostile::between(world.broker.port(), None, crossed).await;
    let port = hostile.viewers.port();
    let (one, other) = tokio::join!(watch(&link, port, 8), watch(&link, port, 8));
    let none = |report: &Value| (report["connected"] == 0 && report["frames"] == 0).then_some(());
    assert!(none(&one).and(none(&other)).is_some(), "{one}\n{other}");
    let codes = [&one, &other].map(|report| report["errors"][0]["code"].clone());
    assert!(codes.contains(&json!("wrong-device")), "{codes:?}");
    world.dashboard.viewers(0).await;

    // Candidates before their offer and before their answer do no harm: the right two meet, or nobody.
    let mut late: [Option<Value>; 2] = [None, None];
    let swapped: Box<Change> = Box::new(move |up, message| {
        let late = &mut late[usize::from(up)];
        if is(&message, "offer") || is(&message, "answer") {
            *late = Some(message);
            return vec![];
        }
        [message].into_iter().chain(late.take()).collect()
    });
    let hostile = Hostile::between(world.broker.port(), None, swapped).await;
    let report = watch(&link, hostile.viewers.port(), 6).await;
    assert_eq!((&report["connected"], &report["errors"]), (&json!(1), &json!([])), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_broker_lets_in_who_was_invited_and_nobody_else() {
    let [tcp, websocket] = support::free_ports();
    let settings = Settings::new("embedded")
        .text("broker.listen", format!("127.0.0.1:{tcp}"))
        .text("broker.websocket", format!("127.0.0.1:{websocket}"))
        .text("access.mode", "grants");
    let daemon = Daemon::run(settings);
    let connected = |log: &str| log.contains("connected to the broker").then_some(());
    daemon.find("the daemon at its own broker", connected).await;
    // The first look at encoders may take longer than the way to the broker.
    daemon.find("an encoder", |log| log.contains("encoder chosen").then_some(())).await;
    let link = grant(&daemon, "anna", &[]).await;
    let report = watch(&link, tcp, 3).await;
    assert_eq!((&report["connected"], &report["errors"]), (&json!(1), &json!([])), "{report}");

    let broker = format!("mqtt://127.0.0.1:{tcp}");
    let uninvited = tokio::task::spawn_blocking(move || {
        porthole(&["watch", "--broker", &broker, "--device", DEVICE, "--seconds", "2", "--json"]).output()
    });
    let uninvited = uninvited.await.expect("a run").expect("run porthole watch");
    let said =
        String::from_utf8_lossy(&uninvited.stdout).into_owned() + &String::from_utf8_lossy(&uninvited.stderr);
    assert!(!uninvited.status.success() && said.contains("refuses these credentials"), "{said}");

    command(&daemon, &["revoke", "anna"]).expect("revoked");
    let revoked = |log: &str| (log.matches("the grants were read again").count() == 2).then_some(());
    daemon.find("that it is revoked", revoked).await;
    let report = watch(&link, tcp, 2).await;
    assert_eq!(report["connected"], 0, "{report}");
    assert!(report["errors"][0]["message"].as_str().is_some_and(|text| text.contains("refuses")), "{report}");
}
