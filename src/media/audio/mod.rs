//! Sound: the microphone to Opus packets for all viewers, and what a viewer says to the board's speaker.
//!
//! `microphone` is the loop, `machine` what it opens, `capture` the pipeline, `outlet` its end, where `card_clock` says when each
//! sample was captured and `packets` numbers what is sent. `tone` and `test_card` stand in for a microphone.

mod capture;
mod card_clock;
mod choice;
mod config;
mod handle;
mod machine;
mod microphone;
mod outlet;
mod packets;
mod source;
mod status;
mod test_card;
pub(super) mod tone;
mod words;

pub use choice::{AudioChoice, SpeakerChoice};
pub use config::AudioConfig;
pub use handle::Audio;
pub use status::{AudioLevel, AudioState, AudioStatus};
