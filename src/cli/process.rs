//! What subcommands have in common: threads, signals, exit codes.

use std::future::Future;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::base::text;
use crate::config::ConfigError;

/// Exit code of a configuration that cannot be used (EX_USAGE of sysexits.h).
pub const EXIT_BAD_CONFIGURATION: u8 = 64;

/// Two workers serve a Pi: the pictures come from the capture thread, these only send.
pub(super) fn in_runtime(future: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(future);
            // Whatever still waits inside a library does not hold up the end.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            code
        }
        Err(error) => fail(&format!("threads cannot be started: {error}")),
    }
}

/// Prints an error for people and gives exit code 1.
pub(super) fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("porthole: {}", text::lines(&error.to_string()));
    ExitCode::FAILURE
}

/// Prints what is wrong with the configuration and gives exit code 64.
pub(super) fn bad_configuration(error: &ConfigError) -> ExitCode {
    eprintln!("porthole: {}", text::lines(&error.to_string()));
    ExitCode::from(EXIT_BAD_CONFIGURATION)
}

/// Resolves on SIGINT or SIGTERM, also on one that comes between this call and the first poll.
pub(super) fn stop_signal() -> impl Future<Output = &'static str> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    }
}
