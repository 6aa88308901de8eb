//! The sessions of WHEP players by the secret part of their URLs, and what those sessions have to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::mpsc;

use crate::access::proof::{NoRandom, Nonce, TokenHash};
use crate::config::Secret;
use crate::peer::Replies;
use crate::sessions::table::SessionKey;
use crate::signaling::message::Down;
use crate::signaling::topic::Id;

/// Messages of a session that may wait for a request to take them: an answer, and its end.
const INBOX: usize = 8;

/// All of them. An entry lives as long as its session.
#[derive(Default)]
pub(in crate::http) struct Resources {
    by_id: Mutex<HashMap<String, Arc<Resource>>>,
}

/// One session's.
pub(in crate::http) struct Resource {
    /// The session.
    pub key: SessionKey,
    /// What its first offer bore, and each further one is judged by, as its player may not say it again; `None` where access
    /// is open.
    pub bearer: Option<Secret>,
    /// What changes with each offer; held for as long as one is being answered.
    pub exchange: tokio::sync::Mutex<Exchange>,
    mailbox: Weak<Mailbox>,
}

/// The last offer and what came of it.
pub(in crate::http) struct Exchange {
    /// What the session says.
    pub inbox: mpsc::Receiver<Down>,
    /// The offer.
    pub offer: String,
    /// Names the ICE generation.
    pub etag: String,
}

/// The session's end of the inbox; the entry goes with it.
pub(in crate::http) struct Mailbox {
    id: String,
    outbox: mpsc::Sender<Down>,
    resources: Weak<Resources>,
}

impl Replies for Mailbox {
    fn send(&self, _viewer: &Id, _session: &Id, message: Down) {
        // The answer holds every candidate: those that come one by one have nowhere to go.
        if !matches!(message, Down::Candidate(_)) {
            let _ = self.outbox.try_send(message);
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if let Some(resources) = self.resources.upgrade() {
            resources.lock().remove(&self.id);
        }
    }
}

impl Resource {
    /// Where the session's messages go; `None` once it has ended.
    pub fn mailbox(&self) -> Option<Arc<Mailbox>> {
        self.mailbox.upgrade()
    }

    /// Whether `token`, which a request shows, is that of the session.
    pub fn admits(&self, token: Option<&Secret>) -> bool {
        let hash = |token: &Secret| TokenHash::of(token.expose());
        self.bearer.as_ref().is_none_or(|own| token.is_some_and(|token| hash(own).matches(&hash(token))))
    }
}

impl Resources {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Resource>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one, with the secret part of its URL.
    pub fn open(
        self: &Arc<Self>,
        offer: String,
        bearer: Option<Secret>,
    ) -> Result<(String, Arc<Resource>, Arc<Mailbox>), NoRandom> {
        let id = Nonce::random()?.encode();
        let (outbox, inbox) = mpsc::channel(INBOX);
        let mailbox = Arc::new(Mailbox { id: id.clone(), outbox, resources: Arc::downgrade(self) });
        let resource = Arc::new(Resource {
            key: new_key()?,
            bearer,
            exchange: tokio::sync::Mutex::new(Exchange { inbox, offer, etag: new_etag()? }),
            mailbox: Arc::downgrade(&mailbox),
        });
        self.lock().insert(id.clone(), Arc::clone(&resource));
        Ok((id, resource, mailbox))
    }

    /// The one with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Resource>> {
        self.lock().get(id).cloned()
    }

    /// Forgets the one with this id.
    pub fn close(&self, id: &str) {
        self.lock().remove(id);
    }
}

/// The session's name for everybody, which tells nothing of its URL.
pub(in crate::http) fn new_key() -> Result<SessionKey, NoRandom> {
    let text = format!("whep-{}", Nonce::random()?.encode());
    // Base64url is made of what an id may hold.
    let viewer = Id::new(&text).map_err(|_| NoRandom)?;
    Ok(SessionKey { viewer, session: Id::default_session() })
}

/// An entity tag for an ICE generation.
pub(in crate::http) fn new_etag() -> Result<String, NoRandom> {
    Ok(format!("\"{}\"", Nonce::random()?.encode()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_secret_of_128_bits() {
        let resources = Arc::new(Resources::default());
        let ids: Vec<String> = (0..64).map(|_| resources.open(String::new(), None).unwrap().0).collect();
        for id in &ids {
            let bytes =
                base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, id).unwrap();
            assert!(bytes.len() * 8 >= 128, "{id}");
        }
        // Each bit of it takes both values.
        let bits = |at: usize| {
            ids.iter().map(move |id| id.as_bytes()[at]).collect::<std::collections::BTreeSet<u8>>()
        };
        assert!((0..22).all(|at| bits(at).len() > 1), "{ids:?}");
    }

    #[tokio::test]
    async fn an_entry_goes_with_its_session() {
        let resources = Arc::new(Resources::default());
        let (id, resource, mailbox) = resources.open("v=0".into(), Some(Secret::new("secret"))).unwrap();
        assert!(resource.admits(Some(&Secret::new("secret"))));
        assert!(!resource.admits(Some(&Secret::new("other"))) && !resource.admits(None));
        let key = resource.key.clone();
        mailbox.send(&key.viewer, &key.session, Down::Candidate(None));
        mailbox.send(&key.viewer, &key.session, Down::Bye { reason: "x".into() });
        let first = resource.exchange.lock().await.inbox.recv().await;
        assert_eq!(first, Some(Down::Bye { reason: "x".into() }));
        assert!(resources.get(&id).is_some());
        drop(mailbox);
        assert!(resources.get(&id).is_none() && resource.mailbox().is_none());
        assert_eq!(resource.exchange.lock().await.inbox.recv().await, None);
    }
}
