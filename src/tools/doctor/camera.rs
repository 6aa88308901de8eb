//! The camera: is there one, may it be opened, who has it, what can it do, and what does it really deliver?

use std::path::Path;
use std::time::Duration;

use super::report::{Finding, Severity};
use crate::base::processes::{Holders, holders_of_file, own_user};
use crate::base::stats::round1;
use crate::base::text;
use crate::media::camera::video_nodes;
use crate::media::measure::{Chosen, Outlook, SourceRate, measure_source};
use crate::media::mode::{CameraMode, handling};
use crate::media::{CameraInfo, DeviceChoice, MediaConfig, MediaError};

const AREA: &str = "camera";
/// How long the camera is watched.
const SPAN: Duration = Duration::from_secs(2);
/// A rate this much below the asked one is no rounding any more.
const ENOUGH: f64 = 0.85;
/// Formats named in one line.
const MODES_SHOWN: usize = 4;

/// What the checks found, and what the later ones need of it.
pub(super) struct Looked {
    pub findings: Vec<Finding>,
    /// The camera belongs to a running daemon of this program.
    pub daemon_has_it: bool,
    /// Pictures came from what is configured.
    pub delivers: bool,
}

/// Looks at the camera of `config`. Blocks for seconds.
pub(super) fn check(config: &MediaConfig, outlook: &Outlook, may_capture: bool) -> Looked {
    let mut looked = Looked { findings: Vec::new(), daemon_has_it: false, delivers: false };
    let chosen = match (&outlook.chosen, &outlook.camera_only) {
        (Ok(chosen), _) | (_, Some(chosen)) => chosen,
        // Without an encoder and without a camera the encoder's own line says enough.
        (Err(error), None) => {
            looked.refused(error, config);
            return looked;
        }
    };
    if let Some(camera) = chosen.camera() {
        looked.findings.push(present(camera));
    }
    if let Some(words) = chosen.look_problem() {
        let finding = Finding::warn(AREA, "the picture does not look as it is configured for everybody");
        looked.findings.push(finding.next(words));
    }
    if !may_capture {
        looked.findings.push(Finding::skip(AREA, "not opened: the privacy switch is off"));
        return looked;
    }
    match measure_source(chosen, SPAN) {
        Ok(rate) => {
            looked.delivers = true;
            looked.findings.push(delivered(chosen, rate));
        }
        Err(error) => looked.refused(&error, config),
    }
    looked
}

impl Looked {
    fn refused(&mut self, error: &MediaError, config: &MediaConfig) {
        let holders = match error {
            MediaError::DeviceBusy { device } => holders_of_file(Path::new(device)),
            _ => Holders::default(),
        };
        let finding = refusal(error, &holders, config);
        self.daemon_has_it = finding.verdict == Severity::Warn;
        self.findings.push(finding);
    }
}

fn present(camera: &CameraInfo) -> Finding {
    let words = format!(
        "{} \"{}\" ({}): {}",
        camera.path.display(),
        text::shown(&camera.card),
        text::shown(&camera.driver),
        modes(&camera.modes)
    );
    Finding::ok(AREA, words).figure("modes", camera.modes.len())
}

/// The largest size of each format that can be used, with its best rate, in the driver's order.
fn modes(modes: &[CameraMode]) -> String {
    let mut formats: Vec<&str> = Vec::new();
    for mode in modes.iter().filter(|mode| handling(&mode.format).is_some()) {
        if !formats.contains(&mode.format.as_str()) {
            formats.push(&mode.format);
        }
    }
    let largest = |format: &&str| {
        let same = modes.iter().filter(|mode| mode.format == **format);
        let mode = same.max_by_key(|mode| u64::from(mode.width) * u64::from(mode.height))?;
        let best = mode.rates.iter().map(|rate| rate.fps()).fold(0.0, f64::max);
        let rate = if best > 0.0 { format!(" at {}", shown_fps(best)) } else { String::new() };
        Some(format!("{} to {}x{}{rate}", mode.format, mode.width, mode.height))
    };
    let mut words: Vec<String> = formats.iter().take(MODES_SHOWN).filter_map(largest).collect();
    if formats.len() > MODES_SHOWN {
        words.push(format!("{} more formats", formats.len() - MODES_SHOWN));
    }
    words.join(", ")
}

/// 30, 29.97: no more digits than there is news.
fn shown_fps(fps: f64) -> String {
    format!("{}", (fps * 100.0).round() / 100.0)
}

fn delivered(chosen: &Chosen, rate: SourceRate) -> Finding {
    let settings = chosen.settings();
    let format = chosen.format().map_or(String::new(), |format| format!("{format} "));
    let device = if chosen.camera().is_some() { chosen.device() } else { "test picture" };
    let asked = settings.rate.fps();
    let words = format!(
        "{device}: {format}{}x{} at {} fps asked, {:.1} measured over {} s",
        settings.width,
        settings.height,
        shown_fps(asked),
        rate.fps,
        SPAN.as_secs(),
    );
    let finding = if rate.fps < asked * ENOUGH {
        Finding::warn(AREA, words).next(slow(chosen))
    } else {
        Finding::ok(AREA, words)
    };
    finding
        .figure("device", chosen.device())
        .figure("width", settings.width)
        .figure("height", settings.height)
        .figure("asked_fps", round1(asked))
        .figure("fps", round1(rate.fps))
}

fn slow(chosen: &Chosen) -> &'static str {
    if chosen.camera().is_some() {
        "more light (cameras slow down in the dark), another camera.format, or a smaller size; USB 2 carries \
         1280x720 at 30 only as MJPEG or H.264"
    } else {
        "the processor is too busy to draw: stop what else runs"
    }
}

