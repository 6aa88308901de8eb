//! The keys of a device and of a grant made of the protocol alone (section 2.2), with ring and nothing of Porthole's
//! own: what the page signs and checks is held against it.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{SHA256, digest};
use ring::hkdf;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

/// Whose word an answer carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proof {
    /// Nobody's: there is no `identity`.
    #[default]
    None,
    /// The device's.
    Device,
    /// The device's name under another key's signature.
    Forged,
    /// The device's, but the fingerprint was swapped after it had signed.
    SwappedFingerprint,
    /// Another device's.
    AnotherDevice,
    /// The device's, but before each answer after the first comes the first one once more.
    Replayed,
}

/// The seed of the device's key.
pub const DEVICE_SEED: [u8; 32] = [3; 32];
const OTHER_SEED: [u8; 32] = [4; 32];
/// The seed in the link of the grant [`GRANT`].
pub const GRANT_SEED: [u8; 32] = [0xa5; 32];
/// Its name.
pub const GRANT: &str = "anna";

/// Base64url without padding.
pub fn text(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The public key of a seed, as a link has it.
pub fn public_key(seed: &[u8; 32]) -> String {
    text(pair(seed).public_key().as_ref())
}

/// What the holder of a seed logs in with.
pub fn bearer_token(seed: &[u8; 32]) -> String {
    let mut token = [0; 32];
    let salted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(seed);
    let info = salted.expand(&[b"porthole-bearer-v1"], hkdf::HKDF_SHA256).expect("32 bytes");
    info.fill(&mut token).expect("32 bytes");
    text(&token)
}

/// What was said in one offer.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The device that it was for.
    pub device: &'a str,
    /// Who asked.
    pub viewer: &'a str,
    /// The whole message.
    pub offer: &'a Value,
}

impl Asked<'_> {
    fn lines(&self, first: &str) -> Vec<String> {
        let offer = |field: &str| self.offer[field].as_str().unwrap_or_default().to_owned();
        let nonce = self.offer["auth"]["nonce"].as_str().unwrap_or_default().to_owned();
        let session = offer("session");
        vec![first.into(), self.device.into(), self.viewer.into(), session, nonce, hash(&offer("sdp"))]
    }

    /// Whether the holder of [`GRANT_SEED`] has signed this very offer, with a nonce that was never used.
    pub fn is_invited(&self, used_nonces: &mut HashSet<String>) -> bool {
        let auth = &self.offer["auth"];
        let nonce = auth["nonce"].as_str().unwrap_or_default();
        let fresh =
            BASE64.decode(nonce).is_ok_and(|bytes| bytes.len() == 16) && used_nonces.insert(nonce.into());
        let sig = BASE64.decode(auth["sig"].as_str().unwrap_or_default()).unwrap_or_default();
        let signed = self.lines("porthole-offer-v1").join("\n");
        let grant = UnparsedPublicKey::new(&ED25519, pair(&GRANT_SEED).public_key().as_ref().to_vec());
        fresh && auth["grant"] == GRANT && grant.verify(signed.as_bytes(), &sig).is_ok()
    }

    /// The answer message with such a proof.
    pub fn answer(&self, sdp: &str, proof: Proof) -> Value {
        let mut lines = self.lines("porthole-answer-v1");
        lines.push(hash(sdp));
        let signed_by = |seed| text(pair(seed).sign(lines.join("\n").as_bytes()).as_ref());
        let identity = match proof {
            Proof::None => return json!({"type": "answer", "sdp": sdp}),
            Proof::Device | Proof::SwappedFingerprint | Proof::Replayed => {
                json!({"key": public_key(&DEVICE_SEED), "sig": signed_by(&DEVICE_SEED)})
            }
            Proof::Forged => json!({"key": public_key(&DEVICE_SEED), "sig": signed_by(&OTHER_SEED)}),
            Proof::AnotherDevice => json!({"key": public_key(&OTHER_SEED), "sig": signed_by(&OTHER_SEED)}),
        };
        let sdp =
            if proof == Proof::SwappedFingerprint { with_another_fingerprint(sdp) } else { sdp.to_owned() };
        json!({"type": "answer", "sdp": sdp, "identity": identity})
    }
}

/// What a broker would write into the answer to put itself in between.
fn with_another_fingerprint(sdp: &str) -> String {
    let (before, after) = sdp.split_once("a=fingerprint:sha-256 ").expect("a fingerprint");
    let rest = &after[after.find(['\r', '\n']).expect("the end of its line")..];
    format!("{before}a=fingerprint:sha-256 {}{rest}", ["EE"; 32].join(":"))
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes")
}

fn hash(sdp: &str) -> String {
    text(digest(&SHA256, sdp.as_bytes()).as_ref())
}
