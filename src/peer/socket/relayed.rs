//! Media inside what a TURN server relays (RFC 8656): finding it there, and wrapping it the same way. Pure.

/// SRTP and SRTCP by their first byte (RFC 7983 section 7).
pub(in crate::peer) fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(128..=191))
}

/// What stands around a packet on its way to the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::peer) enum Wrap {
    /// `ChannelData` of this channel (section 12.4).
    Channel([u8; 2]),
    /// A Send indication (section 11.1) with this transaction, to this XOR-PEER-ADDRESS. Indications are not answered, so
    /// that one transaction does for all.
    Send { transaction: [u8; 12], peer: Vec<u8> },
}

const SEND_INDICATION: [u8; 2] = [0x00, 0x16];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const XOR_PEER_ADDRESS: [u8; 2] = [0x00, 0x12];
const DATA: [u8; 2] = [0x00, 0x13];

impl Wrap {
    /// What stands around the media in `datagram`; `None` if there is no media in it.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        if let Some([64..=79, ..]) = datagram.first_chunk::<4>() {
            return is_media(&datagram[4..]).then(|| Self::Channel([datagram[0], datagram[1]]));
        }
        let head = datagram.first_chunk::<20>()?;
        if head[..2] != SEND_INDICATION || head[4..8] != MAGIC_COOKIE {
            return None;
        }
        let (mut peer, mut has_media, mut rest) = (None, false, &datagram[20..]);
        while let Some(attribute) = rest.first_chunk::<4>() {
            let length = usize::from(u16::from_be_bytes([attribute[2], attribute[3]]));
            let value = rest.get(4..4 + length)?;
            match [attribute[0], attribute[1]] {
                XOR_PEER_ADDRESS => peer = Some(value.to_vec()),
                DATA => has_media = is_media(value),
                _ => {}
            }
            rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&head[8..]);
        peer.filter(|_| has_media).map(|peer| Self::Send { transaction, peer })
    }

    /// `packet` as it goes to the relay.
    pub fn around(&self, packet: &[u8]) -> Vec<u8> {
        let length = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        match self {
            Self::Channel(channel) => [channel, &length(packet.len())[..], packet].concat(),
            Self::Send { transaction, peer } => {
                let mut attributes = Vec::with_capacity(packet.len() + 32);
                for (kind, value) in [(XOR_PEER_ADDRESS, &peer[..]), (DATA, packet)] {
                    attributes.extend_from_slice(&kind);
                    attributes.extend_from_slice(&length(value.len()));
                    attributes.extend_from_slice(value);
                    attributes.resize(attributes.len().next_multiple_of(4), 0);
                }
                let size = length(attributes.len());
                [&SEND_INDICATION[..], &size, &MAGIC_COOKIE, transaction, &attributes].concat()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA: &[u8] = &[0x80, 102, 1, 2, 3];

    #[test]
    fn a_channel_is_learnt_from_media_and_carries_more() {
        let datagram = [&[0x40, 7, 0, 5][..], MEDIA].concat();
        let wrap = Wrap::of(&datagram).unwrap();
        assert_eq!(wrap, Wrap::Channel([0x40, 7]));
        assert_eq!(wrap.around(MEDIA), datagram);
        assert_eq!(Wrap::of(&[0x40, 7, 0, 1, 22]), None, "a handshake's");
    }

    #[test]
    fn a_send_indication_is_learnt_from_media_and_carries_more() {
        let wrap = Wrap::Send { transaction: [9; 12], peer: vec![0, 1, 2, 3, 4, 5, 6, 7] };
        let datagram = wrap.around(MEDIA);
        assert_eq!(datagram.len(), 20 + 12 + 12);
        assert_eq!(Wrap::of(&datagram), Some(wrap.clone()));
        assert_eq!(Wrap::of(&wrap.around(&[22, 1])), None);
        let with_more = [&datagram[..], &[0x80, 0x28, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(Wrap::of(&with_more), Some(wrap), "and a fingerprint");
    }

    #[test]
    fn nothing_is_found_in_anything_else() {
        let datagram = Wrap::Send { transaction: [9; 12], peer: vec![0; 8] }.around(MEDIA);
        for length in 0..datagram.len() - 7 {
            assert_eq!(Wrap::of(&datagram[..length]), None, "cut at {length}");
        }
        for garbage in [&[][..], MEDIA, &[0x40], &[0xff; 60], &[0; 60]] {
            assert_eq!(Wrap::of(garbage), None);
        }
        assert!(is_media(MEDIA) && !is_media(&datagram) && !is_media(&[]));
    }
}
