//! Follows the grants and the clock, so that who is no longer invited goes: sessions, and clients of the built-in broker.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use super::authenticator::GrantAuthenticator;
use crate::access::AccessError;
use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::access::store::Store;
use crate::base::durable_file::FileStamp;
use crate::base::folder_watch::FolderWatch;
use crate::base::tasks::blocking;
use crate::sessions::Sessions;

/// The file is looked at so often where the system tells of no changes, and while the clock is not set yet.
const LOOK_OFTEN: Duration = Duration::from_secs(1);
/// And where it does, should it ever fail to.
const LOOK_SELDOM: Duration = Duration::from_mins(1);
/// While a grant is to end: the clock may be set meanwhile, of which nobody tells.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(10);
/// The clock on the wall is not exactly as fast as that of the timers.
const LEAST: Duration = Duration::from_millis(10);

/// The grants, as the daemon has them.
pub(super) struct GrantsWatch {
    pub store: Store,
    /// The version of the file that `grants` are from.
    pub stamp: Option<FileStamp>,
    pub grants: Vec<Grant>,
    pub sessions: Sessions,
    pub authenticator: Arc<GrantAuthenticator>,
}

/// What a look found.
struct Look {
    clock: Clock,
    stamp: Option<FileStamp>,
    /// `None`: nothing changed.
    loaded: Option<Result<Vec<Grant>, AccessError>>,
}

impl GrantsWatch {
    /// Tells the sessions the time whenever it matters, and the grants whenever they change; the latter to the
    /// authenticator as well. Never ends.
    pub async fn run(mut self) {
        loop {
            // Before the look, so that no change goes unseen.
            let mut folder = FolderWatch::new([self.store.folder()])
                .inspect_err(|error| tracing::debug!(%error, "the grants are looked at each second"))
                .ok();
            loop {
                let clock = self.look().await;
                let ends =
                    self.grants.iter().filter_map(|grant| grant.expires).filter(|end| *end > clock.now);
                let until = Instant::now() + pause(clock, ends.min(), folder.is_some());
                tokio::select! {
                    () = sleep_until(until) => {}
                    is_there = changed(folder.as_mut()) => if !is_there {
                        // Whatever becomes of the folder, it is looked at no more often than this.
                        sleep(LOOK_OFTEN).await;
                        break;
                    },
                }
                if folder.is_none() {
                    break;
                }
            }
        }
    }

    async fn look(&mut self) -> Clock {
        let (store, before) = (self.store.clone(), self.stamp);
        let Look { clock, stamp, loaded } = blocking(move || look(&store, before)).await;
        self.stamp = stamp;
        let mut grants = None;
        match loaded {
            None => {}
            Some(Ok(loaded)) => {
                self.authenticator.set(loaded.clone());
                self.grants.clone_from(&loaded);
                grants = Some(loaded);
            }
            Some(Err(error)) => tracing::error!(%error, "the grants in force stay as they are"),
        }
        let count = grants.as_ref().map(Vec::len);
        self.sessions.set_access(clock, grants).await;
        // Said once it is so: who waits for these words uses the new grant at once.
        if let Some(grants) = count {
            tracing::info!(grants, "the grants were read again");
        }
        clock
    }
}

#[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "runs in base::tasks::blocking"))]
fn look(store: &Store, before: Option<FileStamp>) -> Look {
    let stamp = store.stamp();
    let loaded = (stamp != before).then(|| store.load());
    Look { clock: Clock::read(), stamp, loaded }
}

/// Resolves when the grants may have changed; false when the folder cannot be watched any longer.
async fn changed(folder: Option<&mut FolderWatch>) -> bool {
    let Some(folder) = folder else { return std::future::pending().await };
    loop {
        match folder.changed().await {
            Ok(Some(name)) if Store::is_called(&name) => return true,
            Ok(Some(_)) => {}
            // The folder itself was moved or removed, or there were more events than the kernel keeps.
            Ok(None) | Err(_) => return false,
        }
    }
}

/// How long nothing has to be looked at, `ends` being when the next grant ends.
fn pause(clock: Clock, ends: Option<SystemTime>, is_watched: bool) -> Duration {
    if !is_watched || !clock.is_set {
        return LOOK_OFTEN;
    }
    let left = ends.map(|ends| ends.duration_since(clock.now).unwrap_or_default());
    left.map_or(LOOK_SELDOM, |left| left.clamp(LEAST, LOOK_AT_CLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sleeps_until_a_grant_ends_and_looks_often_only_where_it_must() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let clock = Clock { now, is_set: true };
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        assert_eq!(pause(clock, None, true), LOOK_SELDOM);
        assert_eq!(pause(clock, at(3), true), Duration::from_secs(3));
        assert_eq!(pause(clock, at(1000), true), LOOK_AT_CLOCK);
        assert_eq!(pause(clock, at(0), true), LEAST);
        assert_eq!(pause(clock, None, false), LOOK_OFTEN);
        assert_eq!(pause(Clock { now, is_set: false }, at(3), true), LOOK_OFTEN);
    }
}
