//! Who sends an offer: proof and rates, before anything of its SDP is looked at. Pure in time.

use std::net::IpAddr;
use std::time::Instant;

use super::offer_limits::OfferLimits;
use super::rate::Requester;
use super::session_key::SessionKey;
use crate::access::clock::Clock;
use crate::access::grant::Grant;
use crate::access::offer_authorizer::{AccessMode, OfferAuthorizer, Pass};
use crate::config::Secret;
use crate::signaling::message::{ErrorCode, Offer, Refusal};

/// Judges senders. What fails draws from buckets of its own: strangers keep nobody out.
pub(super) struct SenderCheck {
    authorizer: OfferAuthorizer,
    limits: OfferLimits,
    clock: Clock,
}

impl SenderCheck {
    /// Nobody has sent anything yet.
    pub fn new(authorizer: OfferAuthorizer, clock: Clock) -> Self {
        Self { authorizer, clock, limits: OfferLimits::new() }
    }

    /// Who sends an offer over the broker. `current` is what the session of this key came in with, where one runs.
    pub fn signed(
        &mut self,
        now: Instant,
        key: &SessionKey,
        offer: &Offer,
        current: Option<&Pass>,
    ) -> Result<Pass, Refusal> {
        let sender = Requester::Viewer(key.viewer.clone());
        if self.authorizer.mode() == AccessMode::Open {
            self.limits.open(now, sender.clone()).map_err(too_many)?;
        }
        let auth = offer.auth.as_ref();
        let claimed = self.authorizer.to_verify(auth, current);
        if let Some(grant) = &claimed {
            self.limits.may_prove(now, &sender, grant, current.is_some()).map_err(too_many)?;
        }
        let judged = self.authorizer.check(self.clock, &key.viewer, &key.session, &offer.sdp, auth, current);
        match &judged {
            Ok(pass) if current.is_some_and(|current| current.is_same_offer(pass)) => {
                self.limits.repeated(now, key.viewer.clone())
            }
            Ok(Pass { grant: Some(grant), .. }) => {
                self.limits.proved(now, grant.clone(), Some(key.viewer.clone()))
            }
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code == ErrorCode::Unauthorized => {
                self.limits.failed(now, sender, claimed)
            }
            // It was proved, and is refused for something else.
            Err(_) => {
                claimed.map_or(Ok(()), |grant| self.limits.proved(now, grant, Some(key.viewer.clone())))
            }
        }
        .map_err(too_many)?;
        judged
    }

    /// Who sends an offer over HTTP. With a good token it does not matter from where: behind a proxy all are one host.
    pub fn bearing(
        &mut self,
        now: Instant,
        token: Option<&Secret>,
        from: IpAddr,
        current: Option<&Pass>,
    ) -> Result<Pass, Refusal> {
        let judged = self.authorizer.check_token(self.clock, token.map(Secret::expose));
        match &judged {
            Ok(Pass { grant: Some(grant), .. }) => self.limits.proved(now, grant.clone(), None),
            Ok(_) => self.limits.open(now, Requester::host(from)),
            Err(_) => self.limits.failed(now, Requester::host(from), None),
        }
        .map_err(too_many)?;
        let pass = judged?;
        if current.is_some_and(|current| current.grant != pass.grant) {
            return Err(Refusal::new(ErrorCode::Forbidden, "this session came in with another grant"));
        }
        Ok(pass)
    }

    /// Why who has `pass` may have no session any more. `None` while it may.
    pub fn still(&self, pass: &Pass) -> Option<Refusal> {
        self.authorizer.still(self.clock, pass)
    }

    /// The time on the wall, and other grants if they changed.
    pub fn set_access(&mut self, clock: Clock, grants: Option<Vec<Grant>>) {
        self.clock = clock;
        if let Some(grants) = grants {
            self.authorizer.set_grants(grants);
        }
    }

    /// Whether there are several grants that may watch.
    pub fn is_shared(&self) -> bool {
        self.authorizer.viewing_grants() > 1
    }

    /// The offers that were used, to be kept over a restart, if there are more than when this was asked last.
    pub fn take_used(&mut self) -> Option<String> {
        self.authorizer.take_used()
    }
}

fn too_many(wait_s: u32) -> Refusal {
    Refusal::new(ErrorCode::RateLimited, "too many offers in a short time").retry_after(wait_s)
}
