//! Sound in a real Chromium: the device's tone is heard, and viewers ask for the word on the data channel.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::channel_page::{Offered, ask, join, page, told};
use support::daemon::{Daemon, Settings};
use support::invited;
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;

/// Listens beside the picture; `hear(low, high)` resolves when the loudest tone of the sound is between these frequencies in Hz.
const LISTEN: &str = "
    const pc = window.pc = new RTCPeerConnection();
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    pc.ontrack = ({ track }) => {
        const stream = new MediaStream([track]);
        if (track.kind === 'video') { document.querySelector('video').srcObject = stream; return; }
        // Chromium feeds what comes from the network to WebAudio only while an element plays it.
        const element = new Audio();
        element.muted = true;
        element.srcObject = stream;
        element.play();
        context.createMediaStreamSource(stream).connect(analyser);
    };
    window.pitch = () => {
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        const loudest = bins.reduce((best, level, at) => (level > bins[best] ? at : best), 0);
        return { hz: (loudest * context.sampleRate) / analyser.fftSize, db: bins[loudest] };
    };
    window.hear = async (fits) => {
        for (;;) {
            const heard = pitch();
            if (fits(heard)) return heard;
            await new Promise((done) => setTimeout(done, 20));
        }
    };
    window.received = async () => {
        for (const report of (await pc.getStats()).values()) {
            if (report.type === 'inbound-rtp' && report.kind === 'audio') return report.packetsReceived;
        }
        return 0;
    };
    await pc.setLocalDescription();
    const answer = await fetch(whep, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp });
    if (!answer.ok) throw new Error(await answer.text());
    const sdp = await answer.text();
    await pc.setRemoteDescription({ type: 'answer', sdp });
    await context.resume();
    return sdp;";

/// Asks for the word again and again, as a page does while its button is held.
const HOLD: &str = "await opened; window.held = setInterval(() => ask({ type: 'do', action: 'talk', on: true }), 200); return 0";

async fn heard(browser: &Browser, fits: &str) -> Value {
    browser.run_async(&format!("return await hear(({{ hz, db }}) => {fits})")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_devices_tone_is_heard_until_it_is_switched_off() {
    let Some(broker) = Mosquitto::start() else { return };
    let Some(browser) = page().await else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()).text("audio.device", "test"));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.state("a closed card", |state| state["audio"]["state"] == "idle").await;
    let whep = format!("{}whep", daemon.page().await);
    let answer = browser.run_async(&format!("const whep = {};\n{LISTEN}", json!(whep))).await;
    let answer = answer.as_str().expect("an answer");
    assert!(answer.contains("opus/48000/2") && answer.contains("a=sendonly"), "{answer}");
    browser.frames_advance(10).await;
    let tone = heard(&browser, "db > -60 && hz > 420 && hz < 460").await;
    let state = dashboard.new_state("a level", |state| state["audio"]["state"] == "live").await;
    assert!(state["audio"]["level"].as_f64().is_some_and(|level| level > -60.0), "{tone}: {state:#}");
    assert_eq!(dashboard.ask("set/audio", "OFF").await["ok"], true);
    dashboard.new_state("silence", |state| state["audio"]["state"] == "off").await;
    heard(&browser, "db < -90").await;
    let count = browser.run_async("return await received()").await;
    browser.frames_advance(20).await;
    assert_eq!(browser.run_async("return await received()").await, count, "nothing is sent any more");
    assert_eq!(dashboard.ask("set/audio", "ON").await["ok"], true);
    heard(&browser, "db > -60 && hz > 420 && hz < 460").await;
    dashboard.viewers(1).await;
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_is_one_viewers_at_a_time_and_only_theirs_who_may_talk() {
    let (Some(one), Some(other)) = (page().await, page().await) else { return };
    let Some(broker) = Mosquitto::start() else { return };
    let settings =
        Settings::new(&broker.url()).text("access.mode", "grants").text("audio.speaker", "no such card");
    let mut daemon = Daemon::run(settings);
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.state("a daemon", |_| true).await;
    let whep = format!("{}whep", daemon.page().await);
    let mut tokens = Vec::new();
    for (name, rights) in [("anna", "view,talk"), ("ben", "view,talk"), ("carl", "view,control")] {
        let link = invited::grant(&daemon, name, &["--rights", rights]).await;
        tokens.push(link.grant.expect("a grant").1.bearer());
    }
    let wish = |on: Value| json!({"type": "do", "action": "talk", "on": on});
    join(&one, &whep, Some(&tokens[0]), &Offered::default()).await;
    join(&other, &whep, Some(&tokens[1]), &Offered::default()).await;
    let wrong = ask(&one, &wish(json!("yes"))).await;
    assert_eq!((&wrong["ok"], &wrong["error"]), (&json!(false), &json!("bad-message")), "{wrong}");
    one.run_async(HOLD).await;
    told(&one, "m.type === 'talk' && m.state === 'you'").await;
    told(&other, "m.type === 'talk' && m.state === 'busy'").await;
    let busy = ask(&other, &wish(json!(true))).await;
    assert_eq!((&busy["ok"], &busy["error"]), (&json!(false), &json!("busy")), "{busy}");
    // Who has no word takes none away by giving it back.
    assert_eq!(ask(&other, &wish(json!(false))).await["ok"], true);
    assert_eq!(ask(&other, &wish(json!(true))).await["error"], "busy");
    other.run("told.length = 0; return 0").await;
    one.run("clearInterval(held); return 0").await;
    assert_eq!(ask(&one, &wish(json!(false))).await["ok"], true);
    told(&other, "m.type === 'talk' && m.state === 'free'").await;
    other.run_async(HOLD).await;
    told(&other, "m.type === 'talk' && m.state === 'you'").await;
    // Who falls silent loses it.
    other.run("clearInterval(held); told.length = 0; return 0").await;
    told(&other, "m.type === 'talk' && m.state === 'free'").await;
    join(&one, &whep, Some(&tokens[2]), &Offered::default()).await;
    let refused = ask(&one, &wish(json!(true))).await;
    assert_eq!((&refused["ok"], &refused["error"]), (&json!(false), &json!("forbidden")), "{refused}");
    assert!(refused["message"].as_str().is_some_and(|words| words.contains("talk")), "{refused}");
    daemon.assert_unharmed();
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_speaker_says_so() {
    let Some(browser) = page().await else { return };
    let Some(broker) = Mosquitto::start() else { return };
    let mut daemon = Daemon::run(Settings::new(&broker.url()).text("audio.device", "test"));
    let whep = format!("{}whep", daemon.page().await);
    join(&browser, &whep, None, &Offered::default()).await;
    let refused = ask(&browser, &json!({"type": "do", "action": "talk", "on": true})).await;
    assert_eq!((&refused["ok"], &refused["error"]), (&json!(false), &json!("unsupported")), "{refused}");
    let stats = told(&browser, "m.type === 'stats'").await;
    assert_eq!(
        (&stats["audio"]["on"], &stats["audio"]["state"]),
        (&json!("ON"), &json!("idle")),
        "{stats:#}"
    );
    daemon.assert_unharmed();
    browser.close().await;
}
