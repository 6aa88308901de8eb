//! FEC packets, which leave before anything is missed: the parity of some packets, as browsers offer it by the name `flexfec-03`
//! (draft-ietf-payload-flexible-fec-scheme-03). Pure.
//!
//! Chromium offers it and plays it without any flag (docs/performance.md). Browsers know a packet with zeros for what congestion control numbers anew, so that is what goes into a parity.

use std::time::{Duration, Instant};

/// Packets of a group at most. The masks of 46 are the most that this writes, and Chromium looks back no further than 48.
const GROUP_MOST: u8 = 40;
/// A group that takes longer to fill gets no parity: whoever misses something has asked for it by then.
const GROUP_FOR: Duration = Duration::from_millis(150);
/// The fixed part of an RTP header (RFC 3550 section 5.1).
const HEADER_BYTES: usize = 12;
/// The first mask names this many packets, the second the next 31.
const FIRST_MASK: u8 = 15;
/// Set in the last mask.
const LAST_MASK: u32 = 1 << 31;

/// The stream of parity packets (FEC), as negotiated.
#[derive(Clone, Copy, Debug)]
pub(in crate::peer) struct Fec {
    pub ssrc: u32,
    pub payload_type: u8,
}

/// Packets in a row that are protected together.
#[derive(Debug, Default)]
pub(in crate::peer) struct Group {
    packets: u8,
    begun: Option<Instant>,
}

/// A full group, up to the packet that left last. Each `parity_packets`th packet goes into the same parity packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::peer) struct FullGroup {
    pub packets: u8,
    pub parity_packets: u8,
}

impl Group {
    /// Counts a packet; `is_last`: of its picture. `spacing` packets are to share a parity packet; `None`: there are none.
    pub fn count(&mut self, now: Instant, is_last: bool, spacing: Option<u8>) -> Option<FullGroup> {
        let Some(spacing) = spacing.filter(|spacing| *spacing > 0) else {
            *self = Self::default();
            return None;
        };
        let begun = *self.begun.get_or_insert(now);
        self.packets += 1;
        if self.packets < GROUP_MOST && !(is_last && self.packets >= spacing) {
            return None;
        }
        let packets = self.packets;
        *self = Self::default();
        let is_late = now.saturating_duration_since(begun) > GROUP_FOR;
        let parity_packets = ((packets + spacing / 2) / spacing).max(1);
        (!is_late).then_some(FullGroup { packets, parity_packets })
    }
}

/// The parity of packets of one stream, of which any one can be made again from the others.
#[derive(Debug, Default)]
pub(in crate::peer) struct Parity {
    /// The first two bytes of RTP, the length, and the time.
    header: [u8; 8],
    rest: Vec<u8>,
    /// The highest bit is the first packet of the group.
    mask: u64,
}

impl Parity {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.header = [0; 8];
        self.rest.clear();
        self.mask = 0;
    }

    /// Adds the packet with this place in its group: its RTP header with extensions, and its payload.
    pub fn add(&mut self, place: u8, header: &[u8], payload: &[u8]) {
        let Some((fixed, extensions)) = header.split_at_checked(HEADER_BYTES) else { return };
        let bytes = extensions.len() + payload.len();
        // A packet is far shorter than 64 KiB.
        #[allow(clippy::cast_possible_truncation)]
        let length = (bytes as u16).to_be_bytes();
        let header = [fixed[0], fixed[1], length[0], length[1], fixed[4], fixed[5], fixed[6], fixed[7]];
        add(&mut self.header, &header);
        if self.rest.len() < bytes {
            self.rest.resize(bytes, 0);
        }
        let (first, second) = self.rest.split_at_mut(extensions.len());
        add(first, extensions);
        add(second, payload);
        self.mask |= (1 << 63) >> place;
    }

    /// Appends the payload of the parity packet to `bytes`. The group's first packet is `base` of the stream `ssrc`.
    pub fn write(&self, ssrc: u32, base: u16, bytes: &mut Vec<u8>) {
        const ONE_STREAM: [u8; 4] = [1, 0, 0, 0];
        let mut header = self.header;
        // The two bits of the version stand for something else here.
        header[0] &= 0x3f;
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&ONE_STREAM);
        bytes.extend_from_slice(&ssrc.to_be_bytes());
        bytes.extend_from_slice(&base.to_be_bytes());
        // The upper 15 bits, and the 31 that follow.
        #[allow(clippy::cast_possible_truncation)]
        let (first, second) = ((self.mask >> 49) as u16, (self.mask >> 18) as u32 & !LAST_MASK);
        if self.mask << FIRST_MASK == 0 {
            bytes.extend_from_slice(&(first | 1 << 15).to_be_bytes());
        } else {
            bytes.extend_from_slice(&first.to_be_bytes());
            bytes.extend_from_slice(&(second | LAST_MASK).to_be_bytes());
        }
        bytes.extend_from_slice(&self.rest);
    }
}

