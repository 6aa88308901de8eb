//! The loop in simulated time, with a card that comes, goes, is busy and falls silent as a schedule of chance has it.

use std::sync::Mutex;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::base::tasks::TaskGroup;
use crate::media::audio::card_clock::CardDelivery;
use crate::media::audio::status::AudioLevel;
use crate::media::error::MediaError;
use crate::stream::AudioFanout;

/// The card as it is now.
#[derive(Default)]
struct Card {
    is_there: bool,
    is_busy: bool,
    /// It opens, and gives nothing.
    is_dumb: bool,
    /// Pipelines that are open: one at most.
    open: usize,
    reporter: Option<CaptureReporter>,
}

#[derive(Clone, Default)]
struct Simulated(Arc<Mutex<Card>>);

impl Simulated {
    fn with<T>(&self, change: impl FnOnce(&mut Card) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
}

struct Open(Simulated);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.with(|card| card.open -= 1);
    }
}

impl CaptureMachine for Simulated {
    type Capture = Open;

    fn find(&self, _: Option<&SoundDevice>) -> Result<SoundDevice, MediaError> {
        let microphone = || SoundDevice { card: "simulated".into(), ..SoundDevice::test_tone() };
        self.with(|card| card.is_there.then(microphone)).ok_or(MediaError::NoCamera)
    }

    fn open(
        &self,
        _: &SoundDevice,
        outlet: &Arc<Outlet>,
        report: &CaptureReporter,
    ) -> Result<Open, MediaError> {
        let run = outlet.start_run();
        let now = Instant::now().into_std();
        let gives = self.with(|card| {
            if card.is_busy || !card.is_there {
                return Err(MediaError::Audio { card: "simulated".into(), reason: "busy".into() });
            }
            card.open += 1;
            assert_eq!(card.open, 1, "two pipelines at the same card");
            card.reporter = Some(Arc::clone(report));
            Ok(!card.is_dumb)
        })?;
        if gives {
            outlet.arrived(run, CardDelivery { offset: None, samples: 480, rate_hz: 48_000 }, now);
            report(CaptureEvent::FirstSound);
        }
        Ok(Open(self.clone()))
    }
}

struct World {
    card: Simulated,
    cards_changed: Arc<Notify>,
    is_on: watch::Sender<bool>,
    demand: watch::Sender<usize>,
    status: watch::Receiver<AudioStatus>,
    tasks: TaskGroup,
    outlet: Arc<Outlet>,
}

impl World {
    fn new(is_there: bool) -> Self {
        let card = Simulated::default();
        card.with(|card| card.is_there = is_there);
        let outlet = Arc::new(Outlet::new(AudioFanout::default(), true));
        let (is_on, demand, status) =
            (watch::Sender::new(true), watch::Sender::new(0), watch::Sender::default());
        let (tasks, cards_changed) = (TaskGroup::new(), Arc::new(Notify::new()));
        let (told, status) = (status.subscribe(), status);
        let microphone = MicrophoneLoop::new(card.clone(), Arc::clone(&outlet), status, true);
        let inputs = MicrophoneInputs {
            demand: demand.subscribe(),
            is_on: is_on.subscribe(),
            cards_changed: Arc::clone(&cards_changed),
        };
        tasks.spawn("microphone", microphone.run(inputs, tasks.cancelled()));
        Self { card, cards_changed, is_on, demand, status: told, tasks, outlet }
    }

    fn plug(&self, is_there: bool) {
        self.card.with(|card| card.is_there = is_there);
        self.cards_changed.notify_one();
    }

