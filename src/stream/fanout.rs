//! One publisher, N subscriptions: bounded, never blocks the camera, drops to the next key frame.
//!
//! The publisher is a streaming thread of GStreamer. Each subscription owns a short ring; a subscriber that
//! falls behind loses everything up to the next key frame (a decoder cannot use the rest) and asks
//! for one. Demand (does anybody need pictures?) is counted here too, apart from subscriptions:
//! a session demands pictures from the moment of its offer, but subscribes only once connected.
//!
//! There may be a second, smaller rendition of the same pictures. Each viewer has a [`ViewerRendition`] in one of them, and is
//! moved at the other one's next key frame.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::fresh::FreshPictures;
use super::{AccessUnit, Rendition, ViewerRendition};

/// Units a subscription may hold: two thirds of a second at 30 fps. A viewer further behind than
/// that is better served by the next key frame than by a queue that turns into latency.
const RING_UNITS: usize = 20;
/// Least step of media time where a viewer changes over between renditions: above a tick of RTP's 90 kHz.
const MIN_STEP: Duration = Duration::from_micros(100);

/// Why a key frame is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFrameReason {
    /// Somebody has no picture yet and waits for the first.
    Join,
    /// Somebody's picture is damaged.
    Loss,
}

/// The sharing point between one capture pipeline and all viewers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Fanout {
    shared: Arc<Shared>,
    /// Of the viewer that this handle is for.
    rendition: Arc<ViewerRendition>,
}

/// Requests for key frames of one rendition.
#[derive(Default)]
struct Wanted {
    notify: Notify,
    /// Whether one of the requests since the last look came from somebody who has no picture yet.
    joining: AtomicBool,
}

/// Whom each picture goes to: those who are there, and who comes right after it.
#[derive(Default)]
struct Receivers {
    rings: Vec<Weak<Ring>>,
    /// Of each rendition.
    fresh: [FreshPictures; 2],
}

struct Shared {
    receivers: Mutex<Receivers>,
    demand: watch::Sender<usize>,
    key_frames: [Wanted; 2],
    encoding: Notify,
    dropped: AtomicU64,
    published: AtomicU64,
    published_bytes: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            receivers: Mutex::default(),
            demand: watch::Sender::new(0),
            key_frames: Default::default(),
            encoding: Notify::default(),
            dropped: AtomicU64::default(),
            published: AtomicU64::default(),
            published_bytes: AtomicU64::default(),
        }
    }
}

struct Ring {
    rendition: Arc<ViewerRendition>,
    state: Mutex<RingState>,
    ready: Notify,
}

#[derive(Default)]
struct RingState {
    units: VecDeque<AccessUnit>,
    /// Set once the ring has been fed a key frame; cleared when the ring overflowed.
    in_sync: bool,
    /// Media time of the last unit that went in.
    last: Option<Duration>,
}

