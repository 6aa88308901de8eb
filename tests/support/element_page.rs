//! A page that is not Porthole's, with the element in it, in a real browser.

use std::time::Instant;

use serde_json::{Value, json};

use super::PATIENCE;
use super::browser::{Browser, elsewhere};
use super::daemon::{DEVICE, Daemon, Settings};
use super::mosquitto::{Mosquitto, Options};
use super::viewer::Dashboard;

/// A device on a broker that browsers reach.
pub struct World {
    pub broker: Mosquitto,
    pub daemon: Daemon,
    pub dashboard: Dashboard,
}

impl World {
    /// `None` without a broker to test with.
    pub async fn new() -> Option<Self> {
        let broker = Mosquitto::start_with(&Options { websocket: true, ..Options::default() })?;
        let daemon = Daemon::run(Settings::new(&broker.url()));
        let mut dashboard = Dashboard::connect(broker.port()).await;
        dashboard.availability("online").await;
        Some(Self { broker, daemon, dashboard })
    }

    /// A page elsewhere that has imported the element.
    pub async fn page(&self) -> Option<Browser> {
        element_page(&self.daemon.page().await).await
    }

    /// Where the device is, as attributes.
    pub fn place(&self) -> Value {
        json!({ "broker": self.broker.ws_url(), "device": DEVICE })
    }

    /// The page's connections that the broker has seen.
    pub fn connections(&self) -> usize {
        self.broker
            .log()
            .lines()
            .filter(|line| line.contains("New client connected") && line.contains(" as web-"))
            .count()
    }
}

/// Counts connections, and makes elements.
const PREPARE: &str = "
    const counted = (name, isOpen) => {
        const Original = window[name];
        const all = [];
        window[name] = class extends Original { constructor(...given) { super(...given); all.push(this); } };
        return () => ({ made: all.length, open: all.filter(isOpen).length });
    };
    const peers = counted('RTCPeerConnection', (pc) => pc.signalingState !== 'closed');
    const sockets = counted('WebSocket', (socket) => socket.readyState < 2);
    window.count = () => ({ peers: peers(), sockets: sockets() });
    window.make = (attributes) => {
        const camera = document.createElement('porthole-camera');
        for (const [name, value] of Object.entries(attributes)) camera.setAttribute(name, value);
        camera.style.width = '480px';
        return window.camera = camera;
    };
    window.words = (camera = window.camera) => camera.shadowRoot.querySelector('.words').innerText;
    window.grab = (camera = window.camera) => {
        const { video } = camera;
        const canvas = document.createElement('canvas');
        canvas.width = video.videoWidth; canvas.height = video.videoHeight;
        const context = canvas.getContext('2d', { willReadFrequently: true });
        context.drawImage(video, 0, 0);
        return context;
    };
    window.porthole = { state: () => window.camera.state, stats: () => window.camera.stats() };
    window.loads = 1;
    await import(module);
    return 0;";

/// A browser with an empty page of another origin that has imported the element from the daemon's page at `site`.
pub async fn element_page(site: &str) -> Option<Browser> {
    let browser = Browser::start().await?;
    prepare(&browser, &elsewhere().await, site).await;
    Some(browser)
}

/// Opens `page` and imports the element there.
pub async fn prepare(browser: &Browser, page: &str, site: &str) {
    browser.open(page).await;
    let module = json!(format!("{site}porthole-camera.js"));
    browser.run_async(&format!("const module = {module}; {PREPARE}")).await;
}

/// Appends an element with these attributes; it is the one that is asked from then on.
pub async fn add(browser: &Browser, attributes: &Value) {
    browser.run(&format!("document.body.append(make({attributes})); return 0")).await;
}

/// Waits until JavaScript gives this.
pub async fn until(browser: &Browser, script: &str, wanted: &Value) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = browser.run(&format!("return {script}")).await;
        if got == *wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{script} is {got} and not {wanted}");
        browser.a_moment().await;
    }
}

/// The camera that is asked is live, in its pixels.
pub async fn assert_live(browser: &Browser) {
    browser.phase("live").await;
    browser.frames_advance(10).await;
    browser.assert_test_picture_is_live().await;
}

/// What is open: peer connections and connections to brokers.
pub async fn assert_open(browser: &Browser, peers: u64, sockets: u64) {
    until(browser, "[count().peers.open, count().sockets.open]", &json!([peers, sockets])).await;
}
