//! The wire contract: topics, messages and the MQTT connection that carries them.

pub mod broker_url;
pub mod message;
pub mod mqtt;
pub mod topic;
