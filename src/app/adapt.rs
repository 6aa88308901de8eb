//! Carries what the viewers' paths are worth to the encoders, and back which of them get the small rendition, or fewer
//! pictures. What is decided is [`crate::adaptation`]'s; here it is asked, a few times a second while there is a viewer.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::adaptation::{Adaptation, EncoderLimits, ViewerPath};
use crate::base::bitrate::Bitrate;
use crate::media::{Media, MediaStatus};
use crate::peer::SessionStats;
use crate::sessions::Sessions;
use crate::stream::{Fanout, Rendition};

/// A few times within a second in which the picture should move again.
const PERIOD: Duration = Duration::from_millis(200);

/// Follows, down to `floor` for the full rendition. Ends with the fanout.
pub(super) async fn run(sessions: Sessions, media: Media, fanout: Fanout, floor: Bitrate) {
    let demand = fanout.watch_demand();
    let (status, adaptation) = (media.status(), Adaptation::default());
    let mut follower = Follower { sessions, media, fanout, status, floor, adaptation, asked: (None, None) };
    while_watched(demand, || follower.step(Instant::now())).await;
}

/// Calls `step` in each period while it says that somebody is there, and then not before `demand` changes: a session
/// wants pictures from its beginning to its end.
async fn while_watched(mut demand: watch::Receiver<usize>, mut step: impl FnMut() -> bool) {
    loop {
        // Before the look, so that no change is missed.
        demand.mark_unchanged();
        if step() {
            sleep(PERIOD).await;
        } else if demand.changed().await.is_err() {
            return;
        }
    }
}

/// What one step needs of the last.
struct Follower {
    sessions: Sessions,
    media: Media,
    fanout: Fanout,
    status: watch::Receiver<MediaStatus>,
    floor: Bitrate,
    adaptation: Adaptation,
    /// What was asked of the encoders, in kbit/s.
    asked: (Option<u32>, Option<u32>),
}

impl Follower {
    /// Looks and acts once; whether there is a session at all.
    fn step(&mut self, now: Instant) -> bool {
        let mut live = self.sessions.live();
        let is_watched = !live.is_empty();
        live.retain(|live| live.connected.load(Ordering::Relaxed));
        let viewers: Vec<ViewerPath> = live.iter().map(|live| viewer_path(live, now)).collect();
        let limits = limits(&self.status.borrow(), self.floor);
        let decision = self.adaptation.step(now, &viewers, &limits);
        for (live, decided) in live.iter().zip(&decision.viewers) {
            self.move_to(live, decided.rendition);
            live.control.wanted.store(decision.wanted.bps(), Ordering::Relaxed);
            live.control.starved.store(decided.is_starved, Ordering::Relaxed);
        }
        let asked = (decision.full.map(Bitrate::kbps), decision.small.map(Bitrate::kbps));
        if asked.0 != self.asked.0 {
            self.media.set_bitrate_kbps(asked.0);
        }
        if asked.1 != self.asked.1 {
            self.media.want_small_kbps(asked.1);
        }
        self.asked = asked;
        is_watched
    }

    /// Has a viewer moved at the next key frame, which is asked for.
    fn move_to(&self, live: &SessionStats, rendition: Rendition) {
        if live.control.rendition.want(rendition) && live.control.rendition.current() != rendition {
            tracing::info!(viewer = %live.viewer, to = rendition.as_str(), "another rendition for a viewer");
            self.fanout.request_key_frame_of(rendition);
        }
    }
}

fn viewer_path(live: &SessionStats, now: Instant) -> ViewerPath {
    ViewerPath {
        id: live.number,
        rate: live.feedback.rate(now).map(Bitrate::from_bps_f64),
        rendition: live.control.rendition.current(),
        is_starved: live.control.starved.load(Ordering::Relaxed),
    }
}

/// As the capture side tells.
fn limits(status: &MediaStatus, floor: Bitrate) -> EncoderLimits {
    let can_follow = status.target > 0 && status.ceiling > 0;
    let ceiling = can_follow.then(|| Bitrate::from_bps(status.ceiling));
    let small_ceiling = status.small.map(|small| Bitrate::from_bps(small.ceiling));
    EncoderLimits::new(ceiling, small_ceiling, floor, Bitrate::from_bps(status.bitrate))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use super::*;
    use crate::base::tasks::TaskGroup;

    #[tokio::test(start_paused = true)]
    async fn it_sleeps_while_there_is_no_viewer_and_steps_while_there_is_one() {
        let (tasks, fanout) = (TaskGroup::new(), Fanout::default());
        let (is_watched, steps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (watched, counted) = (Arc::clone(&is_watched), Arc::clone(&steps));
        let demand = fanout.watch_demand();
        tasks.spawn("adapt", async move {
            let step = move || {
                counted.fetch_add(1, Ordering::Relaxed);
                watched.load(Ordering::Relaxed)
            };
            while_watched(demand, step).await;
        });
        let minute = async || {
            let before = steps.load(Ordering::Relaxed);
            sleep(Duration::from_mins(1)).await;
            steps.load(Ordering::Relaxed) - before
        };
        assert_eq!(minute().await, 1, "the first look");
        let polls = tasks.polls()["adapt"];
        assert_eq!(minute().await, 0);
        assert_eq!(tasks.polls()["adapt"], polls, "and nothing else wakes it");
        is_watched.store(true, Ordering::Relaxed);
        let viewer = fanout.demand();
        assert!((299..=301).contains(&minute().await));
        is_watched.store(false, Ordering::Relaxed);
        drop(viewer);
        assert!(minute().await <= 2, "the last look takes back what was asked of the encoders");
        assert_eq!(minute().await, 0);
    }
}
