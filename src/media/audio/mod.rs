//! Sound: the microphone to Opus packets for all viewers, and what a viewer says to the board's speaker.
//!
//! `microphone` is the loop, `machine` what it opens, `capture` the pipeline, `outlet` its end, where `card_clock` says when each
//! sample was captured and `packets` numbers what is sent. `tone` and `test_card` stand in for a microphone.
//!
//! `cards` reads which cards there are, `find` says which is meant, `cards_watch` when one comes or goes, `words` what is wrong with it.
//!
//! The other way `speaker` is the loop, `voices` says when the speaker is open, `loudspeaker` is the pipeline, and `opus_form` keeps garbage from
//! it. `helpers` are the threads that drivers may hold. `probe` tries both for doctor.

mod capture;
mod card_clock;
mod cards;
mod cards_watch;
mod choice;
mod config;
mod find;
mod handle;
mod helpers;
mod loudspeaker;
mod machine;
mod microphone;
mod opus_form;
mod outlet;
mod packets;
mod probe;
mod source;
mod speaker;
mod status;
mod test_card;
pub(super) mod tone;
mod voices;
mod words;

pub use cards::{PcmDevice, SoundCard, cards};
pub use choice::{AudioChoice, SpeakerChoice};
pub use config::AudioConfig;
pub use handle::Audio;
pub use probe::{AudioProbe, probe};
pub use status::{AudioLevel, AudioState, AudioStatus};
