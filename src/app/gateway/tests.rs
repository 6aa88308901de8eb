use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::time::sleep;

use super::*;
use crate::access::identity::Identity;
use crate::access::offer_authorizer::{AccessMode, OfferAuthorizer};
use crate::config::Flavour;
use crate::media::{AudioStatus, CameraState, MediaStatus};
use crate::peer::{EndReason, Factory, Signer};
use crate::sessions::SessionParts;
use crate::sessions::table::SessionKey;
use crate::signaling::mqtt::Incoming;
use crate::signaling::topic::PROBE;

/// What was published, oldest first.
#[derive(Clone, Default)]
struct Published(Arc<Mutex<Vec<Outgoing>>>);

impl Published {
    fn on(&self, leaf: &str) -> Vec<Outgoing> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|message| message.topic == format!("porthole/cam/{leaf}")).cloned().collect()
    }
}

/// A router between channels of the test.
struct World {
    router: Router,
    published: Published,
    client: mpsc::Sender<MqttEvent>,
    events: mpsc::Sender<SessionEvent>,
    _requests: mpsc::Sender<handle::GatewayRequest>,
    _media: watch::Sender<MediaStatus>,
    _tasks: TaskGroup,
    _dir: tempfile::TempDir,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[device]\nid = \"cam\"\nstate_dir = {:?}\n[mqtt]\nurl = \"mqtt://broker\"\n[camera]\ndevice = \"test\"\n\
         [audio]\ndevice = \"test\"\n\
         [access]\nmode = \"open\"\n",
        dir.path()
    );
    let file = dir.path().join("porthole.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file), Flavour::Run).unwrap();
    let tasks = TaskGroup::new();
    let fanout = Fanout::default();
    let media = Media::start(config.media.clone(), fanout.clone(), true, &tasks).unwrap();
    let identity = Arc::new(Identity::load_or_make(dir.path()).unwrap());
    let topics = Arc::new(Topics::new("porthole", &config.device.id));
    let (status, watched) = watch::channel(MediaStatus::sample(CameraState::Idle));
    let parts = SessionParts {
        max_viewers: 8,
        streaming: true,
        signer: Signer { identity, device: config.device.id.clone() },
        factory: Arc::new(Factory::new(config.ice.clone(), fanout.clone(), &tasks).unwrap()),
        fanout: fanout.clone(),
        media: watched.clone(),
        replies: Arc::new(Silent),
        events: mpsc::channel(1).0,
        keep_used: Box::new(|_| ()),
        tasks: tasks.clone(),
    };
    let sessions =
        Sessions::spawn(parts, OfferAuthorizer::new(AccessMode::Open, config.device.id.clone(), Vec::new()));
    let device = DeviceInfo {
        id: "cam".into(),
        name: "Cam".into(),
        model: "board".into(),
        root: "porthole".into(),
        key: "k".into(),
        access: "open",
        scenes: Vec::new(),
        has_microphone: true,
        has_speaker: false,
        whep: None,
    };
    let published = Published::default();
    let recorder = published.clone();
    let outbox = BrokerOutbox::new(move |message| {
        recorder.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        true
    });
    let ended_early = tasks.ended_early();
    let ailment = watch::Sender::new(None).subscribe();
    let sound = SoundSide::start(&config.audio, true, true, &tasks);
    let seen = (sessions.clone(), watched.clone(), sound.clone());
    let state = Arc::new(StateSource::new(seen, ended_early, ailment.clone(), true));
    let (client, mqtt_events) = mpsc::channel(16);
    let (events, happened) = mpsc::channel(256);
    let (requests, queue) = mpsc::channel(1);
    let controlled = Controlled {
        sessions: sessions.clone(),
        media: media.clone(),
        fanout,
        privacy: PrivacySwitch::load(dir.path()),
        audio_switch: AudioSwitch::load(dir.path()),
        sound,
        runtime_settings: RuntimeSettings::load(dir.path()),
        persist: Persist::start(&tasks),
        fps: None,
        picture: super::picture::ConfiguredPicture::default(),
        restarted: None,
    };
    let router = Router {
        sessions,
        publisher: Publisher::new(outbox, Arc::clone(&topics), device, None, state, false),
        topics,
        commands: CommandExecutor::new(controlled, config.dashboard.commands),
        snapshots: SnapshotTaker::new(media, config.dashboard.snapshots, clock::now()),
        announcer: Announcer::new(None, dir.path()),
        presence: watch::Sender::new(Presence::Connecting),
        inputs: Inputs {
            mqtt_events,
            events: happened,
            requests: queue,
            channel_commands: mpsc::channel(1).1,
            media: watched,
            // The card is another thread's: what it finds would be news at any time.
            sound: watch::channel(AudioStatus::default()).1,
            ended_early: tasks.ended_early(),
            ailment,
        },
    };
    World { router, published, client, events, _requests: requests, _media: status, _tasks: tasks, _dir: dir }
}

/// Nobody listens to the sessions.
struct Silent;

