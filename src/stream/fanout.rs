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
use super::on_air::OnAir;
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
    on_air: OnAir,
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

    /// Gives `unit` of the camera to every subscription that is in `rendition`, or that waits to get there. Never blocks on a
    /// subscriber. Where a placeholder is shown, the camera comes back with its next key frame; whether it is back.
    pub fn publish_to(&self, rendition: Rendition, unit: &AccessUnit) -> bool {
        // Whoever sees it: the camera does its work.
        self.shared.published.fetch_add(1, Ordering::Relaxed);
        self.shared.published_bytes.fetch_add(unit.data.len() as u64, Ordering::Relaxed);
        let is_watched = self.demands() > 0;
        let mut receivers = lock(&self.shared.receivers);
        if !receivers.on_air.takes_camera(rendition, unit.key_frame) {
            drop(receivers);
            self.request_first_key_frame_of(rendition);
            return false;
        }
        if is_watched {
            receivers.fresh[rendition as usize].push(unit);
        }
        let want_key_frame = receivers.give(unit, &self.shared.dropped, |_| rendition);
        drop(receivers);
        if want_key_frame {
            self.request_key_frame_of(rendition);
        }
        true
    }

    /// A placeholder starts for as long as the camera gives no picture; the number for [`Self::publish_placeholder`].
    pub fn begin_placeholder(&self) -> u64 {
        lock(&self.shared.receivers).on_air.begin_placeholder()
    }

    /// It ends, if it has not ended by itself: then viewers keep the last picture until the camera's next key frame.
    pub fn end_placeholder(&self, number: u64) {
        lock(&self.shared.receivers).on_air.end_placeholder(number);
    }

    /// Whether its time is not over.
    pub fn is_placeholder(&self, number: u64) -> bool {
        lock(&self.shared.receivers).on_air.is_placeholder(number)
    }

    /// Gives `unit` of the placeholder of this number to all, whatever rendition they get. Whether its time is not over. It is
    /// not counted: what is counted says how the camera does.
    pub fn publish_placeholder(&self, number: u64, unit: &AccessUnit) -> bool {
        let is_watched = self.demands() > 0;
        let mut receivers = lock(&self.shared.receivers);
        if !receivers.on_air.takes_placeholder(number) {
            return false;
        }
        if is_watched {
            receivers.fresh.iter_mut().for_each(|fresh| fresh.push(unit));
        }
        let want_key_frame = receivers.give(unit, &self.shared.dropped, ViewerRendition::current);
        drop(receivers);
        if want_key_frame {
            self.request_key_frame_of(Rendition::Full);
        }
        true
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

impl Receivers {
    /// Gives `unit` to those who are there, as one of the rendition that `of` says. Whether somebody needs a key frame now.
    fn give(
        &mut self,
        unit: &AccessUnit,
        dropped: &AtomicU64,
        of: impl Fn(&ViewerRendition) -> Rendition,
    ) -> bool {
        let mut want_key_frame = false;
        self.rings.retain(|ring| {
            let Some(ring) = ring.upgrade() else { return false };
            want_key_frame |= ring.push(of(&ring.rendition), unit, dropped);
            true
        });
        want_key_frame
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
#[path = "fanout_tests.rs"]
mod tests;
