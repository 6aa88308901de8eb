//! The placeholder and the life cycle together, in simulated time and under random schedules.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::media::life::lifecycle::{DeviceCondition, Input, Lifecycle, PipelineAction};
use crate::media::status::CameraState;
use crate::stream::{AccessUnit, Fanout, Rendition};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A step of simulated time: finer than anything is promised.
const STEP: Duration = ms(20);
/// Until viewers see that something is wrong.
const SAID_WITHIN: Duration = ms(2000);
/// Until they see the camera again once it works.
const BACK_WITHIN: Duration = ms(5000);
/// The pipeline's time from its start to the first picture, at most.
const LONGEST_START: u64 = 1500;

/// Something that happens to a camera, or to those who watch.
#[derive(Clone, Debug)]
enum Happening {
    Viewers(usize),
    Streaming(bool),
    /// Pulled out, or put in again.
    Plugged(bool),
    /// The driver delivers, or does not.
    Delivers(bool),
    /// A start is refused: another program holds it.
    Held(bool),
    /// The pipeline fails.
    Fails,
    /// Somebody asks for a restart, or another size is wanted.
    Restart,
    /// Another encoder takes over.
    Replaced,
    /// The worker is held up by a driver for so long.
    Hangs(Duration),
    /// The encoder hears no requests for key frames, or does.
    Deaf(bool),
    /// The placeholder itself fails.
    PlaceholderFails,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (0_usize..3).prop_map(Happening::Viewers),
        1 => any::<bool>().prop_map(Happening::Streaming),
        3 => any::<bool>().prop_map(Happening::Plugged),
        3 => any::<bool>().prop_map(Happening::Delivers),
        2 => any::<bool>().prop_map(Happening::Held),
        2 => Just(Happening::Fails),
        2 => Just(Happening::Restart),
        1 => Just(Happening::Replaced),
        1 => (100_u64..9000).prop_map(|span| Happening::Hangs(ms(span))),
        1 => any::<bool>().prop_map(Happening::Deaf),
        1 => Just(Happening::PlaceholderFails),
    ]
}

/// What happens, and how long after the one before.
fn schedule() -> impl Strategy<Value = Vec<(Duration, Happening)>> {
    let pause = prop_oneof![3 => 0_u64..400, 2 => 400_u64..4000, 1 => 4000_u64..12_000].prop_map(ms);
    vec((pause, happening()), 1..40)
}

/// The camera's pipeline.
#[derive(Debug)]
struct Run {
    first_at: Instant,
    has_pictures: bool,
}

/// Worker, camera, placeholder and viewers.
#[allow(clippy::struct_excessive_bools, reason = "one for each thing that can happen")]
struct World {
    start: Instant,
    now: Instant,
    life: Lifecycle,
    placeholder: Placeholder,
    fanout: Fanout,
    viewers: usize,
    is_streaming: bool,
    is_plugged: bool,
    delivers: bool,
    is_held: bool,
    is_deaf: bool,
    start_time: Duration,
    run: Option<Run>,
    /// What the worker cannot take yet, because a driver holds it up.
    hangs_until: Instant,
    waiting: Vec<Input>,
    /// What the capture side said last.
    camera: CameraState,
    number: Option<u64>,
    /// For what is promised.
    wanted_since: Option<Instant>,
    last_shown: Instant,
    works_since: Option<Instant>,
    not_excused_before: Instant,
    shows: Vec<Instant>,
}

impl World {
    fn new(start_time: Duration) -> Self {
        let start = Instant::now();
        let mut world = Self {
            start,
            now: start,
            life: Lifecycle::new(ms(5000), true),
            placeholder: Placeholder::new(),
            fanout: Fanout::default(),
            viewers: 0,
            is_streaming: true,
            is_plugged: true,
            delivers: true,
            is_held: false,
            is_deaf: false,
            start_time,
            run: None,
            hangs_until: start,
            waiting: vec![Input::Device(DeviceCondition::Ready)],
            camera: CameraState::Idle,
            number: None,
            wanted_since: None,
            last_shown: start,
            works_since: Some(start),
            not_excused_before: start,
            shows: Vec::new(),
        };
        world.step();
        world
    }

    fn works(&self) -> bool {
        self.is_plugged && self.delivers && !self.is_held && !self.is_deaf && self.now >= self.hangs_until
    }

