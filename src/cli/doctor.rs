//! `porthole doctor`: its arguments and its exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use super::process::{EXIT_BAD_CONFIGURATION, bad_configuration, in_runtime};
use crate::tools::doctor::{Subject, print_unusable};

// A paragraph is one line: it is broken where the terminal ends.
const MEANING: &str = "\
One line for each thing: ok, warn (video works, but …), FAIL (it would not), - (not looked at), and below it what \
to do. It takes about a quarter of a minute, opens the camera for two seconds, and changes nothing; a running \
daemon may go on. docs/troubleshooting.md explains each line.

Exit codes: 0 video would work, 1 it would not, 64 the configuration cannot be used.";

/// What to check, and for whom to print it.
#[derive(Debug, clap::Args)]
#[command(after_help = MEANING)]
pub(super) struct DoctorArgs {
    /// Configuration file, as for `porthole run`; without any, what `porthole demo` would use is checked
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let subject = match Subject::load(args.config.as_deref()) {
        Ok(subject) => subject,
        Err(error) => {
            if args.json {
                print_unusable(args.config.as_deref(), &error);
            }
            return bad_configuration(&error);
        }
    };
    // The findings are the output; the log only where it was asked for.
    let _last_lines = std::env::var_os("PORTHOLE_LOG").map(|_| crate::base::log::start());
    let json = args.json;
    in_runtime(async move { ExitCode::from(u8::from(!subject.check(json).await)) })
}

const _: () = assert!(EXIT_BAD_CONFIGURATION == 64, "the help text names it");
