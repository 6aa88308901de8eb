//! From configuration, board, cameras and encoders to one plan that the pipeline follows.
//!
//! Planning opens devices and may take seconds, so it happens when something changed, never
//! between an offer and its first picture.

use std::sync::Arc;
use std::time::Instant;

use crate::media::board;
use crate::media::board::BoardClass;
use crate::media::capture::attachment::Attachment;
use crate::media::capture::camera::CameraInfo;
use crate::media::capture::choice::DeviceChoice;
use crate::media::capture::driver::shown;
use crate::media::capture::find;
use crate::media::capture::mode::{Handling, ModeChoice, Rate};
use crate::media::encode::choice::{EncoderChoice, EncoderKind, EncoderStatus};
use crate::media::encode::encoder;
use crate::media::encode::encoder::{EncodeSettings, EncoderSpec, default_bitrate_kbps};
use crate::media::error::MediaError;
use crate::media::look::PictureLook;
use crate::media::plan::config::MediaConfig;
use crate::media::plan::learnt::Learnt;
use crate::media::plan::own_h264::{OwnH264, OwnH264Verdict};
use crate::media::plan::rank::{self, Wish};
use crate::media::plan::set_aside::{SetAside, can_encode};
use crate::media::plan::styling::{self, Styling};
use crate::media::test_picture;
use crate::stream::ProfileLevelId;
use crate::stream::h264::Sps;

/// Until something was probed: what the encoders of the table make.
pub const USUAL_PROFILE: ProfileLevelId =
    ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f };

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The test picture.
    Test,
    /// The camera of the plan, in this mode.
    Camera {
        /// What it is asked to deliver.
        mode: ModeChoice,
    },
}

/// Everything needed to start a pipeline at once.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where pictures come from.
    pub source: Source,
    /// The device for people: a path, or `test`.
    pub device: String,
    /// The camera; `None` for the test picture.
    pub camera: Option<Arc<CameraInfo>>,
    /// `None` when the camera encodes.
    pub encoder: Option<&'static EncoderSpec>,
    /// Size, rate and bit rate (the latter two without meaning when the camera encodes).
    pub settings: EncodeSettings,
    /// What will come out; `None` when the privacy switch forbade to look.
    pub profile: Option<ProfileLevelId>,
    /// How the picture is to look.
    pub styling: Styling,
    /// Why this mode and not a better one, in words for people, where something went wrong.
    pub note: Option<String>,
    /// Whether the camera has modes that it does not encode itself.
    pub could_encode: bool,
}

impl Plan {
    /// The size in pixels of the camera's own picture, before it is turned.
    pub fn captured_size(&self) -> (u32, u32) {
        let size = (self.settings.width, self.settings.height);
        if self.encoder.is_some() { self.styling.pipeline_turn().size(size) } else { size }
    }

    /// The settings with that size.
    pub fn captured_settings(&self) -> EncodeSettings {
        let (width, height) = self.captured_size();
        EncodeSettings { width, height, ..self.settings }
    }

    /// For the status.
    pub fn encoder_status(&self) -> EncoderStatus {
        match self.encoder {
            Some(spec) => EncoderStatus { name: spec.name.into(), kind: spec.kind },
            None => EncoderStatus { name: "camera".into(), kind: EncoderKind::Passthrough },
        }
    }
}

