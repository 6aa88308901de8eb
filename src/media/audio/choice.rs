//! Which microphone and which speaker, as the configuration names them.

use std::fmt;
use std::str::FromStr;

use crate::media::error::MediaError;

/// The longest name of a card that is looked for.
const MAX_NAME_CHARS: usize = 128;

/// `audio.device`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AudioChoice {
    /// None: no sound is sent.
    #[default]
    Off,
    /// The sound server's source where one runs for us, else the first card that captures.
    Auto,
    /// A tone that carries time, no microphone.
    Test,
    /// An ALSA device such as `hw:1,0` or `plughw:CARD=Device`, or a card by its name or part of it.
    Named(String),
}

/// `audio.speaker`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SpeakerChoice {
    /// None: nobody can talk to the board.
    #[default]
    Off,
    /// The sound server's sink where one runs for us, else the first card that plays.
    Auto,
    /// See [`AudioChoice::Named`].
    Named(String),
}

fn named(setting: &'static str, text: &str) -> Result<String, MediaError> {
    let is_usable = text.chars().count() <= MAX_NAME_CHARS && !text.chars().any(char::is_control);
    if is_usable {
        return Ok(text.to_owned());
    }
    let allowed = "\"auto\", \"\", a card's name, or an ALSA device such as \"hw:1,0\"";
    let value = text.chars().take(MAX_NAME_CHARS).collect();
    Err(MediaError::UnknownSetting { setting, value, allowed })
}

impl FromStr for AudioChoice {
    type Err = MediaError;

    fn from_str(text: &str) -> Result<Self, MediaError> {
        match text {
            "" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            "test" => Ok(Self::Test),
            name => named("audio.device", name).map(Self::Named),
        }
    }
}

impl FromStr for SpeakerChoice {
    type Err = MediaError;

    fn from_str(text: &str) -> Result<Self, MediaError> {
        match text {
            "" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            name => named("audio.speaker", name).map(Self::Named),
        }
    }
}

impl fmt::Display for AudioChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "",
            Self::Auto => "auto",
            Self::Test => "test",
            Self::Named(name) => name,
        })
    }
}
