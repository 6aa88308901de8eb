//! What sound is captured with: this machine, or one that tests simulate.

use std::sync::Arc;

use super::capture::{CapturePipeline, CaptureReporter};
use super::config::AudioConfig;
use super::outlet::Outlet;
use super::source::{Microphone, Source};
use crate::media::error::MediaError;

/// Calls may wait for a driver.
pub trait CaptureMachine: Send + Sync + 'static {
    /// It captures until it is dropped, which may wait for a driver, too.
    type Capture: Send + 'static;

    /// The configured microphone; `current` where that is still there.
    fn find(&self, current: Option<&Microphone>) -> Result<Microphone, MediaError>;

    /// Opens it.
    fn open(
        &self,
        microphone: &Microphone,
        outlet: &Arc<Outlet>,
        report: &CaptureReporter,
    ) -> Result<Self::Capture, MediaError>;
}

/// This machine.
#[derive(Debug)]
pub struct ThisMachine {
    config: AudioConfig,
}

impl ThisMachine {
    /// As `config` wants it.
    pub fn new(config: AudioConfig) -> Self {
        Self { config }
    }
}

impl CaptureMachine for ThisMachine {
    type Capture = CapturePipeline;

    fn find(&self, _: Option<&Microphone>) -> Result<Microphone, MediaError> {
        Ok(Microphone { source: Source::Test, card: "test tone".to_owned() })
    }

    fn open(
        &self,
        microphone: &Microphone,
        outlet: &Arc<Outlet>,
        report: &CaptureReporter,
    ) -> Result<CapturePipeline, MediaError> {
        CapturePipeline::start(microphone, &self.config, outlet, report)
    }
}
