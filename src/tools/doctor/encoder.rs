//! GStreamer's plugins, and every encoder of the table by really encoding with it.

use std::time::Duration;

use super::report::Finding;
use crate::base::stats::{cpu_used_s, round1};
use crate::media::encoder::{EncodeSettings, EncoderSpec, order};
use crate::media::measure::{Chosen, Encoded, Outlook, has_element, measure_encoder, missing_elements};
use crate::media::{EncoderChoice, MediaConfig, MediaError};

/// How long each encoder works.
const SPAN: Duration = Duration::from_secs(1);
/// An encoder needs some room above the asked rate, or every hiccup shows.
const ROOM: f64 = 1.2;

/// The elements that the pipelines are made of.
pub(super) fn plugins(config: &MediaConfig, outlook: &Outlook) -> Finding {
    let missing = missing_elements(config, outlook.chosen.as_ref().ok());
    if missing.is_empty() {
        return Finding::ok("gstreamer", "every element that is needed is there");
    }
    let elements: Vec<&str> = missing.iter().map(|(element, _)| *element).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    Finding::fail("gstreamer", format!("missing: {}", elements.join(", ")))
        .next(format!("sudo apt-get install {}", packages.join(" ")))
        .figure("missing", elements)
}

/// Encodes with each encoder in the order in which they are tried. Blocks for seconds.
pub(super) fn encoders(config: &MediaConfig, outlook: &Outlook) -> Vec<Finding> {
    let chosen = outlook.chosen.as_ref().ok();
    let settings = chosen.map_or(outlook.usual, Chosen::settings);
    let tried: Vec<Tried> = order(config.encoder)
        .into_iter()
        .map(|spec| {
            let result = if has_element(spec.name) {
                measure_encoder(spec, settings, SPAN, cpu_used_s)
            } else {
                let missing =
                    || MediaError::MissingElement { element: spec.name.into(), package: spec.package };
                Err(spec.absent().unwrap_or_else(missing))
            };
            Tried { spec, result }
        })
        .collect();
    let passes_through = chosen.is_some_and(Chosen::passes_through);
    findings(&tried, &settings, config.encoder, passes_through)
}

/// One encoder and what it did.
struct Tried {
    spec: &'static EncoderSpec,
    result: Result<Encoded, MediaError>,
}

/// The first that works is the one that is used; only its trouble, or that there is none, counts.
fn findings(
    tried: &[Tried],
    settings: &EncodeSettings,
    wanted: EncoderChoice,
    passes_through: bool,
) -> Vec<Finding> {
    let used = tried.iter().position(|one| one.result.is_ok()).filter(|_| !passes_through);
    let mut findings: Vec<Finding> = tried
        .iter()
        .enumerate()
        .map(|(at, one)| match &one.result {
            Ok(encoded) => measured(one.spec, *encoded, settings, used == Some(at)),
            Err(error) => refused(one.spec, error, wanted),
        })
        .collect();
    if passes_through {
        findings.insert(
            0,
            Finding::ok("encoder", "none needed: the camera's own H.264 goes to viewers as it is"),
        );
    } else if used.is_none() {
        let none = Finding::fail("encoder", "no H.264 encoder works here").next(
            "sudo apt-get install gstreamer1.0-plugins-ugly (x264) or gstreamer1.0-plugins-bad (OpenH264)",
        );
        findings.push(none);
    }
    findings
}

