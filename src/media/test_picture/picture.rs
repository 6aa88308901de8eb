//! The test picture: it carries its own time, so that anybody can measure latency from outside.
//!
//! The top 16 rows hold 40 blocks of 16x16 pixels (hence a width of at least 640), bright (Y 235)
//! for 1 and dark (Y 16) for 0, most significant bit first: the low 32 bits of the wall clock in
//! milliseconds at the moment the picture is made, then 8 bits of check, the xor of those four
//! bytes. Below: colour bars, a title, a clock for people, and a box that moves in every picture.
//! In the bars' left upper corner a block of 64x48 pixels is bright (Y 235) for the first 100 ms of each
//! second of UNIX time, while the test tone beeps, and dark (Y 16) else: lip sync can be measured.
//! Beside the clock it snows: without something that no encoder can foretell, the stream would be a
//! tenth of the bit rate that was asked for, and show nothing about networks.
//!
//! Pure drawing into I420. The background is drawn once; each picture redraws only what changed.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::media::capture::mode::{CameraMode, Rate};
use crate::media::error::MediaError;
use crate::media::test_picture::drawing::Drawing;
use crate::media::test_picture::font::{GLYPH_HEIGHT, GLYPH_WIDTH, glyph};

const BLOCK: usize = 16;
const BLOCKS: usize = 40;
/// How long the flash lasts from each whole second of UNIX time on, in milliseconds.
pub const FLASH_MS: u64 = 100;
/// The block that flashes, below the time blocks.
const FLASH_WIDTH: usize = 4 * BLOCK;
const FLASH_HEIGHT: usize = 3 * BLOCK;
const BRIGHT: u8 = 235;
const DARK: u8 = 16;
/// Luma of the strip the box moves on.
const STRIP: u8 = 60;
const BOX_LUMA: u8 = 200;
/// Pixels the box moves from one picture to the next.
const BOX_STEP: usize = 4;
/// "14:22:05.12".
const CLOCK_COLUMNS: usize = 11;
/// Luma around which it snows, and how far from it at most.
const SNOW_LUMA: u8 = 60;
const SNOW_MOST: u8 = 40;
/// Snow is cut out of a strip of so many pixels, elsewhere for each row: dearer to foretell than to draw.
const SNOW_STRIP: usize = 1 << 14;
const TITLE: &str = "PORTHOLE TEST PICTURE";
/// 75 % colour bars (Y, U, V; ITU-R BT.601): white, yellow, cyan, green, magenta, red, blue.
const BARS: [(u8, u8, u8); 7] = [
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
];

/// The sizes and rates that the test picture is offered in; any other that [`check_size`] accepts can be configured.
pub fn modes() -> Vec<CameraMode> {
    let rates: Vec<Rate> = [5, 10, 15, 25, 30].map(Rate::whole).to_vec();
    let mode = |(width, height)| CameraMode { format: "YU12".into(), width, height, rates: rates.clone() };
    [(640, 360), (640, 480), (1280, 720), (1920, 1080)].map(mode).to_vec()
}

/// Refuses sizes the picture cannot have; see [`MediaError::TestPictureSize`].
pub fn check_size(width: u32, height: u32) -> Result<(), MediaError> {
    let width_fits = (640..=4096).contains(&width) && width.is_multiple_of(8);
    let height_fits = (160..=2304).contains(&height) && height.is_multiple_of(2);
    if width_fits && height_fits {
        return Ok(());
    }
    Err(MediaError::TestPictureSize { width, height })
}

/// The picture and what is needed to draw the next one.
pub struct TestPicture {
    width: usize,
    height: usize,
    data: Vec<u8>,
    frame: usize,
    box_x: usize,
    /// The clock as it is drawn now, so that only changed digits are redrawn.
    clock: Vec<u8>,
    snow: Vec<u8>,
}

/// Where a text goes.
#[derive(Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
    /// Pixels per font dot.
    scale: usize,
}

impl Place {
    /// Centres `columns` characters in `width` pixels.
    fn centred(width: usize, y: usize, scale: usize, columns: usize) -> Self {
        let text_width = columns * (GLYPH_WIDTH + 1) * scale;
        Self { x: width.saturating_sub(text_width) / 2, y, scale }
    }
}

