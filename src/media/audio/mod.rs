//! Sound: the microphone to Opus packets for all viewers, and what a viewer says to the board's speaker.

mod choice;
mod config;
mod handle;
mod status;

pub use choice::{AudioChoice, SpeakerChoice};
pub use config::AudioConfig;
pub use handle::Audio;
pub use status::{AudioLevel, AudioState, AudioStatus};
