//! An encoder of the board that takes pictures and gives none: its firmware hangs, or each picture comes out damaged. Starting it again
//! would do the same, so another one has to take over; a camera that stalls looks different, because then nothing goes in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::encode::choice::EncoderKind;
use crate::media::encode::encoder::EncoderSpec;
use crate::media::error::MediaError;

/// How long one may give nothing that has not shown yet how fast it is: firmware needs some 100 ms for its first picture, and its viewers
/// see a still picture meanwhile.
const SILENCE: Duration = Duration::from_millis(1800);
/// The least for one that has: another encoder runs within 3 s then.
const LEAST_SILENCE: Duration = Duration::from_millis(900);
/// It may take so many times as long as it took at most lately.
const PATIENCE: u32 = 10;
/// Pictures that tell how fast it is; what was before twice as many is forgotten.
const WINDOW: u32 = 150;
/// And at least so many: the first ones are those of a machine that is busy starting.
const KNOWN_AFTER: u32 = 15;
/// Pictures that it must have been offered in that time: a camera may be slow, and some encoders keep three back.
const OFFERED: u32 = 6;
/// What the time between two pictures counts for at most: when camera or machine stand still, the encoder is not to blame.
const STEP: Duration = Duration::from_millis(300);

/// What is to be thought of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderVerdict {
    /// Nothing that would be new.
    Fine,
    /// It is late by half of what it may be: time to look for another one. Said once until a picture comes.
    Late,
    /// It hangs: it gave nothing for so long. Said once until a picture comes.
    Hangs(Duration),
}

/// What went in and what came out. Pure.
#[derive(Debug, Default)]
pub struct EncoderWatch {
    silence: Option<Silence>,
    pace: Pace,
}

/// Pictures went in, and nothing came out after.
#[derive(Debug)]
struct Silence {
    since: Instant,
    last_offered: Instant,
    /// Time that counts against the encoder.
    waited: Duration,
    offered: u32,
    told: EncoderVerdict,
}

/// The longest that it took lately.
#[derive(Debug, Default)]
struct Pace {
    given: u32,
    /// In this window and in the one before it.
    longest: [Duration; 2],
}

impl Pace {
    fn took(&mut self, time: Duration) {
        if self.given > 0 && self.given.is_multiple_of(WINDOW) {
            self.longest = [Duration::ZERO, self.longest[0]];
        }
        self.given = self.given.saturating_add(1);
        // Its first picture takes longer than any other.
        if self.given > 1 {
            self.longest[0] = self.longest[0].max(time);
        }
    }

    /// How long it may give nothing.
    fn limit(&self) -> Duration {
        if self.given < KNOWN_AFTER {
            return SILENCE;
        }
        (self.longest[0].max(self.longest[1]) * PATIENCE).clamp(LEAST_SILENCE, SILENCE)
    }
}

impl EncoderWatch {
    /// A picture was offered at `now`. What that says of the encoder.
    pub fn offered(&mut self, now: Instant) -> EncoderVerdict {
        let fresh = Silence {
            since: now,
            last_offered: now,
            waited: Duration::ZERO,
            offered: 1,
            told: EncoderVerdict::Fine,
        };
        let Some(silence) = &mut self.silence else {
            self.silence = Some(fresh);
            return EncoderVerdict::Fine;
        };
        let gap = now.saturating_duration_since(silence.last_offered);
        if gap >= SILENCE {
            // The camera stalled: what the encoder owes is counted anew.
            *silence = fresh;
            return EncoderVerdict::Fine;
        }
        silence.last_offered = now;
        silence.waited += gap.min(STEP);
        silence.offered = silence.offered.saturating_add(1);
        let limit = self.pace.limit();
        let verdict = if silence.offered >= OFFERED && silence.waited >= limit {
            EncoderVerdict::Hangs(now.saturating_duration_since(silence.since))
        } else if silence.waited >= limit / 2 {
            EncoderVerdict::Late
        } else {
            EncoderVerdict::Fine
        };
        let is_new = match (silence.told, verdict) {
            (EncoderVerdict::Fine, verdict) => verdict != EncoderVerdict::Fine,
            (EncoderVerdict::Late, EncoderVerdict::Hangs(_)) => true,
            _ => false,
        };
        if !is_new {
            return EncoderVerdict::Fine;
        }
        silence.told = verdict;
        verdict
    }

