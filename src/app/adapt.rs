//! Carries what the viewers' paths are worth to the encoders, and back which of them get the small rendition, or fewer
//! pictures.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::media::{Media, MediaStatus};
use crate::peer::Live;
use crate::rate::tiers::{Decision, Tiers, Viewer};
use crate::rate::{Bounds, is_starved};
use crate::sessions::Sessions;
use crate::stream::{Fanout, Rendition};

/// A few times within a second in which the picture should move again.
const PERIOD: Duration = Duration::from_millis(200);
/// Unless `video.min_bitrate_kbps` says otherwise.
const FLOOR_KBPS: u32 = 300;

/// Starts to follow; ends when aborted.
pub(super) fn follow(
    sessions: Sessions,
    media: Media,
    fanout: Fanout,
    min_bitrate_kbps: Option<u32>,
) -> AbortHandle {
    let floor = f64::from(min_bitrate_kbps.unwrap_or(FLOOR_KBPS)) * 1e3;
    tokio::spawn(run(sessions, media, fanout, floor)).abort_handle()
}

async fn run(sessions: Sessions, media: Media, fanout: Fanout, floor: f64) {
    let (mut tiers, status) = (Tiers::default(), media.status());
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = (None, None);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let mut live = sessions.live();
        live.retain(|live| live.connected.load(Ordering::Relaxed));
        let viewers: Vec<Viewer> =
            live.iter().map(|live| Viewer { id: live.generation, rate: live.feedback.rate(now) }).collect();
        let limits = Limits::of(&status.borrow(), floor);
        // A camera that encodes itself goes on as it is; only the viewers can get less of it.
        let decision = match limits.full {
            Some(full) => tiers.step(now, &viewers, full, limits.small),
            None => Decision { full: limits.measured, small: None, in_small: vec![false; viewers.len()] },
        };
        for (live, is_small) in live.iter().zip(&decision.in_small) {
            seat(live, if *is_small { Rendition::Small } else { Rendition::Full }, &fanout);
        }
        let wanted = bits_per_s(limits.full.map_or(limits.measured, |full| full.ceiling));
        for (live, viewer) in live.iter().zip(&viewers) {
            let target = match (live.feedback.place.current(), decision.small) {
                (Rendition::Small, Some(small)) => small,
                _ => decision.full,
            };
            live.feedback.wanted.store(wanted, Ordering::Relaxed);
            let starved = is_starved(live.starved.load(Ordering::Relaxed), viewer.rate, target);
            live.starved.store(starved, Ordering::Relaxed);
        }
        let ceiling = limits.full.map_or(0.0, |full| full.ceiling);
        let full = (decision.full < ceiling).then(|| kbps(decision.full));
        if full != told.0 {
            media.set_bitrate_kbps(full);
        }
        // Whoever still has it waits for a key frame of the other one.
        let is_needed = live.iter().any(|live| live.feedback.place.current() == Rendition::Small);
        let small = decision.small.map(kbps).or(told.1.filter(|_| is_needed));
        if small != told.1 {
            media.want_small_kbps(small);
        }
        told = (full, small);
    }
}

/// What the encoders may be asked for, as the capture side tells.
struct Limits {
    /// `None`: nothing.
    full: Option<Bounds>,
    small: Option<Bounds>,
    /// Bit/s.
    measured: f64,
}

impl Limits {
    fn of(status: &MediaStatus, floor: f64) -> Self {
        let can_follow = status.target > 0 && status.ceiling > 0;
        let ceiling = status.ceiling as f64;
        let full = can_follow.then_some(Bounds { floor, ceiling });
        // The same part of the floor as of the ceiling.
        let small = status.small.filter(|_| can_follow).map(|small| {
            let small_ceiling = small.ceiling as f64;
            Bounds { floor: floor * small_ceiling / ceiling, ceiling: small_ceiling }
        });
        Self { full, small, measured: status.bitrate as f64 }
    }
}

/// Has a viewer moved at the next key frame, which is asked for.
fn seat(live: &Live, tier: Rendition, fanout: &Fanout) {
    if live.feedback.place.want(tier) && live.feedback.place.current() != tier {
        tracing::info!(viewer = %live.viewer, to = tier.as_str(), "another rendition for a viewer");
        fanout.request_key_frame_of(tier);
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within the bounds of the configuration
fn bits_per_s(rate: f64) -> u64 {
    rate as u64
}

/// Whole kbit/s.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within the bounds of the configuration
fn kbps(bits_per_s: f64) -> u32 {
    (bits_per_s / 1e3).round() as u32
}