/// Why there are no pictures, and who has to do what.
fn refusal(error: &MediaError, holders: &Holders, config: &MediaConfig) -> Finding {
    match error {
        MediaError::DeviceBusy { device } => match holders.porthole() {
            Some(daemon) => Finding::warn(
                AREA,
                format!("{device}: {daemon} has it: video runs there, so nothing is measured here"),
            )
            .next("sudo systemctl stop porthole, to measure here"),
            None => Finding::fail(AREA, format!("{device} is in use by {}", holders.words()))
                .next("end that program: a camera serves one at a time"),
        },
        MediaError::DeviceDenied { device } => {
            let user = own_user();
            Finding::fail(AREA, format!("{device} is there, but {user} may not open it")).next(format!(
                "sudo usermod -aG video {user}, then log in again (the service has the group already)"
            ))
        }
        MediaError::NoCamera => Finding::fail(AREA, none_found()).next(
            "plug one in (dmesg tells whether the kernel sees it), or try without: camera.device = \"test\"",
        ),
        MediaError::DeviceMissing { .. } if matches!(config.device, DeviceChoice::Libcamera(_)) => {
            Finding::fail(AREA, "libcamera sees no camera").next(
                "check the ribbon cable at both ends, and camera_auto_detect=1 in config.txt; what libcamera sees is \
                 listed by rpicam-hello --list-cameras",
            )
        }
        MediaError::DeviceMissing { device } => {
            let next = match (&config.device, nodes().as_slice()) {
                (DeviceChoice::Path(_), []) => "plug it in: there is no camera at all".to_owned(),
                _ => format!("plug it in, or change camera.device: {}", found()),
            };
            Finding::fail(AREA, format!("{device} is not there")).next(next)
        }
        other => Finding::fail(AREA, other.to_string()).explained(),
    }
}

fn nodes() -> Vec<String> {
    let nodes = video_nodes().unwrap_or_default();
    nodes.iter().map(|node| node.display().to_string()).collect()
}

fn found() -> String {
    format!("there are {} (`porthole cameras` tells them apart)", nodes().join(", "))
}

fn none_found() -> String {
    if nodes().is_empty() {
        "no /dev/video* here: the kernel sees no camera".to_owned()
    } else {
        format!("none of {} is a camera that gives pictures", nodes().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::processes::Process;
    use crate::media::mode::Rate;

    fn busy(holders: &Holders) -> Finding {
        let error = MediaError::DeviceBusy { device: "/dev/video0".into() };
        refusal(&error, holders, &MediaConfig::default())
    }

    fn process(name: &str, is_porthole: bool) -> Process {
        Process { pid: 7, name: name.into(), is_porthole }
    }

    #[test]
    fn a_busy_camera_is_a_failure_unless_porthole_itself_has_it() {
        let other = busy(&Holders { processes: vec![process("cheese", false)], hidden: false });
        assert_eq!(other.verdict, Severity::Fail);
        assert_eq!(other.what, "/dev/video0 is in use by cheese (pid 7)");
        let own = busy(&Holders { processes: vec![process("porthole", true)], hidden: true });
        assert_eq!(own.verdict, Severity::Warn);
        assert!(own.what.contains("porthole (pid 7)"), "{own:?}");
        assert!(own.next.is_some_and(|next| next.contains("systemctl stop porthole")));
        let unseen = Holders { processes: vec![process("x", false)], hidden: true };
        assert_eq!(busy(&unseen).verdict, Severity::Fail);
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let config =
            MediaConfig { device: DeviceChoice::Path("/dev/video9".into()), ..MediaConfig::default() };
        let device = || "/dev/video9".to_owned();
        for (error, what, next) in [
            (MediaError::DeviceDenied { device: device() }, "may not open", "usermod -aG video"),
            (MediaError::DeviceMissing { device: device() }, "/dev/video9 is not there", "plug it in"),
            (MediaError::NoCamera, "camera", "camera.device = \"test\""),
            (
                MediaError::MissingElement {
                    element: "v4l2src".into(),
                    package: "gstreamer1.0-plugins-good",
                },
                "v4l2src is missing",
                "install gstreamer1.0-plugins-good",
            ),
        ] {
            let finding = refusal(&error, &Holders::default(), &config);
            assert_eq!(finding.verdict, Severity::Fail, "{finding:?}");
            assert!(finding.what.contains(what), "{finding:?}");
            assert!(finding.next.as_deref().is_some_and(|text| text.contains(next)), "{finding:?}");
        }
    }

    #[test]
    fn modes_are_summed_up_by_format() {
        let mode = |format: &str, width, height, fps| CameraMode {
            format: format.into(),
            width,
            height,
            rates: vec![Rate::whole(5), Rate { num: fps, den: 1001 }],
        };
        let list = [
            mode("MJPG", 1920, 1080, 30_000),
            mode("YUYV", 640, 480, 30_000),
            mode("YUYV", 1280, 720, 10_010),
        ];
        assert_eq!(modes(&list), "MJPG to 1920x1080 at 29.97, YUYV to 1280x720 at 10");
        let many = ["YU12", "XR24", "NV12", "UYVY", "RGB3", "BGR3", "GREY"];
        let many: Vec<CameraMode> = many.iter().map(|format| mode(format, 64, 64, 30_000)).collect();
        assert!(!modes(&many).contains("XR24"), "it cannot be used");
        assert!(modes(&many).ends_with(", 2 more formats"), "{}", modes(&many));
        assert_eq!(modes(&[CameraMode { rates: vec![], ..mode("GREY", 64, 64, 1) }]), "GREY to 64x64");
    }
}
