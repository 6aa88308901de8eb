//! Sound from a viewer on its way to the board's speaker: one speaker at a time, bounded, and who that is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// Packets that wait for the loudspeaker; what finds no room is lost.
const QUEUE_PACKETS: usize = 50;
/// Who is not heard for so long has stopped speaking.
const SILENCE: Duration = Duration::from_secs(1);

/// A session, by its number.
pub type Speaker = u64;

/// One RTP packet of the viewer that speaks, opened and checked for its form.
#[derive(Clone, Debug)]
pub struct SpokenPacket {
    /// Whose. When it is another one's, what plays begins anew.
    pub speaker: Speaker,
    /// Opus (RFC 7587), not empty.
    pub payload: Bytes,
    /// RTP's.
    pub sequence_number: u16,
    /// RTP's, in ticks of 48 kHz.
    pub timestamp: u32,
    /// RTP's: the first one after silence.
    pub marker: bool,
    /// When it came.
    pub received_at: Instant,
}

/// Somebody else speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("somebody else is speaking; try again when they have finished")]
pub struct SpeakerBusy;

/// The way to the board's speaker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Talk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    floor: Mutex<Option<Floor>>,
    speaker: watch::Sender<Option<Speaker>>,
    packets: mpsc::Sender<SpokenPacket>,
}

/// Who has the word.
#[derive(Clone, Copy, Debug)]
struct Floor {
    speaker: Speaker,
    heard_at: Instant,
}

impl Talk {
    /// The way, and its end at the loudspeaker.
    pub fn new() -> (Self, mpsc::Receiver<SpokenPacket>) {
        let (packets, queue) = mpsc::channel(QUEUE_PACKETS);
        let shared = Shared { floor: Mutex::default(), speaker: watch::Sender::new(None), packets };
        (Self { shared: Arc::new(shared) }, queue)
    }

    fn floor(&self) -> MutexGuard<'_, Option<Floor>> {
        self.shared.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `speaker` the word, or keeps it with it.
    ///
    /// # Errors
    /// Somebody else has it, and was heard within the last second.
    pub fn begin(&self, speaker: Speaker, now: Instant) -> Result<(), SpeakerBusy> {
        let mut floor = self.floor();
        if let Some(other) = floor.filter(|floor| floor.speaker != speaker)
            && now.saturating_duration_since(other.heard_at) < SILENCE
        {
            return Err(SpeakerBusy);
        }
        *floor = Some(Floor { speaker, heard_at: now });
        drop(floor);
        self.tell(Some(speaker));
        Ok(())
    }

    /// `speaker` has finished, or is gone.
    pub fn end(&self, speaker: Speaker) {
        let mut floor = self.floor();
        if floor.is_some_and(|floor| floor.speaker == speaker) {
            *floor = None;
            drop(floor);
            self.tell(None);
        }
    }

    /// Takes one packet: the first one of silence gives its speaker the word. Whether it is on its way to be played.
    ///
    /// # Errors
    /// Somebody else has the word.
    pub fn speak(&self, packet: SpokenPacket, now: Instant) -> Result<bool, SpeakerBusy> {
        self.begin(packet.speaker, now)?;
        Ok(self.shared.packets.try_send(packet).is_ok())
    }

    /// Who has the word at `now`.
    pub fn speaker(&self, now: Instant) -> Option<Speaker> {
        let floor = self.floor().filter(|floor| now.saturating_duration_since(floor.heard_at) < SILENCE);
        floor.map(|floor| floor.speaker)
    }

    /// Who was given the word last, and whether it was given back; for whoever tells viewers.
    pub fn watch_speaker(&self) -> watch::Receiver<Option<Speaker>> {
        self.shared.speaker.subscribe()
    }

    fn tell(&self, speaker: Option<Speaker>) {
        self.shared.speaker.send_if_modified(|told| std::mem::replace(told, speaker) != speaker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(speaker: Speaker, now: Instant) -> SpokenPacket {
        let payload = Bytes::from_static(&[1]);
        SpokenPacket { speaker, payload, sequence_number: 0, timestamp: 0, marker: false, received_at: now }
    }

    #[test]
    fn one_speaks_at_a_time_until_it_ends_or_is_silent() {
        let ((talk, mut queue), start) = (Talk::new(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(talk.begin(1, at(0)), Ok(()));
        assert_eq!(talk.begin(2, at(999)), Err(SpeakerBusy));
        assert_eq!(talk.speak(packet(1, at(900)), at(900)), Ok(true));
        assert_eq!(talk.speak(packet(2, at(1500)), at(1500)), Err(SpeakerBusy));
        assert_eq!(talk.speaker(at(1899)), Some(1));
        assert_eq!(talk.speaker(at(1900)), None);
        assert_eq!(talk.speak(packet(2, at(1900)), at(1900)), Ok(true));
        talk.end(1);
        assert_eq!(talk.speaker(at(1900)), Some(2));
        talk.end(2);
        assert_eq!((talk.speaker(at(1900)), *talk.watch_speaker().borrow()), (None, None));
        assert_eq!(queue.try_recv().map(|packet| packet.speaker), Ok(1));
    }

    #[test]
    fn what_finds_no_room_is_lost() {
        let ((talk, _queue), now) = (Talk::new(), Instant::now());
        let taken = (0..QUEUE_PACKETS + 5).filter(|_| talk.speak(packet(1, now), now) == Ok(true)).count();
        assert_eq!(taken, QUEUE_PACKETS);
    }
}
