//! A picture of words: a headline, a line below it, and a clock that shows that the picture lives. Pure drawing into I420.

use std::time::SystemTime;

use crate::media::test_picture::drawing::Drawing;
use crate::media::test_picture::font::{GLYPH_HEIGHT, GLYPH_WIDTH, glyph};
use crate::media::test_picture::picture::fill;

/// Luma of the ground, of the headline, and of what is less important.
const GROUND: u8 = 36;
const HEADLINE: u8 = 235;
const DETAIL: u8 = 170;
/// Columns of a headline: it is drawn as large as lets so many stand in one line.
const HEADLINE_COLUMNS: usize = 30;
/// Lines of each text at most.
const MAX_LINES: usize = 4;

/// The words of a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// What is wrong.
    pub headline: String,
    /// What follows from it.
    pub detail: String,
}

/// The picture, redrawn where its words or its clock change.
pub struct NoticePicture {
    width: usize,
    height: usize,
    data: Vec<u8>,
    notice: Notice,
    clock: String,
}

/// One line of text and where it stands.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    top: usize,
    /// Pixels per font dot.
    scale: usize,
    luma: u8,
}

impl NoticePicture {
    /// A picture of this size in pixels that [`size`] gave.
    pub fn new(width: u32, height: u32, notice: Notice) -> Self {
        let (width, height) = (width as usize, height as usize);
        let mut data = vec![GROUND; width * height];
        data.resize(width * height * 3 / 2, 128);
        Self { width, height, data, notice, clock: String::new() }
    }

    /// Other words from the next picture on.
    pub fn say(&mut self, notice: Notice) {
        if notice != self.notice {
            self.notice = notice;
            self.clock.clear();
        }
    }

    fn redraw(&mut self) {
        let luma = self.width * self.height;
        self.data[..luma].fill(GROUND);
        let large = (self.width * 9 / 10 / ((GLYPH_WIDTH + 1) * HEADLINE_COLUMNS)).max(1);
        let small = (large * 2 / 3).max(1);
        let headline = wrapped(&self.notice.headline, self.columns(large));
        let detail = wrapped(&self.notice.detail, self.columns(small));
        let step = |scale: usize| (GLYPH_HEIGHT + 3) * scale;
        let tall = headline.len() * step(large) + detail.len() * step(small) + step(large) / 2;
        let mut top = self.height.saturating_sub(tall + 2 * step(small)) / 2;
        let mut lines = Vec::new();
        for text in &headline {
            lines.push(Line { text, top, scale: large, luma: HEADLINE });
            top += step(large);
        }
        top += step(large) / 2;
        for text in &detail {
            lines.push(Line { text, top, scale: small, luma: DETAIL });
            top += step(small);
        }
        let clock = self.clock.clone();
        let foot = self.height.saturating_sub(2 * step(small));
        lines.push(Line { text: &clock, top: foot.max(top), scale: small, luma: DETAIL });
        for line in lines {
            self.draw(line);
        }
    }

    fn columns(&self, scale: usize) -> usize {
        (self.width * 9 / 10 / ((GLYPH_WIDTH + 1) * scale)).max(1)
    }

    fn draw(&mut self, line: Line<'_>) {
        let Line { text, top, scale, luma } = line;
        let left = self.width.saturating_sub(text.len() * (GLYPH_WIDTH + 1) * scale) / 2;
        let plane = self.width * self.height;
        for (column, character) in text.bytes().enumerate() {
            let left = left + column * (GLYPH_WIDTH + 1) * scale;
            for (row, bits) in glyph(character.to_ascii_uppercase()).into_iter().enumerate() {
                for dot in (0..GLYPH_WIDTH).filter(|dot| bits >> (GLYPH_WIDTH - 1 - dot) & 1 == 1) {
                    let at = (left + dot * scale, top + row * scale);
                    fill(&mut self.data[..plane], self.width, at, (scale, scale), luma);
                }
            }
        }
    }
}

impl Drawing for NoticePicture {
    fn advance(&mut self, now: SystemTime) -> &[u8] {
        // "2026-11-03T14:22:05Z"
        let clock = humantime::format_rfc3339_seconds(now).to_string().replace('T', " ").replace('Z', " UTC");
        if clock != self.clock {
            self.clock = clock;
            self.redraw();
        }
        &self.data
    }
}

/// The nearest size in pixels that such a picture can have: rows of I420 without padding, and not smaller than a few words.
pub fn size(width: u32, height: u32) -> (u32, u32) {
    ((width & !7).clamp(64, 4096), (height & !1).clamp(64, 4096))
}

/// The words of `text` in lines of so many characters. What is no ASCII stands as a space; a longer word is cut.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word: String = word
            .chars()
            .take(columns)
            .map(|character| if character.is_ascii() { character } else { ' ' })
            .collect();
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines.truncate(MAX_LINES);
    lines
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn notice(headline: &str) -> Notice {
        Notice { headline: headline.into(), detail: "It comes back by itself.".into() }
    }

    #[test]
    fn every_size_holds_its_words_and_other_words_are_another_picture() {
        for (width, height) in
            [(1, 1), (64, 64), (160, 120), (642, 361), (640, 480), (1366, 768), (4096, 4096)]
        {
            let (width, height) = size(width, height);
            let mut picture = NoticePicture::new(width, height, notice("The camera is not plugged in"));
            let first = picture.advance(UNIX_EPOCH).to_vec();
            assert_eq!(first.len(), (width * height * 3 / 2) as usize);
            assert!(first.contains(&HEADLINE), "{width}x{height}: nothing is written there");
            assert_eq!(picture.advance(UNIX_EPOCH + Duration::from_millis(500)), first, "a still picture");
            picture.say(notice("The camera is starting"));
            assert_ne!(picture.advance(UNIX_EPOCH + Duration::from_millis(600)), first);
        }
    }

    #[test]
    fn the_clock_goes_on() {
        let mut picture = NoticePicture::new(640, 360, notice("x"));
        let first = picture.advance(UNIX_EPOCH).to_vec();
        assert_ne!(picture.advance(UNIX_EPOCH + Duration::from_secs(1)), first);
    }

    #[test]
    fn words_stand_in_lines_whatever_they_are() {
        assert_eq!(wrapped("the camera is starting", 12), ["the camera", "is starting"]);
        assert_eq!(wrapped("", 10), Vec::<String>::new());
        assert_eq!(wrapped("Überlänge", 5), [" berl"]);
        let many = "word ".repeat(1000);
        assert_eq!(wrapped(&many, 1).len(), MAX_LINES);
    }

    #[test]
    fn every_letter_and_digit_has_a_shape_of_its_own() {
        let all: Vec<u8> = (b'A'..=b'Z').chain(b'0'..=b'9').chain(*b":-.,'/_()").collect();
        let shapes: std::collections::BTreeSet<_> = all.iter().map(|character| glyph(*character)).collect();
        assert_eq!(shapes.len(), all.len());
    }
}
