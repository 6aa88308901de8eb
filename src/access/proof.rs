//! Signed offers and answers, and the bearer token (protocol.md section 2.2). Pure.
//!
//! Ed25519 is ring's, which is in the program for TLS anyway. It refuses a signature whose S is not
//! below the order of the group, so no second signature can be made from one that was seen. It takes
//! public keys of small order; ours never come from whoever is to be checked: the device makes the keys
//! of its grants, and its own key reaches viewers outside the broker.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::signaling::topic::Id;

/// What the bearer token is derived for (HKDF's `info`).
const BEARER_INFO: &[u8] = b"porthole-bearer-v1";

/// The system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

/// Fixed bytes that stand as base64url without padding in messages, links and files.
macro_rules! encoded {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Strict: the exact length, no padding, no other alphabet, no bits behind the last byte.
            pub fn parse(text: &str) -> Option<Self> {
                URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
            }

            /// As it stands in messages.
            pub fn encode(&self) -> String {
                URL_SAFE_NO_PAD.encode(self.0)
            }
        }
    };
}

/// The same, shown in logs and errors.
macro_rules! shown {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.encode())
            }
        }
    )+};
}

encoded!(
    /// An Ed25519 public key.
    PublicKey,
    32
);
encoded!(
    /// An Ed25519 signature.
    Signature,
    64
);
encoded!(
    /// What makes each offer different; used once.
    Nonce,
    16
);
encoded!(
    /// SHA-256 over the text of a bearer token: enough to recognise it, not to use it.
    TokenHash,
    32
);
encoded!(
    /// The secret of a link or of the device, from which key pair and bearer token follow.
    Seed,
    32
);
shown!(PublicKey, Signature, Nonce, TokenHash);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

impl Nonce {
    /// A fresh one.
    pub fn random() -> Result<Self, NoRandom> {
        random().map(Self)
    }
}

impl Seed {
    /// A fresh one.
    pub fn random() -> Result<Self, NoRandom> {
        random().map(Self)
    }

    /// The token that opens the built-in broker for this secret's grant.
    pub fn bearer(&self) -> String {
        let key = Salt::new(HKDF_SHA256, &[]).extract(&self.0);
        let mut token = [0; 32];
        // 32 bytes are one block of SHA-256, far below what HKDF can give.
        if let Ok(output) = key.expand(&[BEARER_INFO], HKDF_SHA256) {
            let _ = output.fill(&mut token);
        }
        URL_SAFE_NO_PAD.encode(token)
    }
}

impl TokenHash {
    /// The hash of `token`. Comparing hashes tells nothing about the token, however long it takes.
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// Whether both are of the same token; takes as long when the first byte differs as when the last one does.
    pub fn matches(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(&other.0).fold(0, |found, (own, theirs)| found | (own ^ theirs));
        std::hint::black_box(differences) == 0
    }
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, data).as_ref());
    bytes
}

fn line_of(sdp: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(sdp.as_bytes()))
}

/// A key that signs.
pub struct KeyPair(Ed25519KeyPair);

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({:?})", self.public())
    }
}

impl KeyPair {
    /// The key of `seed`. `None` does not happen for 32 bytes; the library's type allows it.
    pub fn of(seed: &Seed) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(&seed.0).ok().map(Self)
    }

    /// The half that everybody may know.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs the text of an [`Offer`] or [`Answer`].
    pub fn sign(&self, text: &str) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.0.sign(text.as_bytes()).as_ref());
        Signature(bytes)
    }
}

impl PublicKey {
    /// Whether the owner of this key signed `text`.
    pub fn verify(&self, text: &str, signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text.as_bytes(), &signature.0).is_ok()
    }
}

/// Who speaks with whom: what both signatures are about.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// The device's id.
    pub device: &'a Id,
    /// The viewer's id.
    pub viewer: &'a Id,
    /// The viewer's name for the session.
    pub session: &'a Id,
}

/// The text that a viewer signs.
pub fn offer_text(parties: Parties<'_>, nonce: &Nonce, offer_sdp: &str) -> String {
    let Parties { device, viewer, session } = parties;
    format!("porthole-offer-v1\n{device}\n{viewer}\n{session}\n{}\n{}", nonce.encode(), line_of(offer_sdp))
}

/// The text that the device signs. `nonce` is the offer's, if it had one.
pub fn answer_text(parties: Parties<'_>, nonce: Option<&Nonce>, offer_sdp: &str, answer_sdp: &str) -> String {
    let Parties { device, viewer, session } = parties;
    let nonce = nonce.map(Nonce::encode).unwrap_or_default();
    let (offer, answer) = (line_of(offer_sdp), line_of(answer_sdp));
    format!("porthole-answer-v1\n{device}\n{viewer}\n{session}\n{nonce}\n{offer}\n{answer}")
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
