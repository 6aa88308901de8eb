//! The first invitation: setup's link opens the picture at once, also where viewers have to be invited.

use std::time::SystemTime;

use crate::access::AccessError;
use crate::access::grant::Rights;
use crate::access::identity::Identity;
use crate::access::offer_authorizer::AccessMode;
use crate::access::proof::{PublicKey, Seed};
use crate::access::store::Store;
use crate::config::Config;
use crate::signaling::topic::Id;

/// Whoever sets a camera up.
const NAME: &str = "owner";
/// Invitations that setup leaves behind at most, when it is run again and again.
const MAX: u32 = 100;

/// What a link needs beside addresses.
pub(super) struct Invitation {
    /// The device's key.
    pub key: PublicKey,
    /// Name and secret; `None` in open access.
    pub grant: Option<(Id, Seed)>,
}

/// Makes it in the state directory of `config`, as the daemon and `porthole grant` do. Links that were given away
/// before go on: a new one gets another name (`owner-2`).
pub(super) fn make(config: &Config) -> Result<Invitation, AccessError> {
    let key = Identity::load_or_make(&config.device.state_dir)?.key();
    if config.access == AccessMode::Open {
        return Ok(Invitation { key, grant: None });
    }
    let store = Store::of(&config.device.state_dir);
    let names = (1..=MAX).map(|n| if n == 1 { NAME.to_owned() } else { format!("{NAME}-{n}") });
    let mut last = Err(AccessError::Full(0));
    for name in names.filter_map(|name| Id::new(&name).ok()) {
        last = store.add(name, Rights::all(), None, SystemTime::now());
        if !matches!(last, Err(AccessError::Exists(_))) {
            break;
        }
    }
    let (grant, seed) = last?;
    Ok(Invitation { key, grant: Some((grant.name, seed)) })
}
