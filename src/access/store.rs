//! The grants in the state directory: written by the commands, read by the daemon.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "it is what the others call in a blocking thread")
)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::grant::{Grant, Rights};
use super::proof::{PublicKey, Seed, TokenHash};
use super::{AccessError, Lock, read_private, write_private};
use crate::base::durable_file::FileStamp;
use crate::signaling::topic::Id;

/// Grants of one device.
const MAX_GRANTS: usize = 1000;
const FILE: &str = "grants.json";
const VERSION: u32 = 1;
const REMEDY: &str = "restore it from a backup, or remove it and grant again";

/// Where they are.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    grants: Vec<WrittenGrant>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGrant {
    name: String,
    key: String,
    token_sha256: String,
    rights: Rights,
    /// Seconds since 1970, UTC.
    created_s: u64,
    expires_s: Option<u64>,
}

impl Store {
    /// The store of `state_dir`; nothing is opened yet.
    pub fn of(state_dir: &Path) -> Self {
        Self { dir: state_dir.to_owned() }
    }

    fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// Whether the file with the grants is the one of this name.
    pub fn is_called(name: &OsStr) -> bool {
        name == FILE
    }

    /// The version that is there now; `None` when there is none.
    pub fn stamp(&self) -> Option<FileStamp> {
        FileStamp::of(&self.file())
    }

    /// All grants, in the order in which they were made.
    pub fn load(&self) -> Result<Vec<Grant>, AccessError> {
        let path = self.file();
        let Some(text) = read_private(&path)? else { return Ok(Vec::new()) };
        parse(&text).map_err(|problem| AccessError::Damaged { path, problem, remedy: REMEDY })
    }

    /// Adds a grant and returns it with the secret for its link.
    ///
    /// # Errors
    /// [`AccessError::Exists`], and whatever the files say.
    pub fn add(
        &self,
        name: Id,
        rights: Rights,
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<(Grant, Seed), AccessError> {
        let _lock = Lock::take(&self.dir)?;
        let mut grants = self.load()?;
        if grants.iter().any(|grant| grant.name == name) {
            return Err(AccessError::Exists(name));
        }
        if grants.len() >= MAX_GRANTS {
            return Err(AccessError::Full(MAX_GRANTS));
        }
        let (grant, seed) = Grant::new(name, rights, now, lifetime)?;
        grants.push(grant.clone());
        self.write(&grants)?;
        Ok((grant, seed))
    }

    /// Removes a grant.
    ///
    /// # Errors
    /// [`AccessError::Unknown`], and whatever the files say.
    pub fn revoke(&self, name: &Id) -> Result<(), AccessError> {
        let _lock = Lock::take(&self.dir)?;
        let mut grants = self.load()?;
        let before = grants.len();
        grants.retain(|grant| grant.name != *name);
        if grants.len() == before {
            return Err(AccessError::Unknown(name.clone()));
        }
        self.write(&grants)
    }

    /// Writes the grants once more, after the folder was lost.
    pub fn write_again(&self, grants: &[Grant]) -> Result<(), AccessError> {
        let _lock = Lock::take(&self.dir)?;
        self.write(grants)
    }

    fn write(&self, grants: &[Grant]) -> Result<(), AccessError> {
        let written = Written { version: VERSION, grants: grants.iter().map(WrittenGrant::from).collect() };
        let text = serde_json::to_string_pretty(&written).unwrap_or_default();
        write_private(&self.file(), &(text + "\n"))
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn time(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

impl From<&Grant> for WrittenGrant {
    fn from(grant: &Grant) -> Self {
        Self {
            name: grant.name.to_string(),
            key: grant.key.encode(),
            token_sha256: grant.token.encode(),
            rights: grant.rights.clone(),
            created_s: seconds(grant.created),
            expires_s: grant.expires.map(seconds),
        }
    }
}

fn parse(text: &str) -> Result<Vec<Grant>, String> {
    let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if written.version != VERSION {
        return Err(format!("it is of version {}, this program knows {VERSION}", written.version));
    }
    let grant = |grant: WrittenGrant| {
        let wrong = |what: &str| format!("{what} of the grant `{}` cannot be read", grant.name);
        Ok(Grant {
            name: Id::new(&grant.name).map_err(|_| wrong("the name"))?,
            key: PublicKey::parse(&grant.key).ok_or_else(|| wrong("the key"))?,
            token: TokenHash::parse(&grant.token_sha256).ok_or_else(|| wrong("the token"))?,
            created: time(grant.created_s).ok_or_else(|| wrong("the time"))?,
            expires: match grant.expires_s {
                Some(at) => Some(time(at).ok_or_else(|| wrong("the expiry"))?),
                None => None,
            },
            rights: grant.rights,
        })
    };
    written.grants.into_iter().map(grant).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    #[test]
    fn grants_are_kept_without_their_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::of(&dir.path().join("state"));
        assert_eq!(store.load().unwrap(), []);
        let now = SystemTime::now();
        let rights: Rights = "view,talk".parse().unwrap();
        let (anna, seed) = store.add(id("anna"), rights, Some(Duration::from_mins(1)), now).unwrap();
        let (bob, _) = store.add(id("bob"), Rights::all(), None, now).unwrap();
        let before = store.stamp();
        assert_eq!(store.load().unwrap(), [anna, bob.clone()]);
        assert!(matches!(store.add(id("bob"), Rights::all(), None, now), Err(AccessError::Exists(_))));
        let text = std::fs::read_to_string(store.file()).unwrap();
        assert!(!text.contains(&seed.encode()) && !text.contains(&seed.bearer()));
        let mode = std::fs::metadata(store.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        store.revoke(&id("anna")).unwrap();
        assert_ne!(store.stamp(), before);
        assert_eq!(store.load().unwrap(), [bob]);
        assert!(matches!(store.revoke(&id("anna")), Err(AccessError::Unknown(_))));
    }

    #[test]
    fn calls_at_the_same_time_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..16 {
                let store = Store::of(dir.path());
                scope.spawn(move || {
                    let name = id(&format!("viewer-{n}"));
                    store.add(name, Rights::all(), None, SystemTime::now()).unwrap();
                });
            }
        });
        assert_eq!(Store::of(dir.path()).load().unwrap().len(), 16);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::of(dir.path());
        store.add(id("anna"), Rights::all(), None, SystemTime::now()).unwrap();
        let good = std::fs::read_to_string(store.file()).unwrap();
        for bad in [
            "",
            "{}",
            &good[..50],
            &good.replace("\"version\": 1", "\"version\": 9"),
            &good.replace("anna", "a/b"),
        ] {
            std::fs::write(store.file(), bad).unwrap();
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains("grants.json is damaged"), "{error}");
            assert!(store.revoke(&id("anna")).is_err());
            assert_eq!(std::fs::read_to_string(store.file()).unwrap(), bad, "left as it is");
        }
    }
}
