//! `porthole setup`: a few questions, then a checked configuration, and all settings of a broker if wanted.
//!
//! ```text
//! flags, dialogue ─gather→ Answers ─┬→ config_file ──┐
//!               camera (proposal) ──┤                ├→ Writer (files) → next_steps
//!                                   └→ broker_files ─┘      └→ invitation
//! ```

mod answers;
mod broker_files;
mod certificates;
mod config_file;
mod dialogue;
mod files;
mod gather;
mod invitation;
mod next_steps;
mod produce;
mod secrets;

use std::io::{IsTerminal, stderr, stdin};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_BAD_CONFIGURATION, demo};
use crate::app::address;
use crate::config::{Config, ConfigError, DEFAULT_FILE, Secret};
use crate::media::{DeviceChoice, MediaConfig, cameras, propose};
use answers::{Answers, BrokerSetup, Host};
use config_file::CameraSettings;
use dialogue::Dialogue;
use gather::{Found, GatherError, gather, now_and_later};
use invitation::Invitation;
use next_steps::SetupOutcome;
use produce::ProduceError;

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
    name: Option<String>,
    /// The device id, in topics and links. Default: the host name, or one of its own where many share that
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// `embedded` (the one inside Porthole), `mosquitto` (make all its settings), or the URL of one that is there
    #[arg(long, value_name = "embedded|mosquitto|URL")]
    broker: Option<String>,
    /// With `mosquitto`: name or address of its machine, as others reach it. Default: this machine's address
    #[arg(long, value_name = "HOST")]
    broker_host: Option<String>,
    /// With `mosquitto`: browsers reach it without encryption, for a network that you trust
    #[arg(long)]
    plain_websocket: bool,
    /// With `mosquitto`: the folder for its settings. Default: `broker` beside the configuration
    #[arg(long, value_name = "DIR")]
    broker_files: Option<PathBuf>,
    /// With a URL: the user name at the broker
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// With a URL: the file that holds the password at the broker; it stays where it is
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// With a URL: the file (PEM) with the certificate that signed the broker's, if the system does not know it
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// With a URL: the broker's address for browsers, ws://… or wss://…
    #[arg(long, value_name = "URL")]
    websocket: Option<String>,
    /// `auto`, `test` (a test picture) or the path of a device
    #[arg(long, value_name = "DEVICE")]
    camera: Option<String>,
    /// Whoever reaches the broker may watch; without it, whoever has a link that `porthole grant` or setup made
    #[arg(long)]
    open: bool,
    /// The first part of all topics
    #[arg(long, value_name = "TOPIC", default_value = "porthole")]
    root: String,
    /// The configuration to write. Default: /etc/porthole/porthole.toml, or ./porthole.toml without the right to that
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Ask nothing: what no flag says takes its default
    #[arg(long)]
    yes: bool,
    /// Replace a configuration that was edited, or a broker's settings that were made before
    #[arg(long)]
    force: bool,
    /// Only make a new certificate for the broker whose settings were made before
    #[arg(long, conflicts_with_all = [
        "name", "id", "broker", "broker_host", "plain_websocket", "username", "password_file", "ca_file",
        "websocket", "camera", "open", "root", "yes", "force",
    ])]
    renew: bool,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error(
        "this is no terminal, so nothing can be asked: add --yes, and say with --broker, --name and --camera what \
         should not be the default (`porthole setup --help` lists all flags)"
    )]
    NoTerminal,
    #[error(
        "{} was edited by somebody: --force replaces it (and keeps it as ….bak), --output writes another file",
        .0.display()
    )]
    Edited(PathBuf),
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },
    #[error("{}: a path in UTF-8 that begins at / is needed here", .0.display())]
    Path(PathBuf),
    #[error(transparent)]
    Gather(#[from] GatherError),
    #[error(transparent)]
    Produce(#[from] ProduceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

pub(super) fn run(args: &SetupArgs) -> ExitCode {
    let done = if args.renew { renew(args) } else { set_up(args) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("porthole: {error}");
            let is_usage = matches!(
                error,
                SetupError::NoTerminal | SetupError::Gather(GatherError::Bad(_)) | SetupError::Config(_)
            );
            if is_usage { ExitCode::from(EXIT_BAD_CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}

fn set_up(args: &SetupArgs) -> Result<(), SetupError> {
    let output = output(args)?;
    refuse_edited(&output, args.force)?;
    if !args.yes && !stdin().is_terminal() {
        return Err(SetupError::NoTerminal);
    }
    let found = found();
    let answers = if args.yes {
        gather(args, None, &found)?
    } else {
        // Questions are no result: `porthole setup >link` shall work.
        let (mut input, mut questions) = (stdin().lock(), stderr());
        gather(args, Some(&mut Dialogue::new(&mut input, &mut questions)), &found)?
    };
    let folder = broker_folder(args, &output)?;
    if matches!(answers.broker, BrokerSetup::Mosquitto { .. }) {
        produce::refuse_made_before(&folder, args.force)?;
    }
    let camera = camera(&answers, &found);
    let made = produce::produce(&answers, &camera, &output, &folder)?;
    finish(&answers, &output, &folder, &made)
}

/// A new certificate by the authority that setup made, for the host that the configuration names.
fn renew(args: &SetupArgs) -> Result<(), SetupError> {
    let output = output(args)?;
    let folder = broker_folder(args, &output)?;
    let host = produce::renew(&Config::load_file_alone(&output)?, &output, &folder)?;
    println!("\nThe certificate in {} is new.\n", folder.display());
    println!("Next:\n  1. {}", next_steps::copy(&host, &folder, is_here(&host), files::is_root()));
    Ok(())
}

fn output(args: &SetupArgs) -> Result<PathBuf, SetupError> {
    let file = match &args.output {
        Some(file) => file.clone(),
        None if files::is_writable(Path::new(DEFAULT_FILE).parent().unwrap_or(Path::new("/"))) => {
            DEFAULT_FILE.into()
        }
        None => "porthole.toml".into(),
    };
    absolute(&file)
}

fn broker_folder(args: &SetupArgs, output: &Path) -> Result<PathBuf, SetupError> {
    args.broker_files.as_deref().map_or_else(|| Ok(output.with_file_name("broker")), absolute)
}

/// Paths end up in a file that is read from another folder, and that is UTF-8.
fn absolute(path: &Path) -> Result<PathBuf, SetupError> {
    let path = std::path::absolute(path).map_err(|_| SetupError::Path(path.to_owned()))?;
    let is_text = path.to_str().is_some_and(|text| !text.contains(char::is_control));
    if is_text && path.file_name().is_some() { Ok(path) } else { Err(SetupError::Path(path)) }
}

fn refuse_edited(output: &Path, force: bool) -> Result<(), SetupError> {
    match std::fs::read_to_string(output) {
        Ok(text) if config_file::is_edited(&text) && !force => Err(SetupError::Edited(output.to_owned())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(reason) => Err(SetupError::Unreadable { path: output.to_owned(), reason }),
    }
}

fn found() -> Found {
    let address = address::own_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string();
    let mut cameras = cameras().unwrap_or_default();
    cameras.retain(crate::media::CameraInfo::is_usable);
    Found { id: crate::config::default_id(), address, cameras }
}

/// The camera by a name that lasts, and what is found to work with it.
fn camera(answers: &Answers, found: &Found) -> CameraSettings {
    let (now, device) = now_and_later(&answers.camera, &found.cameras);
    let DeviceChoice::Path(path) = &now else {
        return CameraSettings { device, proposal: None };
    };
    eprintln!("Trying {}, which may take some seconds.", path.display());
    let proposal = propose(MediaConfig { device: now.clone(), ..MediaConfig::default() });
    let proposal =
        proposal.map_err(|error| eprintln!("{error}. Size, rate and encoder stay automatic.")).ok();
    CameraSettings { device, proposal }
}

fn finish(answers: &Answers, output: &Path, folder: &Path, made: &produce::Made) -> Result<(), SetupError> {
    let broker_files = match &answers.broker {
        BrokerSetup::Mosquitto { host, .. } => Some((folder, is_here(host))),
        _ => None,
    };
    print!(
        "{}",
        next_steps::text(&SetupOutcome {
            answers,
            config: output,
            is_service: output == Path::new(DEFAULT_FILE),
            broker_files,
            backups: &made.backups,
            as_root: files::is_root(),
            has_secret_for_daemon: made.has_secret_for_daemon,
        })
    );
    let config = Config::load_file_alone(output)?;
    match (config.http.listen, invitation::make(&config)) {
        (Some(page), Ok(invitation)) => {
            show_link(answers, page, config.broker.websocket, made.viewer_password.as_ref(), invitation);
        }
        (Some(_), Err(error)) => println!(
            "\nThe link could not be made: {error}.\nMake it later, as a user who may: porthole grant NAME --config {}",
            output.display()
        ),
        (None, _) => println!("\nThere is no page (http.listen is empty), and so no link."),
    }
    Ok(())
}

fn show_link(
    answers: &Answers,
    page: SocketAddr,
    websocket: SocketAddr,
    viewer_password: Option<&Secret>,
    invitation: Invitation,
) {
    let (page, websocket) = (address::reachable(page), address::reachable(websocket));
    let link = next_steps::link(answers, page, websocket, viewer_password, invitation).to_string();
    println!("\nThen open this link in a browser on this network:\n\n{link}\n");
    println!("  {}\n", next_steps::remark(answers));
    demo::show_code(&link);
}

/// Whether the broker is to run on this machine.
fn is_here(host: &Host) -> bool {
    let host = host.as_str().to_ascii_lowercase();
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.trim().to_ascii_lowercase();
    let is_own_name = !own.is_empty() && (host == own || host == format!("{own}.local"));
    let is_own_address = host.parse::<IpAddr>().is_ok_and(|address| {
        // Only one's own addresses can be bound.
        address.is_loopback() || std::net::UdpSocket::bind((address, 0)).is_ok()
    });
    host == "localhost" || is_own_name || is_own_address
}
