//! Drawing into the samples of one component of a picture (luma, one of chroma, or a colour), whatever its layout in memory.

use super::area::PixelArea;
use super::lettering::Lettering;

/// Where the samples of a component are in its plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes from the start of the plane to the first sample.
    pub offset: usize,
    /// Bytes from a sample to the one beside it.
    pub step: usize,
    /// Bytes from a row to the one below it.
    pub stride: usize,
    /// How often the width is halved: one sample for so many pixels, as a power of two.
    pub halved_x: u32,
    /// The same for the height.
    pub halved_y: u32,
    /// Samples across.
    pub columns: u32,
    /// Rows of samples.
    pub rows: u32,
}

impl Layout {
    /// The samples that `area`, in pixels, touches: rows and columns, each from and up to.
    fn touched(&self, area: PixelArea) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let range = |start: u32, length: u32, halved: u32, most: u32| {
            let end = start.saturating_add(length).div_ceil(1 << halved).min(most);
            index((start >> halved).min(end))..index(end)
        };
        (range(area.y, area.h, self.halved_y, self.rows), range(area.x, area.w, self.halved_x, self.columns))
    }

    /// Changes each sample that `area` touches. Whether all of them were there.
    fn each(&self, plane: &mut [u8], area: PixelArea, change: impl Fn(u8) -> u8) -> bool {
        let (rows, columns) = self.touched(area);
        for row in rows {
            let start = self.offset + row * self.stride + columns.start * self.step;
            let length = columns.len().saturating_sub(1) * self.step + 1;
            let Some(samples) = plane.get_mut(start..start + length) else { return false };
            samples.iter_mut().step_by(self.step.max(1)).for_each(|sample| *sample = change(*sample));
        }
        true
    }

    /// Gives every sample that `area` touches this value. Whether all of them were there.
    #[must_use]
    pub fn fill(&self, plane: &mut [u8], area: PixelArea, value: u8) -> bool {
        self.each(plane, area, |_| value)
    }

    /// Puts the box of `lettering` behind its letters: `shade` of each sample there, and `ink` where a letter is, if there is
    /// one. Whether all samples were there.
    #[must_use]
    pub fn letter(
        &self,
        plane: &mut [u8],
        lettering: &Lettering,
        shade: impl Fn(u8) -> u8,
        ink: Option<u8>,
    ) -> bool {
        let (frame, scale) = (lettering.place, lettering.scale);
        if !self.each(plane, frame, shade) {
            return false;
        }
        let Some(ink) = ink else { return true };
        let within = |start: u32, length: u32, end: u32| length.min(end.saturating_sub(start));
        lettering.runs().all(|(row, column, length)| {
            let at = |dots: usize| u32::try_from(dots).unwrap_or(u32::MAX).saturating_mul(scale);
            let (x, y) = (frame.x.saturating_add(at(column)), frame.y.saturating_add(at(row)));
            let (w, h) = (within(x, at(length), frame.x + frame.w), within(y, scale, frame.y + frame.h));
            self.fill(plane, PixelArea { x, y, w, h }, ink)
        })
    }
}

fn index(samples: u32) -> usize {
    usize::try_from(samples).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::look::area::Area;
    use crate::media::look::overlay::Corner;

    /// 8x4 pixels.
    const LUMA: Layout =
        Layout { offset: 0, step: 1, stride: 10, halved_x: 0, halved_y: 0, columns: 8, rows: 4 };
    /// The second of the interleaved chroma samples, as in NV12.
    const CHROMA: Layout =
        Layout { offset: 1, step: 2, stride: 10, halved_x: 1, halved_y: 1, columns: 4, rows: 2 };

    /// Where it is black.
    fn black(plane: &[u8]) -> Vec<usize> {
        plane.iter().enumerate().filter(|(_, value)| **value == 0).map(|(at, _)| at).collect()
    }

    fn drawn(layout: Layout, area: PixelArea, rows: usize) -> Vec<u8> {
        let mut plane = vec![7; layout.stride * rows];
        assert!(layout.fill(&mut plane, area, 0));
        plane
    }

    #[test]
    fn exactly_what_is_touched_is_filled() {
        let area = PixelArea { x: 3, y: 1, w: 2, h: 2 };
        let luma = drawn(LUMA, area, 4);
        assert_eq!(black(&luma), [13, 14, 23, 24]);
        // Pixels 3 and 4, rows 1 and 2 touch two samples in each direction.
        let chroma = drawn(CHROMA, area, 2);
        assert_eq!(black(&chroma), [3, 5, 13, 15]);
    }

    #[test]
    fn all_is_all_and_nothing_beyond() {
        let all = drawn(LUMA, Area::ALL.covering((8, 4)), 4);
        assert_eq!(black(&all).len(), 32, "not the two bytes beyond each row");
        let far = drawn(LUMA, PixelArea { x: 6, y: 3, w: 9999, h: u32::MAX }, 4);
        assert_eq!(black(&far).len(), 2);
    }

    #[test]
    fn a_plane_that_is_too_short_is_said() {
        assert!(!LUMA.fill(&mut [0; 30], Area::ALL.covering((8, 4)), 0));
        assert!(!CHROMA.fill(&mut [], PixelArea { x: 0, y: 0, w: 1, h: 1 }, 0));
    }

    #[test]
    fn letters_stand_bright_in_a_darker_box() {
        let (width, height) = (64, 64);
        let layout =
            Layout { offset: 0, step: 1, stride: 64, halved_x: 0, halved_y: 0, columns: width, rows: height };
        let mut plane = vec![90; 64 * 64];
        let lettering = Lettering::new("I", Corner::BottomRight, (width, height));
        assert!(layout.letter(&mut plane, &lettering, |sample| sample / 3, Some(235)));
        let count = |value: u8| plane.iter().map(|sample| usize::from(*sample == value)).sum::<usize>();
        let frame = lettering.place;
        let (inside, bright) = (usize::try_from(frame.w * frame.h).unwrap(), count(235));
        assert!(bright > 20, "{bright}");
        assert_eq!((count(30), count(90)), (inside - bright, 64 * 64 - inside));
        assert_eq!((plane[0], plane[64 * 64 - 1]), (90, 30));
    }
}
