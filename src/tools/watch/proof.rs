//! The viewer's half of protocol.md section 2.2: signs offers, verifies answers. Pure but for the nonce.

use crate::access::link::ViewingLink;
use crate::access::proof::{
    KeyPair, NoRandom, Nonce, Parties, PublicKey, Signature, answer_text, offer_text,
};
use crate::signaling::message::Auth;
use crate::signaling::topic::Id;

/// What a link lets a viewer prove and ask proof for.
pub(super) struct Proof {
    device_key: PublicKey,
    grant: Option<(Id, KeyPair)>,
}

/// One offer as it was sent, to judge the answer by.
pub(super) struct SentOffer {
    nonce: Option<Nonce>,
    sdp: String,
}

impl Proof {
    /// `None` for a link without the device's key.
    pub fn of(link: &ViewingLink) -> Option<Self> {
        let grant = link.grant.as_ref().and_then(|(name, seed)| Some((name.clone(), KeyPair::of(seed)?)));
        Some(Self { device_key: link.key?, grant })
    }

    /// Signs an offer, where there is a grant to sign with.
    pub fn sign(&self, parties: Parties<'_>, sdp: &str) -> Result<(Option<Auth>, SentOffer), NoRandom> {
        let Some((name, keys)) = &self.grant else {
            return Ok((None, SentOffer { nonce: None, sdp: sdp.to_owned() }));
        };
        let nonce = Nonce::random()?;
        let sig = keys.sign(&offer_text(parties, &nonce, sdp)).encode();
        let auth = Auth { grant: name.to_string(), nonce: nonce.encode(), sig };
        Ok((Some(auth), SentOffer { nonce: Some(nonce), sdp: sdp.to_owned() }))
    }

    /// Whether the device of the link gave this answer to that offer. `identity` is key and signature.
    ///
    /// # Errors
    /// Words for people.
    pub fn verify(
        &self,
        parties: Parties<'_>,
        sent: &SentOffer,
        answer_sdp: &str,
        identity: Option<(&str, &str)>,
    ) -> Result<(), &'static str> {
        let (key, sig) = identity.ok_or("the answer is not signed, so it may be anybody's")?;
        if PublicKey::parse(key) != Some(self.device_key) {
            return Err("the answer is signed by another device than the one in the link");
        }
        let text = answer_text(parties, sent.nonce.as_ref(), &sent.sdp, answer_sdp);
        let good = Signature::parse(sig).is_some_and(|sig| self.device_key.verify(&text, &sig));
        if good {
            Ok(())
        } else {
            Err("the answer's signature does not fit: somebody changed offer or answer on the way")
        }
    }
}
