//! `porthole setup`: a few questions, then a checked configuration, and all settings of a broker if wanted.
//!
//! ```text
//! flags, dialogue ─gather→ Answers ─┬→ config_file ──┐
//!               camera (proposal) ──┤                ├→ Writer (files) → next_steps
//!                                   └→ broker_files ─┘      └→ invitation
//! ```

mod answers;
mod args;
mod broker_files;
mod broker_trial;
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

use super::link_code::show_code;
use super::process::EXIT_BAD_CONFIGURATION;
use crate::app::address;
use crate::config::{Config, ConfigError, DEFAULT_FILE, Secret};
use crate::media::{DeviceChoice, MediaConfig, cameras, propose};
use answers::{Answers, BrokerSetup, Host};
pub use args::SetupArgs;
use broker_trial::{Trial, knock_at_broker};
use config_file::CameraSettings;
use dialogue::Dialogue;
use gather::{GatherError, ThisMachine, gather, now_and_later};
use invitation::Invitation;
use next_steps::SetupOutcome;
use produce::ProduceError;

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
    #[error("{0}. Nothing is written: set up again with the right user name and password")]
    Login(String),
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
    try_broker(&answers)?;
    let folder = broker_folder(args, &output)?;
    if matches!(answers.broker, BrokerSetup::Mosquitto { .. }) {
        produce::refuse_made_before(&folder, args.force)?;
    }
    let camera = camera(&answers, &found);
    let produced = produce::produce(&answers, &camera, &output, &folder)?;
    finish(&answers, &output, &folder, &produced)
}

/// A wrong password is told now, not by a daemon that waits for ever.
fn try_broker(answers: &Answers) -> Result<(), SetupError> {
    match knock_at_broker(answers) {
        Trial::Nothing => {}
        Trial::Admitted => eprintln!("The broker lets this device in."),
        Trial::Unknown(words) => {
            eprintln!("The broker could not be tried: {words}. The settings are written all the same.")
        }
        // These words end with what to do in a configuration that is not there yet.
        Trial::Refused(words) => {
            let what = words.rsplit_once(": check").map_or(words.as_str(), |(what, _)| what);
            return Err(SetupError::Login(what.to_owned()));
        }
    }
    Ok(())
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

fn found() -> ThisMachine {
    let address = address::own_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string();
    let mut cameras = cameras().unwrap_or_default();
    cameras.retain(crate::media::CameraInfo::is_usable);
    ThisMachine { id: crate::config::default_id(), address, cameras }
}

/// The camera by a name that lasts, and what is found to work with it.
fn camera(answers: &Answers, found: &ThisMachine) -> CameraSettings {
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

fn finish(
    answers: &Answers,
    output: &Path,
    folder: &Path,
    produced: &produce::Produced,
) -> Result<(), SetupError> {
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
            backups: &produced.backups,
            as_root: files::is_root(),
            has_secret_for_daemon: produced.has_secret_for_daemon,
        })
    );
    let config = Config::load_file_alone(output)?;
    match (config.http.listen, invitation::make(&config)) {
        (Some(page), Ok(invitation)) => {
            show_link(answers, page, config.broker.websocket, produced.viewer_password.as_ref(), invitation);
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
    show_code(&link);
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
