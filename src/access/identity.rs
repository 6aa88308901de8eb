//! The device's own key: made once, kept in the state directory, never shown.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "it is what the others call in a blocking thread")
)]

use std::path::Path;

use super::proof::{KeyPair, Nonce, Parties, PublicKey, Seed, Signature, answer_text};
use super::{AccessError, Lock, read_private, write_private};

/// The file in the state directory.
const FILE: &str = "identity";
/// What stands at its beginning.
const KIND: &str = "porthole-identity-v1";
const REMEDY: &str = "restore it from a backup; if there is none, remove it: the device gets a new key and every \
                      link has to be made again";

/// Proves that it is this device that answers.
#[derive(Debug)]
pub struct Identity {
    keys: KeyPair,
    /// As it stands in the file, to be written there once more should that be lost.
    text: Secret,
}

/// Not for logs.
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Identity {
    /// The key in `state_dir`, made there at the first start.
    ///
    /// # Errors
    /// A file that is there but cannot be read or is damaged: with a new key, all links would silently be void.
    pub fn load_or_make(state_dir: &Path) -> Result<Self, AccessError> {
        // What is there is read without a lock: the folder may be read-only.
        if let Some(found) = Self::load(state_dir)? {
            return Ok(found);
        }
        // Daemon and `porthole link` may both be the first.
        let _lock = Lock::take(state_dir)?;
        if let Some(found) = Self::load(state_dir)? {
            return Ok(found);
        }
        let seed = Seed::random()?;
        let keys = KeyPair::of(&seed).ok_or_else(|| damaged(state_dir, "the new key cannot be used"))?;
        let made =
            Self { text: Secret(format!("{KIND} {} {}\n", seed.encode(), keys.public().encode())), keys };
        made.write_to(state_dir)?;
        Ok(made)
    }

    fn load(state_dir: &Path) -> Result<Option<Self>, AccessError> {
        let Some(text) = read_private(&state_dir.join(FILE))? else { return Ok(None) };
        let keys = parse(&text).map_err(|problem| damaged(state_dir, problem))?;
        Ok(Some(Self { keys, text: Secret(text) }))
    }

    /// Puts the key into `state_dir`, in place of whatever is there.
    pub fn write_to(&self, state_dir: &Path) -> Result<(), AccessError> {
        write_private(&state_dir.join(FILE), &self.text.0)
    }

    /// The key that links carry.
    pub fn key(&self) -> PublicKey {
        self.keys.public()
    }

    /// Signs an answer; `nonce` is that of its offer.
    pub fn sign_answer(
        &self,
        parties: Parties<'_>,
        nonce: Option<&Nonce>,
        offer_sdp: &str,
        answer_sdp: &str,
    ) -> Signature {
        self.keys.sign(&answer_text(parties, nonce, offer_sdp, answer_sdp))
    }
}

fn damaged(state_dir: &Path, problem: &str) -> AccessError {
    AccessError::Damaged { path: state_dir.join(FILE), problem: problem.to_owned(), remedy: REMEDY }
}

/// The public key stands behind the secret one so that a damaged file is noticed.
fn parse(text: &str) -> Result<KeyPair, &'static str> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [KIND, seed, public] = words[..] else { return Err("it is not an identity of this version") };
    let keys = Seed::parse(seed).as_ref().and_then(KeyPair::of).ok_or("its key cannot be read")?;
    if keys.public().encode() == public { Ok(keys) } else { Err("its two halves do not fit") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("made/on/demand");
        let first = Identity::load_or_make(&state).unwrap().key();
        assert_eq!(Identity::load_or_make(&state).unwrap().key(), first);
        let mode = std::fs::metadata(state.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(Identity::load_or_make(&dir.path().join("other")).unwrap().key(), first);
    }

    #[test]
    fn one_that_is_there_needs_no_right_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::load_or_make(dir.path()).unwrap();
        // As on a read-only card: whatever has to be made fails.
        std::fs::remove_file(dir.path().join("access.lock")).unwrap();
        std::fs::create_dir(dir.path().join("access.lock")).unwrap();
        assert_eq!(Identity::load_or_make(dir.path()).unwrap().key(), first.key());
        assert!(!format!("{first:?}").contains(KIND), "it shows");
        let other = dir.path().join("other");
        std::fs::create_dir(&other).unwrap();
        first.write_to(&other).unwrap();
        assert_eq!(Identity::load_or_make(&other).unwrap().key(), first.key());
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_make(dir.path()).unwrap();
        let file = dir.path().join(FILE);
        let good = std::fs::read_to_string(&file).unwrap();
        let mut swapped = good.clone().into_bytes();
        swapped[25] ^= 1;
        let swapped = String::from_utf8(swapped).unwrap();
        for bad in ["", "\n", &good[..40], &good.replace("v1", "v2"), &swapped] {
            std::fs::write(&file, bad).unwrap();
            let error = Identity::load_or_make(dir.path()).unwrap_err().to_string();
            assert!(error.contains("is damaged") && error.contains("backup"), "{error}");
            assert!(!error.contains(&good[21..40]), "the key shows: {error}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), bad);
        }
    }
}
