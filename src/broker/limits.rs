//! How much one client, one host and all of them may ask of the embedded broker.

use std::time::Instant;

use crate::base::limits::{Capacity, PerHost, TokenBucket, TokenRate};

/// Connections at once: viewers, dashboards, and those that have not said yet who they are.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// More of them for this machine, so that the device finds room at its own broker when strangers fill it.
pub(super) const OWN_CONNECTIONS: usize = 16;
/// Of them from one host: a household with many tabs, and not everything for one attacker.
const MAX_CONNECTIONS_PER_HOST: usize = 64;
/// The largest packet a client may send; it bounds what one client can make the device hold. Far above
/// the protocol's 64 KiB, so that a longer message gets its `too-large` from the device.
pub(super) const MAX_PACKET_BYTES: usize = 1024 * 1024;
/// Messages and subscriptions of one client: a viewer with all of its candidates needs about 40 at once. What comes each
/// second is far above what the device answers with `rate-limited`. Whoever sends faster is read slower: nothing is lost.
const MESSAGES: TokenRate = TokenRate { burst: 200.0, per_second: 100.0 };

/// Counts connections.
pub(super) fn connections() -> PerHost {
    PerHost::new(Capacity {
        all: MAX_CONNECTIONS,
        one_host: MAX_CONNECTIONS_PER_HOST,
        is_own_exempt: true,
        own: OWN_CONNECTIONS,
        own_waiting: MAX_CONNECTIONS / 2,
    })
}

/// What a client that has just come may send.
pub(super) fn messages(now: Instant) -> TokenBucket {
    TokenBucket::full(MESSAGES, now)
}
