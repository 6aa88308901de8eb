//! When the camera is looked for, and when a plan that does not start is given up. Pure.

use std::time::{Duration, Instant};

use crate::media::error::MediaError;
use crate::media::life::lifecycle::DeviceCondition;

/// How often an absent camera is looked for when inotify says nothing.
const LOOK_ABSENT: Duration = Duration::from_secs(1);
/// How often one that is there but unusable is tried again.
const LOOK_UNUSABLE: Duration = Duration::from_secs(3);
/// How often one that is there is checked for having gone.
const LOOK_READY: Duration = Duration::from_secs(5);
/// The same of what is absent or there while the system tells of what comes and goes, should it ever fail to.
const LOOK_SELDOM: Duration = Duration::from_mins(1);
/// After it has told of something it is looked as if it told nothing: stable links to a device are made a little later, elsewhere.
const SETTLE: Duration = Duration::from_secs(10);
/// Nobody may open a device that has just come until the system has given it to its group: so long that is not worth a word,
const SETTING_UP: Duration = Duration::from_secs(2);
/// and it is looked for so often, should nothing tell of it.
const LOOK_SETTING_UP: Duration = Duration::from_millis(250);
/// Failed starts in a row before another mode or encoder is tried.
const START_FAILURES: u32 = 2;

/// What is remembered between two looks.
#[derive(Debug)]
pub struct DeviceWatch {
    next_look: Instant,
    /// The system tells of devices that come and go.
    is_told: bool,
    settled_at: Instant,
    failed_starts: u32,
    /// Whether the current or last run gave a picture.
    saw_picture: bool,
    /// What was said of a camera that was absent until now.
    absent: Option<DeviceCondition>,
    /// Since when the one that came after that may not be opened.
    denied_since: Option<Instant>,
}

