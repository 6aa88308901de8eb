//! What GStreamer says of a card, in words for the person who has to act on it.

use gstreamer::glib;

use super::source::Microphone;
use crate::media::error::MediaError;

/// Bytes of one sample in this format of GStreamer's, such as `S16LE` or `S24_32LE`.
pub fn sample_bytes(format: &str) -> Option<u64> {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let bits = format.get(1..)?;
    // `S24_32LE`: 24 bits of 32.
    let stored = bits.split_once('_').map_or(bits, |(_, stored)| stored);
    let bits: u64 = digits(stored).parse().ok()?;
    (bits > 0).then(|| bits.div_ceil(8))
}

/// An error of the capture pipeline.
pub fn explain(microphone: &Microphone, error: &glib::Error, debug: Option<&str>) -> MediaError {
    let debug = debug.unwrap_or_default();
    let card = microphone.card.clone();
    let cause = debug.lines().last().map(str::trim).filter(|cause| !cause.is_empty());
    let message = error.message().trim_end_matches('.');
    let reason = cause.map_or_else(|| message.to_owned(), |cause| format!("{message} ({cause})"));
    MediaError::Audio { card, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_sample_is_in_its_format() {
        for (format, bytes) in
            [("S16LE", 2), ("U8", 1), ("S24LE", 3), ("S24_32LE", 4), ("F32LE", 4), ("F64BE", 8)]
        {
            assert_eq!(sample_bytes(format), Some(bytes), "{format}");
        }
        for format in ["", "S", "SLE", "ä16", "S0LE"] {
            assert_eq!(sample_bytes(format), None, "{format}");
        }
    }
}
