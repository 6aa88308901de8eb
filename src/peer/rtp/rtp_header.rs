//! The header of an RTP packet of one viewer (RFC 3550 section 5.1), with what was negotiated for it. Pure.

/// RTP clock of video (RFC 6184 section 8.2.1).
pub(in crate::peer) const CLOCK_RATE_HZ: u32 = 90_000;

/// `a=extmap` numbers; `None`: not negotiated.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::peer) struct Extensions {
    pub transport_cc: Option<u8>,
    pub playout_delay: Option<u8>,
    pub capture_time: Option<u8>,
    pub orientation: Option<u8>,
    pub mid: Option<Mid>,
}

/// The section that a packet belongs to, in all packets of a bundle (RFC 9143 section 15).
#[derive(Clone, Copy, Debug)]
pub(in crate::peer) struct Mid {
    id: u8,
    text: [u8; Self::MAX_BYTES],
    length: usize,
}

impl Mid {
    /// What an extension with a short header holds (RFC 8285 section 4.2).
    pub const MAX_BYTES: usize = 16;

    /// `None` if `mid` is too long.
    pub fn new(id: u8, mid: &str) -> Option<Self> {
        let mut text = [0; Self::MAX_BYTES];
        text.get_mut(..mid.len())?.copy_from_slice(mid.as_bytes());
        (!mid.is_empty()).then_some(Self { id, text, length: mid.len() })
    }
}

/// Numbers of one SSRC.
#[derive(Debug)]
pub(in crate::peer) struct PacketSequencer {
    pub ssrc: u32,
    pub payload_type: u8,
    /// The next one, with the rollovers of its 16 bits counted above them (RFC 3711 section 3.3.1).
    next: u64,
}

/// What one packet says beside its payload.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::peer) struct RtpHeader {
    pub ssrc: u32,
    pub payload_type: u8,
    pub sequence_number: u16,
    pub timestamp: u32,
    pub marker: bool,
    /// Its number for congestion control.
    pub transport_cc: Option<u16>,
    /// Least and most that the picture is to be held, as the extension has it.
    pub playout_delay: Option<[u8; 3]>,
    /// When the picture was captured, as the extension has it.
    pub capture_time: Option<u64>,
    /// How the picture lies, as the extension has it.
    pub orientation: Option<u8>,
}

impl RtpHeader {
    /// One with the extension for its number of congestion control.
    pub const BYTES: usize = 20;
}

impl PacketSequencer {
    /// Begins somewhere (RFC 3550 section 5.1), but far from the turn: a receiver takes the first one for that of turn 0.
    pub fn new(ssrc: u32, payload_type: u8) -> Self {
        Self { ssrc, payload_type, next: u64::from(rand::random::<u16>() >> 1) }
    }

    /// The next number, with the turns counted above its 16 bits and without.
    pub fn take(&mut self) -> (u64, u16) {
        let index = self.next;
        self.next += 1;
        // The lower 16 bits are meant.
        #[allow(clippy::cast_possible_truncation)]
        (index, index as u16)
    }
}

impl Extensions {
    /// Appends `header` to `bytes`.
    pub fn write(self, header: &RtpHeader, bytes: &mut Vec<u8>) {
        let values = Values::of(self, header);
        let has_extensions = values.length > 0;
        bytes.push(0x80 | if has_extensions { 0x10 } else { 0 });
        bytes.push((u8::from(header.marker) << 7) | header.payload_type);
        bytes.extend_from_slice(&header.sequence_number.to_be_bytes());
        bytes.extend_from_slice(&header.timestamp.to_be_bytes());
        bytes.extend_from_slice(&header.ssrc.to_be_bytes());
        if has_extensions {
            values.write(bytes);
        }
    }
}

/// Four with long headers, and a mid: 4, 5, 10, 3 and 18 bytes.
const MAX_VALUES_BYTES: usize = 40;

/// The extensions of one packet in the form of RFC 8285.
struct Values {
    bytes: [u8; MAX_VALUES_BYTES],
    length: usize,
    has_two_byte_headers: bool,
}

