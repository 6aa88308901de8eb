//! Follows the grants and the clock, so that who is no longer invited goes: sessions, and clients of the built-in broker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::access::clock::Clock;
use crate::access::gate::{self, Mode};
use crate::access::grant::{Grant, Right, Standing};
use crate::access::store::{Stamp, Store};
use crate::broker::{ClientAuthenticator, ClientRights, OpenAccess};
use crate::sessions::Sessions;
use crate::signaling::message::Refusal;

/// Looking at one file is cheap, and works on every file system.
const EVERY: Duration = Duration::from_secs(1);

/// Lets grants into the built-in broker: the name is the user name, the bearer token the password.
pub(super) struct Doorkeeper {
    grants: RwLock<Vec<Grant>>,
    generation: AtomicU64,
}

impl Doorkeeper {
    pub(super) fn new(grants: Vec<Grant>) -> Arc<Self> {
        Arc::new(Self { grants: RwLock::new(grants), generation: AtomicU64::new(0) })
    }

    /// Who stands at the broker's door in this mode.
    pub(super) fn for_mode(self: Arc<Self>, mode: Mode) -> Arc<dyn ClientAuthenticator> {
        match mode {
            Mode::Open => Arc::new(OpenAccess),
            Mode::Grants => self,
        }
    }

    fn set(&self, grants: Vec<Grant>) {
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = grants;
        // After the change: whoever sees the new number finds the new grants.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether the bearer of `token` has `right`.
    pub(super) fn admit_bearer(
        &self,
        clock: Clock,
        token: Option<&str>,
        right: Right,
    ) -> Result<(), Refusal> {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        gate::admit(grants.iter(), clock, token, right).map(drop)
    }

    fn admit_at(&self, clock: Clock, user: &str, token: &str) -> Option<ClientRights> {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let grant = grants.iter().find(|grant| grant.name.as_str() == user)?;
        let good = grant.accepts_token(token) && grant.standing(clock) == Standing::Good;
        let may_control = grant.rights.allow(Right::Control);
        good.then(|| ClientRights { grant: Some(user.to_owned()), may_control })
    }
}

impl ClientAuthenticator for Doorkeeper {
    fn admit(&self, user: Option<&str>, password: Option<&[u8]>) -> Option<ClientRights> {
        self.admit_at(Clock::read(), user?, std::str::from_utf8(password?).ok()?)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// Tells `sessions` the time each second, and the grants whenever they are no longer those of `stamp`; the latter to
/// `door` as well.
pub(super) fn follow(
    store: Store,
    mut stamp: Option<Stamp>,
    sessions: Sessions,
    door: Arc<Doorkeeper>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let found = store.stamp();
            let mut grants = None;
            if found != stamp {
                stamp = found;
                match store.load() {
                    Ok(loaded) => {
                        tracing::info!(grants = loaded.len(), "the grants were read again");
                        door.set(loaded.clone());
                        grants = Some(loaded);
                    }
                    Err(error) => tracing::error!(%error, "the grants in force stay as they are"),
                }
            }
            sessions.set_access(Clock::read(), grants).await;
        }
    });
    task.abort_handle()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::signaling::topic::Id;

    #[test]
    fn the_door_knows_names_tokens_rights_and_expiry() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let day = Duration::from_hours(24);
        let name = Id::new("anna").unwrap();
        let (grant, seed) = Grant::new(name, "view".parse().unwrap(), now, Some(day)).unwrap();
        let door = Doorkeeper::new(vec![grant.clone()]);
        let at = |now, token: &str| door.admit_at(Clock { now, is_set: true }, "anna", token);
        let admission = ClientRights { grant: Some("anna".into()), may_control: false };
        assert_eq!(at(now, &seed.bearer()), Some(admission));
        assert_eq!(at(now, "wrong"), None);
        assert_eq!(at(now + day, &seed.bearer()), None, "expired");
        assert_eq!(door.admit(None, None), None, "nobody enters without a name");
        let before = door.generation();
        door.set(Vec::new());
        assert_ne!(door.generation(), before);
        assert_eq!(at(now, &seed.bearer()), None, "revoked");
    }
}
