//! The SRTP keys that a connection agrees on: the library derives them through its crypto provider, and this one remembers.
//!
//! The library protects and sends packet by packet, through a dozen layers. Media is sent without it ([`crate::peer::send::media_sender`]), under
//! the keys of its DTLS handshake. It exports them nowhere, but takes a provider of cryptography for each connection,
//! and derives all SRTP session keys from the master keys there (RFC 3711 section 4.3).

use std::sync::{Arc, Mutex, PoisonError};

use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher,
    CryptoAlgorithm, CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey,
    RTCCrypto, RTCCryptoProvider, RTCRandom, SecretVec, SignatureScheme, SigningKey, StreamCipher,
    StreamCipherAlgorithm, default_provider,
};
use rtc::srtp::protection_profile::ProtectionProfile;

/// Length of the block that the key derivation encrypts.
const BLOCK_BYTES: usize = 16;
/// Where the salt ends in that block; a counter follows.
const SALT_BYTES: usize = 14;

/// One direction's master key and salt.
#[derive(Clone)]
pub(in crate::peer) struct Master {
    pub key: SecretVec,
    salt: SecretVec,
}

impl Master {
    /// The salt as long as `profile` has it.
    pub fn salt(&self, profile: ProtectionProfile) -> &[u8] {
        let salt = self.salt.as_ref();
        salt.get(..profile.salt_len()).unwrap_or(salt)
    }
}

/// What both sides protect their packets with.
#[derive(Clone)]
pub(in crate::peer) struct SrtpKeys {
    pub profile: ProtectionProfile,
    /// Of what this side sends.
    pub local: Master,
    /// Of what the viewer sends.
    pub remote: Master,
}

#[derive(Default)]
struct Seen {
    /// In the order in which they were first used: the library sets up its sending side first.
    masters: Vec<Master>,
    is_aead: bool,
}

/// The keys of one connection, known once its handshake is over.
#[derive(Clone, Default)]
pub(in crate::peer) struct Keys(Arc<Mutex<Seen>>);

impl Keys {
    /// The keys of the last handshake, once it is over.
    pub fn agreed(&self) -> Option<SrtpKeys> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [local, remote] = seen.masters.as_slice() else { return None };
        let profile = match (seen.is_aead, local.key.len()) {
            (true, 16) => ProtectionProfile::AeadAes128Gcm,
            (true, _) => ProtectionProfile::AeadAes256Gcm,
            (false, _) => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        Some(SrtpKeys { profile, local: local.clone(), remote: remote.clone() })
    }

    /// A master key is used to derive something. The first thing derived is labelled 0, so its block is the salt.
    fn derives(&self, key: &[u8], block: &[u8]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if block.len() != BLOCK_BYTES || seen.masters.iter().any(|master| master.key.as_ref() == key) {
            return;
        }
        if seen.masters.len() == 2 {
            *seen = Seen::default();
        }
        let salt = block.get(..SALT_BYTES).unwrap_or_default();
        seen.masters.push(Master { key: SecretVec::new(key.into()), salt: SecretVec::new(salt.into()) });
    }

    fn encrypts_with_aead(&self) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // DTLS uses such ciphers too, but before anything is derived for SRTP.
        seen.is_aead |= !seen.masters.is_empty();
    }
}

/// The library's default provider for one connection.
pub(in crate::peer) struct KeyProvider(Crypto);

impl KeyProvider {
    /// A provider that tells `keys` what is derived.
    pub fn new(keys: Keys) -> Result<Self, CryptoError> {
        Ok(Self(Crypto { inner: default_provider()?, keys }))
    }
}

impl RTCCryptoProvider for KeyProvider {
    fn name(&self) -> &'static str {
        self.0.inner.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        &self.0
    }

    fn random(&self) -> &dyn RTCRandom {
        self.0.inner.random()
    }
}

struct Crypto {
    inner: Arc<dyn RTCCryptoProvider>,
    keys: Keys,
}

impl RTCCrypto for Crypto {
    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.inner.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.crypto().hash(algorithm, data)
    }

    fn block_encrypt(
        &self,
        algorithm: BlockCipherAlgorithm,
        key: &[u8],
        block: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.keys.derives(key, block);
        self.inner.crypto().block_encrypt(algorithm, key, block)
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.inner.crypto().new_hmac(algorithm, key)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.inner.crypto().new_stream_cipher(algorithm, key)
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        self.keys.encrypts_with_aead();
        self.inner.crypto().new_aead(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.inner.crypto().new_cbc(algorithm, key)
    }

    fn start_key_exchange(
        &self,
        algorithm: KeyExchangeAlgorithm,
    ) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.inner.crypto().start_key_exchange(algorithm)
    }

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(
        &self,
        scheme: SignatureScheme,
        pkcs8_der: &[u8],
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().import_signing_key(scheme, pkcs8_der)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.inner.crypto().verify_signature(scheme, public_key, message, signature)
    }
}

#[cfg(test)]
pub(in crate::peer) mod tests {
    use rtc::srtp::context::Context;

    use super::*;

    /// What a handshake with `profile` could have agreed on.
    pub fn agreed(profile: ProtectionProfile) -> SrtpKeys {
        let keys = Keys::default();
        set_up(&keys, profile, 1);
        keys.agreed().unwrap()
    }

    /// Both contexts of one end, set up in the library's order.
    fn set_up(keys: &Keys, profile: ProtectionProfile, from: u8) {
        let provider = KeyProvider::new(keys.clone()).unwrap();
        for master in [from, from + 1] {
            let (key, salt) = (vec![master; profile.key_len()], vec![master + 100; profile.salt_len()]);
            Context::new(&key, &salt, profile, None, None, provider.crypto()).unwrap();
        }
    }

    #[test]
    fn the_master_keys_of_the_last_handshake_are_known() {
        let keys = Keys::default();
        let provider = KeyProvider::new(keys.clone()).unwrap();
        // DTLS's own cipher comes first.
        provider.crypto().new_aead(AeadAlgorithm::Aes128Gcm, &[9; 16]).unwrap();
        assert!(keys.agreed().is_none());
        for (from, profile) in [
            (1, ProtectionProfile::Aes128CmHmacSha1_80),
            (3, ProtectionProfile::AeadAes128Gcm),
            (5, ProtectionProfile::AeadAes256Gcm),
        ] {
            set_up(&keys, profile, from);
            let agreed = keys.agreed().unwrap();
            assert_eq!(agreed.profile as u8, profile as u8);
            for (master, number) in [(&agreed.local, from), (&agreed.remote, from + 1)] {
                assert_eq!(master.key.as_ref(), vec![number; profile.key_len()]);
                assert_eq!(master.salt(profile), vec![number + 100; profile.salt_len()]);
            }
        }
    }
}
