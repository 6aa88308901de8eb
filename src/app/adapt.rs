//! Carries what the viewers' paths are worth to the encoder, and back which of them get fewer pictures.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::media::Media;
use crate::rate::{Bounds, Policy, is_starved};
use crate::sessions::Sessions;

/// A few times within a second in which the picture should move again.
const PERIOD: Duration = Duration::from_millis(200);
/// Unless `video.min_bitrate_kbps` says otherwise.
const FLOOR_KBPS: u32 = 300;

/// Starts to follow; ends when aborted.
pub(super) fn follow(sessions: Sessions, media: Media, min_bitrate_kbps: Option<u32>) -> AbortHandle {
    let floor = f64::from(min_bitrate_kbps.unwrap_or(FLOOR_KBPS)) * 1e3;
    tokio::spawn(run(sessions, media, floor)).abort_handle()
}

async fn run(sessions: Sessions, media: Media, floor: f64) {
    let (mut policy, status) = (Policy::default(), media.status());
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let mut live = sessions.live();
        live.retain(|live| live.connected.load(Ordering::Relaxed));
        let rates: Vec<Option<f64>> = live.iter().map(|live| live.feedback.rate(now)).collect();
        let (ceiling, can_follow, measured) = {
            let status = status.borrow();
            (status.ceiling as f64, status.target > 0 && status.ceiling > 0, status.bitrate as f64)
        };
        // A camera that encodes itself goes on as it is; only the viewers can get less of it.
        let target = if can_follow { policy.step(now, &rates, Bounds { floor, ceiling }) } else { measured };
        for (live, rate) in live.iter().zip(rates) {
            let starved = is_starved(live.starved.load(Ordering::Relaxed), rate, target);
            live.starved.store(starved, Ordering::Relaxed);
        }
        let wanted = (can_follow && target < ceiling).then(|| kbps(target));
        if wanted != told {
            told = wanted;
            media.set_bitrate_kbps(wanted);
        }
    }
}

/// Whole kbit/s.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within the bounds of the configuration
fn kbps(bits_per_s: f64) -> u32 {
    (bits_per_s / 1e3).round() as u32
}
