//! Which pictures a viewer gets whose path carries less than the stream: none that nothing refers to, and if that is not
//! enough, some in a row, then none up to a key frame. Pure.

use std::time::{Duration, Instant};

/// What is under way for longer than this makes pictures late rather than many.
const BACKLOG_MOST: Duration = Duration::from_millis(600);
/// Sending goes on when what is under way is less.
const BACKLOG_RESUME: Duration = Duration::from_millis(200);
/// A picture that takes longer than [`PICTURE_MOST`], although such a queue stands, was made for a path that has become narrower:
/// it would only keep it full for longer.
const QUEUE_FULL: Duration = Duration::from_millis(100);
const PICTURE_MOST: Duration = Duration::from_millis(150);
/// Pictures may be ahead of the path's rate by this much.
const AHEAD_MOST_S: f64 = 0.4;
/// From here on, and when so much is under way, those are left out that nothing refers to.
const DISPOSABLE_AHEAD_MOST_S: f64 = 0.1;
const DISPOSABLE_BACKLOG_MOST: Duration = Duration::from_millis(100);
/// A key frame is waited for rather than asked for unless the last request is this old: everybody pays for it, and
/// most for those that the stream is not made for.
const ASK_EVERY: Duration = Duration::from_secs(1);
const STARVED_ASKS_EVERY: Duration = Duration::from_secs(2);

/// What to do with a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// Leave it out alone: nothing refers to it.
    LeaveOut,
    /// Leave it out, and what refers to it.
    Skip,
    /// Leave it out and ask for a key frame: the path is free again.
    SkipAndAsk,
}

/// A picture that is due.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// Its size.
    pub bits: f64,
    /// A decoder can start at it.
    pub key_frame: bool,
    /// Nothing refers to it.
    pub disposable: bool,
}

/// What one viewer's path is like when a picture is due.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Bit/s that it carries; `None`: no limit known.
    pub rate: Option<f64>,
    /// How long what is under way still takes.
    pub backlog: Duration,
    /// The part of it that reports showed as a queue. The rest may be a report that was lost.
    pub queue: Duration,
    /// When the last packet left of many that found no room in it.
    pub overflowed: Option<Instant>,
    /// The stream is made for better paths than this one.
    pub is_starved: bool,
}

impl Path {
    /// Key frames are large on any path.
    fn is_too_narrow(&self, picture: Picture) -> bool {
        let takes_too_long = |rate| picture.bits > rate * PICTURE_MOST.as_secs_f64();
        !picture.key_frame && self.queue >= QUEUE_FULL && self.rate.is_some_and(takes_too_long)
    }
}

/// Decides picture by picture.
#[derive(Debug, Default)]
pub struct FrameDropper {
    ahead_bits: f64,
    last: Option<Instant>,
    is_skipping: bool,
    /// When a key frame last ended the skipping.
    resumed: Option<Instant>,
    asked: Option<Instant>,
}

impl FrameDropper {
    /// Nothing is sent up to a key frame.
    pub fn is_skipping(&self) -> bool {
        self.is_skipping
    }

    /// About one picture after another.
    pub fn judge(&mut self, now: Instant, path: Path, picture: Picture) -> Verdict {
        let passed = now.saturating_duration_since(self.last.replace(now).unwrap_or(now)).as_secs_f64();
        let rate = path.rate.filter(|_| path.is_starved);
        let ahead_s = if let Some(rate) = rate {
            self.ahead_bits = (self.ahead_bits - rate * passed).max(0.0);
            self.ahead_bits / rate
        } else {
            self.ahead_bits = 0.0;
            0.0
        };
        if self.is_skipping {
            let is_free = path.backlog < BACKLOG_RESUME && ahead_s < AHEAD_MOST_S / 2.0;
            if !is_free {
                return Verdict::Skip;
            }
            if !picture.key_frame {
                // The key frame that was asked for last may be among what found no room.
                let is_patient = path.is_starved && path.overflowed <= self.resumed;
                return self.ask(now, if is_patient { STARVED_ASKS_EVERY } else { ASK_EVERY });
            }
            self.is_skipping = false;
            self.resumed = Some(now);
        } else if picture.disposable
            && (ahead_s > DISPOSABLE_AHEAD_MOST_S || path.backlog > DISPOSABLE_BACKLOG_MOST)
        {
            return Verdict::LeaveOut;
        } else if path.backlog > BACKLOG_MOST
            || ahead_s > AHEAD_MOST_S
            || path.is_too_narrow(picture)
            || path.overflowed > self.resumed
        {
            self.is_skipping = true;
            return Verdict::Skip;
        }
        self.ahead_bits += picture.bits;
        Verdict::Send
    }