/// Makes plans and remembers what was found out.
pub struct Planner {
    config: MediaConfig,
    board: BoardClass,
    cores: usize,
    /// The first encoder of the table that worked.
    encoder: Option<&'static EncoderSpec>,
    /// Encoders that failed, in a probe or in use, with the reason.
    bad_encoders: Vec<(&'static str, String)>,
    /// What probes found, by what was asked.
    probed: Vec<(&'static str, EncodeSettings, Sps)>,
    /// Verdicts on cameras' own H.264.
    own_h264: OwnH264,
    /// Modes that are not asked for.
    aside: SetAside,
    /// The camera that was there last.
    attachment: Attachment,
}

impl Planner {
    /// Nothing is probed yet.
    pub fn new(config: MediaConfig) -> Self {
        let cores = board::cores();
        let board = board::classify(&board::board(), std::env::consts::ARCH, cores);
        Self {
            config,
            board,
            cores,
            encoder: None,
            bad_encoders: Vec::new(),
            probed: Vec::new(),
            own_h264: OwnH264::default(),
            aside: SetAside::default(),
            attachment: Attachment::default(),
        }
    }

    /// Looks at cameras and encoders and decides. `may_capture` says whether the privacy switch
    /// lets a camera run for a moment, to see what its H.264 is.
    pub fn plan(&mut self, may_capture: bool) -> Result<Plan, MediaError> {
        let encoder = self.working_encoder();
        let kind = encoder.as_ref().map_or(EncoderKind::Software, |spec| spec.kind);
        let wish = self.wish(kind);
        let found = self.find_camera(&wish);
        match &found {
            Ok(camera) => {
                let node = camera.as_ref().map(|camera| camera.path.as_path());
                self.aside.found(node);
                self.attachment.found(node);
            }
            Err(MediaError::NoCamera | MediaError::DeviceMissing { .. }) => self.aside.found(None),
            Err(_) => {}
        }
        match found.map_err(|error| self.attachment.explain(error, Instant::now()))? {
            None => self.plan_test(encoder?, &wish),
            Some(camera) => self.plan_camera(Arc::new(camera), &encoder, &wish, may_capture),
        }
    }

    /// The camera and the mode that would be tried first, for an encoder of this kind that need not
    /// exist; nothing is probed.
    pub fn plan_source(&self, kind: EncoderKind) -> Result<Plan, MediaError> {
        let wish = self.wish(kind);
        let (source, device, camera, settings) = match self.find_camera(&wish)? {
            None => (Source::Test, "test".to_owned(), None, self.usual_settings(kind)),
            Some(camera) => {
                let device = shown(&camera.path);
                let Some(mode) = rank::rank(&camera.modes, &wish).into_iter().next() else {
                    return Err(no_mode(device, &camera, &wish));
                };
                let rate = mode.rate.unwrap_or(Rate::whole(wish.fps));
                let settings = self.settings(mode.width, mode.height, rate);
                (Source::Camera { mode }, device, Some(Arc::new(camera)), settings)
            }
        };
        Ok(Plan {
            source,
            device,
            camera,
            encoder: None,
            settings,
            profile: None,
            styling: Styling::default(),
            note: None,
            could_encode: false,
        })
    }

    /// What an encoder of this kind would be asked to do, whatever the camera can.
    pub fn usual_settings(&self, kind: EncoderKind) -> EncodeSettings {
        let wish = self.wish(kind);
        self.settings(wish.width & !1, wish.height & !1, Rate::whole(wish.fps))
    }

    /// Wants another size (pixels) and rate; `None` lets the board decide.
    pub fn want(&mut self, size: Option<(u32, u32)>, fps: Option<u32>) {
        (self.config.width, self.config.height) = (size.map(|s| s.0), size.map(|s| s.1));
        self.config.fps = fps;
        self.aside.forget_failures();
    }

    /// Somebody who wants to watch cannot play the camera's own H.264, which `plan` passes through: the next one encodes, where
    /// the camera has something to encode.
    pub fn encode_instead(&mut self, plan: &Plan) {
        if let (None, Some(camera), Some(profile)) = (plan.encoder, &plan.camera, plan.profile) {
            tracing::warn!(device = plan.device, %profile, "a viewer cannot play the camera's own H.264");
            self.aside.unplayable(camera, profile);
        }
    }

    /// The picture is to look so.
    pub fn set_look(&mut self, look: PictureLook) {
        self.config.look = look;
    }

    /// The configured bit rate has changed, in kbit/s.
    pub fn set_bitrate(&mut self, kbps: u32) {
        self.config.bitrate_kbps = Some(kbps);
    }

    /// What another planner need not find out again.
    pub fn learnt(&self) -> Learnt {
        let (bad_encoders, probed) = (self.bad_encoders.clone(), self.probed.clone());
        Learnt { bad_encoders, probed, aside: self.aside.clone() }
    }

    /// Begins with what another planner has found out.
    pub fn learn(&mut self, learnt: Learnt) {
        let Learnt { bad_encoders, probed, aside } = learnt;
        (self.bad_encoders, self.probed, self.aside) = (bad_encoders, probed, aside);
    }

    /// The encoder that would be used, and what it makes, while there is no plan.
    pub fn encoder(&self) -> Option<(EncoderStatus, ProfileLevelId)> {
        let spec = self.encoder?;
        let (_, _, sps) = self.probed.iter().find(|probe| probe.0 == spec.name)?;
        let status = EncoderStatus { name: spec.name.into(), kind: spec.kind };
        Some((status, sps.profile.as_offered()))
    }

    /// Whether the device of `plan` is still where the configuration means it.
    pub fn is_there(&self, plan: &Plan) -> bool {
        plan.camera.as_ref().is_none_or(|camera| find::is_there(&self.config.device, camera))
    }

    /// Whether there is a device that can come and go.
    pub fn has_device(&self) -> bool {
        self.config.device != DeviceChoice::Test
    }

    /// The configured device, for people.
    pub fn device_name(&self) -> Option<String> {
        match &self.config.device {
            DeviceChoice::Path(path) => Some(shown(path)),
            DeviceChoice::Test => Some("test".into()),
            DeviceChoice::Libcamera(_) => Some(self.config.device.to_string()),
            DeviceChoice::Auto | DeviceChoice::AutoOrTest => None,
        }
    }

    /// `plan` failed to start again and again: the next plan tries another encoder or mode.
    pub fn demote(&mut self, plan: &Plan, by_encoder: bool, reason: &str) {
        match (plan.encoder, &plan.source) {
            (Some(spec), source) if by_encoder || *source == Source::Test => {
                tracing::warn!(encoder = spec.name, reason, "encoder given up, trying the next one");
                self.bad_encoders.push((spec.name, reason.to_owned()));
                self.encoder = None;
            }
            (_, Source::Camera { mode }) => {
                tracing::warn!(device = plan.device, %mode, reason, "mode given up, trying the next one");
                if let Some(camera) = &plan.camera {
                    self.aside.failed(camera, mode, reason);
                }
            }
            _ => {}
        }
    }

    fn working_encoder(&mut self) -> Result<&'static EncoderSpec, MediaError> {
        if let Some(spec) = self.encoder {
            return Ok(spec);
        }
        for attempt in 0..2 {
            for spec in encoder::order(self.config.encoder) {
                if self.bad_encoders.iter().any(|(name, _)| *name == spec.name) {
                    continue;
                }
                let (width, height, fps) = rank::default_wish(self.board, spec.kind);
                let (width, height) = self.config.size_or((width, height));
                let rate = Rate::whole(self.config.fps.unwrap_or(fps));
                match self.probe(spec, &self.settings(width & !1, height & !1, rate)) {
                    Ok(_) => {
                        tracing::info!(encoder = spec.name, kind = ?spec.kind, "encoder chosen");
                        self.encoder = Some(spec);
                        return Ok(spec);
                    }
                    Err(error @ (MediaError::MissingElement { .. } | MediaError::NoSuchDevice { .. }))
                        if self.config.encoder == EncoderChoice::Auto =>
                    {
                        // Most machines lack some of the table; only a choice that is not met
                        // deserves a warning.
                        tracing::info!(%error, "encoder not available, trying the next");
                        self.bad_encoders.push((spec.name, error.to_string()));
                    }
                    Err(error) => {
                        tracing::warn!(encoder = spec.name, %error, "encoder does not work, trying the next");
                        self.bad_encoders.push((spec.name, error.to_string()));
                    }
                }
            }
            // All have failed at some time: what failed in use may work by now.
            if attempt == 0 && self.probed.is_empty() {
                break;
            }
            if attempt == 0 {
                self.bad_encoders.clear();
            }
        }
        let tried: Vec<&str> = self.bad_encoders.iter().map(|(_, why)| why.as_str()).collect();
        let error = MediaError::NoEncoder { tried: tried.join("; ") };
        // Looked at afresh next time: a package may have been installed meanwhile.
        self.bad_encoders.clear();
        Err(error)
    }

    fn probe(&mut self, spec: &'static EncoderSpec, settings: &EncodeSettings) -> Result<Sps, MediaError> {
        let is_same = |probe: &&(&str, EncodeSettings, Sps)| probe.0 == spec.name && probe.1 == *settings;
        if let Some((_, _, sps)) = self.probed.iter().find(is_same) {
            return Ok(*sps);
        }
        let sps = spec.probe(*settings)?;
        self.probed.push((spec.name, *settings, sps));
        Ok(sps)
    }

    fn settings(&self, width: u32, height: u32, rate: Rate) -> EncodeSettings {
        let bitrate_kbps =
            self.config.bitrate_kbps.unwrap_or_else(|| default_bitrate_kbps(width, height, rate));
        EncodeSettings {
            width,
            height,
            rate,
            bitrate_kbps,
            keyframe_interval_s: self.config.keyframe_interval_s,
            board: self.board,
            cores: self.cores,
        }
    }

    fn wish(&self, encoder: EncoderKind) -> Wish {
        let (width, height, fps) = rank::default_wish(self.board, encoder);
        let (width, height) = self.config.size_or((width, height));
        Wish {
            width,
            height,
            size_is_explicit: self.config.width.is_some() || self.config.height.is_some(),
            fps: self.config.fps.unwrap_or(fps),
            format: self.config.format.clone(),
        }
    }

    /// `None` means the test picture.
    fn find_camera(&self, wish: &Wish) -> Result<Option<CameraInfo>, MediaError> {
        let size = Some((wish.width, wish.height));
        find::find(&self.config.device, size)
    }

    fn plan_test(&mut self, spec: &'static EncoderSpec, wish: &Wish) -> Result<Plan, MediaError> {
        test_picture::check_size(wish.width, wish.height)?;
        let styling = Styling::new(&self.config.look, None, true);
        let (width, height) = styling.pipeline_turn().size((wish.width, wish.height));
        let settings = self.settings(width, height, Rate::whole(wish.fps));
        let sps = self.probe(spec, &settings)?;
        Ok(Plan {
            source: Source::Test,
            device: "test".into(),
            camera: None,
            encoder: Some(spec),
            settings,
            profile: Some(sps.profile.as_offered()),
            styling,
            note: None,
            could_encode: true,
        })
    }

    fn plan_camera(
        &mut self,
        camera: Arc<CameraInfo>,
        encoder: &Result<&'static EncoderSpec, MediaError>,
        wish: &Wish,
        may_capture: bool,
    ) -> Result<Plan, MediaError> {
        let device = match &self.config.device {
            DeviceChoice::Path(path) => shown(path),
            _ => shown(&camera.path),
        };
        let ranked = styling::fitting(rank::rank(&camera.modes, wish), &self.config.look, &camera)?;
        let could_encode = can_encode(&ranked);
        for mode in self.aside.left(&camera, &ranked) {
            let rate = mode.rate.unwrap_or(Rate::whole(wish.fps));
            let is_encoded_here = mode.handling != Handling::PassThrough;
            let styling = Styling::new(&self.config.look, Some(&camera), is_encoded_here);
            let size = (mode.width, mode.height);
            let (width, height) = if is_encoded_here { styling.pipeline_turn().size(size) } else { size };
            let settings = self.settings(width, height, rate);
            let (encoder, profile) = if mode.handling == Handling::PassThrough {
                let is_there = || find::is_there(&self.config.device, &camera);
                match self.own_h264.look(&camera, &mode, &settings, may_capture, is_there)? {
                    OwnH264Verdict::Fits(profile) => (None, Some(profile)),
                    OwnH264Verdict::Unknown => (None, None),
                    OwnH264Verdict::Unfit => continue,
                    OwnH264Verdict::NotStarted(reason) => {
                        tracing::warn!(device, %mode, reason, "mode given up, trying the next one");
                        self.aside.failed(&camera, &mode, &reason);
                        continue;
                    }
                }
            } else {
                let spec = encoder.clone()?;
                (Some(spec), Some(self.probe(spec, &settings)?.profile.as_offered()))
            };
            let note = self.aside.note(&camera, &mode);
            tracing::info!(device, card = camera.card, %mode, note, "camera mode chosen");
            if let Some(words) = &styling.left_out {
                tracing::warn!(device, "{words}");
            }
            let (source, camera) = (Source::Camera { mode }, Some(camera));
            return Ok(Plan {
                source,
                device,
                camera,
                encoder,
                settings,
                profile,
                styling,
                note,
                could_encode,
            });
        }
        match self.aside.reason(&camera) {
            Some(reason) => Err(MediaError::Pipeline { device, reason: reason.to_owned() }),
            None => Err(no_mode(device, &camera, wish)),
        }
    }
}

fn no_mode(device: String, camera: &CameraInfo, wish: &Wish) -> MediaError {
    let mut offered: Vec<&str> = camera.modes.iter().map(|mode| mode.format.as_str()).collect();
    offered.dedup();
    MediaError::NoMode { device, wanted: wish.format.to_string(), offered: offered.join(", ") }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
