//! `porthole run`: the daemon.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::process::{bad_configuration, fail, in_runtime, stop_signal};
use crate::access::offer_authorizer::AccessMode;
use crate::app::App;
use crate::base::systemd;
use crate::base::tasks::{EndedEarly, TaskGroup, blocking};
use crate::config::{BrokerChoice, Config, Flavour};

pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let config = match Config::load(file, Flavour::Run) {
        Ok(config) => config,
        Err(error) => return bad_configuration(&error),
    };
    let _last_lines = crate::base::log::start();
    in_runtime(serve(config, file.map(Path::to_owned)))
}

async fn serve(config: Config, file: Option<PathBuf>) -> ExitCode {
    let broker = match &config.mqtt.broker {
        BrokerChoice::Embedded => "embedded".to_owned(),
        BrokerChoice::External(url) => url.to_string(),
    };
    tracing::info!(device = %config.device.id, broker, "porthole {} starts", env!("CARGO_PKG_VERSION"));
    if config.access == AccessMode::Open {
        tracing::warn!("access is open: whoever may publish to this broker may watch this camera");
    }
    // From here on, so that a stop during the start is an orderly one too.
    let stopped = stop_signal();
    let mut app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => return fail(&error),
    };
    if let Some(page) = app.page {
        tracing::info!(%page, "the viewer page is served");
    }
    let ended = ended_early(app.tasks());
    let end = tokio::select! {
        signal = stopped => Ok(signal),
        ended = ended => Err(ended),
        never = reload_when_asked(&mut app, file.as_deref()) => match never {},
    };
    systemd::stopping();
    let code = match end {
        Ok(signal) => {
            tracing::info!(signal, "stopping");
            ExitCode::SUCCESS
        }
        Err(ended) => {
            tracing::error!(%ended, "stopping, to be started again by the service manager");
            ExitCode::FAILURE
        }
    };
    app.drain().await;
    tracing::info!("stopped");
    code
}

/// Resolves when a task of the daemon is gone, which only a restart brings back.
pub(super) fn ended_early(tasks: &TaskGroup) -> impl Future<Output = EndedEarly> + use<> {
    let mut ended = tasks.ended_early();
    async move {
        match ended.wait_for(Option::is_some).await.map(|ended| (*ended).clone()) {
            Ok(Some(ended)) => ended,
            // Nobody is left who could tell.
            _ => std::future::pending().await,
        }
    }
}

/// Reads the configuration again at each SIGHUP (`systemctl reload`).
async fn reload_when_asked(app: &mut App, file: Option<&Path>) -> Infallible {
    let Ok(mut asked) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while asked.recv().await.is_some() {
        systemd::reloading();
        let path = file.map(Path::to_owned);
        match blocking(move || Config::load(path.as_deref(), Flavour::Run)).await {
            Ok(config) => {
                let reloaded = app.reload(config).await;
                let list =
                    |keys: Vec<String>| if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
                tracing::info!(changed = list(reloaded.applied), "the configuration was read again");
                if !reloaded.waiting.is_empty() {
                    let keys = list(reloaded.waiting);
                    tracing::warn!(
                        keys,
                        "these keys take effect with the next restart: systemctl restart porthole"
                    );
                }
            }
            Err(error) => tracing::error!(%error, "the configuration cannot be used; the one in force stays"),
        }
        systemd::ready();
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_task_that_is_gone_ends_the_daemon_and_one_that_was_told_to_does_not() {
        let tasks = TaskGroup::new();
        tasks.spawn_loop("told to end", pending());
        let told = tasks.child();
        let end = told.cancelled();
        let orderly = told.spawn("told to end", end);
        told.cancel();
        orderly.await.unwrap();
        let ended = ended_early(&tasks);
        tasks.spawn_loop("grants", async { panic!("on purpose") });
        assert_eq!(ended.await.to_string(), "the task \"grants\" ended early: panic: on purpose");
    }
}