impl Values {
    fn of(ids: Extensions, header: &RtpHeader) -> Self {
        let mid = ids.mid.map(|mid| mid.id);
        let all = [ids.transport_cc, ids.playout_delay, ids.capture_time, ids.orientation, mid];
        // Numbers above 14 need headers of two bytes (section 4.3).
        let has_two_byte_headers = all.iter().flatten().any(|id| *id > 14);
        let mut values = Self { bytes: [0; MAX_VALUES_BYTES], length: 0, has_two_byte_headers };
        values.put(ids.transport_cc, header.transport_cc.map(u16::to_be_bytes));
        values.put(ids.playout_delay, header.playout_delay);
        values.put(ids.capture_time, header.capture_time.map(u64::to_be_bytes));
        values.put(ids.orientation, header.orientation.map(u8::to_be_bytes));
        if let Some(Mid { id, text, length }) = ids.mid {
            values.add(id, text.get(..length).unwrap_or_default());
        }
        values
    }

    fn put<const N: usize>(&mut self, id: Option<u8>, value: Option<[u8; N]>) {
        if let (Some(id), Some(value)) = (id, value) {
            self.add(id, &value);
        }
    }

    fn add(&mut self, id: u8, value: &[u8]) {
        // From 1 to 16.
        #[allow(clippy::cast_possible_truncation)]
        let length = value.len() as u8;
        if self.has_two_byte_headers {
            self.append(&[id, length]);
        } else {
            self.append(&[(id << 4) | (length - 1)]);
        }
        self.append(value);
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
            self.length = end;
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let profile: u16 = if self.has_two_byte_headers { 0x1000 } else { 0xbede };
        let padded = self.length.next_multiple_of(4);
        bytes.extend_from_slice(&profile.to_be_bytes());
        // At most 40 bytes.
        #[allow(clippy::cast_possible_truncation)]
        bytes.extend_from_slice(&((padded / 4) as u16).to_be_bytes());
        bytes.extend_from_slice(&self.bytes[..padded]);
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtp::Header;
    use rtc::shared::marshal::Unmarshal;

    use super::*;

    fn read(extensions: Extensions, header: &RtpHeader) -> Header {
        let mut bytes = Vec::new();
        extensions.write(header, &mut bytes);
        let mut rest = &bytes[..];
        let header = Header::unmarshal(&mut rest).unwrap();
        assert!(rest.is_empty());
        header
    }

    fn full() -> RtpHeader {
        RtpHeader {
            ssrc: 0x0102_0304,
            payload_type: 102,
            sequence_number: 0xfffe,
            timestamp: 0x0506_0708,
            marker: true,
            transport_cc: Some(0x1234),
            playout_delay: Some([1, 2, 3]),
            capture_time: Some(0x1122_3344_5566_7788),
            orientation: Some(2),
        }
    }

    #[test]
    fn the_library_reads_what_is_written_here() {
        let bare = read(Extensions::default(), &full());
        assert_eq!((bare.ssrc, bare.payload_type, bare.sequence_number), (0x0102_0304, 102, 0xfffe));
        assert_eq!((bare.timestamp, bare.marker, bare.extension), (0x0506_0708, true, false));
        for ids in [[1, 2, 3, 5], [14, 13, 1, 2], [15, 3, 200, 1], [1, 2, 3, 15]] {
            let extensions = Extensions {
                mid: Mid::new(4, "a mid of 16 char"),
                transport_cc: Some(ids[0]),
                playout_delay: Some(ids[1]),
                capture_time: Some(ids[2]),
                orientation: Some(ids[3]),
            };
            let header = read(extensions, &full());
            assert_eq!(header.get_extension(ids[0]).unwrap()[..], [0x12, 0x34]);
            assert_eq!(header.get_extension(ids[1]).unwrap()[..], [1, 2, 3]);
            assert_eq!(header.get_extension(ids[2]).unwrap()[..], 0x1122_3344_5566_7788u64.to_be_bytes());
            assert_eq!(header.get_extension(ids[3]).unwrap()[..], [2]);
            assert_eq!(header.get_extension(4).unwrap()[..], *b"a mid of 16 char");
            let few = read(extensions, &RtpHeader { playout_delay: None, capture_time: None, ..full() });
            assert_eq!(few.get_extension(ids[0]).unwrap()[..], [0x12, 0x34]);
            assert_eq!((few.get_extension(ids[1]), few.get_extension(ids[2])), (None, None));
        }
        assert!(Mid::new(4, "").is_none() && Mid::new(4, "a mid of 17 chars").is_none());
    }
}
