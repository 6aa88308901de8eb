//! What was sent, numbered for congestion control, and what the viewer reports of it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};

use super::PacketResult;

/// Packets that may wait for a report: two seconds of a fast stream.
const MOST: usize = 4096;
/// A packet that was not reported for so long never will be.
const FORGOTTEN: Duration = Duration::from_secs(2);
/// Unit of the reference time (section 3.1).
const REFERENCE: Duration = Duration::from_millis(64);

/// Packets that were not reported yet, oldest first, one number after another.
#[derive(Debug, Default)]
pub(in crate::peer) struct SendHistory {
    next: u16,
    waiting: VecDeque<SentPacket>,
    /// The last report's own number.
    last_report: Option<u8>,
    told: ReportedPackets,
}

/// What the last report told of packets of pictures, each by the number that its first sending had.
#[derive(Debug, Default)]
pub(in crate::peer) struct ReportedPackets {
    pub arrived: Vec<u64>,
    /// And when what was lost had left.
    pub lost: Vec<(u64, Instant)>,
}

#[derive(Debug)]
struct SentPacket {
    at: Instant,
    bytes: u16,
    /// The packet of a picture that it is.
    of: Option<u64>,
    arrival: Arrival,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrival {
    Unknown,
    /// It came, at this time on the viewer's clock if that was told.
    Known(Option<Duration>),
}

impl SendHistory {
    /// The number of a packet of `bytes` that leaves now, and is or repeats `of`, a picture's.
    pub fn number(&mut self, now: Instant, bytes: usize, of: Option<u64>) -> u16 {
        let is_forgotten = |old: &SentPacket| now.saturating_duration_since(old.at) > FORGOTTEN;
        while self.waiting.len() >= MOST || self.waiting.front().is_some_and(is_forgotten) {
            self.waiting.pop_front();
        }
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.waiting.push_back(SentPacket { at: now, bytes, of, arrival: Arrival::Unknown });
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// Takes the viewer's report. Gives what became of all packets up to the newest that came, in the order in which they left;
    /// each is told once. Of those that only a report told of that was lost itself nothing is known, and nothing is given:
    /// as lost they would be most of all loss on a path that loses both ways alike.
    pub fn reported(&mut self, feedback: &TransportLayerCc) -> Vec<PacketResult> {
        // As many as wait: a bound, and fewer than half of all numbers.
        #[allow(clippy::cast_possible_truncation)]
        let first = self.next.wrapping_sub(self.waiting.len() as u16);
        let mut newest = None;
        for_each(feedback, |number, arrival| {
            let index = usize::from(number.wrapping_sub(first));
            if let (Some(sent), Some(arrival)) = (self.waiting.get_mut(index), arrival) {
                sent.arrival = Arrival::Known(arrival);
                newest = newest.max(Some(index));
            }
        });
        self.told = ReportedPackets::default();
        let count = feedback.fb_pkt_count;
        let is_next = self.last_report.replace(count).is_none_or(|last| last.wrapping_add(1) == count);
        let Some(newest) = newest else { return Vec::new() };
        let covered = feedback.base_sequence_number.wrapping_sub(first);
        // Half of all numbers are before the oldest that waits.
        let uncovered = if is_next || covered > u16::MAX / 2 { 0 } else { usize::from(covered) };
        let told = self.waiting.drain(..=newest).enumerate();
        let told = told
            .filter(|(index, sent)| *index >= uncovered || sent.arrival != Arrival::Unknown)
            .map(|(_, sent)| sent);
        told.map(|sent| {
            let arrived = sent.arrival != Arrival::Unknown;
            match sent.of {
                Some(of) if arrived => self.told.arrived.push(of),
                Some(of) => self.told.lost.push((of, sent.at)),
                None => {}
            }
            PacketResult {
                departure: sent.at,
                arrival: match sent.arrival {
                    Arrival::Known(at) => at,
                    Arrival::Unknown => None,
                },
                arrived,
                bytes: sent.bytes.into(),
            }
        })
        .collect()
    }

    /// What the last report told of packets of pictures. Gives it once.
    pub fn last_reported(&mut self) -> ReportedPackets {
        std::mem::take(&mut self.told)
    }
}

/// Calls `take` with each packet's number, and with its arrival if it came.
fn for_each(feedback: &TransportLayerCc, mut take: impl FnMut(u16, Option<Option<Duration>>)) {
    // Times follow from one another, in either direction.
    let mut at = REFERENCE * feedback.reference_time;
    let mut deltas = feedback.recv_deltas.iter();
    let mut number = feedback.base_sequence_number;
    let mut left = feedback.packet_status_count;
    let mut status = |symbol: SymbolTypeTcc| {
        if left == 0 {
            return;
        }
        left -= 1;
        let arrival = match symbol {
            SymbolTypeTcc::PacketNotReceived => None,
            SymbolTypeTcc::PacketReceivedWithoutDelta => Some(None),
            _ => Some(deltas.next().map(|delta| {
                let step = Duration::from_micros(delta.delta.unsigned_abs());
                at = if delta.delta < 0 { at.saturating_sub(step) } else { at + step };
                at
            })),
        };
        take(number, arrival);
        number = number.wrapping_add(1);
    };
    for chunk in &feedback.packet_chunks {
        match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                (0..run.run_length).for_each(|_| status(run.packet_status_symbol));
            }
            PacketStatusChunk::StatusVectorChunk(vector) => {
                vector.symbol_list.iter().for_each(|symbol| status(*symbol));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
        RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    };

    use super::*;

    const CAME: SymbolTypeTcc = SymbolTypeTcc::PacketReceivedSmallDelta;
    const LOST: SymbolTypeTcc = SymbolTypeTcc::PacketNotReceived;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// One status for each packet from `base` on; what came, came 1 ms after another.
    fn feedback(base: u16, symbols: &[SymbolTypeTcc]) -> TransportLayerCc {
        let came = symbols.iter().filter(|symbol| **symbol == CAME);
        TransportLayerCc {
            base_sequence_number: base,
            packet_status_count: u16::try_from(symbols.len()).unwrap(),
            reference_time: 10,
            packet_chunks: vec![PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: SymbolSizeTypeTcc::TwoBit,
                symbol_list: symbols.to_vec(),
            })],
            recv_deltas: came.map(|_| RecvDelta { type_tcc_packet: CAME, delta: 1000 }).collect(),
            ..Default::default()
        }
    }

