//! Passwords: made by the operating system's random numbers, and kept by the broker as hashes.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, pbkdf2};

use crate::config::Secret;

/// 144 bits, 24 characters that mean nothing special in URLs, shells or files.
const PASSWORD_BYTES: usize = 18;
/// What Mosquitto's own tool uses. Its purpose, slow guessing, has no object with passwords of 144 random bits,
/// and the broker computes it on one thread at every connection.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(101).unwrap();
const SALT_BYTES: usize = 12;

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("this system gives no random numbers, so no password can be made")]
pub(super) struct NoRandomNumbers;

fn random<const N: usize>() -> Result<[u8; N], NoRandomNumbers> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomNumbers)?;
    Ok(bytes)
}

/// A new password.
pub(super) fn password() -> Result<Secret, NoRandomNumbers> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random::<PASSWORD_BYTES>()?)))
}

/// A line of Mosquitto's password file: `user:$7$iterations$salt$hash`, PBKDF2 with HMAC-SHA-512.
pub(super) fn mosquitto_line(user: &str, password: &Secret) -> Result<String, NoRandomNumbers> {
    Ok(hashed(user, password, random()?))
}

fn hashed(user: &str, password: &Secret, salt: [u8; SALT_BYTES]) -> String {
    let mut hash = [0; digest::SHA512_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ITERATIONS, &salt, password.expose().as_bytes(), &mut hash);
    format!("{user}:$7${ITERATIONS}${}${}\n", STANDARD.encode(salt), STANDARD.encode(hash))
}

/// Tells whether a text is still the one that was written: the first half of its SHA-256.
pub(super) fn fingerprint(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..digest::SHA256_OUTPUT_LEN / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_and_need_no_quoting() {
        let (one, two) = (password().expect("one"), password().expect("two"));
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 24);
        assert!(one.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn the_hash_is_mosquittos() {
        // `mosquitto_passwd -b` of Mosquitto 2.0.11 for "viewer" and "s3cret".
        let salt = STANDARD.decode("51GfrjPhu4geoje4").expect("base64").try_into().expect("12 bytes");
        let line = hashed("viewer", &Secret::new("s3cret"), salt);
        assert_eq!(
            line,
            "viewer:$7$101$51GfrjPhu4geoje4$gcq78Yd3O9ehtjdTJWzpovZ9hCNS9yJNqDmXnkm9kPdJuiLYTXEo+Z8WAq9/YJ8ul9JuNnMs8Rr64m1JDdO9HQ==\n"
        );
    }

    #[test]
    fn a_fingerprint_changes_with_the_text() {
        assert_eq!(fingerprint("").len(), 22);
        assert_ne!(fingerprint("a"), fingerprint("b"));
    }
}
