//! Which encoder makes the small rendition: the full one's, and another where that makes no second stream. Pure.

use crate::media::encode::choice::EncoderKind;
use crate::media::encode::encoder::{EncoderSpec, TABLE};

/// The choice, and what has failed.
#[derive(Debug, Default)]
pub struct SmallEncoder {
    full: Option<&'static EncoderSpec>,
    failed: Vec<&'static EncoderSpec>,
}

impl SmallEncoder {
    /// Beside a full rendition that `full` makes. Of those on the processor all may make as many streams as they like.
    pub fn beside(&mut self, full: &'static EncoderSpec) -> &'static EncoderSpec {
        if self.full != Some(full) {
            *self = Self { full: Some(full), failed: Vec::new() };
        }
        self.left().first().copied().unwrap_or(full)
    }

    /// `encoder` failed. Whether another one can be tried at once; where none is left, all begin anew.
    pub fn failed(&mut self, encoder: &'static EncoderSpec) -> bool {
        self.failed.push(encoder);
        let is_one_left = !self.left().is_empty();
        if !is_one_left {
            self.failed.clear();
        }
        is_one_left
    }

    fn left(&self) -> Vec<&'static EncoderSpec> {
        let others =
            TABLE.iter().filter(|spec| spec.kind == EncoderKind::Software && Some(*spec) != self.full);
        self.full.into_iter().chain(others).filter(|spec| !self.failed.contains(spec)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_boards_encoder_makes_one_stream_only_the_processor_makes_the_other() {
        let mut small = SmallEncoder::default();
        let [board, x264, openh264] = &TABLE;
        assert_eq!(small.beside(board), board, "it may make two");
        assert!(small.failed(board));
        assert_eq!((small.beside(board), small.beside(board)), (x264, x264));
        assert!(small.failed(x264));
        assert_eq!(small.beside(board), openh264);
        assert!(!small.failed(openh264), "nothing is left");
        assert_eq!(small.beside(board), board, "and all begin anew");
        small.failed(board);
        assert_eq!(small.beside(x264), x264);
        assert_eq!(small.beside(board), board, "the full rendition's was another one meanwhile");
    }

    #[test]
    fn what_the_processor_does_is_not_handed_to_the_board() {
        let mut small = SmallEncoder::default();
        let [board, x264, openh264] = &TABLE;
        assert_eq!(small.beside(x264), x264);
        assert!(small.failed(x264));
        assert_eq!(small.beside(x264), openh264);
        assert_ne!(small.beside(x264), board);
    }
}
