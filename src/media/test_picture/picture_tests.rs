//! The test picture, read back as a viewer would.

use std::time::Duration;

use super::*;

/// Reads the time blocks of a luma plane; `None` when the check bits do not match.
pub(in crate::media) fn read_time(luma: &[u8], stride: usize) -> Option<u32> {
    let mut bits = 0_u64;
    for index in 0..BLOCKS {
        let middle = luma[8 * stride + index * BLOCK + 8];
        bits = bits << 1 | u64::from(middle > 125);
    }
    let (millis, check) = (bits >> 8, bits & 0xff);
    let expected = (0..4).fold(0, |sum, byte| sum ^ (millis >> (8 * byte) & 0xff));
    (check == expected).then(|| u32::try_from(millis).unwrap())
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

#[test]
fn the_time_can_be_read_back_at_every_size() {
    for (width, height) in [(640, 160), (640, 480), (800, 600), (1280, 720), (1920, 1080)] {
        let mut picture = TestPicture::new(width, height).unwrap();
        for millis in [0, 1, 0xffff_ffff, 0x1_0000_0005, 1_762_182_125_123, 1_762_182_125_156] {
            let data = picture.advance(at(millis));
            assert_eq!(data.len(), (width * height * 3 / 2) as usize);
            let expected = (millis & 0xffff_ffff) as u32;
            assert_eq!(read_time(data, width as usize), Some(expected), "{width}x{height}");
        }
    }
}

#[test]
fn the_blocks_are_drawn_as_the_contract_says() {
    let mut picture = TestPicture::new(640, 480).unwrap();
    // 0x8000_0001, check 0x80 ^ 0x01 = 0x81.
    let data = picture.advance(at(0x8000_0001));
    let block = |index: usize| {
        let rows = (0..16).flat_map(|row| (0..16).map(move |x| row * 640 + index * 16 + x));
        let mut values: Vec<u8> = rows.map(|at| data[at]).collect();
        values.dedup();
        values
    };
    for index in 0..40 {
        let bright = [0, 31, 32, 39].contains(&index);
        assert_eq!(block(index), [if bright { 235 } else { 16 }], "block {index}");
    }
}

#[test]
fn it_flashes_while_the_tone_beeps() {
    for (width, height) in [(640, 160), (640, 480), (1920, 1080)] {
        let mut picture = TestPicture::new(width, height).unwrap();
        let (width, height) = (width as usize, height as usize);
        for (millis, is_bright) in
            [(500, false), (1000, true), (1099, true), (1100, false), (1999, false), (2000, true)]
        {
            let data = picture.advance(at(millis));
            let expected = if is_bright { 235 } else { 16 };
            for (x, y) in [(0, 16), (63, 16), (0, 63), (63, 63), (32, 40)] {
                assert_eq!(data[y * width + x], expected, "{x},{y} of {width}x{height} at {millis}");
            }
            // It is grey: under it is the white bar's chroma.
            assert_eq!(data[width * height + 8 * width / 2], 128);
            assert_eq!((data[16 * width + 64], data[64 * width]), (180, 180));
        }
    }
}

#[test]
fn every_picture_differs_from_the_one_before_below_the_blocks() {
    let mut picture = TestPicture::new(640, 480).unwrap();
    let mut before = picture.advance(at(0)).to_vec();
    // The same time each: what moves must not depend on the clock.
    for _ in 0..700 {
        let now = picture.advance(at(0)).to_vec();
        assert_ne!(before[640 * 16..], now[640 * 16..]);
        before = now;
    }
}

#[test]
fn a_partial_redraw_gives_the_same_picture_as_a_full_one() {
    let mut partial = TestPicture::new(1280, 720).unwrap();
    for frame in 0..50 {
        partial.advance(at(1_762_182_125_000 + frame * 33));
    }
    let mut full = TestPicture::new(1280, 720).unwrap();
    full.frame = 50;
    let now = at(1_762_182_127_000);
    assert!(full.advance(now) == partial.advance(now));
}

#[test]
fn it_snows_beside_the_clock_and_nowhere_else() {
    let mut picture = TestPicture::new(640, 480).unwrap();
    let before = picture.advance(at(0)).to_vec();
    let after = picture.advance(at(0)).to_vec();
    let differ = |x: usize, y: usize| before[y * 640 + x] != after[y * 640 + x];
    let changed = |columns: std::ops::Range<usize>| {
        let pixels = columns.flat_map(|x| (230..410).map(move |y| (x, y)));
        let (changed, all) =
            pixels.fold((0, 0), |(changed, all), (x, y)| (changed + usize::from(differ(x, y)), all + 1));
        f64::from(u32::try_from(changed * 100 / all).unwrap())
    };
    assert!(changed(0..90) > 95.0 && changed(550..640) > 95.0);
    assert!(changed(130..510) < 0.1);
}

#[test]
fn the_clock_can_be_read_by_people() {
    let mut picture = TestPicture::new(640, 480).unwrap();
    picture.advance(at(1_762_182_125_123));
    assert_eq!(String::from_utf8_lossy(&picture.clock), "15:02:05.122025-11-03 UTC");
    for character in TITLE.bytes().chain(*b"0123456789:-.UTC").filter(|c| *c != b' ') {
        assert_ne!(glyph(character), [0; GLYPH_HEIGHT], "{}", character as char);
    }
}

#[test]
fn sizes_without_room_for_the_blocks_are_refused() {
    for (width, height) in [(632, 480), (644, 480), (640, 481), (640, 100), (8192, 480)] {
        assert!(TestPicture::new(width, height).is_err(), "{width}x{height}");
    }
}
