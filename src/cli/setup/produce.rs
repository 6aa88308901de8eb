//! Writes what the answers mean: secrets first, then the configuration, which is checked before it takes its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::answers::{Answers, BrokerSetup, DASHBOARD, Host, Login, Password, VIEWER};
use super::broker_files::{self, Passwords};
use super::certificates::{self, SigningError};
use super::config_file::{self, CameraSettings, ConfigPlaces};
use super::files::{Readers, WriteError, Writer};
use super::secrets::NoRandomNumbers;
use crate::config::{BrokerChoice, Config, ConfigError, DEFAULT_FILE, Secret};

/// The authority's key, beside the configuration: it never leaves this machine.
const CA_KEY: &str = "ca.key";

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProduceError {
    #[error(
        "a broker's settings were made before, in {}. With new ones every password and certificate changes, and they \
         have to be installed again: say --force for that, or name the broker as one that is there (--broker \
         mqtts://…); `porthole setup --renew` makes only a new certificate",
        .0.display()
    )]
    MadeBefore(PathBuf),
    #[error(
        "the certificate cannot be renewed: {} cannot be read ({reason}). It signs certificates for the broker whose \
         settings setup made, and is on the machine, and for the user, that made them",
        path.display()
    )]
    NoAuthority { path: PathBuf, reason: std::io::Error },
    #[error("the certificate cannot be renewed: {} names no broker with TLS", .0.display())]
    NoTls(PathBuf),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Certificate(#[from] SigningError),
    #[error(transparent)]
    Random(#[from] NoRandomNumbers),
    #[error("the configuration does not pass its own check, so nothing is written: {0}")]
    Check(#[from] ConfigError),
}

/// What was written.
pub(super) struct Produced {
    /// What was there before.
    pub backups: Vec<PathBuf>,
    /// The password that the link carries, where setup knows it.
    pub viewer_password: Option<Secret>,
    /// A password was written that the service's user has no right to read yet.
    pub has_secret_for_daemon: bool,
}

/// Refuses to make a broker's settings twice.
pub(super) fn refuse_made_before(folder: &Path, force: bool) -> Result<(), ProduceError> {
    if !force && folder.join("porthole.conf").exists() {
        return Err(ProduceError::MadeBefore(folder.to_owned()));
    }
    Ok(())
}

/// Writes everything, or leaves everything as it was.
pub(super) fn produce(
    answers: &Answers,
    camera: &CameraSettings,
    output: &Path,
    folder: &Path,
) -> Result<Produced, ProduceError> {
    let places = ConfigPlaces {
        password: output.with_file_name("mqtt-password"),
        ca: output.with_file_name("ca.pem"),
        // The service has its own; whoever writes another file may have no right to that.
        state: (output != Path::new(DEFAULT_FILE)).then(|| output.with_file_name("state")),
    };
    let mut writer = Writer::new();
    writer.make_dir(output.parent().unwrap_or(Path::new("/")))?;
    let mut viewer_password = None;
    let mut has_secret = false;
    match &answers.broker {
        BrokerSetup::Embedded => {}
        BrokerSetup::Existing { login, .. } => {
            if let Some(Login { password: Password::Typed(password), .. }) = login {
                writer.put(&places.password, Readers::Daemon, &line(password))?;
                has_secret = true;
            }
        }
        BrokerSetup::Mosquitto { host, secure_websocket } => {
            let passwords = mosquitto(&mut writer, answers, host, *secure_websocket, &places, folder)?;
            viewer_password = Some(passwords.viewer);
            has_secret = true;
        }
    }
    let text = config_file::write(&config_file::settings(answers, camera, &places));
    let staged = writer.stage(output, Readers::Everybody, &text)?;
    Config::load_file_alone(staged.path())?;
    writer.place(&staged, output)?;
    let has_secret_for_daemon = has_secret && !writer.daemon_can_read();
    Ok(Produced { backups: writer.keep(), viewer_password, has_secret_for_daemon })
}

fn mosquitto(
    writer: &mut Writer,
    answers: &Answers,
    host: &Host,
    secure_websocket: bool,
    places: &ConfigPlaces,
    folder: &Path,
) -> Result<Passwords, ProduceError> {
    let now = SystemTime::now();
    let passwords = Passwords::make()?;
    let authority = certificates::authority(host, now)?;
    let server = certificates::server(host, &authority.key, now)?;
    let beside = |name: &str| places.ca.with_file_name(name);
    writer.put(&places.ca, Readers::Everybody, &authority.certificate)?;
    writer.put(&beside(CA_KEY), Readers::Owner, &authority.key)?;
    writer.put(&places.password, Readers::Daemon, &line(&passwords.device))?;
    writer.put(&beside(&format!("{VIEWER}-password")), Readers::Owner, &line(&passwords.viewer))?;
    writer.put(&beside(&format!("{DASHBOARD}-password")), Readers::Owner, &line(&passwords.dashboard))?;
    writer.make_private_dir(folder)?;
    for file in broker_files::all(answers, host, secure_websocket, &passwords, &authority, &server)? {
        writer.put(&folder.join(file.name), file.readers, &file.text)?;
    }
    Ok(passwords)
}

fn line(secret: &Secret) -> String {
    format!("{}\n", secret.expose())
}

/// Replaces the broker's certificate and key. Returns the host that they are for.
pub(super) fn renew(config: &Config, output: &Path, folder: &Path) -> Result<Host, ProduceError> {
    let host = match &config.mqtt.broker {
        BrokerChoice::External(url) if url.is_tls() => Host::new(url.host()).ok(),
        _ => None,
    };
    let host = host.ok_or_else(|| ProduceError::NoTls(output.to_owned()))?;
    let path = output.with_file_name(CA_KEY);
    let key = fs::read_to_string(&path).map_err(|reason| ProduceError::NoAuthority { path, reason })?;
    let server = certificates::server(&host, &key, SystemTime::now())?;
    let mut writer = Writer::new();
    writer.make_private_dir(folder)?;
    for file in broker_files::certificate(&server) {
        writer.put(&folder.join(file.name), file.readers, &file.text)?;
    }
    writer.keep();
    Ok(host)
}