    fn happens(&mut self, happening: &Happening) {
        match *happening {
            Happening::Viewers(count) => {
                self.viewers = count;
                self.waiting.push(Input::Demand(count));
            }
            Happening::Streaming(on) => {
                self.is_streaming = on;
                self.waiting.push(Input::Streaming(on));
                if !on {
                    // All sessions end, whatever the worker does.
                    self.viewers = 0;
                    self.waiting.push(Input::Demand(0));
                }
            }
            Happening::Plugged(is_plugged) => {
                self.is_plugged = is_plugged;
                // However soon it is put in again, it starts anew.
                self.works_since = None;
                let gone = || DeviceCondition::Absent("unplugged".into());
                let condition = if is_plugged { DeviceCondition::Ready } else { gone() };
                self.waiting.push(Input::Device(condition));
            }
            Happening::Delivers(delivers) => self.delivers = delivers,
            Happening::Held(is_held) => self.is_held = is_held,
            Happening::Fails => {
                self.works_since = None;
                self.waiting.push(Input::Failed("the encoder failed".into()));
            }
            Happening::Restart => {
                self.works_since = None;
                self.waiting.push(Input::Restart);
            }
            Happening::Replaced => {
                self.works_since = None;
                self.waiting.extend([Input::Replaced("the encoder failed".into()), Input::Restart]);
            }
            Happening::Hangs(span) => self.hangs_until = self.now + span,
            Happening::Deaf(is_deaf) => self.is_deaf = is_deaf,
            Happening::PlaceholderFails => {
                if let Some(number) = self.number.take() {
                    self.fanout.end_placeholder(number);
                    self.placeholder.failed(self.now);
                }
                self.not_excused_before = self.now + RETRY + SAID_WITHIN;
            }
        }
    }

    fn tell(&mut self, input: Input) {
        for action in self.life.handle(self.now, input) {
            self.run = match action {
                PipelineAction::Stop => None,
                PipelineAction::Start if self.is_held => {
                    self.waiting.push(Input::Failed("another program has it".into()));
                    None
                }
                PipelineAction::Start => {
                    Some(Run { first_at: self.now + self.start_time, has_pictures: false })
                }
            };
        }
        self.camera = self.life.state();
    }

    fn unit(&self, key_frame: bool) -> AccessUnit {
        AccessUnit::new(bytes::Bytes::new(), self.now - self.start, self.now, self.now, key_frame)
    }

    /// The camera's picture of this step, if there is one, which also comes while the worker hangs.
    fn camera_picture(&mut self) {
        if !self.is_plugged || !self.delivers {
            return;
        }
        let Some(run) = self.run.as_mut().filter(|run| self.now >= run.first_at) else { return };
        let is_first = !std::mem::replace(&mut run.has_pictures, true);
        // Asked for by the fan-out where it is needed; an encoder takes until the next picture.
        let is_key = is_first || !self.is_deaf;
        if self.fanout.publish_to(Rendition::Full, &self.unit(is_key)) {
            self.last_shown = self.now;
        }
        let input = if is_first { Input::FirstFrame } else { Input::FrameAt(self.now) };
        self.waiting.push(input);
    }

    fn facts(&self) -> CameraFacts {
        CameraFacts {
            is_wanted: self.viewers > 0 && self.camera != CameraState::Off,
            is_trouble_known: self.life.trouble().is_some(),
            last_picture: self.last_shown,
            has_given_way: self.number.is_some_and(|number| !self.fanout.is_placeholder(number)),
        }
    }

    fn placeholder_acts(&mut self) {
        let facts = self.facts();
        match self.placeholder.poll(self.now, &facts) {
            Some(PlaceholderAction::Show) => {
                assert_eq!(self.number, None, "started twice");
                self.number = Some(self.fanout.begin_placeholder());
                self.shows.push(self.now);
            }
            Some(PlaceholderAction::Stop) => {
                let number = self.number.take().expect("one that runs");
                self.fanout.end_placeholder(number);
            }
            None => {}
        }
        if let Some(number) = self.number {
            self.fanout.publish_placeholder(number, &self.unit(false));
        }
        assert!(self.placeholder.poll(self.now, &self.facts()).is_none(), "once is enough");
    }

    fn step(&mut self) {
        self.camera_picture();
        if self.now >= self.hangs_until {
            for input in std::mem::take(&mut self.waiting) {
                self.tell(input);
            }
            self.tell(Input::Tick);
        }
        self.placeholder_acts();
        self.keep_promises();
        self.now += STEP;
    }

