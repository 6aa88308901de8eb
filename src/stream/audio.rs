//! Encoded sound on its way from the encoder to the viewers: one publisher, N subscriptions, bounded, never blocks the microphone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, watch};

/// Packets that a subscription may hold. A viewer that is further behind hears what is new instead of what is late.
const RING_PACKETS: usize = 20;

/// Ticks of the RTP clock of Opus in a second, whatever the rate of the card (RFC 7587 section 4.1).
pub const OPUS_CLOCK_RATE_HZ: u32 = 48_000;

/// One Opus packet (RFC 6716). Cheap to clone: all viewers share the bytes.
#[derive(Clone, Debug)]
pub struct AudioPacket {
    /// What RTP carries (RFC 7587 section 4.2).
    pub payload: Bytes,
    /// Ticks of [`OPUS_CLOCK_RATE_HZ`] from some beginning to its first sample: rises by the samples between two packets, those that were
    /// not captured or not sent (DTX, a card that was away) counted too, across restarts of the capture.
    pub samples: u64,
    /// When its first sample was captured, on the same clock as a picture's. Without the jitter of delivery: it follows the card's clock.
    pub captured_at: Instant,
    /// The first one after silence (RFC 3551 section 4.1).
    pub begins_talkspurt: bool,
}

/// The sharing point between the microphone and all viewers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AudioFanout {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rings: Mutex<Vec<Weak<Ring>>>,
    demand: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Ring {
    packets: Mutex<VecDeque<AudioPacket>>,
    ready: Notify,
}

/// A poisoned lock only means that another thread panicked between two plain assignments.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for AudioFanout {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { rings: Mutex::default(), demand: watch::Sender::new(0) }) }
    }
}

impl AudioFanout {
    /// Gives `packet` to every subscription. Never blocks on one: a full one loses its oldest packet.
    pub fn publish(&self, packet: &AudioPacket) {
        lock(&self.shared.rings).retain(|ring| {
            let Some(ring) = ring.upgrade() else { return false };
            let mut packets = lock(&ring.packets);
            if packets.len() == RING_PACKETS {
                packets.pop_front();
            }
            packets.push_back(packet.clone());
            drop(packets);
            ring.ready.notify_one();
            true
        });
    }

    /// A new subscription, which is a demand too: the microphone runs while there is one.
    pub fn subscribe(&self) -> AudioSubscription {
        let ring = Arc::new(Ring::default());
        lock(&self.shared.rings).push(Arc::downgrade(&ring));
        self.shared.demand.send_modify(|count| *count += 1);
        AudioSubscription { ring, shared: Arc::clone(&self.shared) }
    }

    /// How many subscriptions there are; the capture side starts and stops by it.
    pub fn watch_demand(&self) -> watch::Receiver<usize> {
        self.shared.demand.subscribe()
    }
}

/// One viewer's end of the fan-out.
#[derive(Debug)]
pub struct AudioSubscription {
    ring: Arc<Ring>,
    shared: Arc<Shared>,
}

impl AudioSubscription {
    /// The next packet in order; what was lost shows in [`AudioPacket::samples`]. Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> AudioPacket {
        loop {
            let ready = self.ring.ready.notified();
            if let Some(packet) = lock(&self.ring.packets).pop_front() {
                return packet;
            }
            ready.await;
        }
    }

    /// One that is there already.
    pub fn try_next(&mut self) -> Option<AudioPacket> {
        lock(&self.ring.packets).pop_front()
    }
}

impl Drop for AudioSubscription {
    fn drop(&mut self) {
        self.shared.demand.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(samples: u64) -> AudioPacket {
        AudioPacket { payload: Bytes::new(), samples, captured_at: Instant::now(), begins_talkspurt: false }
    }

    #[tokio::test]
    async fn a_slow_listener_loses_the_oldest_and_is_counted_while_it_is_there() {
        let fanout = AudioFanout::default();
        let demand = fanout.watch_demand();
        let (mut slow, mut quick) = (fanout.subscribe(), fanout.subscribe());
        assert_eq!(*demand.borrow(), 2);
        for samples in 0..RING_PACKETS as u64 + 3 {
            fanout.publish(&packet(samples));
            assert_eq!(quick.next().await.samples, samples);
        }
        assert_eq!(slow.next().await.samples, 3);
        drop((slow, quick));
        assert_eq!(*demand.borrow(), 0);
        fanout.publish(&packet(0));
        assert!(lock(&fanout.shared.rings).is_empty());
    }
}
