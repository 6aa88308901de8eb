//! Time to first frame: the whole way from an offer to a picture, through a viewer of our own.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::broker::tls;
use super::report::Finding;
use crate::access::offer_authorizer::AccessMode;
use crate::app::App;
use crate::config::{Broker, BrokerChoice, Config, Ice};
use crate::media::DeviceChoice;
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::topic::Topics;
use crate::tools::watch::{Watched, first_frame};

const AREA: &str = "first frame";
/// For the capture side to know its encoder.
const LOOK_LIMIT: Duration = Duration::from_mins(1);
/// From the offer to the picture; a daemon gives a session up after 15 s.
const LIMIT: Duration = Duration::from_secs(20);
/// People begin to press buttons.
const SLOW: Duration = Duration::from_secs(3);
/// The test picture carries its time in so many pixels.
const TEST_WIDTH: u32 = 640;

/// Which pictures are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TrialPath {
    /// A daemon inside this process, with what is configured.
    Own,
    /// The same with the test picture, because the camera gives none.
    OwnTestPicture,
    /// The running daemon, which has the camera, at this broker.
    Daemon(BrokerUrl),
}

/// Measures one viewer's first picture. Takes a minute and a half at the very most.
pub(super) async fn check(config: &Config, way: &TrialPath) -> Finding {
    match way {
        TrialPath::Daemon(url) => {
            let outcome = first_frame(watched(config, url.clone()), LIMIT).await;
            finding(outcome, "through the running daemon and the broker", true)
        }
        TrialPath::Own => own(config.clone(), "through a broker and a viewer of its own").await,
        TrialPath::OwnTestPicture => {
            let mut config = config.clone();
            let media = &mut config.media;
            media.device = DeviceChoice::Test;
            if media.width.is_some_and(|width| width < TEST_WIDTH || !width.is_multiple_of(8)) {
                (media.width, media.height) = (None, None);
            }
            own(config, "but with the test picture, because the camera gives none").await
        }
    }
}

fn watched(config: &Config, url: BrokerUrl) -> Watched {
    Watched {
        topics: Topics::new(&config.mqtt.root, &config.device.id),
        device: config.device.id.clone(),
        username: config.mqtt.username.clone(),
        password: config.mqtt.password.as_ref().map(|secret| secret.expose().to_owned()),
        tls: if url.is_tls() { tls(config) } else { crate::signaling::mqtt::TlsFiles::default() },
        url,
    }
}

/// The configuration with everything that others may have left out: own broker on ports of its own, no
/// page, no servers, nothing remembered but in `state_dir`, nobody to invite.
fn private(config: Config, state_dir: PathBuf) -> Config {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = config;
    config.mqtt.broker = BrokerChoice::Embedded;
    (config.mqtt.username, config.mqtt.password) = (None, None);
    (config.mqtt.ca_file, config.mqtt.client_cert_file, config.mqtt.client_key_file) = (None, None, None);
    config.broker = Broker { listen: loopback, websocket: loopback };
    config.http.listen = None;
    config.ice = Ice::default();
    config.viewers.max = 1;
    config.access = AccessMode::Open;
    config.device.state_dir = state_dir;
    config
}

/// A folder that nobody else can enter, gone on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("porthole-doctor-{:016x}", rand::random::<u64>()));
        // Fails where somebody else made it before.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It holds nothing that anybody needs.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn own(config: Config, how: &str) -> Finding {
    let scratch = match Scratch::make() {
        Ok(scratch) => scratch,
        Err(error) => {
            let words = format!("no folder can be made in {}: {error}", std::env::temp_dir().display());
            return Finding::fail(AREA, words).next("make room there, or set TMPDIR");
        }
    };
    let config = private(config, scratch.0.clone());
    let app = match App::start(config.clone()).await {
        Ok(app) => app,
        Err(error) => return Finding::fail(AREA, error.to_string()).explained(),
    };
    // An offer that comes before the device listens is lost.
    let looked = timeout(LOOK_LIMIT, async { tokio::join!(app.looked(), app.online()).0 }).await;
    let url = app.broker.as_ref().and_then(|broker| format!("mqtt://{}", broker.tcp).parse().ok());
    let finding = match (looked, url) {
        (Ok(Ok(())), Some(url)) => finding(of_camera(&app, watched(&config, url)).await, how, false),
        (Ok(Err(error)), _) => Finding::fail(AREA, format!("no picture: {error}")).explained(),
        _ => Finding::fail(AREA, "the capture side did not get ready in time").next("see the lines above"),
    };
    app.drain().await;
    finding
}

