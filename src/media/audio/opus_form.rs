//! Whether bytes have the form of an Opus packet (RFC 6716 section 3.4), so that garbage ends before the decoder. Pure.

use std::time::Duration;

/// RFC 6716 section 3.4, R5: 120 ms.
const MAX_US: u64 = 120_000;
/// The longest frame, section 3.2.1.
const MAX_FRAME_BYTES: usize = 1275;

/// The sound in the packet; `None`: it is none.
pub fn duration(packet: &[u8]) -> Option<Duration> {
    let (toc, rest) = packet.split_first()?;
    let frame_us = frame_us(toc >> 3);
    let (frames, is_right) = match toc & 3 {
        0 => (1, rest.len() <= MAX_FRAME_BYTES),
        1 => (2, rest.len() % 2 == 0 && rest.len() / 2 <= MAX_FRAME_BYTES),
        2 => (2, two_frames(rest)),
        _ => {
            let count = rest.first()? & 0x3f;
            (u64::from(count), count > 0 && any_frames(rest, usize::from(count)).is_some())
        }
    };
    let whole_us = frames * frame_us;
    (is_right && whole_us <= MAX_US).then(|| Duration::from_micros(whole_us))
}

/// A frame's length by the configuration number, table 2.
fn frame_us(config: u8) -> u64 {
    let by_mode: &[u64] = match config {
        0..=11 => &[10_000, 20_000, 40_000, 60_000],
        12..=15 => &[10_000, 20_000],
        _ => &[2500, 5000, 10_000, 20_000],
    };
    by_mode[usize::from(config) % by_mode.len()]
}

/// A frame's length in bytes and what follows it, section 3.2.1.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first < 252 {
        return Some((usize::from(*first), rest));
    }
    let (second, rest) = rest.split_first()?;
    Some((usize::from(*second) * 4 + usize::from(*first), rest))
}

fn two_frames(bytes: &[u8]) -> bool {
    length(bytes).is_some_and(|(first, rest)| {
        rest.len().checked_sub(first).is_some_and(|second| second <= MAX_FRAME_BYTES)
    })
}

/// Section 3.2.5.
fn any_frames(bytes: &[u8], count: usize) -> Option<()> {
    let (header, mut rest) = bytes.split_first()?;
    let mut padding = 0_usize;
    if header & 0x40 != 0 {
        loop {
            let (length, after) = rest.split_first()?;
            rest = after;
            padding += if *length == 255 { 254 } else { usize::from(*length) };
            if *length < 255 {
                break;
            }
        }
    }
    let mut known = 0_usize;
    if header & 0x80 != 0 {
        for _ in 1..count {
            let (frame, after) = length(rest)?;
            known += frame;
            rest = after;
        }
    }
    let room = rest.len().checked_sub(padding)?.checked_sub(known)?;
    let is_right = if header & 0x80 != 0 {
        room <= MAX_FRAME_BYTES
    } else {
        room % count == 0 && room / count <= MAX_FRAME_BYTES
    };
    is_right.then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(packet: &[u8]) -> Option<f64> {
        duration(packet).map(|duration| duration.as_secs_f64() * 1000.0)
    }

    #[test]
    fn lengths_are_those_of_the_table_and_wrong_forms_are_none() {
        // Configuration 1 is SILK of 20 ms, 16 CELT of 2.5, 31 CELT of 20, 12 hybrid of 10, 3 SILK of 60.
        assert_eq!(
            (ms(&[1 << 3, 9]), ms(&[16 << 3]), ms(&[31 << 3, 1, 2])),
            (Some(20.0), Some(2.5), Some(20.0))
        );
        assert_eq!((ms(&[12 << 3, 0]), ms(&[3 << 3, 0])), (Some(10.0), Some(60.0)));
        // Two of the same length; two of lengths 1 and 2; three with a padding of 2; two with their lengths.
        assert_eq!((ms(&[1 << 3 | 1, 1, 2]), ms(&[1 << 3 | 1, 1, 2, 3])), (Some(40.0), None));
        assert_eq!(
            (ms(&[1 << 3 | 2, 1, 9, 8, 8]), ms(&[1 << 3 | 2, 4, 9]), ms(&[1 << 3 | 2])),
            (Some(40.0), None, None)
        );
        assert_eq!(ms(&[1 << 3 | 3, 0x43, 2, 7, 7, 7, 0, 0]), Some(60.0));
        assert_eq!(ms(&[1 << 3 | 3, 0x43, 9, 7, 7, 7, 0, 0]), None);
        assert_eq!((ms(&[1 << 3 | 3, 0x82, 1, 7, 7, 7]), ms(&[1 << 3 | 3, 0x82, 9, 7])), (Some(40.0), None));
        // None at all, no frames, more than 120 ms, too long a frame.
        assert_eq!((ms(&[]), ms(&[3]), ms(&[3, 0]), ms(&[3 << 3 | 3, 3, 1, 1, 1])), (None, None, None, None));
        assert_eq!(ms(&[8; 1277]), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(duration) = duration(&packet) {
                prop_assert!(duration.as_millis() <= 120 && !packet.is_empty());
            }
        }
    }
}
