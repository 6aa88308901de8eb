//! An encoder of the board that takes pictures and gives none: its firmware hangs, or each picture comes out damaged. Starting it again
//! would do the same, so another one has to take over; a camera that stalls looks different, because then nothing goes in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::encode::choice::EncoderKind;
use crate::media::encode::encoder::EncoderSpec;
use crate::media::error::MediaError;

/// How long one may give nothing. Firmware needs some 100 ms for its first picture, and its viewers see a still picture meanwhile.
const SILENCE: Duration = Duration::from_millis(1800);
/// Pictures that it must have been offered in that time: a camera may be slow, and some encoders keep three back.
const OFFERED: u32 = 6;

/// What went in and what came out. Pure.
#[derive(Debug, Default)]
pub struct EncoderWatch {
    /// The times of the first and of the last picture in that nothing came out after.
    silent: Option<(Instant, Instant)>,
    offered: u32,
    is_told: bool,
}

impl EncoderWatch {
    /// A picture was offered at `now`. Whether the encoder hangs, which is said once.
    pub fn offered(&mut self, now: Instant) -> bool {
        let (since, last) = self.silent.unwrap_or((now, now));
        if now.saturating_duration_since(last) >= SILENCE {
            // The camera stalled: what the encoder owes is counted anew.
            (self.silent, self.offered) = (Some((now, now)), 1);
            return false;
        }
        self.silent = Some((since, now));
        self.offered = self.offered.saturating_add(1);
        let hangs = self.offered >= OFFERED && now.saturating_duration_since(since) >= SILENCE;
        hangs && !std::mem::replace(&mut self.is_told, hangs)
    }

    /// A whole picture came out.
    pub fn gave(&mut self) {
        *self = Self::default();
    }
}

/// Watches an encoder of the board that is fed by `source`, and has `report` called once when it hangs. A software encoder only looks like
/// that on a machine that is too busy. Damaged pictures reach nobody.
pub fn watch(
    spec: &'static EncoderSpec,
    encoder: &gst::Element,
    source: Option<&gst::Element>,
    report: impl Fn(MediaError) + Send + Sync + 'static,
) {
    let pads = source.and_then(|source| source.static_pad("src")).zip(encoder.static_pad("src"));
    let Some((from, to)) = pads.filter(|_| spec.kind == EncoderKind::Hardware) else { return };
    let state = Arc::new(Mutex::new(EncoderWatch::default()));
    let seen = Arc::clone(&state);
    from.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let hangs = state.lock().unwrap_or_else(PoisonError::into_inner).offered(Instant::now());
        if hangs {
            let reason = format!("it gave no picture for {:.1} s", SILENCE.as_secs_f32());
            report(MediaError::Encoder { encoder: spec.name, reason });
        }
        gst::PadProbeReturn::Ok
    });
    to.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let is_damaged =
            info.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        if is_damaged {
            return gst::PadProbeReturn::Handled; // not `Drop`: see `EncoderBitrate::new`
        }
        seen.lock().unwrap_or_else(PoisonError::into_inner).gave();
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Offers a picture every `gap` milliseconds until `end`; when it was said to hang.
    fn hangs_at(watch: &mut EncoderWatch, start: Instant, gap: usize, end: u64) -> Vec<u64> {
        (0..end).step_by(gap).filter(|at| watch.offered(start + ms(*at))).collect()
    }

    #[test]
    fn an_encoder_that_gives_nothing_is_told_once() {
        for gap in [16, 33, 125, 1000] {
            let said = hangs_at(&mut EncoderWatch::default(), Instant::now(), gap, 20_000);
            let [at] = said[..] else { panic!("{gap}: {said:?}") };
            assert!((1800..=6000).contains(&at), "{gap}: {said:?}");
        }
    }

    #[test]
    fn one_that_keeps_pictures_back_works() {
        let (start, mut watch) = (Instant::now(), EncoderWatch::default());
        for n in 0..1000 {
            assert!(!watch.offered(start + ms(n * 125)));
            if n >= 3 {
                watch.gave();
            }
        }
    }

    #[test]
    fn a_camera_that_stalls_is_not_the_encoders_fault() {
        let (start, mut watch) = (Instant::now(), EncoderWatch::default());
        watch.offered(start);
        watch.gave();
        assert!(!watch.offered(start + ms(60_000)));
        watch.gave();
        assert!(!watch.offered(start + ms(60_033)));
        for n in 0..10 {
            assert!(!watch.offered(start + ms(90_000 + n * 33)), "it has had a third of a second");
        }
    }

    #[test]
    fn after_a_picture_it_has_its_time_again() {
        let (start, mut watch) = (Instant::now(), EncoderWatch::default());
        assert!(hangs_at(&mut watch, start, 33, 1700).is_empty());
        watch.gave();
        assert!(hangs_at(&mut watch, start + ms(1700), 33, 1700).is_empty());
        let again = hangs_at(&mut watch, start + ms(3400), 33, 1000);
        assert_eq!(again.len(), 1);
    }
}
