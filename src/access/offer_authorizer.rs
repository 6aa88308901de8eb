//! May this offer have a session? Decided before any SDP is parsed or any socket opened. Pure.
//!
//! It takes an offer as it came and the time, and answers with a [`Pass`] or a refusal.

use std::collections::HashMap;
use std::time::SystemTime;

use super::clock::Clock;
use super::grant::{Grant, GrantStatus, Right, Rights};
use super::permissions::{Privilege, permit};
use super::proof::{Nonce, Parties, PublicKey, Signature, TokenHash, offer_text};
use super::used_offers::UsedOffers;
use crate::signaling::message::{Auth, ErrorCode, Refusal};
use crate::signaling::topic::Id;

/// Who may watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Whoever may publish on the broker.
    Open,
    /// Whoever has a grant.
    Grants,
}

impl AccessMode {
    /// As `info` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Grants => "grants",
        }
    }
}

/// What an accepted offer may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The grant; `None` in open access.
    pub grant: Option<Id>,
    /// The key that signed, by which the grant is known should another one get its name.
    key: Option<PublicKey>,
    /// What the session may do.
    pub rights: Rights,
    /// The offer's nonce, which the answer names.
    pub nonce: Option<Nonce>,
    /// Over what the offer said, by which the same offer is known when it comes again.
    signature: Option<Signature>,
}

/// Decides over offers.
#[derive(Debug)]
pub struct OfferAuthorizer {
    mode: AccessMode,
    device: Id,
    grants: HashMap<String, Grant>,
    used: UsedOffers,
    /// Some were used since [`Self::take_used`] was asked.
    is_used_new: bool,
}

fn unauthorized(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::Unauthorized, text)
}

/// The refusal that a grant's status asks for.
pub fn out_of_time(name: &Id, status: GrantStatus) -> Option<Refusal> {
    let text = match status {
        GrantStatus::Good => return None,
        GrantStatus::Expired => format!("the grant `{name}` has expired; ask for a new link"),
        GrantStatus::ClockNotSet => {
            let text = format!(
                "the grant `{name}` ends at a certain time, but the device's clock is not set yet; \
                 it works as soon as the device has reached a time server"
            );
            return Some(Refusal::new(ErrorCode::Expired, text).retry_after(10));
        }
    };
    Some(Refusal::new(ErrorCode::Expired, text))
}

impl Pass {
    /// Whether both came with one and the same offer.
    pub fn is_same_offer(&self, other: &Self) -> bool {
        self.signature.is_some() && self.signature == other.signature
    }
}

impl OfferAuthorizer {
    /// The authorizer of `device`.
    pub fn new(mode: AccessMode, device: Id, grants: Vec<Grant>) -> Self {
        let mut authorizer =
            Self { mode, device, grants: HashMap::new(), used: UsedOffers::default(), is_used_new: false };
        authorizer.set_grants(grants);
        authorizer
    }

    /// The same, knowing the offers that were used in an earlier life.
    #[must_use]
    pub fn with_used(mut self, used: UsedOffers) -> Self {
        self.used = used;
        self.used.retain(|name| self.grants.contains_key(name.as_str()));
        self
    }

    /// The used offers, to be kept for a later life, if there are more than when this was asked last.
    pub fn take_used(&mut self) -> Option<String> {
        std::mem::take(&mut self.is_used_new).then(|| self.used.text())
    }

    /// Other grants from now on.
    pub fn set_grants(&mut self, grants: Vec<Grant>) {
        self.grants = grants.into_iter().map(|grant| (grant.name.to_string(), grant)).collect();
        self.used.retain(|name| self.grants.contains_key(name.as_str()));
    }

    /// Who may watch.
    pub fn mode(&self) -> AccessMode {
        self.mode
    }

    /// How many grants may view.
    pub fn viewing_grants(&self) -> usize {
        self.grants.values().filter(|grant| grant.rights.allow(Right::View)).count()
    }

    /// The grant whose key [`Self::check`] would have to be asked for this: the part of its work that costs much. `None`: it
    /// refuses at a glance.
    pub fn to_verify(&self, auth: Option<&Auth>, current: Option<&Pass>) -> Option<Id> {
        let auth = auth?;
        let grant = self.grants.get(&auth.grant)?;
        let (nonce, signature) = (Nonce::parse(&auth.nonce)?, Signature::parse(&auth.sig)?);
        (!self.used.has(&grant.name, &nonce) || is_repeated(current, &signature)).then(|| grant.name.clone())
    }

