//! Sound between a real Chromium and the daemon, the signals carried by the test: heard, held, and spoken.

mod support;

use serde_json::{Value, json};
use support::browser::{Browser, PEER_PAGE};
use support::daemon::{Daemon, Settings};
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, Viewer};

/// What it needs beyond a page for pictures: an element that plays sound, figures of either, and a voice.
const SOUND_PAGE: &str = "
    const audio = new Audio();
    audio.autoplay = true;
    document.body.append(audio);
    pc.addEventListener('track', ({ track }) => {
        if (track.kind === 'audio') audio.srcObject = new MediaStream([track]);
    });
    pc.ontrack = ({ track }) => {
        if (track.kind === 'video') document.querySelector('video').srcObject = new MediaStream([track]);
    };
    const find = async (type, kind) => {
        for (const entry of (await pc.getStats()).values()) if (entry.type === type && entry.kind === kind) return entry;
        return undefined;
    };
    window.porthole = { stats: async () => (await find('inbound-rtp', 'video')) ?? { framesDecoded: 0 } };
    // What `fits` of the figures of this type, as soon as they do.
    window.sound = async (type, fits) => {
        for (let tries = 0; tries < 400; tries += 1) {
            const entry = await find(type, 'audio');
            if (entry && fits(entry)) return entry;
            await new Promise((done) => setTimeout(done, 50));
        }
        return { last: await find(type, 'audio') };
    };
    window.voice = () => {
        const context = new AudioContext();
        const tone = context.createOscillator();
        const end = context.createMediaStreamDestination();
        tone.connect(end);
        tone.start();
        return end.stream.getAudioTracks()[0];
    };
    return 0;";

struct World {
    browser: Browser,
    viewer: Viewer,
    dashboard: Dashboard,
    daemon: Daemon,
    _broker: Mosquitto,
}

impl World {
    /// A page that has offered nothing yet, and a device with such sound.
    async fn new(settings: impl Fn(Settings) -> Settings) -> Option<Self> {
        let (broker, browser) = (Mosquitto::start()?, Browser::start().await?);
        let daemon = Daemon::run(settings(Settings::new(&broker.url()).value("video.linger_s", 1)));
        let mut dashboard = Dashboard::connect(broker.port()).await;
        dashboard.availability("online").await;
        let viewer = Viewer::connect(broker.port(), "chromium").await;
        browser.open("about:blank").await;
        browser.run(PEER_PAGE).await;
        browser.run(SOUND_PAGE).await;
        Some(Self { browser, viewer, dashboard, daemon, _broker: broker })
    }

    /// One offer with all its candidates, one answer with all of the device's. Gives the answer's section of sound.
    async fn call(&mut self) -> String {
        let offer = self.browser.run_async("return await window.offer()").await;
        self.viewer.say(json!({"type": "offer", "session": "raw", "sdp": offer, "ice": "full"})).await;
        let answer = self.viewer.expect("answer").await;
        let sdp = answer["sdp"].as_str().expect("text").to_owned();
        let apply =
            format!("await pc.setRemoteDescription({}); return 0", json!({"type": "answer", "sdp": sdp}));
        self.browser.run_async(&apply).await;
        let section = sdp.split("\r\nm=").find(|section| section.starts_with("audio "));
        section.expect("a section of sound").to_owned()
    }

    /// The figures of this type once they fit.
    async fn figures(&self, kind: &str, fits: &str) -> Value {
        let found =
            self.browser.run_async(&format!("return await window.sound('{kind}', (it) => {fits})")).await;
        assert!(found.get("last").is_none(), "{kind} never had {fits}: {found}");
        found
    }
}

fn direction(section: &str) -> &str {
    let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let is_said = |direction: &&str| section.lines().any(|line| line.strip_prefix("a=") == Some(direction));
    directions.into_iter().find(is_said).expect("a direction")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_hears_the_device_and_can_hold_its_sound() {
    let Some(mut world) = World::new(|settings| settings.text("audio.device", "test")).await else { return };
    world.browser.run("window.ear = pc.addTransceiver('audio', { direction: 'recvonly' }); return 0").await;
    let section = world.call().await;
    assert_eq!(direction(&section), "sendonly", "{section}");
    assert!(section.contains("a=msid:porthole audio"), "{section}");
    world.browser.frames_advance(10).await;
    let heard = world.figures("inbound-rtp", "it.packetsReceived > 100 && it.totalAudioEnergy > 0").await;
    assert!(heard["packetsLost"].as_i64().is_some_and(|lost| lost <= 0), "{heard}");
    // Both streams' reports came, so that the browser can keep them together.
    world.figures("remote-outbound-rtp", "it.reportsSent > 0").await;
    world.dashboard.state("sound", |state| state["audio"]["state"] == "live").await;
    // Who holds it costs nothing: the microphone is closed.
    world.browser.run("ear.direction = 'inactive'; return 0").await;
    assert_eq!(direction(&world.call().await), "inactive");
    world.dashboard.state("silence", |state| state["audio"]["state"] == "idle").await;
    world.browser.frames_advance(10).await;
    world.browser.run("ear.direction = 'recvonly'; return 0").await;
    assert_eq!(direction(&world.call().await), "sendonly");
    world.dashboard.state("sound again", |state| state["audio"]["state"] == "live").await;
    world.figures("inbound-rtp", "it.packetsReceived > 50").await;
    world.browser.assert_test_picture_is_live().await;
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_offers_no_sound_has_the_microphone_left_alone() {
    let Some(mut world) = World::new(|settings| settings.text("audio.device", "test")).await else { return };
    let offer = world.browser.run_async("return await window.offer()").await;
    world.viewer.say(json!({"type": "offer", "session": "raw", "sdp": offer, "ice": "full"})).await;
    let answer = world.viewer.expect("answer").await;
    let apply = format!(
        "await pc.setRemoteDescription({}); return 0",
        json!({"type": "answer", "sdp": answer["sdp"]})
    );
    world.browser.run_async(&apply).await;
    world.browser.frames_advance(30).await;
    let state = world.dashboard.viewers(1).await;
    assert_eq!(state["audio"]["state"], "idle", "{state}");
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_talks_is_heard_while_it_hears() {
    let settings = |settings: Settings| settings.text("audio.device", "test").text("audio.speaker", "auto");
    let Some(mut world) = World::new(settings).await else { return };
    world.browser.run("pc.addTransceiver(voice(), { direction: 'sendrecv' }); return 0").await;
    let section = world.call().await;
    assert_eq!(direction(&section), "sendrecv", "{section}");
    world.figures("inbound-rtp", "it.packetsReceived > 50").await;
    world.figures("outbound-rtp", "it.packetsSent > 50").await;
    // The device's reports on the voice, which it makes of what it has taken.
    let report = world.figures("remote-inbound-rtp", "it.jitter !== undefined").await;
    assert_eq!(report["packetsLost"], 0, "{report}");
    world.browser.frames_advance(10).await;
    world.browser.assert_test_picture_is_live().await;
    world.daemon.assert_unharmed();
}
