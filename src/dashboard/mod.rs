//! What dashboards see and may ask (protocol.md sections 3 and 4), and viewers on their data channel (section 6).

pub mod channel;
pub mod coalesce;
pub mod command;
mod control_words;
pub mod events;
pub mod homeassistant;
pub mod info;
pub mod look;
pub mod schedule;
pub mod sound;
pub mod state;