    /// Judges an offer. `current` is what the running session's last offer got: the same offer may come
    /// twice (QoS 1), and then gets the same answer. Another offer needs another nonce.
    pub fn check(
        &mut self,
        clock: Clock,
        viewer: &Id,
        session: &Id,
        offer_sdp: &str,
        auth: Option<&Auth>,
        current: Option<&Pass>,
    ) -> Result<Pass, Refusal> {
        if self.mode == AccessMode::Open {
            return open(auth);
        }
        let auth = auth.ok_or_else(|| {
            unauthorized("this device asks for an invitation, and the offer is not signed; open the link you were given")
        })?;
        // Only the owner of the broker could tell the names of grants from the answers; they are no secret to him.
        let grant = self.grants.get(&auth.grant).ok_or_else(|| {
            unauthorized("there is no such grant on this device, or it was revoked; ask for a new link")
        })?;
        let wrong = || {
            unauthorized(format!("the signature is not that of the grant `{}` for this offer", grant.name))
        };
        let nonce = Nonce::parse(&auth.nonce).ok_or_else(wrong)?;
        let signature = Signature::parse(&auth.sig).ok_or_else(wrong)?;
        // Before the signature: whoever sends a recorded offer costs nothing.
        if self.used.has(&grant.name, &nonce) && !is_repeated(current, &signature) {
            return Err(unauthorized("this offer was used before; make a new one"));
        }
        let parties = Parties { device: &self.device, viewer, session };
        if !grant.key.verify(&offer_text(parties, &nonce, offer_sdp), &signature) {
            return Err(wrong());
        }
        if let Some(refusal) = out_of_time(&grant.name, grant.status(clock)) {
            return Err(refusal);
        }
        permitted(grant, Privilege::Watch)?;
        self.is_used_new |= self.used.remember(&grant.name, nonce);
        Ok(Pass {
            grant: Some(grant.name.clone()),
            key: Some(grant.key),
            rights: grant.rights.clone(),
            nonce: Some(nonce),
            signature: Some(signature),
        })
    }

    /// Judges an offer that came with a bearer token in place of a signature: over HTTP, whose connection is between
    /// the device and whoever sent it.
    pub fn check_token(&self, clock: Clock, token: Option<&str>) -> Result<Pass, Refusal> {
        if self.mode == AccessMode::Open {
            return open(None);
        }
        let grant = admit(self.grants.values(), clock, token, Privilege::Watch)?;
        let (name, key) = (grant.name.clone(), grant.key);
        Ok(Pass {
            grant: Some(name),
            key: Some(key),
            rights: grant.rights.clone(),
            nonce: None,
            signature: None,
        })
    }

    /// Why a session that came in with `pass` may not go on. `None` while it may.
    pub fn still(&self, clock: Clock, pass: &Pass) -> Option<Refusal> {
        let name = pass.grant.as_ref()?;
        let grant = self.grants.get(name.as_str()).filter(|grant| Some(grant.key) == pass.key);
        let Some(grant) = grant else {
            return Some(unauthorized(format!("the grant `{name}` was revoked")));
        };
        // A clock that is found to be wrong later does not throw out who came in.
        match grant.status(clock) {
            GrantStatus::Expired => out_of_time(name, GrantStatus::Expired),
            GrantStatus::Good | GrantStatus::ClockNotSet => None,
        }
    }

    /// When the next grant ends.
    pub fn next_expiry(&self) -> Option<SystemTime> {
        self.grants.values().filter_map(|grant| grant.expires).min()
    }
}

/// Whether an offer with this signature is the one that the running session came in with.
fn is_repeated(current: Option<&Pass>, signature: &Signature) -> bool {
    current.is_some_and(|pass| pass.signature.as_ref() == Some(signature))
}

/// The grant whose bearer token this is, if it is in force and permits `wish`. Looks at all of `grants`, so that the
/// time it takes does not tell which one it was.
pub fn admit<'a>(
    grants: impl Iterator<Item = &'a Grant>,
    clock: Clock,
    token: Option<&str>,
    wish: Privilege<'_>,
) -> Result<&'a Grant, Refusal> {
    let token = token.ok_or_else(|| {
        unauthorized("this device asks for an invitation: send `Authorization: Bearer TOKEN` with the token of a grant")
    })?;
    let grant = holder(grants, token).ok_or_else(|| {
        unauthorized("there is no grant with this token on this device, or it was revoked; ask for a new one")
    })?;
    if let Some(refusal) = out_of_time(&grant.name, grant.status(clock)) {
        return Err(refusal);
    }
    permitted(grant, wish)?;
    Ok(grant)
}

fn permitted(grant: &Grant, wish: Privilege<'_>) -> Result<(), Refusal> {
    permit(&grant.rights, wish).map_err(|missing| {
        let text = format!("the grant `{}` has no right to {}", grant.name, missing.words());
        Refusal::new(ErrorCode::Forbidden, text)
    })
}

/// The grant whose bearer token this is, whatever its status. Looks at all of `grants`.
pub fn holder<'a>(grants: impl Iterator<Item = &'a Grant>, token: &str) -> Option<&'a Grant> {
    let hash = TokenHash::of(token);
    grants.fold(None, |found, grant| if grant.token.matches(&hash) { Some(grant) } else { found })
}

/// In open access a signature is not asked for, but its nonce ties the answer to the offer.
fn open(auth: Option<&Auth>) -> Result<Pass, Refusal> {
    let nonce = match auth {
        None => None,
        Some(auth) => Some(Nonce::parse(&auth.nonce).ok_or_else(|| {
            Refusal::new(ErrorCode::BadMessage, "`auth.nonce` is not 16 bytes in base64url")
        })?),
    };
    Ok(Pass { grant: None, key: None, rights: Rights::all(), nonce, signature: None })
}

#[cfg(test)]
#[path = "offer_authorizer_tests.rs"]
mod tests;
