//! The addresses behind the names of STUN and TURN servers, looked up before a viewer needs them. Pure.
//!
//! A session takes what is at hand and never waits: a name server that is silent is no concern of a viewer on the local network.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::server_url::ServerUrl;

/// How long an answer is as good as new. The system does not tell for how long the name server meant it (RFC 1035 section 3.2.1).
const FRESH: Duration = Duration::from_mins(5);
/// How long an answer is used when no newer one can be had (RFC 8767 section 5).
const STALE: Duration = Duration::from_hours(24);
/// The first pause after a name that was not found; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Addresses kept of one name: the first of each family is what is used.
const MAX_ADDRESSES: usize = 8;

/// What is known of each name.
#[derive(Debug, Default)]
pub(in crate::peer) struct ServerNames(HashMap<String, Name>);

#[derive(Debug, Default)]
struct Name {
    addresses: Vec<IpAddr>,
    found: Option<Instant>,
    /// When the last search ended.
    tried: Option<Instant>,
    /// Searches in vain since the last one that found something.
    failures: u32,
    is_asking: bool,
}

impl ServerNames {
    /// Of these servers, nothing of which is known yet.
    pub fn new<'a>(urls: impl Iterator<Item = &'a str>) -> Self {
        let hosts = urls.filter_map(ServerUrl::parse).filter(|url| url.udp && url.ip().is_none());
        Self(hosts.map(|url| (url.host, Name::default())).collect())
    }

    /// The addresses of a server that are at hand.
    pub fn addresses(&self, url: &ServerUrl, now: Instant) -> Vec<SocketAddr> {
        let known = self.0.get(&url.host).filter(|name| name.is_usable(now));
        let known = known.map_or(&[][..], |name| &name.addresses);
        url.ip().iter().chain(known).map(|ip| SocketAddr::new(*ip, url.port)).collect()
    }

    /// The names that are to be looked up now; each is under way once at a time until [`Self::answered`]. `is_needed`: somebody
    /// wants them, so that old answers are renewed, too.
    pub fn begin(&mut self, is_needed: bool, now: Instant) -> Vec<String> {
        let due = self.0.iter_mut().filter_map(|(host, name)| {
            let wants = if is_needed { name.is_old(now) } else { name.found.is_none() };
            let may = !name.is_asking && name.may_try_at().is_none_or(|at| at <= now);
            name.is_asking |= wants && may;
            (wants && may).then(|| host.clone())
        });
        due.collect()
    }

    /// A search has ended; it found nothing if `addresses` is empty.
    pub fn answered(&mut self, host: &str, mut addresses: Vec<IpAddr>, now: Instant) {
        let Some(name) = self.0.get_mut(host) else { return };
        (name.is_asking, name.tried) = (false, Some(now));
        if addresses.is_empty() {
            name.failures = name.failures.saturating_add(1);
            // Once, not for each viewer.
            if name.failures == 1 {
                tracing::warn!(
                    host,
                    "the name of an ICE server is not known; check ice.servers and the name server"
                );
            }
            return;
        }
        if name.failures > 0 {
            tracing::info!(host, "the name of the ICE server is known again");
        }
        addresses.truncate(MAX_ADDRESSES);
        *name = Name { addresses, found: Some(now), tried: Some(now), failures: 0, is_asking: false };
    }

    /// When a name that was never found is to be looked up again. Others wait until somebody needs them.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let unknown = self.0.values().filter(|name| name.found.is_none() && !name.is_asking);
        unknown.filter_map(Name::may_try_at).min()
    }
}

impl Name {
    fn is_old(&self, now: Instant) -> bool {
        self.found.is_none_or(|found| now.saturating_duration_since(found) >= FRESH)
    }

    fn is_usable(&self, now: Instant) -> bool {
        // Without a failure nobody has needed it meanwhile; it is being renewed.
        let is_young = |found| now.saturating_duration_since(found) < STALE;
        self.found.is_some_and(|found| self.failures == 0 || is_young(found))
    }