impl Replies for Silent {
    fn send(&self, _viewer: &Id, _session: &Id, _message: Down) {}
}

#[tokio::test]
async fn what_happened_to_the_last_sessions_is_told_before_the_end() {
    const SESSIONS: usize = 200;
    let world = world();
    for n in 0..SESSIONS {
        let key =
            SessionKey { viewer: Id::new(&format!("viewer-{n}")).unwrap(), session: Id::default_session() };
        let event = SessionEvent::Ended { key, grant: None, address: None, reason: EndReason::Shutdown };
        world.events.try_send(event).unwrap();
    }
    // It is to end, and the sessions' last words wait, in the same moment.
    world.router.run(std::future::ready(())).await;
    assert_eq!(world.published.on("event").len(), SESSIONS);
}

#[tokio::test(start_paused = true)]
async fn nothing_but_the_heartbeat_wakes_it_in_a_quiet_minute() {
    let World { router, published, client, events, _requests, _media, _tasks, _dir } = world();
    let tasks = TaskGroup::new();
    tasks.spawn("router", router.run(tasks.cancelled()));
    client.send(MqttEvent::Connected).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let (states, polls) = (published.on("state").len(), tasks.polls()["router"]);
    assert_eq!(states, 1);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(published.on("state").len(), states + 2, "every 30 s");
    let woken = tasks.polls()["router"] - polls;
    assert!(woken <= 4, "woken {woken} times");
    drop(events);
    assert!(tasks.close(Duration::from_secs(1)).await.is_empty());
}

#[tokio::test]
async fn a_router_that_is_gone_does_not_count_as_alive() {
    let config = MqttClientConfig::new("mqtt://127.0.0.1:1".parse().unwrap(), "cam");
    let (client, _mqtt_events) = mqtt::connect(config, &TaskGroup::new()).unwrap();
    let (requests, mut queue) = mpsc::channel(1);
    let presence = watch::Sender::new(Presence::Online).subscribe();
    let handle = GatewayHandle::new(client, requests, mpsc::channel(1).0, presence);
    // It ends with the question in its hands, and then it is no longer there.
    let (answered, ()) = tokio::join!(handle.ping(), async { drop(queue.recv().await) });
    assert!(!answered);
    drop(queue);
    assert!(!handle.ping().await);
}

/// Each is answered once, whatever it says and even where it names nothing; the doctor's probe alone is not.
#[tokio::test]
async fn every_command_is_answered_once_and_the_doctors_probe_is_not() {
    let World { router, published, client, events, _requests, _media, _tasks, _dir } = world();
    let routed = tokio::spawn(router.run(std::future::pending()));
    let payloads = ["", "1", "ON", "{}", "{\"id\":1}", "[]", "\u{1b}[2J", PROBE];
    let names = ["", "/", "nothing", "bitrate", "control/", "streaming/", &"x".repeat(300)];
    let mut sent = 0;
    for topic in ["set", "do"] {
        let all = names.iter().map(|name| format!("porthole/cam/{topic}/{name}"));
        for topic in all.chain([format!("porthole/cam/{topic}")]) {
            for payload in payloads {
                let message = Incoming {
                    topic: topic.clone(),
                    payload: Bytes::from_static(payload.as_bytes()),
                    retain: false,
                    answer_to: None,
                };
                let is_probe = payload == PROBE
                    && ["set", "do", "set/", "do/"]
                        .iter()
                        .any(|probed| topic == format!("porthole/cam/{probed}"));
                sent += usize::from(!is_probe);
                client.send(MqttEvent::Message(message)).await.unwrap();
            }
        }
    }
    // It answers the last of them, and ends.
    drop(client);
    routed.await.unwrap();
    drop(events);
    let told = published.on("event");
    assert_eq!(told.len(), sent, "{told:?}");
}

#[tokio::test]
async fn sound_is_switched_kept_and_told() {
    let World { router, published, client, events, _requests, _media, _tasks, _dir: dir } = world();
    let routed = tokio::spawn(router.run(std::future::pending()));
    client.send(MqttEvent::Connected).await.unwrap();
    let set = |payload: &'static str| {
        MqttEvent::Message(Incoming {
            topic: "porthole/cam/set/audio".to_owned(),
            payload: Bytes::from_static(payload.as_bytes()),
            retain: false,
            answer_to: None,
        })
    };
    for payload in ["ON", "loud", "OFF"] {
        client.send(set(payload)).await.unwrap();
    }
    drop(client);
    routed.await.unwrap();
    drop(events);
    let told: Vec<serde_json::Value> =
        published.on("event").iter().map(|event| serde_json::from_slice(&event.payload).unwrap()).collect();
    let outcomes: Vec<bool> = told.iter().filter_map(|event| event["ok"].as_bool()).collect();
    assert_eq!((told.len(), outcomes.iter().filter(|ok| **ok).count()), (3, 2), "{told:?}");
    assert!(!AudioSwitch::load(dir.path()).is_on(), "OFF is kept");
}
