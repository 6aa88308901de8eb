//! Who may speak to the built-in broker and ask over HTTP: whoever bears the token of a grant.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::access::clock::Clock;
use crate::access::grant::{Grant, GrantStatus, Rights};
use crate::access::offer_authorizer::{self, AccessMode};
use crate::access::permissions::{self, Privilege};
use crate::broker::{AuthFailure, ClientAuthenticator, ClientRights, OpenAccess};
use crate::http::RequestAuthorizer;
use crate::signaling::message::{ErrorCode, Refusal};
use crate::signaling::topic::Id;

/// Knows clients by their grants: over HTTP by the bearer token alone; at the broker the user name is the grant's name, and the
/// password its token.
pub(super) struct GrantAuthenticator {
    mode: AccessMode,
    grants: RwLock<Vec<Grant>>,
    generation: watch::Sender<u64>,
}

impl GrantAuthenticator {
    pub(super) fn new(mode: AccessMode, grants: Vec<Grant>) -> Arc<Self> {
        Arc::new(Self { mode, grants: RwLock::new(grants), generation: watch::Sender::new(0) })
    }

    /// Other grants from now on.
    pub(super) fn set(&self, grants: Vec<Grant>) {
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = grants;
        // After the change: whoever sees the new number finds the new grants.
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Whether a session of `grant` may have this wish now; without a grant access is open.
    pub(super) fn permit(&self, grant: Option<&Id>, wish: Privilege<'_>) -> Result<(), Refusal> {
        let Some(name) = grant else { return Ok(()) };
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let known = grants.iter().find(|grant| grant.name == *name);
        let good = known.filter(|grant| grant.status(Clock::read()) == GrantStatus::Good);
        let Some(good) = good else {
            return Err(Refusal::new(ErrorCode::Unauthorized, "the invitation is not good any more"));
        };
        permissions::permit(&good.rights, wish).map_err(|missing| {
            let words = format!("this invitation does not allow it: it needs {}", missing.words());
            Refusal::new(ErrorCode::Forbidden, words)
        })
    }

    /// What a session of `grant` may do now; without a grant access is open.
    pub(super) fn rights(&self, grant: Option<&Id>) -> Rights {
        let Some(name) = grant else { return Rights::all() };
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let known = grants.iter().find(|grant| grant.name == *name);
        let good = known.filter(|grant| grant.status(Clock::read()) == GrantStatus::Good);
        good.map_or_else(Rights::none, |grant| grant.rights.clone())
    }

    /// Why who bears this token is not let in.
    fn auth_failure(&self, clock: Clock, user: &str, token: &str) -> AuthFailure {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let known = grants.iter().find(|grant| grant.name.as_str() == user && grant.accepts_token(token));
        let status = known.map(|grant| grant.status(clock));
        let words = |status| {
            known
                .and_then(|grant| offer_authorizer::out_of_time(&grant.name, status))
                .map(|refusal| refusal.message)
        };
        match status {
            Some(status @ GrantStatus::Expired) => AuthFailure::Ended(words(status).unwrap_or_default()),
            Some(status @ GrantStatus::ClockNotSet) => AuthFailure::NotYet(words(status).unwrap_or_default()),
            Some(GrantStatus::Good) | None => AuthFailure::Unknown,
        }
    }

    /// At the broker, where access is not open.
    fn admit_at(&self, clock: Clock, user: &str, token: &str) -> Option<ClientRights> {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let grant = grants.iter().find(|grant| grant.name.as_str() == user)?;
        let good = grant.accepts_token(token) && grant.status(clock) == GrantStatus::Good;
        good.then(|| ClientRights {
            grant: Some(user.to_owned()),
            rights: grant.rights.clone(),
            ends: grant.expires.is_some(),
        })
    }
}

impl ClientAuthenticator for GrantAuthenticator {
    fn admit(&self, user: Option<&str>, password: Option<&[u8]>) -> Option<ClientRights> {
        match self.mode {
            AccessMode::Open => OpenAccess.admit(user, password),
            AccessMode::Grants => self.admit_at(Clock::read(), user?, std::str::from_utf8(password?).ok()?),
        }
    }

    fn is_open(&self) -> bool {
        self.mode == AccessMode::Open
    }

    fn reason(&self, user: Option<&str>, password: Option<&[u8]>) -> AuthFailure {
        let token = password.and_then(|password| std::str::from_utf8(password).ok());
        let (Some(user), Some(token)) = (user, token) else { return AuthFailure::Unknown };
        self.auth_failure(Clock::read(), user, token)
    }

    fn generation(&self) -> Option<watch::Receiver<u64>> {
        match self.mode {
            AccessMode::Open => OpenAccess.generation(),
            AccessMode::Grants => Some(self.generation.subscribe()),
        }
    }
}

impl RequestAuthorizer for GrantAuthenticator {
    fn admit(&self, token: Option<&str>, wish: Privilege<'_>) -> Result<(), Refusal> {
        match self.mode {
            AccessMode::Open => Ok(()),
            AccessMode::Grants => {
                let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
                offer_authorizer::admit(grants.iter(), Clock::read(), token, wish).map(drop)
            }
        }
    }

    fn holder(&self, token: &str) -> Option<Id> {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        offer_authorizer::holder(grants.iter(), token).map(|grant| grant.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::access::grant::Rights;

    #[test]
    fn the_door_knows_names_tokens_rights_and_expiry() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let day = Duration::from_hours(24);
        let name = Id::new("anna").unwrap();
        let (grant, seed) = Grant::new(name, "view".parse().unwrap(), now, Some(day)).unwrap();
        let authenticator = GrantAuthenticator::new(AccessMode::Grants, vec![grant.clone()]);
        let at = |now, token: &str| authenticator.admit_at(Clock { now, is_set: true }, "anna", token);
        let admission =
            ClientRights { grant: Some("anna".into()), rights: "view".parse().unwrap(), ends: true };
        assert_eq!(at(now, &seed.bearer()), Some(admission));
        assert_eq!(at(now, "wrong"), None);
        assert_eq!(at(now + day, &seed.bearer()), None, "expired");
        let failure = |clock, token: &str| authenticator.auth_failure(clock, "anna", token);
        let (late, unset) = (Clock { now: now + day, is_set: true }, Clock { now, is_set: false });
        assert!(
            matches!(failure(late, &seed.bearer()), AuthFailure::Ended(words) if words.contains("has expired"))
        );
        assert!(
            matches!(failure(unset, &seed.bearer()), AuthFailure::NotYet(words) if words.contains("clock is not set"))
        );
        assert_eq!(failure(late, "wrong"), AuthFailure::Unknown, "nothing is told to a stranger");
        assert_eq!(
            ClientAuthenticator::admit(&*authenticator, None, None),
            None,
            "nobody enters without a name"
        );
        assert!(RequestAuthorizer::admit(&*authenticator, None, Privilege::Watch).is_err());
        let told = authenticator.generation().expect("word of changes");
        authenticator.set(Vec::new());
        assert!(told.has_changed().unwrap());
        assert_eq!(at(now, &seed.bearer()), None, "revoked");
    }

    #[test]
    fn in_open_access_everybody_may() {
        let authenticator = GrantAuthenticator::new(AccessMode::Open, Vec::new());
        assert!(
            ClientAuthenticator::admit(&*authenticator, None, None)
                .is_some_and(|admission| admission.rights == Rights::all())
        );
        assert!(RequestAuthorizer::admit(&*authenticator, None, Privilege::Watch).is_ok());
    }
}