    fn ask(&mut self, now: Instant, every: Duration) -> Verdict {
        if self.asked.is_some_and(|at| now.saturating_duration_since(at) < every) {
            return Verdict::Skip;
        }
        self.asked = Some(now);
        Verdict::SkipAndAsk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    fn picture(bits: f64, key_frame: bool) -> Picture {
        Picture { bits, key_frame, disposable: false }
    }

    fn path(rate: f64, backlog_ms: u64, overflowed: Option<Instant>) -> Path {
        let backlog = Duration::from_millis(backlog_ms);
        Path { rate: Some(rate), backlog, queue: backlog, overflowed, is_starved: false }
    }

    /// 10 s of a stream of `stream` bit/s in 30 pictures a second over `rate`; what was sent and the verdicts.
    fn watch(stream: f64, rate: Option<f64>, is_starved: bool) -> (f64, Vec<(Verdict, bool)>) {
        let (mut frame_dropper, mut now, mut sent, mut verdicts) =
            (FrameDropper::default(), Instant::now(), 0.0, vec![]);
        let mut key_frame = true;
        for _ in 0..300 {
            let bits = stream * 0.033 * if key_frame { 5.0 } else { 1.0 };
            let path =
                Path { rate, backlog: Duration::ZERO, queue: Duration::ZERO, overflowed: None, is_starved };
            let verdict = frame_dropper.judge(now, path, picture(bits, key_frame));
            verdicts.push((verdict, key_frame));
            if verdict == Verdict::Send {
                sent += bits;
            }
            key_frame = verdict == Verdict::SkipAndAsk;
            now += FRAME;
        }
        (sent / 9.9, verdicts)
    }

    #[test]
    fn a_good_path_gets_every_picture() {
        for (rate, starved) in [(None, false), (Some(1e6), false), (Some(9e6), true), (None, true)] {
            let (_, verdicts) = watch(2e6, rate, starved);
            assert!(verdicts.iter().all(|(verdict, _)| *verdict == Verdict::Send));
        }
    }

    #[test]
    fn a_starved_path_gets_about_its_rate_and_begins_again_at_key_frames() {
        let (sent, verdicts) = watch(2e6, Some(5e5), true);
        assert!(sent < 7e5, "{sent}");
        assert!(sent > 1.5e5, "{sent}");
        let starts =
            verdicts.windows(2).filter(|pair| pair[0].0 != Verdict::Send && pair[1].0 == Verdict::Send);
        let mut count = 0;
        for start in starts {
            assert!(start[1].1, "nothing but a key frame begins anew");
            count += 1;
        }
        assert!((2..=5).contains(&count), "{count}");
    }

    #[test]
    fn a_queue_in_the_path_is_let_drain() {
        let (mut frame_dropper, now) = (FrameDropper::default(), Instant::now());
        let path = |ms| path(1e6, ms, None);
        assert_eq!(frame_dropper.judge(now, path(0), picture(1e4, true)), Verdict::Send);
        assert_eq!(frame_dropper.judge(now, path(700), picture(1e4, false)), Verdict::Skip);
        assert_eq!(frame_dropper.judge(now, path(300), picture(1e4, true)), Verdict::Skip);
        assert_eq!(frame_dropper.judge(now, path(50), picture(1e4, false)), Verdict::SkipAndAsk);
        assert_eq!(frame_dropper.judge(now, path(50), picture(1e4, false)), Verdict::Skip);
        assert_eq!(frame_dropper.judge(now, path(50), picture(1e4, true)), Verdict::Send);
    }

    #[test]
    fn what_follows_pictures_that_found_no_room_is_left_out_once() {
        let (mut frame_dropper, start) = (FrameDropper::default(), Instant::now());
        let mut judge = |frame, ms, key_frame| {
            frame_dropper.judge(
                start + FRAME * frame,
                path(0.5e6, ms, Some(start + FRAME)),
                picture(1e4, key_frame),
            )
        };
        assert_eq!(judge(9, 490, false), Verdict::Skip);
        assert_eq!(judge(10, 450, true), Verdict::Skip, "it would find no room either");
        assert_eq!(judge(20, 150, false), Verdict::SkipAndAsk);
        assert_eq!(judge(21, 120, true), Verdict::Send);
        assert_eq!(judge(22, 120, false), Verdict::Send, "what was lost before is over");
    }

    #[test]
    fn pictures_of_before_the_path_became_narrow_do_not_keep_it_full() {
        let now = Instant::now();
        let judge = |rate, ms, bits, key_frame| {
            FrameDropper::default().judge(now, path(rate, ms, None), picture(bits, key_frame))
        };
        assert_eq!(judge(0.5e6, 110, 1.6e5, false), Verdict::Skip);
        assert_eq!(judge(0.5e6, 110, 1.6e5, true), Verdict::Send, "a key frame is what helps");
        assert_eq!(judge(0.5e6, 50, 1.6e5, false), Verdict::Send, "one large picture is none too many");
        assert_eq!(judge(2e6, 110, 1.6e5, false), Verdict::Send);
        assert_eq!(judge(0.5e6, 110, 1.6e4, false), Verdict::Send);
        let unheard = Path { queue: Duration::ZERO, ..path(0.5e6, 110, None) };
        assert_eq!(
            FrameDropper::default().judge(now, unheard, picture(1.6e5, false)),
            Verdict::Send,
            "a report was lost"
        );
    }

    #[test]
    fn what_nothing_refers_to_is_left_out_first() {
        // Every other picture is one that nothing refers to, and the path carries two thirds of all.
        let (mut frame_dropper, mut now, mut left_out) = (FrameDropper::default(), Instant::now(), 0);
        for number in 0..300 {
            let picture = Picture { bits: 2e6 * 0.033, key_frame: number == 0, disposable: number % 2 == 1 };
            let narrow = Path {
                rate: Some(1.4e6),
                backlog: Duration::ZERO,
                queue: Duration::ZERO,
                overflowed: None,
                is_starved: true,
            };
            let verdict = frame_dropper.judge(now, narrow, picture);
            assert!(
                verdict == Verdict::Send || (verdict == Verdict::LeaveOut && picture.disposable),
                "{number}"
            );
            left_out += u32::from(verdict == Verdict::LeaveOut);
            now += FRAME;
        }
        assert!((70..=110).contains(&left_out), "{left_out}");
        let disposable = Picture { disposable: true, ..picture(1e4, false) };
        let judge = |ms| FrameDropper::default().judge(now, path(1e6, ms, None), disposable);
        assert_eq!((judge(50), judge(150)), (Verdict::Send, Verdict::LeaveOut));
    }
}
