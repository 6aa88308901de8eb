//! What is well and what is not; and a whole daemon, each part of which is struck down in turn.

use super::*;

const WELL: HealthReadings = HealthReadings {
    ended_early: None,
    held: None,
    sessions_answer: true,
    gateway_answers: true,
    peers_answer: true,
    camera_answers: true,
    broker_silence: Duration::ZERO,
    camera: CameraState::Idle,
    pictures: 0,
};

/// Looks each second; gives after how many seconds something was found.
fn found(mut look: impl FnMut(u64) -> HealthReadings, seconds: u64) -> Option<(u64, Ailment)> {
    let start = Instant::now();
    let mut health = Health::default();
    (0..seconds).find_map(|second| {
        let result = health.check(start + Duration::from_secs(second), &look(second));
        result.err().map(|ailment| (second, ailment))
    })
}

#[test]
fn a_daemon_at_work_is_well() {
    assert_eq!(found(|_| WELL, 1000), None);
    let live = |second| HealthReadings { camera: CameraState::Live, pictures: second * 30, ..WELL };
    assert_eq!(found(live, 1000), None);
}

#[test]
fn each_part_may_be_busy_for_a_while_and_no_longer() {
    let sessions = |_| HealthReadings { sessions_answer: false, ..WELL };
    assert_eq!(found(sessions, 1000), Some((20, Ailment::Sessions)));
    let gateway = |_| HealthReadings { gateway_answers: false, ..WELL };
    assert_eq!(found(gateway, 1000), Some((20, Ailment::Gateway)));
    let peers = |_| HealthReadings { peers_answer: false, ..WELL };
    assert_eq!(found(peers, 1000), Some((20, Ailment::Peers)));
    let camera = |_| HealthReadings { camera_answers: false, ..WELL };
    assert_eq!(found(camera, 1000), Some((120, Ailment::Camera)));
    let broker = |second| HealthReadings { broker_silence: Duration::from_secs(second), ..WELL };
    assert_eq!(found(broker, 1000), Some((60, Ailment::BrokerConnection)));
    let now_and_then = |second| HealthReadings { sessions_answer: second % 19 == 0, ..WELL };
    assert_eq!(found(now_and_then, 1000), None);
}

#[test]
fn a_task_that_is_gone_is_found_at_once_and_for_good() {
    let ended = EndedEarly { task: "grants", reason: "panic: on purpose".into() };
    let gone = |second| HealthReadings { ended_early: (second >= 5).then(|| ended.clone()), ..WELL };
    assert_eq!(found(gone, 1000), Some((5, Ailment::Task(ended.clone()))));
    let words = Ailment::Task(ended.clone()).to_string();
    assert_eq!(words, "the task \"grants\" ended early: panic: on purpose");
}

#[test]
fn pictures_have_to_flow_while_the_camera_is_live_only() {
    let frozen = |second: u64| HealthReadings { camera: CameraState::Live, pictures: second.min(50), ..WELL };
    assert_eq!(found(frozen, 1000), Some((71, Ailment::Pictures)));
    for camera in [CameraState::Lost, CameraState::Error, CameraState::Off, CameraState::Starting] {
        assert_eq!(found(|_| HealthReadings { camera, ..WELL }, 1000), None, "{camera}");
    }
}

#[test]
fn the_status_is_for_people() {
    assert_eq!(words(&Presence::Online, CameraState::Idle, None, 0), "online; nobody watches; camera idle");
    assert_eq!(
        words(&Presence::Offline("refused".into()), CameraState::Lost, Some("unplugged"), 2),
        "no broker (refused); 2 viewers; camera lost: unplugged"
    );
}

mod whole {
    //! Each task of a running daemon panics, and each holds its thread: what looks after it must know.

