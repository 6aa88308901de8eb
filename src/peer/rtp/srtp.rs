//! Protects what is sent to one viewer (RFC 3711, RFC 7714), in place where the cipher allows it.
//!
//! AES-GCM, which browsers prefer, is done here without a copy or an allocation; the older profile and RTCP, of which
//! there is little, go through the library's contexts.

use rtc::crypto::{AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, RTCCrypto, default_provider};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

use super::keys::{Master, SrtpKeys};
use crate::peer::error::PeerError;

/// What the labels of RFC 3711 section 4.3.1 derive.
const LABEL_ENCRYPTION: u8 = 0;
const LABEL_SALT: u8 = 2;
const BLOCK_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// How far back a packet may come late and still not be one that was played again.
const REPLAY_WINDOW: usize = 64;
/// Sources that a viewer may speak with over a session. Browsers begin another one at most when they renegotiate.
const MAX_SOURCES: usize = 8;

/// Protects outgoing and opens incoming packets of one viewer.
pub(in crate::peer) struct Srtp {
    media: Media,
    sending: Context,
    receiving: Context,
    remote: Master,
    profile: ProtectionProfile,
    /// The viewer's sources of media, each with what was received of it. None is forgotten: it could be played again.
    sources: Vec<(u32, Context)>,
}

enum Media {
    Gcm {
        cipher: Box<dyn AeadCipher>,
        salt: [u8; NONCE_BYTES],
    },
    /// With the context of its own that it needs: that one counts what it sees.
    Older(Context),
}

impl Srtp {
    /// Works with what the handshake agreed on.
    pub fn new(keys: &SrtpKeys, crypto: &dyn RTCCrypto) -> Result<Self, PeerError> {
        let profile = keys.profile;
        let context = |master: &Master, replay| {
            Context::new(master.key.as_ref(), master.salt(profile), profile, None, replay, crypto)
        };
        let algorithm = match profile {
            ProtectionProfile::AeadAes128Gcm => {
                Some((AeadAlgorithm::Aes128Gcm, BlockCipherAlgorithm::Aes128))
            }
            ProtectionProfile::AeadAes256Gcm => {
                Some((AeadAlgorithm::Aes256Gcm, BlockCipherAlgorithm::Aes256))
            }
            _ => None,
        };
        let local = &keys.local;
        let media = match algorithm {
            Some((aead, block)) => {
                let derive = |label, bytes: &mut [u8]| {
                    derive(crypto, block, local.key.as_ref(), local.salt(profile), label, bytes)
                };
                let (mut key, mut salt) = (vec![0; local.key.len()], [0; NONCE_BYTES]);
                derive(LABEL_ENCRYPTION, &mut key)?;
                derive(LABEL_SALT, &mut salt)?;
                Media::Gcm { cipher: crypto.new_aead(aead, &key)?, salt }
            }
            None => Media::Older(context(local, None)?),
        };
        Ok(Self {
            media,
            sending: context(local, None)?,
            receiving: context(&keys.remote, Some(srtcp_replay_protection(REPLAY_WINDOW)))?,
            remote: keys.remote.clone(),
            profile,
            sources: Vec::new(),
        })
    }

    /// Protects the RTP packet that begins at `start` of `bytes` and ends with them; its header has `header_bytes`.
    /// `index` is its number with the rollovers of the 16 bits counted above them (RFC 3711 section 3.3.1) (RFC 3711 section 3.3.1): no two different
    /// packets of an `ssrc` may have the same.
    pub fn protect(
        &mut self,
        bytes: &mut Vec<u8>,
        start: usize,
        header_bytes: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), PeerError> {
        match &mut self.media {
            Media::Gcm { cipher, salt } => {
                let nonce = nonce(salt, ssrc, index);
                let Some((header, payload)) = bytes[start..].split_at_mut_checked(header_bytes) else {
                    return Ok(());
                };
                let mut tag = [0; TAG_BYTES];
                cipher.seal_in_place(&nonce, header, payload, &mut tag)?;
                bytes.extend_from_slice(&tag);
            }
            Media::Older(context) => {
                let protected = context.encrypt_rtp(&bytes[start..])?;
                bytes.truncate(start);
                bytes.extend_from_slice(&protected);
            }
        }
        Ok(())
    }

    /// Protects a compound RTCP packet.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, PeerError> {
        Ok(self.sending.encrypt_rtcp(packet)?.into())
    }

    /// Opens an RTP packet of the viewer, header and all. Fails for what is not the viewer's, or was there before. A source costs
    /// memory once it is proved to be the viewer's, and no others do.
    pub fn open_rtp(&mut self, packet: &[u8]) -> Result<bytes::Bytes, PeerError> {
        let Some(ssrc) = packet.get(8..12).and_then(|ssrc| ssrc.first_chunk()).copied() else {
            return Err(PeerError::NotOpened);
        };
        let ssrc = u32::from_be_bytes(ssrc);
        if let Some((_, context)) = self.sources.iter_mut().find(|(known, _)| *known == ssrc) {
            return Ok(context.decrypt_rtp(packet)?.freeze());
        }
        if self.sources.len() == MAX_SOURCES {
            return Err(PeerError::NotOpened);
        }
        let (key, salt) = (self.remote.key.as_ref(), self.remote.salt(self.profile));
        let replay = Some(srtp_replay_protection(REPLAY_WINDOW));
        let provider = default_provider()?;
        let mut context = Context::new(key, salt, self.profile, replay, None, provider.crypto())?;
        let opened = context.decrypt_rtp(packet)?.freeze();
        self.sources.push((ssrc, context));
        Ok(opened)
    }

    /// Opens a compound RTCP packet of the viewer. Fails for what is not the viewer's, or was there before.
    pub fn open_rtcp(&mut self, packet: &[u8]) -> Result<bytes::Bytes, PeerError> {
        Ok(self.receiving.decrypt_rtcp(packet)?.freeze())
    }
}