impl DeviceWatch {
    /// The first look is due at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            next_look: now,
            is_told: false,
            settled_at: now + SETTLE,
            failed_starts: 0,
            saw_picture: false,
            absent: None,
            denied_since: None,
        }
    }

    /// From now on the system tells of devices that come and go, or does no more.
    pub fn set_told(&mut self, now: Instant, is_told: bool) {
        self.is_told = is_told;
        self.changed(now);
    }

    /// Something has come or gone.
    pub fn changed(&mut self, now: Instant) {
        self.settled_at = now + SETTLE;
        self.next_look = self.next_look.min(now + LOOK_READY);
    }

    fn interval(&self, now: Instant, untold: Duration) -> Duration {
        if self.is_told && now >= self.settled_at { LOOK_SELDOM } else { untold }
    }

    /// The planned camera is gone, of which `condition` tells.
    pub fn went(&mut self, condition: &DeviceCondition) {
        (self.absent, self.denied_since) = (Some(condition.clone()), None);
    }

    /// What still holds of a camera that has come and is denied, as long as the system may be busy setting it up.
    fn while_set_up(&mut self, now: Instant) -> Option<DeviceCondition> {
        let since = *self.denied_since.get_or_insert(now);
        self.absent.clone().filter(|_| now.saturating_duration_since(since) < SETTING_UP)
    }

    /// A look ended at `now`, with a plan or without.
    pub fn looked(&mut self, now: Instant, failure: Option<&MediaError>) -> DeviceCondition {
        if matches!(failure, Some(MediaError::DeviceDenied { .. }))
            && let Some(condition) = self.while_set_up(now)
        {
            self.next_look = now + LOOK_SETTING_UP;
            return condition;
        }
        let (condition, interval) = match failure {
            None => (DeviceCondition::Ready, self.interval(now, LOOK_READY)),
            Some(
                error @ (MediaError::NoCamera
                | MediaError::DeviceMissing { .. }
                | MediaError::SwitchedOff { .. }),
            ) => (DeviceCondition::Absent(error.into()), self.interval(now, LOOK_ABSENT)),
            Some(error) => (DeviceCondition::Unusable(error.into()), LOOK_UNUSABLE),
        };
        self.next_look = now + interval;
        self.absent =
            Some(condition.clone()).filter(|condition| matches!(condition, DeviceCondition::Absent(_)));
        self.denied_since = None;
        condition
    }

    /// The planned camera was found in its place.
    pub fn found_in_place(&mut self, now: Instant) {
        self.next_look = now + self.interval(now, LOOK_READY);
    }

    /// When to look next.
    pub fn deadline(&self) -> Instant {
        self.next_look
    }

    /// A run starts.
    pub fn run_started(&mut self) {
        self.saw_picture = false;
    }

    /// A run gave its first picture.
    pub fn picture_came(&mut self) {
        self.saw_picture = true;
        self.failed_starts = 0;
    }

    /// Whether the current or last run gave a picture.
    pub fn saw_picture(&self) -> bool {
        self.saw_picture
    }

    /// A run failed before its first picture. Whether another mode or encoder is to be tried.
    pub fn start_failed(&mut self) -> bool {
        self.failed_starts += 1;
        let is_enough = self.failed_starts >= START_FAILURES;
        if is_enough {
            self.failed_starts = 0;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_looked_for_more_often_than_what_is_there() {
        let now = Instant::now();
        let mut watch = DeviceWatch::new(now);
        assert_eq!(watch.deadline(), now);
        assert_eq!(watch.looked(now, None), DeviceCondition::Ready);
        assert_eq!(watch.deadline(), now + LOOK_READY);
        assert!(matches!(watch.looked(now, Some(&MediaError::NoCamera)), DeviceCondition::Absent(_)));
        assert_eq!(watch.deadline(), now + LOOK_ABSENT);
        let busy = MediaError::DeviceBusy { device: "/dev/video0".into() };
        assert!(matches!(watch.looked(now, Some(&busy)), DeviceCondition::Unusable(_)));
        assert_eq!(watch.deadline(), now + LOOK_UNUSABLE);
    }

    #[test]
    fn where_the_system_tells_of_devices_looks_are_rare_but_for_a_while_after_its_word() {
        let start = Instant::now();
        let mut watch = DeviceWatch::new(start);
        let looks = |watch: &mut DeviceWatch, from: Instant, failure: Option<&MediaError>| {
            let (mut at, mut looks) = (from, 0);
            while at < from + Duration::from_mins(10) {
                watch.looked(at, failure);
                (at, looks) = (watch.deadline(), looks + 1);
            }
            (at, looks)
        };
        let (mut now, untold) = looks(&mut watch, start, Some(&MediaError::NoCamera));
        assert_eq!(untold, 600);
        watch.set_told(now, true);
        for (failure, expected) in [(None, 12..=13), (Some(&MediaError::NoCamera), 20..=21)] {
            let (after, told) = looks(&mut watch, now, failure);
            assert!(
                expected.contains(&told),
                "{told} looks in ten minutes, ten seconds of which nothing is settled"
            );
            now = after;
            watch.changed(now);
            assert!(watch.deadline() <= now + LOOK_READY);
        }
        watch.set_told(now, false);
        assert_eq!(looks(&mut watch, now, None).1, 120);
    }

    #[test]
    fn a_device_that_has_just_come_is_set_up_before_anybody_speaks_of_permission() {
        let start = Instant::now();
        let denied = MediaError::DeviceDenied { device: "/dev/video0".into() };
        let missing = MediaError::DeviceMissing { device: "/dev/video0".into() };
        let mut watch = DeviceWatch::new(start);
        assert!(
            matches!(watch.looked(start, Some(&denied)), DeviceCondition::Unusable(_)),
            "it did not come"
        );
        // However its absence was noticed, what was said of it stays.
        for is_looked in [true, false] {
            let absent = DeviceCondition::Absent((&missing).into());
            if is_looked {
                assert_eq!(watch.looked(start, Some(&missing)), absent);
            } else {
                assert_eq!(watch.looked(start, None), DeviceCondition::Ready);
                watch.went(&absent);
            }
            let came = start + Duration::from_mins(1);
            assert_eq!(watch.looked(came, Some(&denied)), absent);
            assert_eq!(watch.deadline(), came + LOOK_SETTING_UP);
            assert_eq!(watch.looked(came + SETTING_UP / 2, Some(&denied)), absent);
            let said = watch.looked(came + SETTING_UP, Some(&denied));
            assert!(matches!(said, DeviceCondition::Unusable(_)), "it may really not be opened: {said:?}");
            let again = watch.looked(came + SETTING_UP, Some(&denied));
            assert_eq!(again, said, "and that stays said");
        }
        watch.looked(start, Some(&missing));
        watch.looked(start, Some(&denied));
        assert_eq!(watch.looked(start, None), DeviceCondition::Ready);
    }

    #[test]
    fn a_plan_is_given_up_after_failures_in_a_row() {
        let mut watch = DeviceWatch::new(Instant::now());
        assert!(!watch.start_failed());
        watch.picture_came();
        assert!(!watch.start_failed());
        assert!(watch.start_failed());
        assert!(!watch.start_failed(), "the next plan has its own attempts");
    }
}
