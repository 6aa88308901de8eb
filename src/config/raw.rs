//! The configuration as it is written: every key of the file, none of it checked yet.
//!
//! `deny_unknown_fields` everywhere: a mistyped key must be an error, not a silent default.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub device: RawDevice,
    pub mqtt: RawMqtt,
    pub camera: RawCamera,
    pub video: RawVideo,
    pub viewers: RawViewers,
    pub access: RawAccess,
    pub http: RawHttp,
    pub ice: RawIce,
    pub dashboard: RawDashboard,
    pub homeassistant: RawHomeAssistant,
    pub broker: RawBroker,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDevice {
    pub id: Option<Text>,
    pub name: Option<Text>,
    pub state_dir: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMqtt {
    pub url: Option<Text>,
    pub username: Option<Text>,
    pub password_file: Option<Text>,
    pub ca_file: Option<Text>,
    pub client_cert_file: Option<Text>,
    pub client_key_file: Option<Text>,
    pub root: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCamera {
    pub device: Option<Text>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: Option<u32>,
    pub format: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawVideo {
    pub encoder: Option<Text>,
    pub bitrate_kbps: Option<u32>,
    pub min_bitrate_kbps: Option<u32>,
    pub tiers: Option<u32>,
    pub keyframe_interval_s: Option<u32>,
    pub linger_s: Option<u32>,
    pub playout_delay_ms: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawViewers {
    pub max: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAccess {
    pub mode: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHttp {
    pub listen: Option<Text>,
    pub tls_cert_file: Option<Text>,
    pub tls_key_file: Option<Text>,
    pub metrics: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawIce {
    pub servers: Vec<RawIceServer>,
    pub udp_port: Option<u16>,
    pub port_range: Option<Text>,
    pub tcp_port: Option<u16>,
    pub public_ip: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIceServer {
    pub urls: Vec<Text>,
    pub username: Option<Text>,
    pub credential_file: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDashboard {
    pub commands: Option<Text>,
    pub snapshots: Option<bool>,
    pub snapshot_interval_s: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHomeAssistant {
    pub discovery: Option<bool>,
    pub prefix: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawBroker {
    pub listen: Option<Text>,
    pub websocket: Option<Text>,
}

/// Text that may also be written as a number or a truth value: `PORTHOLE_DEVICE_ID=12` in the
/// environment reaches us as the number 12.
#[derive(Clone, Debug)]
pub(super) struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}
