//! A rectangle of the picture in fractions of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The whole width or height, in the unit of [`Area`]: millionths, so that turning is exact.
const WHOLE: u32 = 1_000_000;
/// The least side of what is worth showing enlarged.
const LEAST_SHOWN: u32 = WHOLE / 20;

/// A rectangle inside the picture; written as `[x, y, width, height]`, each from 0 to 1, from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 4]", into = "[f64; 4]")]
pub struct Area {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelArea {
    /// From the left.
    pub x: u32,
    /// From the top.
    pub y: u32,
    /// Its width.
    pub w: u32,
    /// Its height.
    pub h: u32,
}

impl Area {
    /// The whole picture.
    pub const ALL: Self = Self { x: 0, y: 0, w: WHOLE, h: WHOLE };

    /// In millionths of the picture; `None` where it is empty or reaches outside.
    pub fn new(x: u32, y: u32, w: u32, h: u32) -> Option<Self> {
        let fits = |at: u32, side: u32| side > 0 && at.checked_add(side).is_some_and(|end| end <= WHOLE);
        (fits(x, w) && fits(y, h)).then_some(Self { x, y, w, h })
    }

    /// As somebody wrote it.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let numbers: Option<Vec<f64>> =
            value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        let numbers = numbers.and_then(|numbers| <[f64; 4]>::try_from(numbers).ok());
        let written = || crate::base::text::shown(&value.to_string());
        let numbers = numbers.ok_or_else(|| {
            format!(
                "{} is no rectangle; write [x, y, width, height] as fractions of the picture from 0 to 1",
                written()
            )
        })?;
        Self::try_from(numbers).map_err(|error| format!("{} {error}", written()))
    }

    /// Turned clockwise by so many quarters with its picture.
    pub(super) fn turned(self, quarters: u8) -> Self {
        (0..quarters % 4).fold(self, |area, _| Self {
            x: WHOLE - area.y - area.h,
            y: area.x,
            w: area.h,
            h: area.w,
        })
    }

    /// Mirrored with its picture: left and right change places.
    pub(super) fn mirrored(self) -> Self {
        Self { x: WHOLE - self.x - self.w, ..self }
    }

    /// Whether all of `other` lies within.
    pub fn covers(self, other: Self) -> bool {
        self.x <= other.x
            && self.y <= other.y
            && other.x + other.w <= self.x + self.w
            && other.y + other.h <= self.y + self.h
    }

    /// Whether it is large enough to be enlarged to the whole picture.
    pub fn is_worth_showing(self) -> bool {
        self.w >= LEAST_SHOWN && self.h >= LEAST_SHOWN
    }

    /// Enlarged around its middle, inside the picture, to the picture's own shape: so that nothing is distorted.
    #[must_use]
    pub fn in_shape(self) -> Self {
        let side = self.w.max(self.h);
        let start = |at: u32, length: u32| (at + length / 2).saturating_sub(side / 2).min(WHOLE - side);
        Self { x: start(self.x, self.w), y: start(self.y, self.h), w: side, h: side }
    }

    /// The pixels of a picture of this size that it touches: never one too few.
    pub fn covering(self, (width, height): (u32, u32)) -> PixelArea {
        let (x, w) = touched(self.x, self.w, width);
        let (y, h) = touched(self.y, self.h, height);
        PixelArea { x, y, w, h }
    }

    /// The nearest even pixels, for what is cut out of 4:2:0 video.
    pub fn even(self, (width, height): (u32, u32)) -> PixelArea {
        let (x, w) = evened(self.x, self.w, width);
        let (y, h) = evened(self.y, self.h, height);
        PixelArea { x, y, w, h }
    }
}

/// The pixels from `at` on that `side` touches, of `pixels` in all.
fn touched(at: u32, side: u32, pixels: u32) -> (u32, u32) {
    let scaled = |millionths: u32| u64::from(millionths) * u64::from(pixels);
    let whole = u64::from(WHOLE);
    let start = scaled(at) / whole;
    let end = scaled(at + side).div_ceil(whole);
    (narrow(start), narrow(end - start))
}

fn evened(at: u32, side: u32, pixels: u32) -> (u32, u32) {
    let scaled = |millionths: u32| {
        narrow((u64::from(millionths) * u64::from(pixels) + u64::from(WHOLE / 2)) / u64::from(WHOLE)) & !1
    };
    let side = scaled(side).clamp(2, (pixels & !1).max(2));
    (scaled(at).min((pixels & !1).saturating_sub(side)), side)
}

/// Of what is no larger than a `u32` anyway.
fn narrow(pixels: u64) -> u32 {
    u32::try_from(pixels).unwrap_or(u32::MAX)
}

