//! `porthole doctor`: checks everything that video needs, says what to do, and changes nothing.
//!
//! Each area is a file: it looks (every wait is bounded) and turns what it saw into [`report::Finding`]s
//! with a pure function. Whether video would work is the sum of the findings.

mod board;
mod broker;
mod camera;
mod encoder;
mod first_frame;
mod network;
mod report;
mod sound;

use std::path::Path;

use crate::app::is_streaming_allowed;
use crate::config::{BrokerChoice, Config, ConfigError, DEFAULT_FILE, Flavour};
use crate::media::measure::{Outlook, outlook};
use crate::media::{DeviceChoice, MediaConfig};
use first_frame::TrialPath;
use report::{DoctorReport, Finding};

/// What is checked.
pub struct Subject {
    config: Config,
    source: Source,
}

impl Subject {
    /// The configuration that `run` would use, from `file` where one is named.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        load(file).map(|(config, source)| Self { config, source })
    }

    /// Checks everything and prints what it finds. Whether video would work.
    pub async fn check(&self, json: bool) -> bool {
        let mut report = DoctorReport::new(!json);
        // Boxed: its future is 16 KB.
        Box::pin(examine(&self.config, &self.source, &mut report)).await;
        if json {
            report::print(&report.json(&self.source.words()));
        } else {
            report::print(&format!("\n{}", report.summary()));
        }
        report.video_would_work()
    }
}

/// Prints a report, as JSON, that says no more than that the configuration cannot be used.
pub fn print_unusable(file: Option<&Path>, error: &ConfigError) {
    let mut report = DoctorReport::new(false);
    report.add(Finding::fail("config", error.to_string()));
    report::print(&report.json(&shown(file)));
}

/// Where the configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A file, the environment, or both.
    Written(String),
    /// Nobody wrote one: the demo's.
    Nowhere,
}

impl Source {
    fn words(&self) -> String {
        match self {
            Self::Written(name) => name.clone(),
            Self::Nowhere => "none".to_owned(),
        }
    }
}

/// The configuration that `run` would use. Where nobody has named a broker yet, in no file and in no
/// variable, `run` would refuse; the rest can be checked all the same, as `demo` would run.
fn load(file: Option<&Path>) -> Result<(Config, Source), ConfigError> {
    let is_written = file.is_some() || Path::new(DEFAULT_FILE).exists();
    if !is_written && std::env::var_os("PORTHOLE_MQTT_URL").is_none() {
        return Config::load(None, Flavour::Demo).map(|config| (config, Source::Nowhere));
    }
    Config::load(file, Flavour::Run).map(|config| (config, Source::Written(shown(file))))
}

fn shown(file: Option<&Path>) -> String {
    match file {
        Some(file) => file.display().to_string(),
        None if Path::new(DEFAULT_FILE).exists() => DEFAULT_FILE.to_owned(),
        None => "environment".to_owned(),
    }
}

/// Every check in its order: what a later one builds on comes first.
async fn examine(config: &Config, source: &Source, report: &mut DoctorReport) {
    report.add(configuration(config, source));
    let may_capture = is_streaming_allowed(&config.device.state_dir);
    if !may_capture {
        report.add(privacy(config));
    }
    let (delivers, daemon_has_it) = capture_side(&config.media, may_capture, report).await;
    let audio = config.audio.clone();
    let heard = blocking(move || sound::check(&audio, may_capture, daemon_has_it)).await;
    report.extend(heard.into_iter().flatten());
    let broker = broker::check(config).await;
    report.extend(broker.findings);
    report.extend(network::ice(&config.ice).await);
    report.extend(network::ports(config));
    let needs_clock = matches!(&config.mqtt.broker, BrokerChoice::External(url) if url.is_tls());
    report.extend(board::check(&config.device.state_dir, needs_clock).await);
    let way = match (daemon_has_it, broker.url) {
        _ if !may_capture => {
            report.add(Finding::skip("first frame", "not tried: the privacy switch is off"));
            return;
        }
        (true, Some(url)) => TrialPath::Daemon(url),
        _ if delivers => TrialPath::Own,
        _ => TrialPath::OwnTestPicture,
    };
    report.add(first_frame::check(config, &way).await);
}

/// Camera, plugins and encoders. Whether the camera delivers, and whether a running daemon has it.
async fn capture_side(media: &MediaConfig, may_capture: bool, report: &mut DoctorReport) -> (bool, bool) {
    let config = media.clone();
    let looked = blocking(move || outlook(&config, may_capture)).await;
    let outlook = match looked {
        Some(Ok(outlook)) => outlook,
        Some(Err(error)) => {
            report.add(Finding::fail("gstreamer", error.to_string()).explained());
            return (false, false);
        }
        None => {
            report.add(Finding::fail(
                "gstreamer",
                "looking for cameras and encoders broke down: please report this",
            ));
            return (false, false);
        }
    };
    let (config, view) = (media.clone(), outlook.clone());
    let camera = blocking(move || camera::check(&config, &view, may_capture)).await;
    let (delivers, daemon_has_it) =
        camera.as_ref().map_or((false, false), |camera| (camera.delivers, camera.daemon_has_it));
    report.extend(no_camera(media, &outlook));
    report.extend(camera.into_iter().flat_map(|camera| camera.findings));
    report.add(encoder::plugins(media, &outlook));
    let config = media.clone();
    let encoders = blocking(move || encoder::encoders(&config, &outlook)).await;
    report.extend(encoders.into_iter().flatten());
    (delivers, daemon_has_it)
}

/// The demo goes on without a camera, which should be known.
fn no_camera(media: &MediaConfig, outlook: &Outlook) -> Option<Finding> {
    let chosen = outlook.chosen.as_ref().ok()?;
    (media.device == DeviceChoice::AutoOrTest && chosen.camera().is_none()).then(|| {
        Finding::warn("camera", "no camera was found: the demo shows its test picture")
            .next("plug one in (dmesg tells whether the kernel sees it)")
    })
}

/// `None` when it panicked, which was printed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn configuration(config: &Config, source: &Source) -> Finding {
    let who = if crate::base::processes::own_user() == "root" {
        "; checked as root, who may more than the service's user"
    } else {
        ""
    };
    match source {
        Source::Written(name) => {
            let broker = match &config.mqtt.broker {
                BrokerChoice::Embedded => "the built-in broker".to_owned(),
                BrokerChoice::External(url) => url.to_string(),
            };
            let words =
                format!("{name}: device {}, camera {}, {broker}{who}", config.device.id, config.media.device);
            Finding::ok("config", words)
        }
        Source::Nowhere => {
            let words = format!("none: what `porthole demo` would use is checked{who}");
            Finding::warn("config", words).next(format!(
                "for `porthole run` write {DEFAULT_FILE} with the broker ([mqtt] url = \"mqtt://HOST\"), or set PORTHOLE_MQTT_URL"
            ))
        }
    }
}

fn privacy(config: &Config) -> Finding {
    let topic = format!("{}/{}/set/streaming", config.mqtt.root, config.device.id);
    Finding::fail("privacy", "the privacy switch is off: nobody can watch, and the camera stays closed")
        .next(format!("mosquitto_pub -h BROKER -t {topic} -m ON, when people may watch again"))
}
