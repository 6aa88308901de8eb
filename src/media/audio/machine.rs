//! What sound is captured with: this machine, or one that tests simulate.

use std::sync::{Arc, Mutex, PoisonError};

use super::capture::{CaptureEvent, CapturePipeline, CaptureReporter};
use super::config::AudioConfig;
use super::find;
use super::outlet::Outlet;
use super::source::SoundDevice;
use crate::media::error::MediaError;

/// Calls may wait for a driver.
pub trait CaptureMachine: Send + Sync + 'static {
    /// It captures until it is dropped, which may wait for a driver, too.
    type Capture: Send + 'static;

    /// The configured microphone; `current` where that is still there.
    fn find(&self, current: Option<&SoundDevice>) -> Result<SoundDevice, MediaError>;

    /// Opens it.
    fn open(
        &self,
        microphone: &SoundDevice,
        outlet: &Arc<Outlet>,
        report: &CaptureReporter,
    ) -> Result<Self::Capture, MediaError>;
}

/// This machine.
#[derive(Debug)]
pub struct SoundMachine {
    config: AudioConfig,
    /// The card whose own formats were of no use.
    converted: Arc<Mutex<Option<SoundDevice>>>,
}

impl SoundMachine {
    /// As `config` wants it.
    pub fn new(config: AudioConfig) -> Self {
        Self { config, converted: Arc::default() }
    }
}

impl CaptureMachine for SoundMachine {
    type Capture = CapturePipeline;

    fn find(&self, current: Option<&SoundDevice>) -> Result<SoundDevice, MediaError> {
        find::microphone(&self.config.device, current)
    }

    fn open(
        &self,
        microphone: &SoundDevice,
        outlet: &Arc<Outlet>,
        report: &CaptureReporter,
    ) -> Result<CapturePipeline, MediaError> {
        let lock = |converted: &Mutex<Option<SoundDevice>>| {
            converted.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let is_converted = lock(&self.converted).as_ref() == Some(microphone);
        let opened = if is_converted { microphone.converted() } else { None };
        let (learn, tell, found) = (Arc::clone(&self.converted), Arc::clone(report), microphone.clone());
        let report: CaptureReporter = Arc::new(move |event| {
            if let CaptureEvent::Failed(MediaError::AudioFormat { .. }) = &event {
                *learn.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
            }
            tell(event);
        });
        CapturePipeline::start(opened.as_ref().unwrap_or(microphone), &self.config, outlet, &report)
    }
}
