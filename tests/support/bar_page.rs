//! The page with its bar, of a device that asks for invitations, as somebody with certain rights sees it.

#![allow(dead_code)] // each test file uses its own part

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use serde_json::Value;

use super::support::PATIENCE;
use super::support::browser::Browser;
use super::support::daemon::{Daemon, Settings};
use super::support::invited;
use super::support::mosquitto::{Mosquitto, Options};
use super::support::viewer::Dashboard;

/// Keeps the files that the page gives to be saved, and the timers of the bar's hiding, which a test lets come when it wants.
const BEFORE: &str = "
    window.saved = [];
    const blobs = new Map(), createObjectURL = URL.createObjectURL;
    URL.createObjectURL = (blob) => { const url = createObjectURL.call(URL, blob); blobs.set(url, blob); return url; };
    HTMLAnchorElement.prototype.click = function () { window.saved.push({ name: this.download, blob: blobs.get(this.href) }); };
    const original = window.setTimeout;
    window.idle = [];
    window.setTimeout = (act, ms, ...more) => {
        if (ms === 3000) { window.idle.push(act); window.idle = window.idle.slice(-8); return original(() => {}, ms); }
        return original(act, ms, ...more);
    };
    const Peer = window.RTCPeerConnection;
    window.peers = [];
    window.RTCPeerConnection = class extends Peer { constructor(...all) { super(...all); window.peers.push(this); } };
    window.inBar = (selector) => document.querySelector('porthole-camera').shadowRoot.querySelector('.ui ' + selector);
    window.shown = (selector) => { const at = inBar(selector); return at !== null && at.getClientRects().length > 0; };
    window.focusIn = () => { let at = document.activeElement; while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement; return at; };";

/// A device that hears the test tone, and plays to nobody: ALSA's `null` takes everything.
pub fn with_sound(settings: Settings) -> Settings {
    settings.text("audio.device", "test").text("audio.speaker", "null")
}

pub struct World {
    pub browser: Browser,
    pub daemon: Daemon,
    pub dashboard: Dashboard,
    /// By which the page was opened.
    pub link: String,
    _broker: Mosquitto,
}

impl World {
    /// A live picture, seen with a grant of these rights.
    pub async fn with(rights: &str) -> Option<Self> {
        Self::of(rights, |settings| settings, &[]).await
    }

    /// The same of a device with these settings, in a browser with further arguments.
    pub async fn of(
        rights: &str,
        settings: impl FnOnce(Settings) -> Settings,
        further: &[&str],
    ) -> Option<Self> {
        let broker = Mosquitto::start_with(&Options { websocket: true, ..Options::default() })?;
        let browser = Browser::start_with(further).await?;
        browser.before_each_page(BEFORE).await;
        let daemon = Daemon::run(settings(Settings::new(&broker.url()).text("access.mode", "grants")));
        let mut dashboard = Dashboard::connect(broker.port()).await;
        dashboard.state("a daemon", |_| true).await;
        let mut link = invited::grant(&daemon, "guest", &["--rights", rights]).await;
        link.page = daemon.page().await;
        link.broker = Some(broker.ws_url());
        let link = link.to_string();
        browser.open(&link).await;
        browser.phase("live").await;
        browser.frames_advance(5).await;
        Some(Self { browser, daemon, dashboard, link, _broker: broker })
    }

    /// Waits until this expression is true, and gives it.
    pub async fn until(&self, expression: &str) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        let script = format!("return {expression}");
        loop {
            let value = self.browser.run(&script).await;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            assert!(std::time::Instant::now() < deadline, "never: {expression}");
            self.browser.a_moment().await;
        }
    }

    /// Clicks what is in the bar.
    pub async fn click(&self, selector: &str) {
        self.until(&format!("shown({selector:?})")).await;
        self.browser.run(&format!("inBar({selector:?}).click(); return 0")).await;
    }

    /// Real keys, for whatever has the focus.
    pub async fn keys(&self, keys: &str) {
        let actions = keys.chars().fold(KeyActions::new("keyboard".into()), |actions, key| {
            actions.then(KeyAction::Down { value: key }).then(KeyAction::Up { value: key })
        });
        self.browser.client.perform_actions(actions).await.expect("press keys");
    }

    /// What was saved as the `n`-th file: waits for it.
    pub async fn saved(&self, n: usize) -> String {
        let name = self.until(&format!("window.saved[{n}]?.name")).await;
        name.as_str().expect("a name").to_owned()
    }

    pub async fn close(mut self) {
        self.daemon.assert_unharmed();
        self.browser.close().await;
    }
}
