//! The encoders of the table: which one is used, which have failed, and what those that were tried make.

use crate::media::encode::choice::{EncoderChoice, EncoderKind, EncoderStatus};
use crate::media::encode::encoder::{EncodeSettings, EncoderFindings, EncoderSpec, order};
use crate::media::error::MediaError;
use crate::stream::ProfileLevelId;

/// What was found out by trying. Outlives a planner whose thread hangs.
#[derive(Clone, Debug, Default)]
pub struct KnownEncoders {
    /// Encoders that failed, in a probe or in use, with the reason.
    pub bad: Vec<(&'static str, String)>,
    /// What probes found, by what was asked.
    pub probed: Vec<(&'static str, EncodeSettings, EncoderFindings)>,
}

/// The table, tried in its order.
#[derive(Debug)]
pub struct Encoders {
    /// The one to be tried first.
    choice: EncoderChoice,
    /// The first that worked.
    chosen: Option<&'static EncoderSpec>,
    /// What is known of all of them.
    pub tried: KnownEncoders,
}

impl Encoders {
    /// Nothing is tried yet.
    pub fn new(choice: EncoderChoice) -> Self {
        Self { choice, chosen: None, tried: KnownEncoders::default() }
    }

    /// The first that works; `usual` are the settings that it is tried with, by its kind.
    pub fn working(
        &mut self,
        usual: impl Fn(EncoderKind) -> EncodeSettings,
    ) -> Result<&'static EncoderSpec, MediaError> {
        if let Some(spec) = self.chosen {
            return Ok(spec);
        }
        for attempt in 0..2 {
            for spec in self.left() {
                match self.probe(spec, &usual(spec.kind)) {
                    Ok(_) => {
                        tracing::info!(encoder = spec.name, kind = ?spec.kind, "encoder chosen");
                        self.chosen = Some(spec);
                        return Ok(spec);
                    }
                    Err(error @ (MediaError::MissingElement { .. } | MediaError::NoSuchDevice { .. }))
                        if self.choice == EncoderChoice::Auto =>
                    {
                        // Most machines lack some of the table; only a choice that is not met
                        // deserves a warning.
                        tracing::info!(%error, "encoder not available, trying the next");
                        self.tried.bad.push((spec.name, error.to_string()));
                    }
                    Err(error) => {
                        tracing::warn!(encoder = spec.name, %error, "encoder does not work, trying the next");
                        self.tried.bad.push((spec.name, error.to_string()));
                    }
                }
            }
            // All have failed at some time: what failed in use may work by now.
            if attempt == 0 && self.tried.probed.is_empty() {
                break;
            }
            if attempt == 0 {
                self.tried.bad.clear();
            }
        }
        let tried: Vec<&str> = self.tried.bad.iter().map(|(_, why)| why.as_str()).collect();
        let error = MediaError::NoEncoder { tried: tried.join("; ") };
        // Looked at afresh next time: a package may have been installed meanwhile.
        self.tried.bad.clear();
        Err(error)
    }

    /// Those that are not known to fail, in their order.
    pub fn left(&self) -> Vec<&'static EncoderSpec> {
        let is_bad = |spec: &EncoderSpec| self.tried.bad.iter().any(|(name, _)| *name == spec.name);
        order(self.choice).into_iter().filter(|spec| !is_bad(spec)).collect()
    }

    /// What it makes of `settings`; tried once.
    pub fn probe(
        &mut self,
        spec: &'static EncoderSpec,
        settings: &EncodeSettings,
    ) -> Result<EncoderFindings, MediaError> {
        let mut known = self.tried.probed.iter();
        if let Some((_, _, found)) = known.find(|probe| probe.0 == spec.name && probe.1 == *settings) {
            return Ok(*found);
        }
        let found = spec.probe(*settings)?;
        self.tried.probed.push((spec.name, *settings, found));
        Ok(found)
    }

    /// It fails in use: another one is to be taken.
    pub fn give_up(&mut self, spec: &EncoderSpec, reason: &str) {
        tracing::warn!(encoder = spec.name, reason, "encoder given up, trying the next one");
        self.tried.bad.push((spec.name, reason.to_owned()));
        self.chosen = None;
    }

    /// The one in use, and what it makes, while there is no plan.
    pub fn outlook(&self) -> Option<(EncoderStatus, ProfileLevelId)> {
        let spec = self.chosen?;
        let (_, _, found) = self.tried.probed.iter().find(|probe| probe.0 == spec.name)?;
        let status = EncoderStatus { name: spec.name.into(), kind: spec.kind };
        Some((status, found.sps.profile.as_offered()))
    }
}
