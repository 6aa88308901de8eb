//! Where log lines go and which are shown.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::console::{LastLines, detach, error_writer};

/// What is shown without `PORTHOLE_LOG`: our own changes of state, and trouble of the libraries.
/// The WebRTC and MQTT libraries warn about every peer that closes first; that is no trouble.
const DEFAULT: &str = "warn,porthole=info,rtc=error,rtc_ice=error,rtc_dtls=error,rtc_srtp=error,rtc_sctp=error,\
                       rtc_mdns=error,rtc_turn=error,rtc_stun=error,webrtc=error,mqtt5=error,rumqttc=error";

/// Sets up logging to standard error. `PORTHOLE_LOG` holds filters such as `debug` or
/// `porthole::media=debug`; under systemd the journal adds the time itself. Nobody who logs waits for the reader, or hears that
/// it is gone ([`super::console`]).
pub fn start() -> LastLines {
    let last_lines = detach();
    let writer = match error_writer() {
        Some(writer) => BoxMakeWriter::new(move || -> Box<dyn Write> { Box::new(writer.clone()) }),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let filter = match std::env::var("PORTHOLE_LOG") {
        Ok(filter) if filter.contains(['=', ',']) => EnvFilter::new(filter),
        Ok(level) if !level.is_empty() => EnvFilter::new(format!("{DEFAULT},porthole={level}")),
        _ => EnvFilter::new(DEFAULT),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // They would be printed where they cannot be read, which panics.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
    last_lines
}