/// A poisoned lock only means that another thread panicked between two plain assignments; the
/// queue inside is still consistent, and the picture of all other viewers matters more.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fanout {
    /// The same for a viewer that has its own rendition.
    #[must_use]
    pub fn at(&self, rendition: Arc<ViewerRendition>) -> Self {
        Self { shared: Arc::clone(&self.shared), rendition }
    }

    /// Gives `unit` of the full rendition to every subscription to it. Never blocks on a subscriber.
    #[cfg(test)]
    pub fn publish(&self, unit: &AccessUnit) {
        self.publish_to(Rendition::Full, unit);
    }

    /// Gives `unit` to every subscription that is in `rendition`, or that waits to get there. Never blocks on a subscriber.
    pub fn publish_to(&self, rendition: Rendition, unit: &AccessUnit) {
        self.shared.published.fetch_add(1, Ordering::Relaxed);
        self.shared.published_bytes.fetch_add(unit.data.len() as u64, Ordering::Relaxed);
        let mut want_key_frame = false;
        let is_watched = self.demands() > 0;
        let mut receivers = lock(&self.shared.receivers);
        if is_watched {
            receivers.fresh[rendition as usize].push(unit);
        }
        receivers.rings.retain(|ring| {
            let Some(ring) = ring.upgrade() else { return false };
            want_key_frame |= ring.push(rendition, unit, &self.shared.dropped);
            true
        });
        drop(receivers);
        if want_key_frame {
            self.request_key_frame_of(rendition);
        }
    }

    /// A new subscription. Its first unit is a key frame: one that has just been made, if there is one, or the next, which
    /// this call asks for.
    pub fn subscribe(&self) -> Subscription {
        self.subscribe_at(Instant::now())
    }

    /// The same at `now`.
    pub(super) fn subscribe_at(&self, now: Instant) -> Subscription {
        let rendition = self.rendition.wanted();
        let own = Arc::clone(&self.rendition);
        let ring = Arc::new(Ring { rendition: own, state: Mutex::default(), ready: Notify::new() });
        let mut receivers = lock(&self.shared.receivers);
        let fresh = receivers.fresh[rendition as usize].at(now);
        let is_fresh = !fresh.is_empty();
        for unit in fresh {
            ring.push(rendition, unit, &self.shared.dropped);
        }
        receivers.rings.push(Arc::downgrade(&ring));
        drop(receivers);
        if !is_fresh {
            self.request_first_key_frame_of(rendition);
        }
        Subscription { ring }
    }

    /// Declares that pictures are needed until the returned guard is dropped.
    pub fn demand(&self) -> Demand {
        self.shared.demand.send_modify(|count| *count += 1);
        Demand { shared: self.shared.clone() }
    }

    /// How many demands there are now.
    pub fn demands(&self) -> usize {
        *self.shared.demand.borrow()
    }

    /// How many demands there are; the capture side starts and stops by it.
    pub fn watch_demand(&self) -> watch::Receiver<usize> {
        self.shared.demand.subscribe()
    }

    /// Asks for a key frame of the rendition that this viewer gets; requests are merged by the capture side.
    pub fn request_key_frame(&self) {
        self.request_key_frame_of(self.rendition.current());
    }

    /// The same for a viewer that has no picture yet.
    pub fn request_first_key_frame(&self) {
        self.request_first_key_frame_of(self.rendition.current());
    }

    fn request_first_key_frame_of(&self, rendition: Rendition) {
        self.shared.key_frames[rendition as usize].joining.store(true, Ordering::Release);
        self.request_key_frame_of(rendition);
    }

    /// Asks for a key frame of `rendition`.
    pub fn request_key_frame_of(&self, rendition: Rendition) {
        self.shared.key_frames[rendition as usize].notify.notify_one();
    }

    /// Resolves when at least one key frame of `rendition` has been asked for since the last call.
    pub async fn key_frame_wanted(&self, rendition: Rendition) -> KeyFrameReason {
        let wanted = &self.shared.key_frames[rendition as usize];
        wanted.notify.notified().await;
        if wanted.joining.swap(false, Ordering::AcqRel) { KeyFrameReason::Join } else { KeyFrameReason::Loss }
    }

    /// Says that somebody who wants to watch cannot play H.264 as the camera itself encodes it.
    pub fn request_encoding(&self) {
        self.shared.encoding.notify_one();
    }

    /// Resolves when that was said since the last call.
    pub async fn encoding_wanted(&self) {
        self.shared.encoding.notified().await;
    }

    /// Units published since the process started.
    pub fn published(&self) -> u64 {
        self.shared.published.load(Ordering::Relaxed)
    }

    /// Their bytes.
    pub fn published_bytes(&self) -> u64 {
        self.shared.published_bytes.load(Ordering::Relaxed)
    }

    /// Units dropped for slow subscribers since the process started.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Ring {
    /// Returns whether the subscriber now needs a key frame.
    fn push(&self, rendition: Rendition, unit: &AccessUnit, dropped_total: &AtomicU64) -> bool {
        let mut state = lock(&self.state);
        if rendition != self.rendition.current() {
            if rendition != self.rendition.wanted() || !unit.key_frame {
                return false;
            }
            // What still waits would only delay the key frame, which needs none of it.
            state.units.clear();
            self.rendition.arrived(rendition);
        }
        if !state.in_sync && !unit.key_frame {
            return false;
        }
        if state.units.len() >= RING_UNITS {
            let lost = state.units.len() as u64;
            dropped_total.fetch_add(lost, Ordering::Relaxed);
            state.units.clear();
            state.in_sync = false;
            if !unit.key_frame {
                dropped_total.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        state.in_sync = true;
        let mut unit = unit.clone();
        // The other rendition's encoder may be ahead or behind by a picture.
        if let Some(last) = state.last {
            unit.media_time = unit.media_time.max(last + MIN_STEP);
        }
        state.last = Some(unit.media_time);
        state.units.push_back(unit);
        drop(state);
        self.ready.notify_one();
        false
    }
}

/// One viewer's end of the fan-out.
pub struct Subscription {
    ring: Arc<Ring>,
}

impl Subscription {
    /// The next unit in order. After a gap the next unit is always a key frame.
    pub async fn next(&mut self) -> AccessUnit {
        loop {
            let ready = self.ring.ready.notified();
            if let Some(unit) = lock(&self.ring.state).units.pop_front() {
                return unit;
            }
            ready.await;
        }
    }
}

/// A standing need for pictures; dropping it ends the need.
pub struct Demand {
    shared: Arc<Shared>,
}

impl Drop for Demand {
    fn drop(&mut self) {
        let mut is_last = false;
        self.shared.demand.send_modify(|count| {
            *count = count.saturating_sub(1);
            is_last = *count == 0;
        });
        if is_last {
            lock(&self.shared.receivers).fresh.iter_mut().for_each(FreshPictures::forget);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::*;

    fn unit(number: u64, key_frame: bool) -> AccessUnit {
        let now = Instant::now();
        AccessUnit::new(Bytes::new(), Duration::from_millis(number), now, now, key_frame)
    }

    #[tokio::test]
    async fn a_subscriber_starts_at_a_key_frame_and_asks_for_one() {
        let fanout = Fanout::default();
        let mut subscription = fanout.subscribe();
        assert_eq!(fanout.key_frame_wanted(Rendition::Full).await, KeyFrameReason::Join);
        fanout.publish(&unit(1, false));
        fanout.publish(&unit(2, true));
        fanout.publish(&unit(3, false));
        assert_eq!(subscription.next().await.media_time, Duration::from_millis(2));
        assert_eq!(subscription.next().await.media_time, Duration::from_millis(3));
    }

    #[tokio::test]
    async fn a_slow_subscriber_skips_to_a_key_frame_and_others_notice_nothing() {
        let fanout = Fanout::default();
        let mut slow = fanout.subscribe();
        let mut fast = fanout.subscribe();
        fanout.key_frame_wanted(Rendition::Full).await;
        fanout.publish(&unit(0, true));
        assert!(fast.next().await.key_frame);
        for number in 1..=30 {
            fanout.publish(&unit(number, false));
            assert_eq!(fast.next().await.media_time, Duration::from_millis(number));
        }
        assert_eq!(fanout.key_frame_wanted(Rendition::Full).await, KeyFrameReason::Loss);
        fanout.publish(&unit(31, true));
        let first = slow.next().await;
        assert!(first.key_frame);
        assert_eq!(first.media_time, Duration::from_millis(31));
        assert_eq!(fanout.dropped(), 21, "of the slow one alone");
    }

    #[tokio::test]
    async fn a_viewer_is_moved_at_a_key_frame_and_its_time_goes_on_rising() {
        let rendition = Arc::new(ViewerRendition::default());
        let fanout = Fanout::default().at(Arc::clone(&rendition));
        let mut subscription = fanout.subscribe();
        fanout.publish(&unit(100, true));
        fanout.publish_to(Rendition::Small, &unit(100, true));
        rendition.want(Rendition::Small);
        fanout.publish(&unit(200, false));
        fanout.publish_to(Rendition::Small, &unit(200, false));
        assert_eq!(subscription.next().await.media_time, Duration::from_millis(100));
        assert_eq!(subscription.next().await.media_time, Duration::from_millis(200));
        assert_eq!(rendition.current(), Rendition::Full);

        fanout.publish(&unit(300, false));
        fanout.publish_to(Rendition::Small, &unit(200, true));
        assert_eq!(rendition.current(), Rendition::Small);
        fanout.publish(&unit(400, true));
        fanout.publish_to(Rendition::Small, &unit(300, false));
        let first = subscription.next().await;
        assert!(first.key_frame, "what waited of the full rendition is left out");
        assert_eq!(first.media_time, Duration::from_millis(300) + MIN_STEP);
        assert_eq!(subscription.next().await.media_time, Duration::from_millis(300) + MIN_STEP * 2);
        assert_eq!(fanout.dropped(), 0);

        rendition.want(Rendition::Full);
        fanout.publish(&unit(500, true));
        fanout.publish_to(Rendition::Small, &unit(500, true));
        assert_eq!(subscription.next().await.media_time, Duration::from_millis(500));
        assert_eq!((rendition.current(), rendition.wanted()), (Rendition::Full, Rendition::Full));
    }

    #[tokio::test]
    async fn key_frames_are_asked_of_the_rendition_that_a_viewer_gets() {
        let fanout = Fanout::default();
        let rendition = Arc::new(ViewerRendition::default());
        let mine = fanout.at(Arc::clone(&rendition));
        rendition.want(Rendition::Small);
        let mut subscription = mine.subscribe();
        assert_eq!(fanout.key_frame_wanted(Rendition::Small).await, KeyFrameReason::Join);
        fanout.publish_to(Rendition::Small, &unit(1, true));
        assert!(subscription.next().await.key_frame);
        mine.request_key_frame();
        assert_eq!(fanout.key_frame_wanted(Rendition::Small).await, KeyFrameReason::Loss);
        fanout.request_key_frame();
        assert_eq!(fanout.key_frame_wanted(Rendition::Full).await, KeyFrameReason::Loss);
    }

    #[tokio::test]
    async fn demand_is_counted_until_the_guard_is_dropped() {
        let fanout = Fanout::default();
        let watch = fanout.watch_demand();
        let first = fanout.demand();
        let second = fanout.demand();
        assert_eq!(*watch.borrow(), 2);
        drop(first);
        drop(second);
        assert_eq!(*watch.borrow(), 0);
    }

    #[test]
    fn a_dropped_subscription_is_forgotten() {
        let fanout = Fanout::default();
        drop(fanout.subscribe());
        fanout.publish(&unit(1, true));
        assert!(lock(&fanout.shared.receivers).rings.is_empty());
    }
}
