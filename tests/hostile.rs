//! Nothing that a client sends stops the daemon, leaves a session behind or costs it its broker.

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::client::Client;
use support::daemon::{DEVICE, Daemon, Settings, Usage, porthole};
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER, Viewer, offer_of};

/// Changing it changes which bytes are flipped, nothing else.
const SEED: u64 = 20_261_123;
/// How many mutated offers there are.
const MUTANTS: usize = 240;

struct World {
    broker: Mosquitto,
    daemon: Daemon,
    dashboard: Dashboard,
    /// After the first viewer, so that everything that is made once is there.
    before: Usage,
}

/// A daemon that has served its first viewer.
async fn world() -> Option<World> {
    let broker = Mosquitto::start()?;
    let settings = Settings::new(&broker.url()).value("video.linger_s", 0).value("viewers.max", 50);
    let daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let mut world = World { before: daemon.usage(), broker, daemon, dashboard };
    world.a_good_viewer_gets_video().await;
    world.settled().await;
    world.before = world.daemon.usage();
    Some(world)
}

impl World {
    async fn a_good_viewer_gets_video(&self) {
        let url = self.broker.url();
        let command = porthole(&["watch", "--broker", &url, "--device", DEVICE, "--seconds", "2", "--json"]);
        let output = tokio::process::Command::from(command).output().await.expect("run porthole watch");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    async fn settled(&mut self) {
        self.dashboard
            .new_state("nobody there", |state| {
                state["viewers"]["count"] == 0 && state["camera"]["state"] == "idle"
            })
            .await;
    }

    /// Everything is as before: sessions, files, threads, and the connection to the broker.
    async fn assert_nothing_is_left(mut self) {
        // Confirmed, so that it cannot end the good viewer that comes next.
        self.dashboard.ask("do/close", "").await;
        self.settled().await;
        self.a_good_viewer_gets_video().await;
        self.settled().await;
        let (before, now) = (self.before, self.daemon.usage());
        assert!(now.files <= before.files + 2, "open files: {before:?} became {now:?}");
        assert!(now.threads <= before.threads + 4, "threads: {before:?} became {now:?}");
        self.daemon.assert_unharmed();
        assert_eq!(self.daemon.count("connected to the broker"), 1, "it had to connect again");
        let log = self.broker.log();
        let lines = log.lines().filter(|line| line.contains(&format!("Client {DEVICE} ")));
        let bad: Vec<&str> = lines.filter(|line| !line.contains("connected")).collect();
        assert!(bad.is_empty(), "the broker's own view: {bad:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_every_wrong_shape() {
    let Some(world) = world().await else { return };
    let mut viewer = Viewer::connect(world.broker.port(), "rude").await;
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut payloads: Vec<Vec<u8>> = [
        "",
        " ",
        "\0",
        "{",
        "}",
        "[]",
        "null",
        "true",
        "0",
        "1e999",
        "\"offer\"",
        "{}",
        "{\"type\":null}",
        "{\"type\":[]}",
        "{\"type\":\"offer\",\"sdp\":{}}",
        "{\"type\":\"offer\",\"sdp\":[\"v=0\"]}",
        "{\"type\":\"offer\",\"sdp\":\"v=0\\u0000\"}",
        "{\"type\":\"offer\",\"sdp\":\"\"}",
        "{\"type\":\"offer\",\"sdp\":\"\\ud800\"}",
        "{\"type\":\"offer\",\"session\":{},\"sdp\":\"\"}",
        "{\"type\":\"offer\",\"session\":\"a/b\",\"sdp\":\"\"}",
        "{\"type\":\"offer\",\"session\":\"+\",\"sdp\":\"\"}",
        "{\"type\":\"offer\",\"session\":\"#\",\"sdp\":\"\"}",
        "{\"type\":\"offer\",\"session\":\"\",\"sdp\":\"\"}",
        "{\"type\":\"candidate\"}",
        "{\"type\":\"candidate\",\"candidate\":7}",
        "{\"type\":\"candidate\",\"candidate\":{\"candidate\":\"x\",\"sdpMLineIndex\":-1}}",
        "{\"type\":\"answer\",\"sdp\":\"v=0\"}",
        "{\"type\":\"error\",\"code\":\"busy\"}",
        "{\"type\":\"bye\",\"reason\":7}",
        "{\"v\":\"one\",\"type\":\"bye\"}",
        "{\"v\":-1,\"type\":\"bye\"}",
        "{\"v\":1.5,\"type\":\"bye\"}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    payloads.push(b"\xff\xfe\x00".to_vec());
    payloads.push([b"[".repeat(30_000), b"]".repeat(30_000)].concat());
    payloads.push(b"{\"a\":".repeat(10_000));
    payloads.push(json!({"type": "offer", "session": "x".repeat(65), "sdp": OFFER}).to_string().into_bytes());
    for _ in 0..100 {
        let length = rng.random_range(0..2000);
        payloads.push((0..length).map(|_| rng.random()).collect());
    }
    for payload in payloads {
        viewer.raw(payload.clone()).await;
        let reply = viewer.reply("an error").await;
        assert_eq!(reply["type"], "error", "{:?}: {reply}", String::from_utf8_lossy(&payload));
    }
    assert_eq!(world.daemon.usage().files, world.before.files);
    world.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_ten_megabytes() {
    let Some(world) = world().await else { return };
    let mut viewer = Viewer::connect(world.broker.port(), "huge").await;
    let huge = 10 * 1024 * 1024;
    for _ in 0..3 {
        viewer.raw(vec![b'x'; huge]).await;
        viewer.refused("too-large").await;
    }
    let long =
        json!({"type": "offer", "session": "s", "sdp": OFFER.to_owned() + &"a=x\r\n".repeat(huge / 8)});
    viewer.say(long).await;
    viewer.refused("too-large").await;
    // More than the device lets its broker send: dropped on the way, and nothing comes of it.
    viewer.raw(vec![b'x'; 2 * huge]).await;
    viewer.offer("s", "v=1").await;
    viewer.refused("bad-offer").await;
    for topic in ["set/streaming", "do/close", "do/warm"] {
        world.dashboard.publish(topic, vec![b'9'; huge]).await;
    }
    let mut world = world;
    for topic in ["set/streaming", "do/close", "do/warm"] {
        let event = world.dashboard.command(topic).await;
        assert_eq!(event["ok"], false, "{event}");
    }
    world.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_with_flipped_cut_and_doubled_bytes() {
    let Some(world) = world().await else { return };
    let all = format!("porthole/{DEVICE}/signal/+/down");
    let mut client = Client::connect(world.broker.port(), "mutant", &[all]).await;
    let mut rng = StdRng::seed_from_u64(SEED);
    let whole = json!({"type": "offer", "session": "s", "sdp": OFFER}).to_string().into_bytes();
    let mut answers = 0;
    for n in 0..MUTANTS {
        let payload = if n % 2 == 0 {
            // The SDP alone, so that the message stays JSON and the SDP's parsers get to see it.
            let sdp = mutated(&mut rng, OFFER.as_bytes());
            json!({"type": "offer", "session": "s", "sdp": String::from_utf8_lossy(&sdp)})
                .to_string()
                .into_bytes()
        } else {
            mutated(&mut rng, &whole)
        };
        // A viewer of its own each time: nobody is refused for having asked too often.
        let base = format!("porthole/{DEVICE}/signal/mutant-{n}");
        client.publish(&format!("{base}/up"), payload.clone()).await;
        let reply = loop {
            let message = client.next(&format!("a reply to the mutant {n} of the seed {SEED}")).await;
            if message.topic.starts_with(&format!("{base}/")) {
                break message.json();
            }
        };
        match reply["type"].as_str() {
            Some("answer") => answers += 1,
            Some("error") => assert_ne!(reply["code"], "internal", "mutant {n}: {reply}"),
            _ => panic!("mutant {n} got {reply}"),
        }
        for session in ["s", "default"] {
            client
                .publish(&format!("{base}/up"), json!({"type": "bye", "session": session}).to_string())
                .await;
        }
    }
    assert!(
        (1..MUTANTS).contains(&answers),
        "{answers} mutants were answered: they are not mutated as meant"
    );
    world.assert_nothing_is_left().await;
}

/// One to eight changes of a few bytes each.
fn mutated(rng: &mut StdRng, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..=8) {
        if bytes.len() < 8 {
            break;
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..64)).min(bytes.len());
        match rng.random_range(0..10) {
            0..=4 => bytes[at] ^= 1 << rng.random_range(0..8),
            5 => bytes[at] = rng.random(),
            6 => drop(bytes.drain(at..end)),
            7 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            8 => bytes.truncate(at),
            _ => bytes.insert(at, *b"\r\n\0\"=:;/ 9".get(rng.random_range(0..10)).unwrap_or(&b'x')),
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_with_hundreds_of_candidates_and_sections() {
    let Some(world) = world().await else { return };
    let port = world.broker.port();
    let mut viewer = Viewer::connect(port, "many").await;
    let line =
        |n: usize| format!("candidate:{n} 1 udp {} 192.0.2.{} {} typ host", 9000 - n, n % 250, 1024 + n);
    let lines: Vec<String> = (0..500).map(|n| format!("a={}\r\n", line(n))).collect();
    // A machine with many bridges has many: the surplus is left out.
    viewer.offer("s", &format!("{OFFER}{}", lines.concat())).await;
    viewer.expect("answer").await;
    viewer.say(json!({"type": "bye", "session": "s"})).await;
    let sections = OFFER[OFFER.find("m=video").expect("a section")..].repeat(9);
    viewer.offer("s", &(OFFER.to_owned() + &sections)).await;
    // Ten sections are no attack yet; whether they are understood is the library's affair.
    viewer.reply("an answer or an error").await;
    viewer.say(json!({"type": "bye", "session": "s"})).await;
    viewer.offer("s", &format!("{OFFER}{}", "m=audio 9 X 0\r\n".repeat(300))).await;
    viewer.refused("bad-offer").await;

    // Five hundred candidates one by one, for a session that lives and for one that does not.
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    for n in 0..500 {
        let candidate = json!({"candidate": line(n), "sdpMid": "0", "sdpMLineIndex": 0});
        viewer.say(json!({"type": "candidate", "session": "s", "candidate": candidate})).await;
        viewer
            .say(json!({"type": "candidate", "session": format!("no-{}", n % 100), "candidate": candidate}))
            .await;
    }
    for odd in [
        "candidate:",
        "candidate:1 1 udp 1 ::ffff:1 70000 typ host",
        "candidate:1 1 tcp 1 x.local 9 typ host tcptype active",
        "\u{1}",
    ] {
        let candidate = json!({"candidate": odd, "sdpMid": "9".repeat(900), "sdpMLineIndex": 65535});
        viewer.say(json!({"type": "candidate", "session": "s", "candidate": candidate})).await;
    }
    // The session lives: the same offer gives its answer again.
    viewer.offer("s", OFFER).await;
    loop {
        let reply = viewer.reply("the same answer").await;
        // A candidate whose mid alone has 900 bytes is too large.
        if reply["code"] == "bad-message" {
            assert_eq!(reply["message"], "a candidate has at most 1024 bytes");
            continue;
        }
        if reply["session"] == "s" {
            assert_eq!(reply["type"], "answer", "{reply}");
            break;
        }
        assert_eq!(reply["code"], "no-session", "{reply}");
    }
    viewer.say(json!({"type": "bye", "session": "s"})).await;
    world.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_many_times_over_and_sessions_without_number() {
    let Some(mut world) = world().await else { return };
    let mut viewer = Viewer::connect(world.broker.port(), "again").await;
    for _ in 0..10 {
        viewer.offer("s", OFFER).await;
    }
    let first = viewer.expect("answer").await;
    for _ in 1..10 {
        assert_eq!(viewer.expect("answer").await["sdp"], first["sdp"]);
    }
    world.dashboard.viewers(1).await;
    for _ in 0..20 {
        viewer.say(json!({"type": "bye", "session": "s"})).await;
    }
    world.dashboard.viewers(0).await;
    // Each offer another peer connection under one name: at most one of them lives.
    for origin in 0..8 {
        viewer.offer("s", &offer_of(origin)).await;
    }
    // The last one is answered, and so is each that was not replaced before. The same answer twice is that of the last.
    viewer.offer("s", &offer_of(7)).await;
    let mut answers: Vec<Value> = Vec::new();
    while answers.last_chunk::<2>().is_none_or(|[first, again]| first != again) {
        answers.push(viewer.expect("answer").await["sdp"].clone());
    }
    assert!(answers.len() <= 9, "{} answers", answers.len());
    let state = world.dashboard.new_state("one session", |state| state["viewers"]["count"] == 1).await;
    assert_eq!(state["viewers"]["sessions"][0]["viewer"], "again", "{state:#}");
    world.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_none_and_topics_that_mean_nothing() {
    let Some(mut world) = world().await else { return };
    let offer = json!({"type": "offer", "sdp": OFFER}).to_string();
    let long = "x".repeat(65);
    for id in ["a b", "ä", "$SYS", &long, "a.b", "%c", "..", "a/b", ""] {
        world.dashboard.publish(&format!("signal/{id}/up"), offer.clone()).await;
    }
    for topic in ["signal/up", "signal/x/down", "settle", "x"] {
        world.dashboard.publish(topic, offer.clone()).await;
    }
    // These are commands, also those without a name, and answered as each of them is: once.
    let commands = ["set/", "do/", "set//", "set/control/", "do/$SYS", "do/%23"].map(|topic| (topic, topic));
    for (topic, told) in commands.into_iter().chain([("set", "set/"), ("do", "do/")]) {
        for payload in ["", "1", "[1,[2]]", "\"x\"", "null", r#"{"id":1}"#, r#"{"id":[{"a":[]}]}"#] {
            world.dashboard.publish(topic, payload).await;
            world.dashboard.publish("do/keyframe", r#"{"id":"behind"}"#).await;
            let first = world.dashboard.event("an answer", |event| event["type"] == "command").await;
            assert_eq!((&first["topic"], &first["ok"]), (&json!(told), &json!(false)), "{topic} {payload}");
            let second = world.dashboard.event("the next", |event| event["type"] == "command").await;
            assert_eq!(second["id"], "behind", "{topic} {payload}: {second}");
        }
    }
    // Commands are confirmed in order, so after this one the others have been read.
    let event = world.dashboard.ask("do/keyframe", json!({"id": "after"}).to_string()).await;
    assert_eq!(event["id"], "after", "{event}");
    let state = world.dashboard.new_state("a state", |_| true).await;
    assert_eq!(
        (&state["viewers"]["count"], &state["camera"]["state"]),
        (&json!(0), &json!("idle")),
        "{state:#}"
    );
    assert_eq!(world.daemon.usage().files, world.before.files);
    world.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_offers_and_commands_that_the_broker_kept() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut dashboard = Dashboard::connect(broker.port()).await;
    let offer = json!({"type": "offer", "session": "s", "sdp": OFFER}).to_string();
    dashboard.publish_retained("signal/stale/up", offer).await;
    dashboard.publish_retained("set/streaming", "OFF").await;
    dashboard.publish_retained("do/warm", "").await;
    let mut former = Viewer::connect(broker.port(), "stale").await;
    let mut daemon = Daemon::run(Settings::new(&broker.url()));
    dashboard.availability("online").await;
    // What came after the stale ones is answered, so they have been seen and passed over.
    let mut viewer = Viewer::connect(broker.port(), "fresh").await;
    viewer.offer("s", OFFER).await;
    viewer.expect("answer").await;
    let state = dashboard.viewers(1).await;
    assert_eq!(state["viewers"]["sessions"][0]["viewer"], "fresh", "{state:#}");
    assert_eq!(state["streaming"], "ON", "{state:#}");
    assert_eq!(daemon.count("command carried out"), 0);
    // The first thing that the stale viewer hears is about what it says now.
    former.raw("now").await;
    former.refused("bad-message").await;
    daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_every_wrong_shape() {
    let Some(mut world) = world().await else { return };
    for (topic, payload) in [
        ("set/streaming", "maybe"),
        ("set/streaming", ""),
        ("set/brightness", "7"),
        ("set/control/hue", "NaN"),
        ("do/close", "[]"),
        ("do/close", "{\"viewer\":\"a/b\"}"),
        ("do/close", "{\"session\":7}"),
        ("do/warm", "{\"seconds\":-1}"),
        ("do/warm", "{\"seconds\":1e300}"),
        ("do/warm", "\0"),
        ("do/explode", ""),
    ] {
        let event = world.dashboard.ask(topic, payload).await;
        assert_eq!(event["ok"], false, "{event}");
        assert!(event["error"].as_str().is_some_and(|error| error.len() > 5), "{event}");
    }
    let id: Value = json!({"deep": [1, {"a": null}]});
    let event = world.dashboard.ask("do/keyframe", json!({"id": id}).to_string()).await;
    assert_eq!((&event["ok"], &event["id"]), (&json!(true), &id), "{event}");
    world.assert_nothing_is_left().await;
}