    use super::*;
    use crate::app::App;
    use crate::base::polls::sabotage::{Gate, Sabotage};
    use crate::config::{Config, Flavour};
    use std::collections::BTreeSet;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// With all that listens, and the test picture.
    async fn daemon(dir: &tempfile::TempDir) -> App {
        let file = dir.path().join("porthole.toml");
        let state = dir.path().join("state");
        let text = format!(
            "[device]\nid = \"cam\"\nstate_dir = {state:?}\n[mqtt]\nurl = \"embedded\"\n[broker]\nlisten = \"127.0.0.1:0\"\n\
             websocket = \"127.0.0.1:0\"\n[camera]\ndevice = \"test\"\n[http]\nlisten = \"127.0.0.1:0\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let app = App::start(Config::load(Some(&file), Flavour::Run).unwrap()).await.unwrap();
        tokio::time::timeout(PATIENCE, app.looked()).await.expect("in time").unwrap();
        tokio::time::timeout(PATIENCE, app.online()).await.expect("in time");
        app
    }

    /// Opens when it is dropped, also where the test fails.
    struct Opened(Arc<Gate>);

    impl Drop for Opened {
        fn drop(&mut self) {
            self.0.open();
        }
    }

    /// Tasks that end by themselves take one connection with them when they fail, and come and go.
    fn endless(app: &App) -> BTreeSet<&'static str> {
        app.groups.all.sabotaged().endless()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn a_panic_of_any_task_is_an_ailment_at_once() {
        let mut left: Option<BTreeSet<&'static str>> = None;
        loop {
            let dir = tempfile::tempdir().unwrap();
            let app = daemon(&dir).await;
            let names = left.get_or_insert_with(|| endless(&app));
            let Some(name) = names.pop_first() else { break };
            let mut ended = app.groups.all.ended_early();
            assert!(app.groups.all.sabotaged().strike(name, Sabotage::Panic), "{name} is not there");
            let is_it = |ended: &Option<EndedEarly>| ended.as_ref().is_some_and(|ended| ended.task == name);
            let told = tokio::time::timeout(PATIENCE, ended.wait_for(is_it)).await;
            assert!(told.is_ok(), "nobody noticed the end of {name}");
            drop(told);
            let found = app.health_check.lock().await.check_at(Instant::now()).await;
            let words = found.map(|found| found.to_string()).unwrap_or_default();
            assert_eq!(words, format!("the task \"{name}\" ended early: panic: on purpose"));
            tokio::time::timeout(PATIENCE, app.drain()).await.expect("it ends in time all the same");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn whoever_holds_a_thread_is_known_within_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let app = daemon(&dir).await;
        let names = endless(&app);
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            let gate = Opened(Arc::default());
            assert!(app.groups.all.sabotaged().strike(name, Sabotage::Hold(Arc::clone(&gate.0))), "{name}");
            let limit = TASK_LIMIT + Duration::from_secs(1);
            let seen = async {
                while app.groups.all.held(Instant::now() + limit, TASK_LIMIT) != Some(name) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{name} holds nothing"));
            assert_eq!(app.groups.all.held(Instant::now(), TASK_LIMIT), None, "not before the limit");
            if name != "health" {
                // To a look from the future, a task that is at work just now seems held as well.
                let expected = Some(Ailment::Held(name));
                let told = async {
                    loop {
                        let mut health_check = app.health_check.lock().await;
                        let found = health_check.check_at(Instant::now() + limit).await;
                        assert_eq!(*health_check.ailment.borrow(), found, "it is told");
                        if found == expected {
                            break;
                        }
                    }
                };
                tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("{name} is not found"));
            }
            drop(gate);
            let goes_on = async {
                while app.groups.all.held(Instant::now() + limit, TASK_LIMIT) == Some(name) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, goes_on).await.unwrap_or_else(|_| panic!("{name} stands still"));
        }
        let well = async {
            while app.health_check.lock().await.check_at(Instant::now()).await.is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, well).await.expect("well again");
        app.drain().await;
    }
}
