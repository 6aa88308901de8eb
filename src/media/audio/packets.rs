//! Opus packets numbered in RTP's time. Pure.

use std::time::Duration;

use crate::stream::OPUS_CLOCK_RATE_HZ;

/// What Opus says with nothing to say (RFC 6716 section 3.1, a packet without audio): not sent.
const NO_AUDIO_BYTES: usize = 2;
/// Positions that are off by less than this are the rounding of what lies between card and encoder.
const ROUNDING_TICKS: u64 = OPUS_CLOCK_RATE_HZ as u64 / 200;

/// A packet's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// See [`crate::stream::AudioPacket::samples`].
    pub samples: u64,
    /// See [`crate::stream::AudioPacket::begins_talkspurt`].
    pub begins_talkspurt: bool,
}

/// Numbers the packets of one run after another.
#[derive(Debug, Default)]
pub struct PacketNumbers {
    next: u64,
    is_talking: bool,
}

impl PacketNumbers {
    /// A run begins.
    pub fn start_run(&mut self) {
        self.is_talking = false;
    }

    /// The place of a packet of `bytes` that begins at this position (see [`super::card_clock`]); `None`: it is not sent.
    pub fn number(&mut self, position_ns: u64, length: Duration, bytes: usize) -> Option<Numbered> {
        let ticks = |nanos: u128| {
            let ticks = (nanos * u128::from(OPUS_CLOCK_RATE_HZ) + 500_000_000) / 1_000_000_000;
            u64::try_from(ticks).unwrap_or(u64::MAX)
        };
        let at = ticks(u128::from(position_ns));
        let samples = if at < self.next + ROUNDING_TICKS { self.next } else { at };
        self.next = samples + ticks(length.as_nanos());
        let has_audio = bytes > NO_AUDIO_BYTES;
        let was_talking = std::mem::replace(&mut self.is_talking, has_audio);
        let begins_talkspurt = has_audio && !was_talking;
        has_audio.then_some(Numbered { samples, begins_talkspurt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MS: Duration = Duration::from_millis(10);

    #[test]
    fn samples_are_counted_over_silence_gaps_and_runs() {
        let mut numbers = PacketNumbers::default();
        let mut at = |position_us: u64, bytes| {
            let numbered = numbers.number(position_us * 1000, TEN_MS, bytes);
            numbered.map(|numbered| (numbered.samples, numbered.begins_talkspurt))
        };
        assert_eq!(at(0, 40), Some((0, true)));
        // What was rounded on the way does not add up.
        assert_eq!(at(10_003, 40), Some((480, false)));
        assert_eq!(at(19_998, 40), Some((960, false)));
        // Silence.
        assert_eq!(at(30_000, 1), None);
        assert_eq!(at(40_000, 2), None);
        assert_eq!(at(50_000, 30), Some((2400, true)));
        // The card was away.
        assert_eq!(at(1_050_000, 30), Some((50_400, false)));
        // Never back.
        assert_eq!(at(1_050_000, 30), Some((50_880, false)));
        numbers.start_run();
        let next = numbers.number(3_000_000_000, TEN_MS, 30);
        assert_eq!(next, Some(Numbered { samples: 144_000, begins_talkspurt: true }));
    }
}