    /// A whole picture came out at `now`.
    pub fn gave(&mut self, now: Instant) {
        let took = self.silence.take().map(|silence| now.saturating_duration_since(silence.since));
        self.pace.took(took.unwrap_or_default());
    }
}

/// Watches an encoder of the board that is fed by `source`, and has `report` called when it is late and when it hangs. A software encoder
/// only looks like that on a machine that is too busy. Damaged pictures reach nobody.
pub fn watch(
    spec: &'static EncoderSpec,
    encoder: &gst::Element,
    source: Option<&gst::Element>,
    report: impl Fn(EncoderTrouble) + Send + Sync + 'static,
) {
    let pads = source.and_then(|source| source.static_pad("src")).zip(encoder.static_pad("src"));
    let Some((from, to)) = pads.filter(|_| spec.kind == EncoderKind::Hardware) else { return };
    let state = Arc::new(Mutex::new(EncoderWatch::default()));
    let seen = Arc::clone(&state);
    from.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let verdict = state.lock().unwrap_or_else(PoisonError::into_inner).offered(Instant::now());
        match verdict {
            EncoderVerdict::Fine => {}
            EncoderVerdict::Late => report(EncoderTrouble::Late),
            EncoderVerdict::Hangs(silence) => {
                let reason = format!("it gave no whole picture for {:.1} s", silence.as_secs_f32());
                report(EncoderTrouble::Hangs(MediaError::Encoder { encoder: spec.name, reason }));
            }
        }
        gst::PadProbeReturn::Ok
    });
    to.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let is_damaged =
            info.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        if is_damaged {
            return gst::PadProbeReturn::Handled; // not `Drop`: see `EncoderBitrate::new`
        }
        seen.lock().unwrap_or_else(PoisonError::into_inner).gave(Instant::now());
        gst::PadProbeReturn::Ok
    });
}

/// What is told of an encoder.
#[derive(Debug)]
pub enum EncoderTrouble {
    /// It may have to be replaced.
    Late,
    /// It has to be, and why.
    Hangs(MediaError),
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Offers a picture every `gap` milliseconds until `end`; when it was said to be late, and when to hang.
    fn said(watch: &mut EncoderWatch, start: Instant, gap: usize, end: u64) -> (Vec<u64>, Vec<u64>) {
        let (mut late, mut hangs) = (Vec::new(), Vec::new());
        for at in (0..end).step_by(gap) {
            match watch.offered(start + ms(at)) {
                EncoderVerdict::Fine => {}
                EncoderVerdict::Late => late.push(at),
                EncoderVerdict::Hangs(_) => hangs.push(at),
            }
        }
        (late, hangs)
    }

    /// An encoder that gives each of `pictures` after `delay` milliseconds, one every `gap`; when the last came.
    fn works(watch: &mut EncoderWatch, start: Instant, gap: u64, delay: u64, pictures: u64) -> Instant {
        for n in 0..pictures {
            let at = start + ms(n * gap);
            assert_eq!(watch.offered(at), EncoderVerdict::Fine, "{gap} {delay} {n}");
            watch.gave(at + ms(delay));
        }
        start + ms(pictures * gap)
    }

    #[test]
    fn an_encoder_that_gives_nothing_is_told_once_and_is_late_before() {
        for gap in [16, 33, 125, 1000] {
            let (late, hangs) = said(&mut EncoderWatch::default(), Instant::now(), gap, 20_000);
            let ([late], [at]) = (&late[..], &hangs[..]) else { panic!("{gap}: {late:?} {hangs:?}") };
            assert!((1800..=6000).contains(at) && late < at, "{gap}: {late} {at}");
        }
    }