impl TestPicture {
    /// Draws the background. Its width is a multiple of 8, so that rows need no padding.
    pub fn new(width: u32, height: u32) -> Result<Self, MediaError> {
        check_size(width, height)?;
        let (width, height) = (width as usize, height as usize);
        let mut data = vec![DARK; width * height];
        data.resize(width * height * 3 / 2, 128);
        let mut rng = SmallRng::seed_from_u64(0);
        let snow = (0..SNOW_STRIP).map(|_| rng.random_range(SNOW_LUMA - SNOW_MOST..=SNOW_LUMA + SNOW_MOST));
        let snow = snow.collect();
        let mut picture = Self { width, height, data, frame: 0, box_x: 0, clock: Vec::new(), snow };
        picture.draw_background();
        Ok(picture)
    }

    fn draw_background(&mut self) {
        let bars_end = self.bars_end();
        for (index, (luma, u, v)) in BARS.into_iter().enumerate() {
            let left = (self.width * index / BARS.len()) & !1;
            let right = (self.width * (index + 1) / BARS.len()) & !1;
            self.fill_luma(left, BLOCK, right - left, bars_end - BLOCK, luma);
            self.fill_chroma(left, BLOCK, right - left, bars_end - BLOCK, (u, v));
        }
        // A luma ramp under the bars shows banding and clipping.
        let ramp = bars_end..self.ramp_end();
        for row in ramp {
            for x in 0..self.width {
                let step = x * usize::from(BRIGHT - DARK) / (self.width - 1);
                self.data[row * self.width + x] = DARK + u8::try_from(step).unwrap_or(BRIGHT - DARK);
            }
        }
        let strip = self.strip_top();
        self.fill_luma(0, strip, self.width, self.height - strip, STRIP);
        let scale = (self.unit() / 2).max(1);
        let place = Place::centred(self.width, bars_end + self.unit() * 3, scale, TITLE.len());
        for (column, character) in TITLE.bytes().enumerate() {
            self.draw_character(place, column, character, BRIGHT);
        }
    }

    /// A length that grows with the picture: 1/80 of its height, at least 2 pixels.
    fn unit(&self) -> usize {
        (self.height / 80).max(2)
    }

    fn bars_end(&self) -> usize {
        (BLOCK + (self.height - BLOCK) * 2 / 5) & !1
    }

    fn ramp_end(&self) -> usize {
        self.bars_end() + self.unit() * 2
    }

    /// Pixels per font dot of the clock.
    fn clock_scale(&self) -> usize {
        (self.unit() * 3 / 2).min(self.width / 100).max(1)
    }

    /// The strip of the moving box fills the lowest eighth, on even rows for the chroma's sake.
    fn strip_top(&self) -> usize {
        (self.height - self.height / 8) & !1
    }

    fn draw_time_blocks(&mut self, now: SystemTime) {
        let bits = time_code(now);
        for index in 0..BLOCKS {
            let bright = bits >> (BLOCKS - 1 - index) & 1 == 1;
            let left = index * BLOCK;
            let luma = if bright { BRIGHT } else { DARK };
            // A block that already has its colour is left alone.
            if self.data[left] != luma || self.frame == 0 {
                self.fill_luma(left, 0, BLOCK, BLOCK, luma);
            }
        }
    }

    fn flash(&mut self, now: SystemTime) {
        let luma = if is_flash(now) { BRIGHT } else { DARK };
        if self.data[self.width * BLOCK] != luma {
            self.fill_luma(0, BLOCK, FLASH_WIDTH, FLASH_HEIGHT, luma);
        }
    }

    fn draw_clock(&mut self, now: SystemTime) {
        // "2026-11-03T14:22:05.123Z": date and time are drawn on two lines, hundredths are enough.
        let stamp = humantime::format_rfc3339_millis(now).to_string();
        let stamp = stamp.as_bytes();
        if stamp.len() < 22 {
            return;
        }
        let (date, time) = (&stamp[..10], &stamp[11..11 + CLOCK_COLUMNS]);
        let top = self.bars_end() + self.unit() * 8;
        let scale = self.clock_scale();
        let time_place = Place::centred(self.width, top, scale, time.len());
        let date_scale = (self.unit() * 3 / 4).max(1);
        let date_top = top + (GLYPH_HEIGHT + 2) * scale;
        let date_line = [date, b" UTC"].concat();
        let date_place = Place::centred(self.width, date_top, date_scale, date_line.len());
        let text: Vec<u8> = [time, &date_line].concat();
        for (index, &character) in text.iter().enumerate() {
            if self.clock.get(index) == Some(&character) {
                continue;
            }
            let in_time = index < time.len();
            let column = if in_time { index } else { index - time.len() };
            self.draw_character(if in_time { time_place } else { date_place }, column, character, BRIGHT);
        }
        self.clock = text;
    }