/// The first picture of the camera. A placeholder may come before it, and is none.
async fn of_camera(app: &App, watched: Watched) -> Result<Duration, (String, String)> {
    let (start, mut live, mut is_live) = (Instant::now(), pin!(app.camera_is_live()), false);
    let mut first = pin!(first_frame(watched, LIMIT));
    let took = loop {
        tokio::select! {
            biased;
            () = &mut live, if !is_live => is_live = true,
            outcome = &mut first => break outcome?,
        }
    };
    if is_live {
        return Ok(took);
    }
    let error = app.keep_camera(LIMIT);
    if timeout(LIMIT, live).await.is_ok() {
        return Ok(start.elapsed());
    }
    let words = error.unwrap_or_else(|| "the camera gives no picture".to_owned());
    Err(("camera-unavailable".to_owned(), words))
}

/// `others`: other viewers may have the places.
fn finding(outcome: Result<Duration, (String, String)>, how: &str, others: bool) -> Finding {
    match outcome {
        Ok(took) => {
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let words = format!("{ms} ms from the offer to the first picture, {how}");
            let finding = if took > SLOW {
                Finding::warn(AREA, words).next("a camera that is slow to start: do/warm before somebody looks, or a longer video.linger_s")
            } else {
                Finding::ok(AREA, words)
            };
            finding.figure("first_frame_ms", ms)
        }
        Err((code, _)) if others && code == "busy" => {
            Finding::skip(AREA, "not measured: the running daemon has as many viewers as it may")
                .figure("code", code)
        }
        Err((code, _)) if others && code == "unauthorized" => {
            Finding::skip(AREA, "not measured: the running daemon asks for an invitation")
                .next("porthole watch --link LINK, with a link of `porthole grant`")
                .figure("code", code)
        }
        Err((code, message)) => {
            let words = format!("no picture, {how} ({code}): {message}");
            Finding::fail(AREA, words).next(advice(&code)).figure("code", code)
        }
    }
}

fn advice(code: &str) -> &'static str {
    match code {
        "camera-unavailable" => "see the lines about the camera and the encoders",
        "privacy" => "mosquitto_pub … -t ROOT/ID/set/streaming -m ON",
        "no-connection" | "connection" => {
            "the answer came but no UDP: look for a firewall on this machine (nft list ruleset)"
        }
        "broker" | "no-answer" => "see the lines about the broker",
        _ => "PORTHOLE_LOG=debug porthole doctor shows what happens",
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Severity;
    use super::*;

    #[test]
    fn a_slow_picture_is_a_warning_and_none_a_failure() {
        let took = |ms| finding(Ok(Duration::from_millis(ms)), "x", false);
        assert_eq!((took(80).verdict, took(5000).verdict), (Severity::Ok, Severity::Warn));
        assert_eq!(took(80).figures["first_frame_ms"], 80);
        let none = |code: &str, others| finding(Err((code.into(), "why".into())), "x", others);
        assert_eq!(none("no-connection", false).verdict, Severity::Fail);
        assert!(none("no-connection", false).next.is_some_and(|next| next.contains("firewall")));
        assert_eq!(none("busy", true).verdict, Severity::Skip);
        assert_eq!(none("unauthorized", true).verdict, Severity::Skip);
        assert_eq!(none("busy", false).verdict, Severity::Fail);
    }
}
