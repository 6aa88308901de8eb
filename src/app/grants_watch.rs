//! Follows the grants and the clock, so that who is no longer invited goes: sessions, and clients of the built-in broker.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use super::authenticator::GrantAuthenticator;
use super::gateway::GatewayHandle;
use crate::access::AccessError;
use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::access::identity::Identity;
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
    /// What else has to be in the folder.
    pub identity: Arc<Identity>,
    /// Whom the loss of the folder concerns, too.
    pub gateway: GatewayHandle,
    /// The folder is gone, and that was said.
    pub is_lost: bool,
}

/// What a look found.
struct Look {
    clock: Clock,
    stamp: Option<FileStamp>,
    /// `None`: nothing changed.
    loaded: Option<Result<Vec<Grant>, AccessError>>,
    /// The folder itself is gone, or was; whether it could be made again. That takes back nobody's grant.
    lost: Option<Result<(), AccessError>>,
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
        let (identity, grants) = (Arc::clone(&self.identity), self.grants.clone());
        let found = blocking(move || look(&store, before, &identity, &grants)).await;
        let Look { clock, stamp, loaded, lost } = found;
        self.stamp = stamp;
        if let Some(outcome) = lost {
            self.say_lost(outcome).await;
        }
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

impl GrantsWatch {
    async fn say_lost(&mut self, outcome: Result<(), AccessError>) {
        let folder = self.store.folder().display();
        match outcome {
            Ok(()) => {
                tracing::error!(%folder, "the state directory was gone; the device's key and its grants were written anew");
                self.is_lost = false;
                // Off has to be remembered there as well.
                self.gateway.look_at_privacy().await;
            }
            Err(error) if !self.is_lost => {
                tracing::error!(%folder, %error, "the state directory is gone: a restart would forget the device's key and its grants");
                self.is_lost = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "runs in base::tasks::blocking"))]
fn look(store: &Store, before: Option<FileStamp>, identity: &Identity, grants: &[Grant]) -> Look {
    if !store.folder().is_dir() {
        let made = store.write_again(grants).and_then(|()| identity.write_to(store.folder()));
        let stamp = if made.is_ok() { store.stamp() } else { before };
        return Look { clock: Clock::read(), stamp, loaded: None, lost: Some(made) };
    }
    let stamp = store.stamp();
    let loaded = (stamp != before).then(|| store.load());
    Look { clock: Clock::read(), stamp, loaded, lost: None }
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
    fn a_folder_that_is_gone_takes_back_no_grant_and_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (store, identity) = (Store::of(&state), Identity::load_or_make(&state).unwrap());
        let name = crate::signaling::topic::Id::new("anna").unwrap();
        let (grant, _) = store.add(name, "view".parse().unwrap(), None, SystemTime::now()).unwrap();
        let before = store.stamp();
        std::fs::remove_dir_all(&state).unwrap();
        let found = look(&store, before, &identity, std::slice::from_ref(&grant));
        assert!(found.loaded.is_none() && matches!(found.lost, Some(Ok(()))));
        assert_eq!(store.load().unwrap().as_slice(), std::slice::from_ref(&grant));
        assert_eq!(Identity::load_or_make(&state).unwrap().key(), identity.key());
        let next = look(&store, found.stamp, &identity, std::slice::from_ref(&grant));
        assert!(next.loaded.is_none() && next.lost.is_none());
        // Where it cannot be made, what was known still counts.
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::write(&state, "in its place").unwrap();
        let found = look(&store, next.stamp, &identity, &[grant]);
        assert!(found.loaded.is_none() && matches!(found.lost, Some(Err(_))) && found.stamp == next.stamp);
        // The file alone, removed by hand, is another matter.
        std::fs::remove_file(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        assert!(
            matches!(look(&store, next.stamp, &identity, &[]).loaded, Some(Ok(grants)) if grants.is_empty())
        );
    }

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
