//! Which certificate a viewer may show: its offer says it, in hashes (RFC 8122 section 5). Pure.
//!
//! The library knows one hash and one fingerprint; so it is told to leave the comparison to this side, which makes it before media
//! begins.

use ring::digest::{self, Algorithm};

/// Fingerprints that are kept of one offer.
const MAX_FINGERPRINTS: usize = 16;

/// The hash of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::peer) struct Fingerprint {
    algorithm: &'static Algorithm,
    value: Vec<u8>,
}

impl Fingerprint {
    /// Reads `<hash> <bytes in hexadecimal, with colons>`. `None` for a hash that is not known or not safe, and for a value that is
    /// none of its.
    pub fn read(text: &str) -> Option<Self> {
        let (name, value) = text.split_once([' ', '\t'])?;
        let algorithm = match name.to_ascii_lowercase().as_str() {
            "sha-256" => &digest::SHA256,
            "sha-384" => &digest::SHA384,
            "sha-512" => &digest::SHA512,
            _ => return None,
        };
        // SHA-512 has 191 characters.
        let value = Some(value.trim()).filter(|value| value.len() < 256)?;
        let byte = |pair: &str| u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2);
        let value: Vec<u8> = value.split(':').map(byte).collect::<Option<_>>()?;
        (value.len() == algorithm.output_len()).then_some(Self { algorithm, value })
    }

    /// Adds `fingerprint` to `known`, unless there are enough.
    pub fn add(known: &mut Vec<Self>, fingerprint: Self) {
        if known.len() < MAX_FINGERPRINTS && !known.contains(&fingerprint) {
            known.push(fingerprint);
        }
    }

    /// Whether one of `fingerprints` is that of `certificate` (in DER).
    pub fn any_matches(fingerprints: &[Self], certificate: &[u8]) -> bool {
        fingerprints
            .iter()
            .any(|known| digest::digest(known.algorithm, certificate).as_ref() == known.value.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, algorithm: &'static Algorithm, certificate: &[u8]) -> String {
        let hash = digest::digest(algorithm, certificate);
        let pairs: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{name} {}", pairs.join(":"))
    }

    #[test]
    fn any_of_several_hashes_is_enough() {
        let certificate = b"a certificate";
        let all = [
            ("sha-256", &digest::SHA256),
            ("SHA-256", &digest::SHA256),
            ("Sha-384", &digest::SHA384),
            ("sha-512", &digest::SHA512),
        ];
        let other = Fingerprint::read(&text("sha-256", &digest::SHA256, b"another")).unwrap();
        for (name, algorithm) in all {
            let own = Fingerprint::read(&text(name, algorithm, certificate)).unwrap();
            let lower = Fingerprint::read(&text(name, algorithm, certificate).to_lowercase()).unwrap();
            assert_eq!(own, lower);
            assert!(Fingerprint::any_matches(&[other.clone(), own.clone()], certificate), "{name}");
            assert!(!Fingerprint::any_matches(&[own], b"a forged one"), "{name}");
        }
        assert!(!Fingerprint::any_matches(&[other], certificate));
        assert!(!Fingerprint::any_matches(&[], certificate), "nothing said is nothing proved");
    }

    #[test]
    fn what_proves_nothing_is_not_read() {
        let good = text("sha-256", &digest::SHA256, b"x");
        let sha_1 = text("sha-1", &digest::SHA1_FOR_LEGACY_USE_ONLY, b"x");
        let cut = &good[..good.len() - 3];
        let misnamed = good.replace("sha-256", "sha-512");
        for bad in ["", "sha-256", "sha-256 ", "sha-256 AA", &sha_1, cut, &misnamed, "md5 00", "sha-256 é:€"]
        {
            assert_eq!(Fingerprint::read(bad), None, "{bad}");
        }
    }
}