impl TryFrom<[f64; 4]> for Area {
    type Error = String;

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within 0..=1, looked at just before
    fn try_from(numbers: [f64; 4]) -> Result<Self, String> {
        if !numbers.iter().all(|number| (0.0..=1.0).contains(number)) {
            return Err(
                "reaches outside the picture; write [x, y, width, height] as fractions of it from 0 to 1"
                    .into(),
            );
        }
        let [x, y, w, h] = numbers.map(|number| (number * f64::from(WHOLE)).round() as u32);
        // A third and two thirds, rounded, may be one millionth more than the whole.
        let within = |at: u32, side: u32| if at + side == WHOLE + 1 { side - 1 } else { side };
        if w == 0 || h == 0 {
            return Err("is empty; width and height are more than 0".into());
        }
        Self::new(x, y, within(x, w), within(y, h))
            .ok_or_else(|| "reaches outside the picture; x + width and y + height are at most 1".into())
    }
}

impl From<Area> for [f64; 4] {
    fn from(Area { x, y, w, h }: Area) -> Self {
        [x, y, w, h].map(|millionths| f64::from(millionths) / f64::from(WHOLE))
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(<[f64; 4]>::from(*self)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(numbers: [f64; 4]) -> Area {
        Area::try_from(numbers).unwrap()
    }

    #[test]
    fn fractions_come_back_as_they_were_written() {
        for numbers in [[0.0, 0.0, 1.0, 1.0], [0.1, 0.2, 0.3, 0.4], [0.333_333, 0.0, 0.666_667, 0.000_001]] {
            let back = <[f64; 4]>::from(area(numbers));
            assert!(back.iter().zip(numbers).all(|(a, b)| (a - b).abs() < 1e-9), "{back:?}");
            let json = serde_json::to_string(&area(numbers)).unwrap();
            assert_eq!(serde_json::from_str::<Area>(&json).unwrap(), area(numbers), "{json}");
        }
        assert!(Area::try_from([1.0 / 3.0, 0.0, 2.0 / 3.0, 1.0]).is_ok());
    }

    #[test]
    fn what_reaches_outside_is_refused_in_words() {
        let nonsense = f64::NAN;
        for numbers in [
            [-0.1, 0.0, 0.5, 0.5],
            [0.0, 0.0, 1.1, 1.0],
            [0.6, 0.0, 0.5, 1.0],
            [0.0, 0.999, 0.1, 0.01],
            [0.0, 0.0, 0.0, 1.0],
            [0.0, nonsense, 0.1, 1.0],
            [f64::INFINITY, 0.0, 0.1, 1.0],
        ] {
            let error = Area::try_from(numbers).unwrap_err();
            assert!(error.contains("outside") || error.contains("empty"), "{numbers:?}: {error}");
        }
        let error = Area::from_json(&serde_json::json!([0.5, 0.5, 0.8, 0.1])).unwrap_err();
        assert_eq!(
            error,
            "[0.5,0.5,0.8,0.1] reaches outside the picture; x + width and y + height are at most 1"
        );
        assert!(serde_json::from_str::<Area>("[0,0,2,2]").is_err(), "also where it was kept");
    }

    #[test]
    fn pixels_of_a_mask_are_never_too_few() {
        let third = area([1.0 / 3.0, 0.0, 1.0 / 3.0, 0.5]);
        let pixels = third.covering((640, 360));
        assert!(
            f64::from(pixels.x) <= 640.0 / 3.0 && f64::from(pixels.x + pixels.w) >= 2.0 * 640.0 / 3.0 - 0.001
        );
        assert_eq!((pixels.y, pixels.h), (0, 180));
        for size in [(2, 2), (640, 360), (4096, 2304), (641, 359)] {
            let all = Area::ALL.covering(size);
            assert_eq!((all.x, all.y, all.w, all.h), (0, 0, size.0, size.1));
            let dot = area([0.999_999, 0.999_999, 0.000_001, 0.000_001]).covering(size);
            assert_eq!((dot.x + dot.w, dot.y + dot.h, dot.w, dot.h), (size.0, size.1, 1, 1));
        }
    }

    #[test]
    fn what_is_cut_out_is_even_and_has_the_pictures_shape() {
        let shaped = area([0.7, 0.1, 0.3, 0.1]).in_shape();
        assert_eq!(shaped, area([0.7, 0.0, 0.3, 0.3]));
        assert_eq!(area([0.9, 0.0, 0.1, 1.0]).in_shape(), Area::ALL);
        for size in [(640, 360), (1280, 720), (64, 64), (642, 482)] {
            let pixels = shaped.even(size);
            assert!([pixels.x, pixels.y, pixels.w, pixels.h].iter().all(|side| side % 2 == 0), "{pixels:?}");
            assert!(pixels.w >= 2 && pixels.x + pixels.w <= size.0 && pixels.y + pixels.h <= size.1);
        }
    }

    #[test]
    fn one_covers_what_lies_within() {
        let large = area([0.1, 0.1, 0.5, 0.5]);
        assert!(large.covers(large) && large.covers(area([0.2, 0.2, 0.1, 0.1])) && Area::ALL.covers(large));
        assert!(!large.covers(area([0.2, 0.2, 0.5, 0.1])) && !large.covers(Area::ALL));
    }
}
