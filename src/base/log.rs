//! Where log lines go and which are shown.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::text;

/// What is shown without `PORTHOLE_LOG`: our own changes of state, and trouble of the libraries.
/// The WebRTC and MQTT libraries warn about every peer that closes first; that is no trouble.
const DEFAULT: &str = "warn,porthole=info,rtc=error,rtc_ice=error,rtc_dtls=error,rtc_srtp=error,rtc_sctp=error,\
                       rtc_mdns=error,rtc_turn=error,rtc_stun=error,webrtc=error,mqtt5=error,rumqttc=error";

/// Sets up logging to standard error. `PORTHOLE_LOG` holds filters such as `debug` or
/// `porthole::media=debug`; under systemd the journal adds the time itself.
pub fn start() {
    let filter = match std::env::var("PORTHOLE_LOG") {
        Ok(filter) if filter.contains(['=', ',']) => EnvFilter::new(filter),
        Ok(level) if !level.is_empty() => EnvFilter::new(format!("{DEFAULT},porthole={level}")),
        _ => EnvFilter::new(DEFAULT),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .fmt_fields(text::log_fields())
        .with_ansi(std::io::stderr().is_terminal());
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
}
