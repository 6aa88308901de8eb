//! A text as a bitmap, as large as a picture of that size needs it to be read.

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{
    MonoFont, MonoTextStyle, iso_8859_1, iso_8859_2, iso_8859_5, iso_8859_7, iso_8859_9,
};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::text::{Baseline, Text};

use super::area::PixelArea;
use super::overlay::Corner;

/// Alphabets, the commonest first: Western, Central European, Cyrillic, Greek, Turkish.
const FONTS: [&MonoFont<'static>; 5] = [
    &iso_8859_1::FONT_10X20,
    &iso_8859_2::FONT_10X20,
    &iso_8859_5::FONT_10X20,
    &iso_8859_7::FONT_10X20,
    &iso_8859_9::FONT_10X20,
];
/// A character in pixels of the font.
const CHARACTER: (usize, usize) = (10, 20);
/// Around the text, in pixels of the font.
const MARGIN: usize = 4;
/// Lines of text that are drawn.
const MAX_LINES: usize = 4;
/// The picture's height for each pixel of the font: a character is at least an eighteenth of the picture high, and can still be
/// read when the picture is halved.
const HEIGHT_PER_DOT: u32 = 360;

/// A text drawn, with the box that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lettering {
    /// Pixels of the font across.
    columns: usize,
    rows: usize,
    /// Row by row.
    dots: Vec<bool>,
    /// Pixels of the picture for each pixel of the font, in both directions.
    pub scale: u32,
    /// Where in the picture it is.
    pub place: PixelArea,
}

impl Lettering {
    /// `text` in this corner of a picture of this size in pixels. Broken into lines where it is too long for one; what does not
    /// fit after all is left out.
    pub fn new(text: &str, corner: Corner, (width, height): (u32, u32)) -> Self {
        let wanted = height.min(width).div_ceil(HEIGHT_PER_DOT).max(1);
        let across = |scale: u32| {
            let dots = usize::try_from(width / scale).unwrap_or(0);
            (dots.saturating_sub(2 * MARGIN) / CHARACTER.0).max(1)
        };
        // Rather smaller than broken, but not smaller than it can be read.
        let length = text.chars().count();
        let scale = if length > across(wanted) && wanted > 1 { (wanted - 1).max(1) } else { wanted };
        let lines = broken(text, across(scale));
        let columns = lines.iter().map(Vec::len).max().unwrap_or(0) * CHARACTER.0 + 2 * MARGIN;
        let rows = lines.len() * CHARACTER.1 + 2 * MARGIN;
        let mut drawn = Self {
            columns,
            rows,
            dots: vec![false; columns * rows],
            scale,
            place: PixelArea {
                x: 0,
                y: 0,
                w: pixels(columns, scale).min(width),
                h: pixels(rows, scale).min(height),
            },
        };
        let font = font_of(text);
        for (number, line) in lines.iter().enumerate() {
            let line: String = line.iter().collect();
            let at = Point::new(as_i32(MARGIN), as_i32(MARGIN + number * CHARACTER.1));
            let text =
                Text::with_baseline(&line, at, MonoTextStyle::new(font, BinaryColor::On), Baseline::Top);
            // It cannot fail: what lies outside is left out.
            let Ok(_) = text.draw(&mut drawn);
        }
        drawn.place.x = if corner.is_right() { width - drawn.place.w } else { 0 };
        drawn.place.y = if corner.is_bottom() { height - drawn.place.h } else { 0 };
        drawn
    }

    /// The runs of bright pixels of the font: row, first column and length of each.
    pub fn runs(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.dots.chunks(self.columns.max(1)).enumerate().flat_map(|(row, dots)| {
            let mut at = 0;
            std::iter::from_fn(move || {
                let start = at + dots.get(at..)?.iter().position(|dot| *dot)?;
                let length = dots.get(start..)?.iter().take_while(|dot| **dot).count();
                at = start + length;
                Some((row, start, length))
            })
        })
    }
}

impl OriginDimensions for Lettering {
    fn size(&self) -> Size {
        Size::new(u32::try_from(self.columns).unwrap_or(0), u32::try_from(self.rows).unwrap_or(0))
    }
}

impl DrawTarget for Lettering {
    type Color = BinaryColor;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Self::Error> {
        for Pixel(point, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(point.x), usize::try_from(point.y)) else { continue };
            if x < self.columns
                && let Some(dot) = self.dots.get_mut(y * self.columns + x)
            {
                *dot = colour.is_on();
            }
        }
        Ok(())
    }
}

