//! From a capture pipeline to all viewers: the sound's times, and who is let through. It outlives pipelines.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::card_clock::{Arrived, CardClock, CardDelivery};
use super::packets::PacketNumbers;
use crate::stream::{AudioFanout, AudioPacket};

/// See the module.
#[derive(Debug)]
pub struct Outlet {
    fanout: AudioFanout,
    epoch: Instant,
    clock: Mutex<CardClock>,
    numbers: Mutex<PacketNumbers>,
    /// The pipeline whose sound counts.
    run: AtomicU64,
    is_open: AtomicBool,
    /// Time of the last delivery in milliseconds since `epoch`.
    last_sound_ms: AtomicU64,
}

/// An encoded frame as it comes out of a pipeline.
#[derive(Debug)]
pub struct EncodedFrame {
    /// Opus.
    pub payload: Bytes,
    /// Where its first sample lies, as [`Outlet::arrived`] has said.
    pub position_ns: u64,
    /// Of sound.
    pub length: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outlet {
    /// To the viewers of `fanout`, if it is on.
    pub fn new(fanout: AudioFanout, is_on: bool) -> Self {
        Self {
            fanout,
            epoch: Instant::now(),
            clock: Mutex::default(),
            numbers: Mutex::default(),
            run: AtomicU64::new(0),
            is_open: AtomicBool::new(is_on),
            last_sound_ms: AtomicU64::new(0),
        }
    }

    /// Nothing gets through any more, from now on; or again.
    pub fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::SeqCst);
    }

    /// A pipeline is about to start; its number. What others still give counts no more.
    pub fn start_run(&self) -> u64 {
        let run = self.end_run();
        lock(&self.clock).start_run();
        lock(&self.numbers).start_run();
        run
    }

    /// Sound of pipelines that were started counts no more; the number of the next one.
    pub fn end_run(&self) -> u64 {
        self.run.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The card of this run gave something. `None`: it is not this run's time.
    pub fn arrived(&self, run: u64, delivery: CardDelivery, now: Instant) -> Option<Arrived> {
        if !self.is_current(run) {
            return None;
        }
        let since_epoch = now.saturating_duration_since(self.epoch).as_millis();
        self.last_sound_ms.store(u64::try_from(since_epoch).unwrap_or(0), Ordering::Relaxed);
        Some(lock(&self.clock).arrived(delivery, now))
    }

    /// The encoder of this run gave something. Whether it is this run's time.
    pub fn encoded(&self, run: u64, frame: EncodedFrame) -> bool {
        if !self.is_current(run) {
            return false;
        }
        let numbered = lock(&self.numbers).number(frame.position_ns, frame.length, frame.payload.len());
        let captured_at = lock(&self.clock).captured_at(frame.position_ns);
        let (Some(numbered), Some(captured_at)) = (numbered, captured_at) else { return true };
        if self.is_open.load(Ordering::SeqCst) {
            self.fanout.publish(&AudioPacket {
                payload: frame.payload,
                samples: numbered.samples,
                captured_at,
                begins_talkspurt: numbered.begins_talkspurt,
            });
        }
        true
    }

    fn is_current(&self, run: u64) -> bool {
        self.run.load(Ordering::SeqCst) == run
    }

    /// When the card gave something last.
    pub fn last_sound(&self) -> Instant {
        self.epoch + Duration::from_millis(self.last_sound_ms.load(Ordering::Relaxed))
    }

    /// See [`CardClock::gaps`].
    pub fn gaps(&self) -> u64 {
        lock(&self.clock).gaps()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::audio::card_clock::FIRST_NS;

    #[test]
    fn only_the_last_run_gets_through_and_only_while_it_is_on() {
        let fanout = AudioFanout::default();
        let mut viewer = fanout.subscribe();
        let outlet = Outlet::new(fanout, true);
        let start = Instant::now() + Duration::from_secs(1);
        let delivery = CardDelivery { offset: None, samples: 480, rate_hz: 48_000 };
        let frame = |position_ns| EncodedFrame {
            payload: Bytes::from_static(&[1, 2, 3]),
            position_ns,
            length: Duration::from_millis(10),
        };
        let old = outlet.start_run();
        assert!(outlet.arrived(old, delivery, start).is_some() && outlet.encoded(old, frame(FIRST_NS)));
        let packet = viewer.try_next().unwrap();
        assert_eq!((packet.samples, start - packet.captured_at), (48_000, Duration::from_millis(10)));
        let new = outlet.start_run();
        assert_eq!(outlet.arrived(old, delivery, start), None);
        assert!(!outlet.encoded(old, frame(FIRST_NS)) && viewer.try_next().is_none());
        let later = start + Duration::from_secs(1);
        let arrived = outlet.arrived(new, delivery, later).unwrap();
        assert_eq!((arrived.position_ns, outlet.gaps()), (FIRST_NS + 1_000_000_000, 1));
        outlet.set_open(false);
        assert!(outlet.encoded(new, frame(FIRST_NS + 1_000_000_000)) && viewer.try_next().is_none());
        outlet.set_open(true);
        assert!(outlet.encoded(new, frame(FIRST_NS + 1_010_000_000)));
        assert_eq!(viewer.try_next().map(|packet| packet.samples), Some(96_480));
        assert!(later - outlet.last_sound() < Duration::from_millis(1));
    }
}
