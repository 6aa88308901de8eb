//! Who may do what at the embedded broker. Pure: no socket, no clock but the `now` that is passed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::access::grant::Rights;
use crate::access::permissions::{self, Privilege};
use crate::signaling::topic::{Id, Inbound, Topics};

/// How long a client id stays its grant's own after its last connection: longer than a viewer page
/// waits between two attempts (30 s), so that nobody slips in under its name meanwhile.
const HOLD: Duration = Duration::from_mins(1);
/// Client ids remembered; beyond it those that left first are forgotten.
const MAX_IDS: usize = 1024;

/// What a client may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRights {
    /// Whose client it is; clients of one grant may take each other's client ids over.
    pub grant: Option<String>,
    /// What it may do; `access::permissions` says what that opens.
    pub rights: Rights,
    /// Whether they run out by themselves, of which nobody tells.
    pub ends: bool,
}

/// Decides who is let in. Asked at each connection, and again whenever the generation changes.
pub trait ClientAuthenticator: Send + Sync {
    /// What the bearer of this user name and password may do; `None`: nothing. Must not block.
    fn admit(&self, user: Option<&str>, password: Option<&[u8]>) -> Option<ClientRights>;

    /// Whether it lets in everybody.
    fn is_open(&self) -> bool {
        false
    }

    /// Why [`Self::admit`] gave nothing: the code and words for the person, where they are known.
    fn reason(&self, user: Option<&str>, password: Option<&[u8]>) -> AuthFailure {
        let _ = (user, password);
        AuthFailure::Unknown
    }

    /// Changes with every change of what [`Self::admit`] would say, except by the passing of time. `None`: it never does.
    fn generation(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

/// Why somebody is not let in. Only who bears a grant's token is told more than that he is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// No such name or password, or it was withdrawn.
    Unknown,
    /// It has ended, in words.
    Ended(String),
    /// It may be good later, in words.
    NotYet(String),
}

/// Lets everybody in, with every right.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenAccess;

impl ClientAuthenticator for OpenAccess {
    fn is_open(&self) -> bool {
        true
    }

    fn admit(&self, _user: Option<&str>, _password: Option<&[u8]>) -> Option<ClientRights> {
        Some(ClientRights { grant: None, rights: Rights::all(), ends: false })
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The process that the broker runs in.
    Device,
    /// Everybody else.
    Client(ClientRights),
}

impl Role {
    /// Which connections may follow each other under one client id.
    fn owner(&self) -> Owner {
        match self {
            Self::Device => Owner::Device,
            Self::Client(admission) => Owner::Grant(admission.grant.clone()),
        }
    }

    /// Whether this may go on where `other` was without connecting anew. Not with less to read: what was subscribed would
    /// still be delivered.
    pub fn continues_as(&self, other: &Self) -> bool {
        let reads_as_much = match (self, other) {
            (Self::Client(own), Self::Client(other)) => {
                permissions::reads_as_much(&own.rights, &other.rights)
            }
            _ => true,
        };
        self.owner() == other.owner() && reads_as_much
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    Device,
    Grant(Option<String>),
}

fn may(client: &ClientRights, wish: Privilege<'_>) -> bool {
    permissions::permit(&client.rights, wish).is_ok()
}

/// The topics of one device, and who may use them.
pub(super) struct TopicAcl {
    device: Id,
    topics: Topics,
    /// `<root>/<device>`, level by level.
    base: Vec<String>,
}

impl TopicAcl {
    pub fn new(root: &str, device: &Id) -> Self {
        let base = root.split('/').chain([device.as_str()]).map(str::to_owned).collect();
        Self { device: device.clone(), topics: Topics::new(root, device), base }
    }

    /// The device's client id is its own.
    pub fn may_use_client_id(&self, role: &Role, client_id: &str) -> bool {
        *role == Role::Device || client_id != self.device.as_str()
    }

    /// Clients speak for themselves (the viewer id is the client id) and, with the right, command.
    /// So every topic without a `signal`, `set` or `do` in it speaks with the device's voice.
    pub fn may_publish(&self, role: &Role, client_id: &str, topic: &str) -> bool {
        let Role::Client(admission) = role else { return true };
        match self.topics.parse(topic) {
            Inbound::Signal(viewer) => viewer.as_str() == client_id && may(admission, Privilege::Signal),
            Inbound::Set(setting) => may(admission, Privilege::Set(setting)),
            Inbound::Do(action) => may(admission, Privilege::Do(action)),
            Inbound::BadViewer | Inbound::Other => false,
        }
    }

    /// A filter is refused if any topic that it matches is not for this client: only the device may read
    /// `up`, `set` and `do`, and `down` is for its viewer. A `+` may stand where all is public.
    pub fn may_subscribe(&self, role: &Role, client_id: &str, filter: &str) -> bool {
        let Role::Client(admission) = role else { return true };
        let levels: Vec<&str> = filter.split('/').collect();
        if levels.len() <= self.base.len() || levels.contains(&"#") {
            return false;
        }
        let (base, rest) = levels.split_at(self.base.len());
        if !base.iter().zip(&self.base).all(|(level, own)| *level == "+" || level == own) {
            return false;
        }
        match rest {
            // Topics of this length are published by nobody but the device.
            ["+"] => permissions::may_read_all(&admission.rights),
            [topic] => may(admission, Privilege::Read(topic)),
            ["signal", viewer, "down"] => *viewer == client_id && Id::new(viewer).is_ok(),
            _ => false,
        }
    }

    /// A will that the broker would keep on a topic where nothing is ever kept.
    pub fn may_leave_will(&self, role: &Role, client_id: &str, will: &str, retain: bool) -> bool {
        *role == Role::Device || !retain || !self.may_publish(role, client_id, will)
    }
}

/// Whose client id is whose.
#[derive(Default)]
pub(super) struct ClientIds(HashMap<String, ClientId>);

struct ClientId {
    owner: Owner,
    connections: usize,
    left: Option<Instant>,
}

impl ClientIds {
    /// Takes `client_id` for one more connection; false if it is somebody else's.
    pub fn enter(&mut self, now: Instant, client_id: &str, role: &Role) -> bool {
        let owner = role.owner();
        if let Some(entry) = self.0.get_mut(client_id) {
            let free = entry.left.is_some_and(|left| now.saturating_duration_since(left) >= HOLD);
            if entry.owner != owner && !free {
                return false;
            }
            entry.owner = owner;
            entry.connections += 1;
            entry.left = None;
            return true;
        }
        if self.0.len() >= MAX_IDS {
            self.forget(now);
        }
        self.0.insert(client_id.to_owned(), ClientId { owner, connections: 1, left: None });
        true
    }

    /// One connection less.
    pub fn leave(&mut self, now: Instant, client_id: &str) {
        if let Some(entry) = self.0.get_mut(client_id) {
            entry.connections = entry.connections.saturating_sub(1);
            if entry.connections == 0 {
                entry.left = Some(now);
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, entry| entry.left.is_none_or(|left| now.saturating_duration_since(left) < HOLD));
        let longest_away = self.0.iter().filter_map(|(id, entry)| Some((entry.left?, id.clone()))).min();
        if let (true, Some((_, id))) = (self.0.len() >= MAX_IDS, longest_away) {
            self.0.remove(&id);
        }
    }
}

#[cfg(test)]
#[path = "topic_acl_tests.rs"]
mod tests;
