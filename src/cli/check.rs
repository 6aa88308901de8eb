//! `porthole check`: says what a configuration means, or what is wrong with it; opens nothing.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use super::process::{EXIT_BAD_CONFIGURATION, bad_configuration};
use crate::access::offer_authorizer::AccessMode;
use crate::config::{BrokerChoice, Config, Flavour, default_file};
use crate::http::CertificateFiles;
use crate::media::MediaConfig;
use crate::signaling::mqtt::TlsFiles;

pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let config = match Config::load(file, Flavour::Run) {
        Ok(config) => config,
        Err(error) => return bad_configuration(&error),
    };
    if let Err(error) = certificates(&config) {
        eprintln!("porthole: {error}");
        return ExitCode::from(EXIT_BAD_CONFIGURATION);
    }
    let file = file.or_else(|| default_file().ok().flatten());
    let source = file.map_or_else(|| "environment".to_owned(), |file| file.display().to_string());
    println!("{source}: this configuration can be used.");
    for (what, value) in summary(&config) {
        println!("  {what:<11}{value}");
    }
    ExitCode::SUCCESS
}

/// Whether certificates and their keys can be used: reading the configuration only finds their files.
fn certificates(config: &Config) -> Result<(), Box<dyn Error>> {
    if let Some((cert_file, key_file)) = config.http.tls.clone() {
        CertificateFiles { cert_file, key_file }.check()?;
    }
    let mqtt = &config.mqtt;
    if mqtt.client_cert_file.is_some() {
        let tls = TlsFiles {
            ca_file: mqtt.ca_file.clone(),
            client_cert_file: mqtt.client_cert_file.clone(),
            client_key_file: mqtt.client_key_file.clone(),
        };
        tls.check()?;
    }
    Ok(())
}

fn summary(config: &Config) -> Vec<(&'static str, String)> {
    let media = &config.media;
    let size = match (media.width, media.height) {
        (Some(width), Some(height)) => format!("{width}x{height}"),
        _ => "size by board".to_owned(),
    };
    let fps = media.fps.map_or_else(|| "rate by board".to_owned(), |fps| format!("{fps} fps"));
    let bitrate = media.bitrate_kbps.map_or_else(|| "by size".to_owned(), |kbps| format!("{kbps} kbit/s"));
    let broker = match &config.mqtt.broker {
        BrokerChoice::Embedded => {
            format!("built in, at {} and ws {}", config.broker.listen, config.broker.websocket)
        }
        BrokerChoice::External(url) => url.to_string(),
    };
    let ports = config.ice.port_range.as_ref().map_or_else(
        || "one UDP port that is free".to_owned(),
        |range| match (range.start(), range.end()) {
            (first, last) if first == last => format!("UDP port {first}"),
            (first, last) => format!("one UDP port of {first} to {last}"),
        },
    );
    vec![
        ("device", format!("{} ({})", config.device.id, config.device.name)),
        ("broker", broker),
        ("topics", format!("{}/{}/…", config.mqtt.root, config.device.id)),
        ("camera", format!("{}, {size}, {fps}", media.device)),
        ("encoder", format!("{}, {bitrate}", media.encoder)),
        ("renditions", renditions(media)),
        ("viewers", format!("at most {}", config.viewers.max)),
        ("access", access(config.access).to_owned()),
        (
            "page",
            config
                .http
                .listen
                .map_or_else(|| "off".to_owned(), |address| format!("{}://{address}/", config.http.scheme())),
        ),
        ("network", format!("{ports}, {} STUN/TURN servers", config.ice.servers.len())),
    ]
}

fn renditions(media: &MediaConfig) -> String {
    match (media.tiers, media.format.is_encoded()) {
        (1, _) => "one for all viewers".to_owned(),
        (_, true) => {
            format!("one: a camera that encodes by itself (camera.format = {}) has no second", media.format)
        }
        (_, false) => {
            "two: half as wide and high for slow networks, unless the camera encodes by itself".to_owned()
        }
    }
}

fn access(mode: AccessMode) -> &'static str {
    match mode {
        AccessMode::Open => "open: whoever may publish to this broker may watch",
        AccessMode::Grants => "grants: whoever has a link of `porthole grant` may watch",
    }
}