/// In the field of two elements.
fn add(target: &mut [u8], source: &[u8]) {
    target.iter_mut().zip(source).for_each(|(target, source)| *target ^= source);
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn full(packets: u8, parity_packets: u8) -> FullGroup {
        FullGroup { packets, parity_packets }
    }

    /// Counts pictures of these sizes, one every `ms`. Gives what each brought about.
    fn groups(pictures: &[u8], ms: u64, spacing: u8) -> Vec<Option<FullGroup>> {
        let (mut group, mut now) = (Group::default(), Instant::now());
        let mut picture = |packets: &u8| {
            now += Duration::from_millis(ms);
            let full = (1..=*packets).map(|number| group.count(now, number == *packets, Some(spacing)));
            full.fold(None, |found, full| full.or(found))
        };
        pictures.iter().map(&mut picture).collect()
    }

    #[test]
    fn a_group_ends_with_a_picture_and_has_one_parity_packet_for_so_many() {
        assert_eq!(
            groups(&[8, 5, 6, 3, 1, 4], 33, 4),
            [Some(full(8, 2)), Some(full(5, 1)), Some(full(6, 2)), None, Some(full(4, 1)), Some(full(4, 1))]
        );
        assert_eq!(groups(&[43, 3], 33, 4), [Some(full(40, 10)), Some(full(6, 2))]);
    }

    #[test]
    fn parity_that_would_come_too_late_is_not_made() {
        assert_eq!(groups(&[1, 1, 1, 1, 1, 4], 66, 4), [None, None, None, None, None, Some(full(5, 1))]);
        let (mut group, now) = (Group::default(), Instant::now());
        assert_eq!(group.count(now, false, Some(2)), None);
        assert_eq!(group.count(now, true, None), None);
        assert_eq!(group.count(now, true, Some(2)), None, "what was not counted is not protected");
    }

    /// What a receiver makes of a parity_packet and all packets but one: that packet's first two bytes, time and rest.
    fn recovered(
        parity_packet: &[u8],
        header_bytes: usize,
        others: &[(Vec<u8>, Vec<u8>)],
    ) -> ([u8; 2], [u8; 4], Vec<u8>) {
        let mut parity = Parity::default();
        for (header, payload) in others {
            parity.add(0, header, payload);
        }
        let (mut header, mut rest) = (parity.header, parity_packet[header_bytes..].to_vec());
        add(&mut header, &parity_packet[..8]);
        add(&mut rest, &parity.rest);
        rest.truncate(u16::from_be_bytes([header[2], header[3]]).into());
        ([0x80 | header[0] & 0x3f, header[1]], [header[4], header[5], header[6], header[7]], rest)
    }

    fn packet(number: u8) -> (Vec<u8>, Vec<u8>) {
        let mut header = vec![0x80, 102, 0, number, 1, 2, 3, number, 0, 0, 0, 7];
        if number == 2 {
            header[0] |= 0x10;
            header.extend([0xbe, 0xde, 0, 1, 0x51, 0, 0, 0]);
        }
        (header, vec![number.wrapping_mul(7); 100 + usize::from(number) * 3])
    }

    #[test]
    fn any_one_packet_can_be_made_again() {
        for count in [1, 5, 15, 16, 40] {
            let packets: Vec<_> = (0..count).map(packet).collect();
            let (mut parity, mut parity_packet) = (Parity::default(), Vec::new());
            parity.add(9, &packet(9).0, &packet(9).1);
            parity.clear();
            for (place, (header, payload)) in (0..).zip(&packets) {
                parity.add(place, header, payload);
            }
            parity.write(0x0102_0304, 0xfffe, &mut parity_packet);
            let header_bytes = if count > FIRST_MASK { 24 } else { 20 };
            for lost in 0..usize::from(count) {
                let mut others = packets.clone();
                let (header, payload) = others.remove(lost);
                let (start, time, rest) = recovered(&parity_packet, header_bytes, &others);
                assert_eq!(
                    (start[..].to_vec(), time[..].to_vec()),
                    (header[..2].to_vec(), header[4..8].to_vec())
                );
                assert_eq!(rest, [&header[12..], &payload].concat());
            }
        }
    }

    #[test]
    fn the_header_says_which_packets_are_meant() {
        let written = |places: &[u8]| {
            let (mut parity, mut parity_packet) = (Parity::default(), Vec::new());
            for place in places {
                parity.add(*place, &packet(0).0, &[]);
            }
            parity.write(0x0102_0304, 0xfffe, &mut parity_packet);
            parity_packet
        };
        assert_eq!(written(&[0, 2, 14])[8..], [1, 0, 0, 0, 1, 2, 3, 4, 0xff, 0xfe, 0xd0, 0x01]);
        assert_eq!(written(&[1, 15, 45])[16..], [0xff, 0xfe, 0x20, 0x00, 0xc0, 0x00, 0x00, 0x01]);
    }
}