/// RFC 7714 section 8.1: zeros, SSRC, roll-over counter and sequence number, under the salt.
fn nonce(salt: &[u8; NONCE_BYTES], ssrc: u32, index: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    nonce
}

/// Fills `bytes` with what `label` derives (RFC 3711 section 4.3.3, RFC 6188 section 3).
fn derive(
    crypto: &dyn RTCCrypto,
    cipher: BlockCipherAlgorithm,
    key: &[u8],
    salt: &[u8],
    label: u8,
    bytes: &mut [u8],
) -> Result<(), PeerError> {
    for (counter, piece) in (0u16..).zip(bytes.chunks_mut(BLOCK_BYTES)) {
        let mut block = [0; BLOCK_BYTES];
        for (byte, salt) in block.iter_mut().zip(salt) {
            *byte = *salt;
        }
        block[7] ^= label;
        block[14..].copy_from_slice(&counter.to_be_bytes());
        crypto.block_encrypt(cipher, key, &mut block)?;
        let length = piece.len();
        piece.copy_from_slice(&block[..length]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rtc::crypto::default_provider;

    use super::super::keys::tests::agreed;
    use super::*;

    /// An RTP packet of version 2 with this number.
    fn packet(ssrc: u32, number: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 102];
        packet.extend(number.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend(b"a picture's part");
        packet
    }

    #[test]
    fn the_library_opens_what_is_protected_here_in_every_profile_and_across_the_turn_of_the_numbers() {
        let provider = default_provider().unwrap();
        for profile in [
            ProtectionProfile::AeadAes128Gcm,
            ProtectionProfile::AeadAes256Gcm,
            ProtectionProfile::Aes128CmHmacSha1_80,
        ] {
            let keys = agreed(profile);
            let mut srtp = Srtp::new(&keys, provider.crypto()).unwrap();
            let local = &keys.local;
            let mut viewer =
                Context::new(local.key.as_ref(), local.salt(profile), profile, None, None, provider.crypto())
                    .unwrap();
            for index in 65_530..65_545u64 {
                let number = u16::try_from(index & 0xffff).unwrap();
                let plain = packet(7, number);
                let mut bytes = b"before".to_vec();
                bytes.extend(&plain);
                srtp.protect(&mut bytes, 6, 12, 7, index).unwrap();
                assert_ne!(bytes[18..18 + 16], plain[12..]);
                assert_eq!(viewer.decrypt_rtp(&bytes[6..]).unwrap(), plain, "{index}");
            }
        }
    }

    #[test]
    fn reports_are_opened_once_and_only_if_they_are_the_viewers() {
        let provider = default_provider().unwrap();
        let keys = agreed(ProtectionProfile::AeadAes128Gcm);
        let mut srtp = Srtp::new(&keys, provider.crypto()).unwrap();
        let remote = &keys.remote;
        let profile = keys.profile;
        let mut viewer =
            Context::new(remote.key.as_ref(), remote.salt(profile), profile, None, None, provider.crypto())
                .unwrap();
        let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        let protected = viewer.encrypt_rtcp(&report).unwrap();
        assert_eq!(srtp.open_rtcp(&protected).unwrap()[..], report);
        assert!(srtp.open_rtcp(&protected).is_err(), "played again");
        for length in 0..protected.len() {
            assert!(srtp.open_rtcp(&protected[..length]).is_err(), "cut at {length}");
        }
        let mine = srtp.protect_rtcp(&report).unwrap();
        assert!(srtp.open_rtcp(&mine).is_err());
    }

    #[test]
    fn a_voice_is_opened_once_and_strangers_take_no_source_from_it() {
        let provider = default_provider().unwrap();
        for profile in [ProtectionProfile::AeadAes128Gcm, ProtectionProfile::Aes128CmHmacSha1_80] {
            let keys = agreed(profile);
            let mut srtp = Srtp::new(&keys, provider.crypto()).unwrap();
            let remote = &keys.remote;
            let salt = remote.salt(profile);
            let mut viewer =
                Context::new(remote.key.as_ref(), salt, profile, None, None, provider.crypto()).unwrap();
            for stranger in 0..100 {
                let mut garbage = packet(stranger, 1);
                garbage.extend([0; 32]);
                assert!(srtp.open_rtp(&garbage).is_err());
            }
            assert!(srtp.sources.is_empty());
            // Across the turn of the numbers.
            for number in [65_534, 65_535, 0, 1_u16] {
                let plain = packet(7, number);
                let protected = viewer.encrypt_rtp(&plain).unwrap();
                assert_eq!(srtp.open_rtp(&protected).unwrap(), plain, "{number}");
                assert!(srtp.open_rtp(&protected).is_err(), "played again");
            }
            let last = viewer.encrypt_rtp(&packet(7, 2)).unwrap();
            for length in 0..last.len() {
                assert!(srtp.open_rtp(&last[..length]).is_err(), "cut at {length}");
            }
            assert!(srtp.open_rtp(&last).is_ok(), "what was cut leaves no trace");
            for source in 8..100 {
                let _ = srtp.open_rtp(&viewer.encrypt_rtp(&packet(source, 1)).unwrap());
            }
            assert_eq!(srtp.sources.len(), MAX_SOURCES);
            assert!(srtp.open_rtp(&viewer.encrypt_rtp(&packet(7, 3)).unwrap()).is_ok(), "known ones go on");
        }
    }
}
