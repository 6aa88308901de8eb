//! `porthole first-boot`: takes over what an installer left on the boot partition, or says what is wrong with it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::process::{EXIT_BAD_CONFIGURATION, fail};
use crate::config::BrokerChoice;
use crate::first_boot::{Outcome, take_over};

/// Where boards have their boot partition: first today's Raspberry Pi OS and Debian, then older ones.
const BOOT: [&str; 2] = ["/boot/firmware", "/boot"];

#[derive(Debug, clap::Args)]
pub(super) struct FirstBootArgs {
    /// Folder with porthole.toml and porthole.env [default: the first of /boot/firmware and /boot that has one]
    #[arg(long, value_name = "DIR")]
    boot: Option<PathBuf>,
    /// Folder that the daemon reads
    #[arg(long, value_name = "DIR", default_value = "/etc/porthole")]
    into: PathBuf,
}

/// Nothing to take over is as good as something that was: both are exit code 0.
pub(super) fn run(args: FirstBootArgs) -> ExitCode {
    let boot = args.boot.map_or_else(|| BOOT.iter().map(PathBuf::from).collect(), |folder| vec![folder]);
    let outcome = match take_over(&boot, &args.into) {
        Ok(outcome) => outcome,
        Err(failure) => return fail(&failure),
    };
    match outcome {
        Outcome::Nothing => {
            println!("porthole: nothing new on the boot partition");
            ExitCode::SUCCESS
        }
        Outcome::Taken { from, new, config, notes } => {
            let from = from.display();
            if new.is_empty() {
                println!("porthole: what is in {from} was in force already");
            } else {
                println!("porthole: taken over from {from}: {}", new.join(", "));
            }
            let broker = match &config.mqtt.broker {
                BrokerChoice::Embedded => "the built-in one".to_owned(),
                BrokerChoice::External(url) => url.to_string(),
            };
            println!(
                "porthole: this device is {} ({}), its broker {broker}",
                config.device.id, config.device.name
            );
            for note in notes {
                println!("porthole: {note}");
            }
            ExitCode::SUCCESS
        }
        Outcome::Refused { refusal, error_file } => {
            eprintln!("porthole: {refusal}");
            match error_file {
                Ok(path) => {
                    eprintln!("porthole: the same is in {} for whoever made the card", path.display());
                }
                Err(why) => eprintln!("porthole: nobody could be told on the boot partition: {why}"),
            }
            ExitCode::from(EXIT_BAD_CONFIGURATION)
        }
    }
}
