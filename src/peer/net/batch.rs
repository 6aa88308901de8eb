//! A picture's packets in one buffer, as runs of equal size that the kernel takes in one call (UDP GSO). Pure.

use crate::peer::error::PeerError;

/// Stays below what one IPv4 datagram could hold, as the kernel demands of all segments together.
const MAX_RUN_BYTES: usize = 60_000;
/// Datagrams of one call: the kernel's own bound (`UDP_MAX_SEGMENTS`) is not lower anywhere.
const MAX_RUN_PACKETS: usize = 64;

/// Packets of the first one's size, of which only the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::peer) struct Run {
    pub start: usize,
    pub end: usize,
    pub packet_bytes: usize,
}

impl Run {
    fn takes(&self, bytes: usize) -> bool {
        let length = self.end - self.start;
        bytes <= self.packet_bytes
            && length.is_multiple_of(self.packet_bytes)
            && length + bytes <= MAX_RUN_BYTES
            && length / self.packet_bytes < MAX_RUN_PACKETS
    }
}

/// Datagrams in the order in which they leave.
#[derive(Clone, Debug, Default)]
pub(in crate::peer) struct Batch {
    bytes: Vec<u8>,
    runs: Vec<Run>,
}

impl Batch {
    /// Forgets all packets and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
    }

    /// Adds the packet that `write` appends to the buffer. One that fails leaves nothing.
    pub fn packet(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), PeerError>,
    ) -> Result<(), PeerError> {
        let start = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let (end, length) = (self.bytes.len(), self.bytes.len() - start);
        match self.runs.last_mut().filter(|run| run.takes(length)) {
            Some(run) => run.end = end,
            None if length > 0 => self.runs.push(Run { start, end, packet_bytes: length }),
            None => {}
        }
        Ok(())
    }

    /// Each run with its bytes.
    pub fn runs(&self) -> impl Iterator<Item = (Run, &[u8])> {
        self.runs.iter().map(|run| (*run, self.bytes.get(run.start..run.end).unwrap_or_default()))
    }

    /// What is left when `sent` runs are gone.
    pub fn after(&self, sent: usize) -> Self {
        Self { bytes: self.bytes.clone(), runs: self.runs.get(sent..).unwrap_or_default().to_vec() }
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: &Self) {
        for (run, bytes) in other.runs() {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            self.runs.push(Run { start, end: self.bytes.len(), packet_bytes: run.packet_bytes });
        }
    }

    /// How many runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lengths: &[usize]) -> Batch {
        let mut batch = Batch::default();
        for length in lengths {
            batch
                .packet(|bytes| {
                    bytes.resize(bytes.len() + length, 7);
                    Ok(())
                })
                .unwrap();
        }
        batch
    }

    fn runs(lengths: &[usize]) -> Vec<(usize, usize)> {
        batch(lengths).runs().map(|(run, bytes)| (run.packet_bytes, bytes.len())).collect()
    }

    #[test]
    fn only_the_last_packet_of_a_run_is_shorter() {
        assert_eq!(runs(&[1000, 1000, 20, 900, 900, 950]), [(1000, 2020), (900, 1800), (950, 950)]);
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[1000; 100]).len(), 2, "60 kB each at most");
        assert_eq!(runs(&[10; 100]), [(10, 640), (10, 360)]);
    }

    #[test]
    fn a_packet_that_cannot_be_made_leaves_nothing() {
        let mut batch = batch(&[100]);
        let failed = batch.packet(|bytes| {
            bytes.push(1);
            Err(PeerError::NoFreePort { first: 1, last: 1 })
        });
        assert!(failed.is_err());
        assert_eq!(batch.runs().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), [100]);
        assert_eq!((batch.len(), batch.after(0).len(), batch.after(1).len()), (1, 1, 0));
    }
}
