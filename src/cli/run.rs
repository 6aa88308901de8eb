//! `porthole run`: the daemon.

use std::path::Path;
use std::process::ExitCode;

use super::{bad_configuration, fail, in_runtime, stop_signal};
use crate::app::App;
use crate::config::{BrokerChoice, Config, Flavour};

pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let config = match Config::load(file, Flavour::Run) {
        Ok(config) => config,
        Err(error) => return bad_configuration(&error),
    };
    crate::log::start();
    in_runtime(serve(config))
}

async fn serve(config: Config) -> ExitCode {
    let broker = match &config.mqtt.broker {
        BrokerChoice::Embedded => "embedded".to_owned(),
        BrokerChoice::External(url) => url.to_string(),
    };
    tracing::info!(device = %config.device.id, broker, "porthole {} starts", env!("CARGO_PKG_VERSION"));
    tracing::warn!("access is open: whoever may publish to this broker may watch this camera");
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => return fail(&error),
    };
    if let Some(page) = app.page {
        tracing::info!(%page, "the viewer page is served");
    }
    let signal = stop_signal().await;
    tracing::info!(signal, "stopping");
    app.drain().await;
    tracing::info!("stopped");
    ExitCode::SUCCESS
}