    fn keep_promises(&mut self) {
        let is_shown = self.number.is_some();
        assert_eq!(is_shown, self.placeholder.is_shown());
        assert!(!is_shown || self.viewers > 0, "shown to nobody, or behind the privacy switch");
        assert!(!is_shown || self.last_shown != self.now, "shown beside the camera");
        if self.viewers > 0 && self.is_streaming {
            self.wanted_since.get_or_insert(self.now);
        } else {
            self.wanted_since = None;
        }
        if self.works() {
            self.works_since.get_or_insert(self.now);
        } else {
            self.works_since = None;
        }
        let Some(wanted_since) = self.wanted_since else { return };
        // The privacy switch may have been turned on behind a worker that hangs.
        if self.camera == CameraState::Off {
            self.wanted_since = Some(self.now);
            return;
        }
        let nothing_since = wanted_since.max(self.last_shown).max(self.not_excused_before);
        assert!(is_shown || self.now - nothing_since <= SAID_WITHIN, "neither camera nor words");
        if let Some(works_since) = self.works_since {
            let since = works_since.max(wanted_since);
            let is_back = !is_shown && self.now - self.last_shown <= STEP;
            assert!(
                is_back || self.now - since <= BACK_WITHIN + STEP,
                "it works, and nobody sees it: {self:?}"
            );
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.step();
        }
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.camera, self.run, self.life)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_viewers_see_the_camera_or_words(
        start_time in 0..LONGEST_START,
        schedule in schedule(),
    ) {
        let mut world = World::new(ms(start_time));
        for (pause, happening) in &schedule {
            world.pass(*pause);
            world.happens(happening);
        }
        world.pass(ms(10_000));
        let starts = world.shows.windows(2).map(|pair| pair[1] - pair[0]);
        prop_assert!(starts.into_iter().all(|apart| apart >= PAUSE), "a storm of starts");
    }
}

#[test]
fn a_camera_that_runs_well_is_never_interrupted_and_one_that_nobody_watches_costs_nothing() {
    let mut world = World::new(ms(300));
    world.pass(ms(60_000));
    world.happens(&Happening::Viewers(2));
    world.pass(ms(60_000));
    world.happens(&Happening::Viewers(0));
    world.happens(&Happening::Plugged(false));
    world.pass(ms(60_000));
    assert!(world.shows.is_empty());
    assert_eq!(world.placeholder.deadline(&world.facts()), None);
}

#[test]
fn fifty_times_unplugged_and_plugged_in_again() {
    let mut world = World::new(ms(400));
    world.happens(&Happening::Viewers(2));
    world.pass(ms(2000));
    for round in 1..=50 {
        world.happens(&Happening::Plugged(false));
        world.pass(ms(3000));
        assert!(world.placeholder.is_shown());
        world.happens(&Happening::Plugged(true));
        world.pass(ms(3000));
        assert!(!world.placeholder.is_shown() && world.shows.len() == round);
    }
}

#[test]
fn pictures_that_nobody_can_decode_do_not_keep_words_away() {
    let mut world = World::new(ms(0));
    world.happens(&Happening::Viewers(1));
    world.pass(STEP * 2);
    world.happens(&Happening::Deaf(true));
    world.happens(&Happening::Delivers(false));
    world.pass(ms(1600));
    assert!(world.placeholder.is_shown());
    // The camera goes on without the key frame that it would take, while the words fail.
    world.happens(&Happening::Delivers(true));
    world.happens(&Happening::PlaceholderFails);
    world.pass(RETRY + SAID_WITHIN);
    assert!(world.placeholder.is_shown());
}

#[test]
fn what_hangs_hides_nothing_from_viewers() {
    let mut world = World::new(ms(0));
    world.happens(&Happening::Viewers(1));
    world.pass(ms(1000));
    world.happens(&Happening::Delivers(false));
    world.happens(&Happening::Hangs(ms(60_000)));
    world.pass(ms(2000));
    assert!(world.placeholder.is_shown());
    assert_eq!(world.camera, CameraState::Live, "the worker has not noticed yet");
    world.happens(&Happening::Delivers(true));
    world.pass(STEP * 2);
    assert!(!world.placeholder.is_shown());
}
