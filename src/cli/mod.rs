//! One file per subcommand: arguments in, exit code out.
#![cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "programs that end by themselves"))]

/// In place of the standard library's, which panics where nobody reads any more (`porthole grants | head -1`), and waits for a
/// reader that stands still.
macro_rules! println {
    () => { $crate::base::console::out(format_args!("")) };
    ($($text:tt)*) => { $crate::base::console::out(format_args!($($text)*)) };
}

/// The same without the line's end.
macro_rules! print {
    ($($text:tt)*) => { $crate::base::console::text(format_args!($($text)*)) };
}

/// The same on standard error.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::base::console::error(format_args!($($text)*)) };
}

mod cameras;
mod check;
mod demo;
mod doctor;
mod first_boot;
mod grant;
mod link_code;
mod process;
mod run;
mod setup;
pub mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ContextValue;
use clap::{CommandFactory, Parser, Subcommand};

use crate::base::{memory, text};
pub use process::EXIT_BAD_CONFIGURATION;

/// Live video from a Raspberry Pi camera to any browser: WebRTC, signalled over MQTT.
#[derive(Debug, Parser)]
#[command(name = "porthole", version, about, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  porthole demo                             see a live picture in a minute, nothing to configure
  sudo porthole setup                       answer a few questions, get a configuration
  porthole check --config porthole.toml     what is wrong with my configuration?
  porthole run --config porthole.toml       the daemon, against your MQTT broker
  porthole grant anna --expires 7d          a link for anna
  porthole watch --broker mqtt://broker --device front-door

Exit codes: 0 all is well, 1 it did not work, 64 the configuration cannot be used.
PORTHOLE_LOG=debug shows more of what happens.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: camera to viewers, signalled over your MQTT broker
    Run(ConfigArg),
    /// Show a live picture at once: built-in broker, your camera or a test picture, the viewer page
    Demo,
    /// List the cameras of this machine and what they can deliver
    Cameras(cameras::CamerasArgs),
    /// Write a configuration, and all settings of a broker if you want: asks a few questions
    Setup(Box<setup::SetupArgs>),
    /// Check a configuration without starting anything
    Check(ConfigArg),
    /// Check everything that video needs, and say what to do
    Doctor(doctor::DoctorArgs),
    /// Take over porthole.toml from the boot partition of a card, or say there what is wrong with it
    FirstBoot(first_boot::FirstBootArgs),
    /// Print the viewing link of this device, with its key but without an invitation
    Link(grant::LinkArgs),
    /// Invite a viewer: prints a link and its QR code, once
    Grant(grant::GrantArgs),
    /// List who is invited
    Grants(grant::GrantsArgs),
    /// Take an invitation back; ends its sessions
    Revoke(grant::RevokeArgs),
    /// Watch a device without a browser: counts pictures, does not show them
    Watch(Box<watch::WatchArgs>),
}

#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// Configuration file; without it /etc/porthole/porthole.toml if that exists.
    /// Every key can also be set in the environment: PORTHOLE_SECTION_KEY
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// All commands and their options, for man pages and the completions of shells.
pub fn command() -> clap::Command {
    Cli::command()
}

/// What is wrong with the arguments. They may have been copied from somewhere, as links are: what is quoted of them is cut.
fn usage_error(mut error: clap::Error) -> String {
    let quoted: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in quoted {
        if let ContextValue::String(value) = value {
            error.insert(kind, ContextValue::String(text::shown(&value)));
        }
    }
    error.render().to_string()
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are what was asked for; anything else is a usage error.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            eprintln!("{}", usage_error(error).trim_end());
            return ExitCode::from(EXIT_BAD_CONFIGURATION);
        }
    };
    match cli.command {
        Command::Run(args) => {
            memory::configure();
            run::run(args.config.as_deref())
        }
        Command::Demo => {
            memory::configure();
            demo::run()
        }
        Command::Cameras(args) => cameras::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Check(args) => check::run(args.config.as_deref()),
        Command::Doctor(args) => doctor::run(&args),
        Command::FirstBoot(args) => first_boot::run(args),
        Command::Link(args) => grant::link(&args),
        Command::Grant(args) => grant::grant(&args),
        Command::Grants(args) => grant::grants(&args),
        Command::Revoke(args) => grant::revoke(&args),
        Command::Watch(args) => watch::main(*args),
    }
}