    async fn until(&mut self, wanted: impl Fn(&AudioStatus) -> bool) -> AudioStatus {
        let reached = tokio::time::timeout(Duration::from_secs(20), self.status.wait_for(wanted)).await;
        reached.expect("within 20 s").expect("it lives").clone()
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn a_card_is_waited_for_and_held_only_while_somebody_listens() {
    run(async {
        let mut world = World::new(false);
        let lost = world.until(|status| status.state == AudioState::Lost).await;
        assert!(lost.error.is_some() && lost.card.is_none());
        world.demand.send_replace(1);
        world.plug(true);
        let live = world.until(|status| status.state == AudioState::Live).await;
        assert_eq!((live.error, live.starts, live.card.as_deref()), (None, 1, Some("simulated")));
        world.plug(false);
        world.until(|status| status.state == AudioState::Lost).await;
        assert_eq!(world.card.with(|card| card.open), 0);
        // This time nobody says that it has come back.
        world.card.with(|card| card.is_there = true);
        world.until(|status| status.state == AudioState::Live).await;
        world.demand.send_replace(0);
        world.until(|status| status.state == AudioState::Idle).await;
        assert_eq!(world.card.with(|card| card.open), 0);
        world.tasks.cancel();
    });
}

#[test]
fn a_busy_card_and_one_that_falls_silent_are_tried_again_and_say_why() {
    run(async {
        let mut world = World::new(true);
        world.card.with(|card| card.is_busy = true);
        world.demand.send_replace(1);
        let busy = world.until(|status| status.state == AudioState::Error).await;
        assert!(busy.error.unwrap().contains("busy"));
        world.card.with(|card| (card.is_busy, card.is_dumb) = (false, true));
        let dumb = world
            .until(|status| status.error.as_deref().is_some_and(|e| e.contains("no sound within")))
            .await;
        assert_eq!(dumb.state, AudioState::Error);
        world.card.with(|card| card.is_dumb = false);
        world.until(|status| status.state == AudioState::Live).await;
        let level = AudioLevel { rms_dbfs: -20.0, peak_dbfs: -10.0 };
        let reporter = world.card.with(|card| card.reporter.clone()).unwrap();
        reporter(CaptureEvent::Level(level));
        world.until(|status| status.level == Some(level)).await;
        // It gives nothing any more, without a word.
        let silent = world.until(|status| status.state == AudioState::Error).await;
        assert_eq!((silent.error.as_deref(), silent.level), (Some("no sound for 3 s"), None));
        world.tasks.cancel();
    });
}

/// What happens to it.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Demand(usize),
    On(bool),
    /// There or not, and whether anybody says so.
    There(bool, bool),
    Busy(bool),
    Dumb(bool),
    Fails,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..3_usize).prop_map(Happening::Demand),
        any::<bool>().prop_map(Happening::On),
        any::<(bool, bool)>().prop_map(|(there, said)| Happening::There(there, said)),
        any::<bool>().prop_map(Happening::Busy),
        any::<bool>().prop_map(Happening::Dumb),
        Just(Happening::Fails),
        (0..6000_u64).prop_map(Happening::Pass),
    ]
}

async fn happen(world: &World, happening: Happening) {
    match happening {
        Happening::Demand(count) => drop(world.demand.send_replace(count)),
        Happening::On(is_on) => {
            world.outlet.set_open(is_on);
            world.is_on.send_replace(is_on);
        }
        Happening::There(is_there, true) => world.plug(is_there),
        Happening::There(is_there, false) => world.card.with(|card| card.is_there = is_there),
        Happening::Busy(is_busy) => world.card.with(|card| card.is_busy = is_busy),
        Happening::Dumb(is_dumb) => world.card.with(|card| card.is_dumb = is_dumb),
        Happening::Fails => {
            let error = MediaError::Audio { card: "simulated".into(), reason: "it fell".into() };
            if let Some(report) = world.card.with(|card| card.reporter.clone()) {
                report(CaptureEvent::Failed(error));
            }
        }
        Happening::Pass(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever has happened: wanted, there and willing it is live within seconds; unwanted or off it is closed.
    #[test]
    fn it_ends_where_it_should(happenings in vec(happening(), 0..25), wanted in any::<bool>()) {
        run(async {
            let mut world = World::new(true);
            for happening in happenings {
                happen(&world, happening).await;
            }
            world.card.with(|card| (card.is_busy, card.is_dumb) = (false, false));
            world.plug(true);
            world.demand.send_replace(1);
            world.is_on.send_replace(wanted);
            if wanted {
                let live = world.until(|status| status.state == AudioState::Live).await;
                assert!(live.error.is_none() && live.starts > 0);
                assert_eq!(world.card.with(|card| card.open), 1);
            } else {
                let off = world.until(|status| status.state == AudioState::Off).await;
                assert!(off.error.is_none() && off.level.is_none());
                assert_eq!(world.card.with(|card| card.open), 0);
            }
            let status = world.status.clone();
            world.tasks.cancel();
            assert!(world.tasks.close(Duration::from_secs(20)).await.is_empty());
            assert_eq!(world.card.with(|card| card.open), 0);
            drop(status);
        });
    }
}