fn measured(spec: &EncoderSpec, encoded: Encoded, settings: &EncodeSettings, used: bool) -> Finding {
    let asked = settings.rate.fps();
    let load = encoded.load_percent(asked);
    let words = format!(
        "{}{}: {}x{} at up to {:.0} fps{}",
        spec.name,
        if used { " (used)" } else { "" },
        settings.width,
        settings.height,
        encoded.fps(),
        // One that is too slow never gets there.
        if encoded.fps() < asked { String::new() } else { format!("; {load:.0} % of a core at {asked:.0}") },
    );
    let finding = if used && encoded.fps() < asked * ROOM {
        Finding::warn("encoder", format!("{words}: too slow for the asked rate, the picture will stutter"))
            .next("set a smaller camera.width and camera.height, or a lower camera.fps")
    } else if used {
        Finding::ok("encoder", words)
    } else {
        Finding::skip("encoder", format!("{words}, not used"))
    };
    finding
        .figure("encoder", spec.name)
        .figure("used", used)
        .figure("fps", round1(encoded.fps()))
        .figure("asked_fps", round1(asked))
        .figure("cpu_percent_at_asked", round1(load))
}

fn refused(spec: &EncoderSpec, error: &MediaError, wanted: EncoderChoice) -> Finding {
    let is_wanted = wanted.to_string() == spec.name;
    let finding = match error {
        MediaError::MissingElement { package, .. } => {
            let words = format!("{} is not installed", spec.name);
            if is_wanted {
                Finding::warn("encoder", format!("{words}, but video.encoder asks for it"))
                    .next(format!("install {package}, or take the key out"))
            } else {
                Finding::skip("encoder", words)
            }
        }
        other if is_wanted => Finding::warn("encoder", other.to_string())
            .next("take video.encoder out: the next one is used anyway"),
        other => Finding::skip("encoder", other.to_string()),
    };
    finding.figure("encoder", spec.name).figure("used", false)
}

#[cfg(test)]
mod tests {
    use super::super::report::Severity;
    use super::*;
    use crate::media::board::BoardClass;
    use crate::media::mode::Rate;

    fn settings() -> EncodeSettings {
        EncodeSettings {
            width: 640,
            height: 480,
            rate: Rate::whole(30),
            bitrate_kbps: 800,
            keyframe_interval_s: 10,
            board: BoardClass::Medium,
            cores: 4,
        }
    }

    fn figures(fps: u32) -> Encoded {
        Encoded { pictures: fps.into(), wall: Duration::from_secs(1), cpu_s: 1.0 }
    }

    fn missing<T>() -> Result<T, MediaError> {
        Err(MediaError::MissingElement { element: "x".into(), package: "y" })
    }

    fn verdicts(
        results: Vec<Result<Encoded, MediaError>>,
        wanted: EncoderChoice,
        through: bool,
    ) -> Vec<Severity> {
        let specs = order(wanted).into_iter();
        let tried: Vec<Tried> = specs.zip(results).map(|(spec, result)| Tried { spec, result }).collect();
        findings(&tried, &settings(), wanted, through).into_iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn only_the_encoder_that_is_used_decides() {
        use EncoderChoice::{Auto, OpenH264};
        use Severity::{Fail, Skip, Warn};
        let ok = Severity::Ok;
        let good = |fps| Ok(figures(fps));
        assert_eq!(verdicts(vec![missing(), good(100), good(5)], Auto, false), [Skip, ok, Skip]);
        assert_eq!(verdicts(vec![missing(), good(31), good(500)], Auto, false), [Skip, Warn, Skip]);
        assert_eq!(verdicts(vec![missing(), missing(), missing()], Auto, false), [Skip, Skip, Skip, Fail]);
        assert_eq!(verdicts(vec![missing(), missing(), good(100)], OpenH264, false), [Warn, Skip, ok]);
        assert_eq!(verdicts(vec![missing(), missing(), missing()], Auto, true), [ok, Skip, Skip, Skip]);
    }

    #[test]
    fn figures_are_in_the_line_and_beside_it() {
        let spec = order(EncoderChoice::X264)[0];
        let finding = measured(spec, figures(400), &settings(), true);
        assert_eq!(finding.what, "x264enc (used): 640x480 at up to 400 fps; 8 % of a core at 30");
        assert_eq!(finding.figures["fps"], 400.0);
        assert_eq!(finding.figures["cpu_percent_at_asked"], 7.5);
    }
}
