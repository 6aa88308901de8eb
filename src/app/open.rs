//! The first step of a start: everything that is read from the state directory, before anything else begins.

use std::path::Path;
use std::sync::Arc;

use super::audio_switch::AudioSwitch;
use super::error::AppError;
use super::privacy::PrivacySwitch;
use super::runtime_settings::RuntimeSettings;
use crate::access::grant::Grant;
use crate::access::identity::Identity;
use crate::access::offer_authorizer::AccessMode;
use crate::access::store::Store;
use crate::access::used_offers::UsedOffers;
use crate::base::durable_file::{DurableFile, FileStamp};
use crate::base::tasks::blocking;
use crate::config::Config;

/// What the device remembers.
pub(super) struct Opened {
    /// The device's key.
    pub identity: Arc<Identity>,
    pub store: Store,
    /// The version of the store that `grants` are from.
    pub stamp: Option<FileStamp>,
    pub grants: Vec<Grant>,
    pub privacy: PrivacySwitch,
    pub audio_switch: AudioSwitch,
    pub runtime_settings: RuntimeSettings,
    /// The offers that were used already, and where they are kept.
    pub used_offers: UsedOffers,
    pub used_file: DurableFile,
}

/// Reads it, in a thread where nobody waits for a slow card.
pub(super) async fn open(config: &Config) -> Result<Opened, AppError> {
    let state_dir = config.device.state_dir.clone();
    let opened = blocking(move || read(&state_dir)).await?;
    if config.access == AccessMode::Grants && opened.grants.is_empty() {
        tracing::warn!("nobody is invited yet: `porthole grant NAME` prints a link with which one can watch");
    }
    Ok(opened)
}

#[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "runs in base::tasks::blocking"))]
fn read(state_dir: &Path) -> Result<Opened, AppError> {
    let identity = Arc::new(Identity::load_or_make(state_dir)?);
    let store = Store::of(state_dir);
    // Before the grants are read, so that no change goes unseen.
    let stamp = store.stamp();
    let grants = store.load()?;
    let privacy = PrivacySwitch::load(state_dir);
    let audio_switch = AudioSwitch::load(state_dir);
    let runtime_settings = RuntimeSettings::load(state_dir);
    let used_file = DurableFile::new(state_dir, "used-offers");
    let used_offers = match used_file.load() {
        Ok(text) => UsedOffers::parse(&text.unwrap_or_default()),
        Err(error) => {
            tracing::warn!(file = %used_file.path().display(), %error, "which offers were used is forgotten: the file cannot be read");
            UsedOffers::default()
        }
    };
    Ok(Opened {
        identity,
        store,
        stamp,
        grants,
        privacy,
        audio_switch,
        runtime_settings,
        used_offers,
        used_file,
    })
}