/// Lines of at most so many characters, broken at spaces where there are any.
fn broken(text: &str, most: usize) -> Vec<Vec<char>> {
    let mut rest: Vec<char> = text.chars().collect();
    let mut lines = Vec::new();
    while !rest.is_empty() && lines.len() < MAX_LINES {
        let cut = if rest.len() <= most {
            rest.len()
        } else {
            rest[..=most].iter().rposition(|c| *c == ' ').filter(|at| *at > 0).unwrap_or(most)
        };
        let next = rest.split_off(cut);
        lines.push(std::mem::replace(&mut rest, next.into_iter().skip_while(|c| *c == ' ').collect()));
    }
    lines
}

/// The alphabet that has the most of it.
fn font_of(text: &str) -> &'static MonoFont<'static> {
    let unknown = |font: &MonoFont<'_>| {
        let replacement = font.glyph_mapping.index('?');
        text.chars().filter(|c| *c != '?' && font.glyph_mapping.index(*c) == replacement).count()
    };
    let mut best = FONTS[0];
    for font in FONTS {
        if unknown(font) < unknown(best) {
            best = font;
        }
    }
    best
}

fn as_i32(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn pixels(dots: usize, scale: u32) -> u32 {
    u32::try_from(dots).unwrap_or(u32::MAX).saturating_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lettering: &Lettering) -> String {
        let row = |dots: &[bool]| dots.iter().map(|dot| if *dot { '#' } else { '.' }).collect::<String>();
        lettering.dots.chunks(lettering.columns).map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_letter_is_drawn_as_large_as_the_picture_needs() {
        let small = Lettering::new("I", Corner::TopLeft, (640, 360));
        assert!(shown(&small).contains("######"), "{}", shown(&small));
        for (size, scale) in [
            ((320, 180), 1),
            ((640, 360), 1),
            ((640, 480), 2),
            ((1280, 720), 2),
            ((720, 1280), 2),
            ((1920, 1080), 3),
            ((4096, 2304), 7),
        ] {
            let drawn = Lettering::new("2026-11-29", Corner::TopLeft, size);
            assert_eq!(drawn.scale, scale, "{size:?}");
            assert!(drawn.place.h * 20 >= size.0.min(size.1), "{size:?}: {:?}", drawn.place);
        }
    }

    #[test]
    fn it_stays_in_its_corner_and_inside_the_picture() {
        let text = "2026-11-29 05:03:25  A garden with a very long name, and more of it than anybody needs to be told of it";
        for size in [(64, 64), (160, 90), (640, 360), (1280, 720), (90, 4096)] {
            for corner in [Corner::TopLeft, Corner::TopRight, Corner::BottomLeft, Corner::BottomRight] {
                let Lettering { place, .. } = Lettering::new(text, corner, size);
                assert!(place.x + place.w <= size.0 && place.y + place.h <= size.1, "{size:?} {place:?}");
                assert_eq!(place.x + place.w == size.0, corner.is_right() || place.w == size.0);
                assert_eq!(place.y + place.h == size.1, corner.is_bottom() || place.h == size.1);
            }
        }
    }

    #[test]
    fn long_texts_are_broken_at_spaces() {
        let lines = |text: &str, most| -> Vec<String> {
            broken(text, most).into_iter().map(|line| line.into_iter().collect()).collect()
        };
        assert_eq!(lines("one two three", 7), ["one two", "three"]);
        assert_eq!(lines("onetwothree", 4), ["onet", "woth", "ree"]);
        assert_eq!(lines("", 4), [""; 0]);
        assert_eq!(lines(&"x ".repeat(99), 1).len(), MAX_LINES);
    }

    #[test]
    fn other_alphabets_are_drawn_too() {
        for text in ["Gärten", "Łódź", "Сад", "Κήπος", "Bahçe ığ"] {
            let (font, replacement) = (font_of(text), font_of(text).glyph_mapping.index('?'));
            let unknown: Vec<char> =
                text.chars().filter(|c| font.glyph_mapping.index(*c) == replacement).collect();
            assert!(unknown.is_empty(), "{text}: {unknown:?}");
        }
        assert!(
            Lettering::new("花园", Corner::TopLeft, (640, 360)).runs().count() > 0,
            "a question mark at least"
        );
    }
}