    fn sent(count: u16, start: Instant) -> SendHistory {
        let mut history = SendHistory { next: 65_530, ..Default::default() };
        for number in 0..count {
            assert_eq!(
                history.number(start + ms(number.into()), 1000, Some(number.into())),
                number.wrapping_add(65_530)
            );
        }
        history
    }

    #[test]
    fn each_packet_is_told_once_with_its_times() {
        let start = Instant::now();
        let mut history = sent(10, start);
        let first = history.reported(&feedback(65_530, &[CAME, LOST, CAME, LOST]));
        assert_eq!(first.len(), 3, "nothing is known yet of what left after the newest that came");
        assert_eq!(first.iter().map(|report| report.arrived).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(first[2].departure, start + ms(2));
        assert_eq!(first[0].arrival, Some(ms(641)));
        assert_eq!(first[2].arrival, Some(ms(642)));
        let told = history.last_reported();
        assert_eq!((told.arrived, told.lost), (vec![0, 2], vec![(1, start + ms(1))]));
        let rest = history.reported(&feedback(65_532, &[CAME, LOST, CAME, CAME, CAME, CAME]));
        assert_eq!(
            rest.iter().map(|report| report.arrived).collect::<Vec<_>>(),
            [false, true, true, true, true]
        );
        assert!(history.reported(&feedback(65_532, &[CAME, CAME])).is_empty(), "told before");
        assert_eq!(history.waiting.len(), 2);
    }

    #[test]
    fn a_lost_report_is_no_lost_packet() {
        let reports = |fb_pkt_count| {
            let mut history = sent(12, Instant::now());
            history.reported(&feedback(65_530, &[CAME, CAME, LOST, CAME]));
            let next = TransportLayerCc { fb_pkt_count, ..feedback(2, &[LOST, CAME, CAME, CAME]) };
            let reports = history.reported(&next);
            reports.iter().map(|report| report.arrived).collect::<Vec<_>>()
        };
        assert_eq!(reports(2), [false, true, true, true], "the report between them was lost");
        assert_eq!(
            reports(1),
            [false, false, false, false, false, true, true, true],
            "it skips what is lost"
        );
    }

    #[test]
    fn what_was_never_sent_is_not_told_whatever_the_report_says() {
        let mut history = sent(10, Instant::now());
        assert!(history.reported(&feedback(100, &[CAME; 7])).is_empty());
        let mut run = feedback(65_530, &[]);
        run.packet_status_count = u16::MAX;
        run.packet_chunks = vec![
            PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: CAME,
                run_length: 0x1fff,
            });
            20
        ];
        let reports = history.reported(&run);
        assert_eq!(reports.len(), 10);
        assert!(reports.iter().all(|report| report.arrived && report.arrival.is_none()), "without times");
    }

    #[test]
    fn what_is_never_reported_is_forgotten() {
        let start = Instant::now();
        let mut history = sent(10, start);
        history.number(start + FORGOTTEN + ms(5), 1000, None);
        assert_eq!(history.waiting.len(), 6);
        for _ in 0..2 * MOST {
            history.number(start + FORGOTTEN, 1000, None);
        }
        assert_eq!(history.waiting.len(), MOST);
    }
}
