//! Whether the broker that was named lets the device in, before a configuration says so.

use std::time::Duration;

use super::answers::{Answers, BrokerSetup, Password};
use crate::signaling::mqtt::probe::{ProbeError, try_connect};
use crate::signaling::mqtt::{MqttClientConfig, TlsFiles};

/// Longer than a greeting takes; the broker may well be switched off while the device is set up.
const LIMIT: Duration = Duration::from_secs(6);

/// How it went.
pub(super) enum Trial {
    /// There is none of somebody else's to try.
    Nothing,
    /// It let us in.
    Admitted,
    /// It was not to be asked, for this reason: the configuration may be right all the same.
    Unknown(String),
    /// It knows no such user, or not by that password.
    Refused(String),
}

/// Knocks at the broker of `answers`, under a client id of its own: a daemon may be running.
pub(super) fn knock_at_broker(answers: &Answers) -> Trial {
    let BrokerSetup::Existing { url, login, ca_file, .. } = &answers.broker else { return Trial::Nothing };
    let mut config = MqttClientConfig::new(url.clone(), format!("setup-{:08x}", rand::random::<u32>()));
    config.tls = TlsFiles { ca_file: ca_file.clone(), ..TlsFiles::default() };
    if let Some(login) = login {
        let password = match &login.password {
            Password::Typed(secret) => secret.expose().to_owned(),
            Password::File(file) => match std::fs::read_to_string(file) {
                Ok(text) => text.trim().to_owned(),
                Err(error) => return Trial::Unknown(format!("{}: {error}", file.display())),
            },
        };
        (config.username, config.password) = (Some(login.username.clone()), Some(password));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Trial::Unknown(error.to_string()),
    };
    match runtime.block_on(async { tokio::time::timeout(LIMIT, try_connect(&config)).await }) {
        Ok(Ok(())) => Trial::Admitted,
        Ok(Err(ProbeError::Credentials(words))) => Trial::Refused(words),
        Ok(Err(error)) => Trial::Unknown(error.to_string()),
        Err(_) => Trial::Unknown(format!("the broker {url} does not answer")),
    }
}
