//! The connectivity checks of one connection (RFC 8445 section 7) as far as this side looks at them: how long they take, and nominations
//! that the library did not answer. Pure.

use std::time::{Duration, Instant};

use super::nomination::{Nominations, Pair, nomination};
use crate::peer::net::demux::TransactionId;

/// One connection's.
#[derive(Debug, Default)]
pub(super) struct ConnectivityChecks {
    nominations: Nominations,
    /// The last check that left, and when.
    sent: Option<(TransactionId, Instant)>,
    /// Check that was answered last.
    answered: Option<TransactionId>,
    /// Of the last check that was answered.
    pub round_trip: Option<Duration>,
}

impl ConnectivityChecks {
    /// One leaves.
    pub fn send(&mut self, transaction: TransactionId, now: Instant) {
        self.sent = Some((transaction, now));
    }

    /// One of the viewer's is answered.
    pub fn answer(&mut self, transaction: TransactionId) {
        self.answered = Some(transaction);
    }

    /// A datagram is about to be shown to the library.
    pub fn begin(&mut self) {
        self.answered = None;
    }

    /// The library has seen `datagram`, which came over `pair`: a nomination that it has not answered is kept.
    pub fn end(&mut self, pair: Pair, datagram: &[u8]) {
        let nominates = nomination(datagram);
        if nominates.is_some() && self.answered != nominates {
            self.nominations.keep(pair, datagram);
        }
    }

    /// The viewer has answered one of ours. Gives the nomination of `pair` that waited for that.
    pub fn succeed(&mut self, pair: Pair, transaction: TransactionId, now: Instant) -> Option<Vec<u8>> {
        if let Some((_, sent)) = self.sent.take_if(|(sent, _)| *sent == transaction) {
            self.round_trip = Some(now.saturating_duration_since(sent));
        }
        self.nominations.release(pair)
    }
}
