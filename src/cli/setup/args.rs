//! The command line of `porthole setup`.

use std::path::PathBuf;

use clap::Args;

const AFTER_HELP: &str = "\
Examples:
  sudo porthole setup                       asks, and writes /etc/porthole/porthole.toml
  sudo porthole setup --yes --name 'Front door' --broker mqtts://broker.local \\
       --username front-door --password-file secret --ca-file ca.pem
  sudo porthole setup --yes --broker mosquitto --broker-host broker.local
  sudo porthole setup --renew               a new certificate for that broker

A configuration that somebody has edited is replaced only with --force, and kept as ….bak.
Passwords are never arguments: they are typed, made, or read from files.";

/// What would be asked otherwise.
#[derive(Args, Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
#[command(after_help = AFTER_HELP)]
pub struct SetupArgs {
    /// The name of this camera, for people. Default: the id
    #[arg(long, value_name = "TEXT")]
    pub(super) name: Option<String>,
    /// The device id, in topics and links. Default: the host name, or one of its own where many share that
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// `embedded` (the one inside Porthole), `mosquitto` (make all its settings), or the URL of one that is there
    #[arg(long, value_name = "embedded|mosquitto|URL")]
    pub(super) broker: Option<String>,
    /// With `mosquitto`: name or address of its machine, as others reach it. Default: this machine's address
    #[arg(long, value_name = "HOST")]
    pub(super) broker_host: Option<String>,
    /// With `mosquitto`: browsers reach it without encryption, for a network that you trust
    #[arg(long)]
    pub(super) plain_websocket: bool,
    /// With `mosquitto`: the folder for its settings. Default: `broker` beside the configuration
    #[arg(long, value_name = "DIR")]
    pub(super) broker_files: Option<PathBuf>,
    /// With a URL: the user name at the broker
    #[arg(long, value_name = "NAME")]
    pub(super) username: Option<String>,
    /// With a URL: the file that holds the password at the broker; it stays where it is
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// With a URL: the file (PEM) with the certificate that signed the broker's, if the system does not know it
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// With a URL: the broker's address for browsers, ws://… or wss://…
    #[arg(long, value_name = "URL")]
    pub(super) websocket: Option<String>,
    /// `auto`, `test` (a test picture) or the path of a device
    #[arg(long, value_name = "DEVICE")]
    pub(super) camera: Option<String>,
    /// Whoever reaches the broker may watch; without it, whoever has a link that `porthole grant` or setup made
    #[arg(long)]
    pub(super) open: bool,
    /// The first part of all topics
    #[arg(long, value_name = "TOPIC", default_value = "porthole")]
    pub(super) root: String,
    /// The configuration to write. Default: /etc/porthole/porthole.toml, or ./porthole.toml without the right to that
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Ask nothing: what no flag says takes its default
    #[arg(long)]
    pub(super) yes: bool,
    /// Replace a configuration that was edited, or a broker's settings that were made before
    #[arg(long)]
    pub(super) force: bool,
    /// Only make a new certificate for the broker whose settings were made before
    #[arg(long, conflicts_with_all = [
        "name", "id", "broker", "broker_host", "plain_websocket", "username", "password_file", "ca_file",
        "websocket", "camera", "open", "root", "yes", "force",
    ])]
    pub(super) renew: bool,
}