    #[test]
    fn one_that_was_fast_is_given_less_time_and_one_that_was_slow_more() {
        // Milliseconds between pictures, for each, and the time it has then.
        for (gap, delay, from, to) in [
            (33, 20, 900, 970),
            (33, 32, 900, 970),
            (200, 30, 1000, 1000), // six pictures of a slow camera
            (200, 120, 1200, 1200),
            (200, 190, 1800, 2000),
        ] {
            let mut watch = EncoderWatch::default();
            let silent = works(&mut watch, Instant::now(), gap, delay, 60);
            let (late, hangs) = said(&mut watch, silent, gap.try_into().unwrap(), 20_000);
            let ([late], [at]) = (&late[..], &hangs[..]) else { panic!("{gap}: {late:?} {hangs:?}") };
            assert!((from..=to).contains(at) && late < at, "{gap} {delay}: {late} {at}");
        }
    }

    #[test]
    fn one_that_stuttered_lately_is_given_its_time_and_after_a_while_no_more() {
        let mut watch = EncoderWatch::default();
        let mut now = works(&mut watch, Instant::now(), 33, 20, 60);
        for at in (0..500).step_by(33) {
            watch.offered(now + ms(at));
        }
        watch.gave(now + ms(500));
        now = works(&mut watch, now + ms(500), 33, 20, 100);
        let (_, hangs) = said(&mut watch, now, 33, 1700);
        assert!(hangs.is_empty(), "a machine with hiccups of half a second");
        watch.gave(now + ms(1700));
        now = works(&mut watch, now + ms(1700), 33, 20, 400);
        let (_, hangs) = said(&mut watch, now, 33, 1700);
        assert_eq!(hangs.len(), 1, "that was long ago");
    }

    #[test]
    fn one_that_keeps_pictures_back_works() {
        let (start, mut watch) = (Instant::now(), EncoderWatch::default());
        for n in 0..1000 {
            assert_eq!(watch.offered(start + ms(n * 125)), EncoderVerdict::Fine);
            if n >= 3 {
                watch.gave(start + ms(n * 125 + 20));
            }
        }
    }

    #[test]
    fn a_camera_that_stalls_is_not_the_encoders_fault() {
        let (start, mut watch) = (Instant::now(), EncoderWatch::default());
        watch.offered(start);
        watch.gave(start + ms(20));
        assert_eq!(watch.offered(start + ms(60_000)), EncoderVerdict::Fine);
        watch.gave(start + ms(60_020));
        assert_eq!(watch.offered(start + ms(60_033)), EncoderVerdict::Fine);
        for n in 0..10 {
            let verdict = watch.offered(start + ms(90_000 + n * 33));
            assert_eq!(verdict, EncoderVerdict::Fine, "it has had a third of a second");
        }
    }

    #[test]
    fn a_machine_that_stands_still_is_not_the_encoders_fault() {
        let mut watch = EncoderWatch::default();
        let silent = works(&mut watch, Instant::now(), 33, 20, 60);
        watch.offered(silent);
        // What the driver kept meanwhile comes in one go, before what the encoder made of it.
        for n in 0..8 {
            assert_eq!(watch.offered(silent + ms(1500 + n)), EncoderVerdict::Fine, "{n}");
        }
    }

    #[test]
    fn after_a_picture_it_has_its_time_again() {
        let (start, mut watch) = (Instant::now(), EncoderWatch::default());
        assert!(said(&mut watch, start, 33, 1700).1.is_empty());
        watch.gave(start + ms(1700));
        assert!(said(&mut watch, start + ms(1700), 33, 1700).1.is_empty());
        let (late, hangs) = said(&mut watch, start + ms(3400), 33, 1000);
        assert_eq!((late.len(), hangs.len()), (0, 1));
    }
}
