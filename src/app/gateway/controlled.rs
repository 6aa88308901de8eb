//! What commands act on.

use super::picture::ConfiguredPicture;
use crate::app::persist::Persist;
use crate::app::privacy::PrivacySwitch;
use crate::app::runtime_settings::RuntimeSettings;
use crate::media::Media;
use crate::sessions::Sessions;
use crate::stream::Fanout;

/// What commands act on.
pub(super) struct Controlled {
    pub sessions: Sessions,
    pub media: Media,
    pub fanout: Fanout,
    pub privacy: PrivacySwitch,
    pub runtime_settings: RuntimeSettings,
    /// Keeps what is set.
    pub persist: Persist,
    /// The configured rate in pictures per second.
    pub fps: Option<u32>,
    /// How the picture is configured to look.
    pub picture: ConfiguredPicture,
}