    /// Fills what is left and right of the clock, with something else in each picture.
    fn let_it_snow(&mut self) {
        let clock = Place::centred(self.width, 0, self.clock_scale(), CLOCK_COLUMNS);
        let columns = clock.x.saturating_sub(BLOCK).min(SNOW_STRIP / 2);
        let mut rng = SmallRng::seed_from_u64(self.frame as u64);
        for row in self.ramp_end()..self.strip_top() {
            for left in [0, self.width - columns] {
                // Within the strip, because `columns` is at most half of it.
                let from = rng.next_u32() as usize % (SNOW_STRIP - columns);
                let at = row * self.width + left;
                self.data[at..at + columns].copy_from_slice(&self.snow[from..from + columns]);
            }
        }
    }

    fn move_box(&mut self) {
        let top = self.strip_top() + 2;
        let size = (self.height.saturating_sub(top + 2)).clamp(4, 96) & !1;
        // A whole number of steps, else two pictures would be equal where the box turns round.
        let travel = (self.width - size) / BOX_STEP * BOX_STEP;
        self.fill_luma(self.box_x, top, size, size, STRIP);
        self.fill_chroma(self.box_x, top, size, size, (128, 128));
        // There and back again, always on even columns.
        let phase = self.frame * BOX_STEP % (2 * travel);
        self.box_x = (if phase < travel { phase } else { 2 * travel - phase }) & !1;
        self.fill_luma(self.box_x, top, size, size, BOX_LUMA);
        self.fill_chroma(self.box_x, top, size, size, (90, 190));
    }

    fn draw_character(&mut self, place: Place, column: usize, character: u8, luma: u8) {
        let Place { x, y, scale } = place;
        let left = x + column * (GLYPH_WIDTH + 1) * scale;
        for (row, bits) in glyph(character).into_iter().enumerate() {
            for dot in 0..GLYPH_WIDTH {
                let on = bits >> (GLYPH_WIDTH - 1 - dot) & 1 == 1;
                let luma = if on { luma } else { DARK };
                self.fill_luma(left + dot * scale, y + row * scale, scale, scale, luma);
            }
        }
    }

    fn fill_luma(&mut self, x: usize, y: usize, width: usize, height: usize, luma: u8) {
        fill(&mut self.data, self.width, (x, y), (width, height.min(self.height.saturating_sub(y))), luma);
    }

    /// Fills the chroma under a luma rectangle whose edges are even.
    fn fill_chroma(&mut self, x: usize, y: usize, width: usize, height: usize, (u, v): (u8, u8)) {
        let (half_width, quarter) = (self.width / 2, self.width * self.height / 4);
        let start = self.width * self.height;
        let (at, size) = ((x / 2, y / 2), (width / 2, height / 2));
        fill(&mut self.data[start..start + quarter], half_width, at, size, u);
        fill(&mut self.data[start + quarter..], half_width, at, size, v);
    }
}

impl Drawing for TestPicture {
    fn advance(&mut self, now: SystemTime) -> &[u8] {
        self.draw_time_blocks(now);
        self.flash(now);
        self.draw_clock(now);
        self.move_box();
        self.let_it_snow();
        self.frame += 1;
        &self.data
    }
}

/// Fills a rectangle of a plane; what lies outside of the plane is left out.
pub(super) fn fill(
    plane: &mut [u8],
    stride: usize,
    (x, y): (usize, usize),
    (width, height): (usize, usize),
    value: u8,
) {
    let right = (x + width).min(stride);
    if x >= right {
        return;
    }
    for row in plane.chunks_exact_mut(stride).skip(y).take(height) {
        row[x..right].fill(value);
    }
}

/// Whether the test tone beeps at this moment.
fn is_flash(now: SystemTime) -> bool {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(since_epoch.subsec_millis()) < FLASH_MS
}

/// The 40 bits of the time blocks.
fn time_code(now: SystemTime) -> u64 {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis() & 0xffff_ffff).unwrap_or_default();
    let check = millis ^ (millis >> 8) ^ (millis >> 16) ^ (millis >> 24);
    millis << 8 | check & 0xff
}

#[cfg(test)]
#[path = "picture_tests.rs"]
pub(in crate::media) mod tests;
