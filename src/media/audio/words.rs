//! What GStreamer says of a card, in words for the person who has to act on it.

use gstreamer as gst;
use gstreamer::glib;

use super::source::SoundDevice;
use crate::base::processes;
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

/// An error of a pipeline at this device. Looks for who holds it, where it is busy.
pub fn explain(device: &SoundDevice, error: &glib::Error, debug: Option<&str>) -> MediaError {
    let debug = debug.unwrap_or_default();
    let card = device.card.clone();
    if error.matches(gst::ResourceError::Busy) || debug.contains("Device or resource busy") {
        return MediaError::AudioBusy { card, by: holder(device) };
    }
    if debug.contains("Permission denied") {
        return MediaError::AudioDenied { card };
    }
    let is_gone = ["No such file", "No such device"].iter().any(|words| debug.contains(words));
    if is_gone || error.matches(gst::ResourceError::NotFound) {
        return MediaError::AudioGone { card };
    }
    if debug.contains("not-negotiated") {
        return MediaError::AudioFormat { card };
    }
    let cause = debug.lines().last().map(str::trim).filter(|cause| !cause.is_empty());
    let message = error.message().trim_end_matches('.');
    let reason = cause.map_or_else(|| message.to_owned(), |cause| format!("{message} ({cause})"));
    MediaError::Audio { card, reason }
}

/// Who has it open.
fn holder(device: &SoundDevice) -> String {
    let Some(node) = &device.node else { return "another program".to_owned() };
    match node.owner() {
        Some(pid) if pid == std::process::id() => "this daemon itself".to_owned(),
        Some(pid) => processes::process(pid).to_string(),
        None => processes::holders_of_file(&node.path()).words(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::audio::source::SoundSource;

    #[test]
    fn what_alsa_says_is_told_with_what_to_do() {
        gst::init().unwrap();
        let source = SoundSource::Alsa { device: "hw:CARD=Device,DEV=0".into() };
        let device = SoundDevice { source, card: "USB Audio (Device)".into(), node: None };
        let debug = |cause: &str| {
            format!("gstalsasrc.c(777): gst_alsasrc_open (): /GstPipeline:pipeline0/GstAlsaSrc:src:\n{cause}")
        };
        let words = |code: gst::ResourceError, cause: &str| {
            let error = glib::Error::new(code, "Could not open audio device for recording.");
            explain(&device, &error, Some(&debug(cause))).to_string()
        };
        let open = gst::ResourceError::OpenRead;
        for (text, expected) in [
            (words(gst::ResourceError::Busy, "x"), "is in use by another program"),
            (
                words(open, "Recording open error on device 'hw:0': Device or resource busy"),
                "is in use by another program",
            ),
            (
                words(open, "Recording open error on device 'hw:0': Permission denied"),
                "SupplementaryGroups=audio",
            ),
            (words(open, "Recording open error on device 'hw:0': No such device"), "is gone"),
            (words(open, "streaming stopped, reason not-negotiated (-4)"), "no format"),
            (
                words(open, "what nobody knows"),
                "Could not open audio device for recording (what nobody knows)",
            ),
        ] {
            assert!(text.contains("USB Audio (Device)") && text.contains(expected), "{text}");
        }
        let plug = device.converted().unwrap();
        assert_eq!(plug.source, SoundSource::Alsa { device: "plughw:CARD=Device,DEV=0".into() });
        assert_eq!((plug.converted(), SoundDevice::test_tone().converted()), (None, None));
    }

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
