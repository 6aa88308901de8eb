//! Whose pictures viewers get: the camera's, or those of a placeholder while the camera gives none. Pure.
//!
//! A decoder can go from one to the other at a key frame alone, so each change waits for one.

use super::Rendition;

/// The run of a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    number: u64,
    /// Whether a picture of it was given to viewers.
    is_shown: bool,
}

/// Who is on the air.
#[derive(Debug, Default)]
pub(super) struct OnAir {
    placeholder: Option<Run>,
    last_number: u64,
    /// Renditions of the camera whose viewers saw a placeholder since, and need a key frame first.
    awaits_key_frame: [bool; 2],
}

impl OnAir {
    /// A placeholder starts; the number that its pictures carry.
    pub fn begin_placeholder(&mut self) -> u64 {
        self.last_number += 1;
        self.placeholder = Some(Run { number: self.last_number, is_shown: false });
        self.last_number
    }

    /// A placeholder ends, if it has not ended by itself.
    pub fn end_placeholder(&mut self, number: u64) {
        if self.is_placeholder(number) {
            self.placeholder = None;
        }
    }

    /// Whether the time of this placeholder is not over.
    pub fn is_placeholder(&self, number: u64) -> bool {
        self.placeholder.is_some_and(|run| run.number == number)
    }

    /// Whether a picture of this placeholder goes to viewers.
    pub fn takes_placeholder(&mut self, number: u64) -> bool {
        let Some(run) = self.placeholder.as_mut().filter(|run| run.number == number) else { return false };
        run.is_shown = true;
        self.awaits_key_frame = [true; 2];
        true
    }

    /// Whether a picture of the camera goes to viewers. The full rendition's first key frame ends a placeholder; one
    /// that nobody has seen yet ends with any picture.
    pub fn takes_camera(&mut self, rendition: Rendition, key_frame: bool) -> bool {
        let is_full = rendition == Rendition::Full;
        if let Some(run) = self.placeholder {
            if run.is_shown && !(is_full && key_frame) {
                return false;
            }
            if is_full {
                self.placeholder = None;
            }
        }
        let awaits = &mut self.awaits_key_frame[rendition as usize];
        *awaits &= !key_frame;
        !*awaits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Rendition::{Full, Small};

    #[test]
    fn the_camera_is_back_at_its_key_frame_and_the_placeholder_over_for_good() {
        let mut air = OnAir::default();
        assert!(air.takes_camera(Full, false) && air.takes_camera(Small, false));
        let number = air.begin_placeholder();
        assert!(air.is_placeholder(number) && air.takes_placeholder(number));
        assert!(!air.takes_camera(Full, false), "it refers to pictures that decoders have no more");
        assert!(!air.takes_camera(Small, true), "the full one decides");
        assert!(air.takes_placeholder(number));
        assert!(air.takes_camera(Full, true) && air.takes_camera(Full, false));
        assert!(!air.takes_placeholder(number) && !air.is_placeholder(number));
        assert!(!air.takes_camera(Small, false), "the small one needs a key frame of its own");
        assert!(air.takes_camera(Small, true) && air.takes_camera(Small, false));
    }

    #[test]
    fn a_camera_that_goes_on_before_the_placeholder_was_seen_loses_nothing() {
        let mut air = OnAir::default();
        let number = air.begin_placeholder();
        assert!(air.takes_camera(Small, false) && air.is_placeholder(number));
        assert!(air.takes_camera(Full, false));
        assert!(!air.takes_placeholder(number));
        assert!(air.takes_camera(Small, false));
    }

    #[test]
    fn a_placeholder_that_ends_alone_leaves_the_need_for_a_key_frame() {
        let mut air = OnAir::default();
        let number = air.begin_placeholder();
        assert!(air.takes_placeholder(number));
        air.end_placeholder(number);
        assert!(!air.takes_camera(Full, false) && air.takes_camera(Full, true));
        let next = air.begin_placeholder();
        air.end_placeholder(number);
        assert!(next != number && air.takes_placeholder(next), "one that is over ends no other");
    }
}