    /// `None`: at once.
    fn may_try_at(&self) -> Option<Instant> {
        let doublings = self.failures.checked_sub(1)?;
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
        self.tried.map(|tried| tried + pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "stun:stun.example.org";

    fn names() -> ServerNames {
        ServerNames::new(
            [NAME, "turn:stun.example.org:99", "stun:192.0.2.1", "turns:tls.example.org"].into_iter(),
        )
    }

    fn known(names: &ServerNames, now: Instant) -> Vec<SocketAddr> {
        names.addresses(&ServerUrl::parse(NAME).unwrap(), now)
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn names_that_are_used_are_looked_up_beforehand_and_once() {
        let (mut names, now) = (names(), Instant::now());
        assert_eq!(names.begin(false, now), ["stun.example.org"], "before anybody comes");
        assert_eq!(names.begin(false, now), [""; 0], "it is under way");
        assert_eq!(names.begin(true, now), [""; 0], "for whoever needs it, too");
        assert_eq!((known(&names, now), names.poll_timeout()), (vec![], None));
        names.answered("stun.example.org", (1..=100).map(ip).collect(), now);
        assert_eq!(known(&names, now).len(), MAX_ADDRESSES);
        let other = ServerUrl::parse("turn:stun.example.org:99").unwrap();
        assert_eq!(names.addresses(&other, now)[0], SocketAddr::new(ip(1), 99), "each at its own port");
        let literal = ServerUrl::parse("stun:[2001:db8::1]").unwrap();
        let address: SocketAddr = "[2001:db8::1]:3478".parse().unwrap();
        assert_eq!(names.addresses(&literal, now), [address]);
    }

    #[test]
    fn what_was_found_is_used_while_it_is_renewed_and_not_without_end() {
        let (mut names, start) = (names(), Instant::now());
        names.begin(false, start);
        names.answered("stun.example.org", vec![ip(1)], start);
        assert_eq!(names.begin(true, start + FRESH / 2), [""; 0]);
        assert_eq!(
            (names.begin(false, start + STALE * 9), names.poll_timeout()),
            (vec![], None),
            "nobody needs it"
        );
        let old = start + STALE * 9;
        assert_eq!(known(&names, old), [SocketAddr::new(ip(1), 3478)]);
        assert_eq!(names.begin(true, old), ["stun.example.org"]);
        names.answered("stun.example.org", vec![], old);
        assert!(known(&names, old).is_empty(), "nine days, and the name server knows nothing");
        assert_eq!(names.begin(true, old + FIRST_PAUSE), ["stun.example.org"]);
        names.answered("stun.example.org", vec![ip(2)], old + FIRST_PAUSE);
        assert_eq!(known(&names, old + FIRST_PAUSE), [SocketAddr::new(ip(2), 3478)]);
        let later = old + FIRST_PAUSE + FRESH;
        assert_eq!(names.begin(true, later), ["stun.example.org"]);
        names.answered("stun.example.org", vec![], later);
        assert_eq!(known(&names, later + STALE / 2).len(), 1, "what worked today still does");
    }

    #[test]
    fn a_name_server_that_knows_nothing_is_asked_ever_more_rarely() {
        let (mut names, start) = (names(), Instant::now());
        let (mut now, mut asked) = (start, Vec::new());
        while now < start + Duration::from_hours(1) {
            // However many viewers come meanwhile.
            let due = [names.begin(false, now), names.begin(true, now)].concat();
            for host in &due {
                names.answered(host, vec![], now);
                asked.push((now - start).as_secs());
            }
            let next = names.poll_timeout().unwrap();
            assert!(next > now, "nothing is due twice");
            now = next;
        }
        assert_eq!(asked[..6], [0, 5, 15, 35, 75, 155]);
        assert!(asked.len() < 20, "{asked:?}");
    }
}
