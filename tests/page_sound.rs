//! Sound in a real Chromium, both ways: the test tone is heard once somebody asks for it, and a voice reaches the device.

#[path = "support/bar_page.rs"]
mod bar_page;
mod support;

use bar_page::{World, with_sound};
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use serde_json::{Value, json};
use support::browser::Browser;
use support::daemon::{DEVICE, Daemon, Settings};
use support::element_page::{add, element_page};
use support::mosquitto::{Mosquitto, Options};

/// Chromium's own microphone, which beeps, and nobody who has to allow it.
const MICROPHONE: [&str; 2] = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

/// The strongest pitch of what arrives, in Hz, by the analyser's spectrum.
const LISTEN: &str = "
    const { video } = document.querySelector('porthole-camera');
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 16384, smoothingTimeConstant: 0 });
    context.createMediaStreamSource(video.srcObject).connect(analyser);
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    window.pitch = () => {
        analyser.getFloatFrequencyData(spectrum);
        let strongest = 0;
        spectrum.forEach((level, n) => { if (level > spectrum[strongest]) strongest = n; });
        return spectrum[strongest] > -60 ? strongest * context.sampleRate / analyser.fftSize : 0;
    };
    return 0;";

/// Holds a key, or lets it go. An ended sequence of actions lets nothing go.
async fn key(browser: &Browser, action: KeyAction) {
    let actions = KeyActions::new("keyboard".into()).then(action);
    browser.client.perform_actions(actions).await.expect("a key");
}

async fn talks(world: &World, state: &str) {
    world.until(&format!("document.querySelector('porthole-camera').talking.state === {state:?}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_is_off_until_somebody_asks_for_it_and_then_it_is_the_tone() {
    let Some(world) = World::of("view", with_sound, &[]).await else { return };
    world.until("shown('[data-name=sound]')").await;
    let heard = "const { video } = document.querySelector('porthole-camera'); return [video.muted, shown('.ui-volume'), video.srcObject.getAudioTracks().length]";
    assert_eq!(world.browser.run(heard).await, json!([true, false, 1]));
    world.keys("m").await;
    world.until("shown('.ui-volume')").await;
    assert_eq!(world.browser.run(heard).await, json!([false, true, 1]));
    world.browser.run(LISTEN).await;
    world.until("Math.abs(pitch() - 440) < 6").await;

    // What is recorded has the sound, too.
    world.click("[data-name=record]").await;
    world.until("inBar('.ui-time').textContent >= '0:02'").await;
    world.click("[data-name=record]").await;
    world.saved(0).await;
    let loudest = world
        .browser
        .run_async(
            "const sound = await new OfflineAudioContext(1, 48000, 48000).decodeAudioData(await saved[0].blob.arrayBuffer());
             return sound.getChannelData(0).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);",
        )
        .await;
    assert!(loudest.as_f64().is_some_and(|loudest| loudest > 0.02), "{loudest}");

    world.keys("i").await;
    world.until("/^Microphone: |microphone/i.test(inBar('.ui-stats [part=sound-state]').textContent)").await;
    world.until("[...inBar('.ui-stats').querySelectorAll('dl > div')].some((row) => !row.hidden && /^Sound's bit rate\\d/.test(row.textContent))").await;
    world.keys("m").await;
    world.until("document.querySelector('porthole-camera').muted").await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_microphone_has_a_switch_and_says_how_it_is() {
    let Some(mut world) = World::of("view,control", with_sound, &[]).await else { return };
    world.until("shown('[data-name=settings]')").await;
    world.keys("e").await;
    world.until("inBar('input[data-name=audio]')?.checked").await;
    world.click("input[data-name=audio]").await;
    world.dashboard.state("a microphone that is off", |state| state["audio"]["on"] == "OFF").await;
    world.until("inBar('[part=sound-state]').textContent === 'The microphone is switched off.'").await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_key_is_heard_and_others_read_that_somebody_speaks() {
    let Some(world) = World::of("view,talk", with_sound, &MICROPHONE).await else { return };
    world.until("shown('[data-name=talk]')").await;
    key(&world.browser, KeyAction::Down { value: 't' }).await;
    talks(&world, "on").await;
    world.until("inBar('.ui-talk').textContent === 'You are heard.'").await;
    // For three seconds: who is not heard has the word for one.
    while sent(&world).await < 150 {
        world.browser.a_moment().await;
    }

    // Somebody else, in the same page: a session of its own.
    let other = format!(
        "const other = document.createElement('porthole-camera');
         other.id = 'other'; other.controls = true; other.link = {:?};
         document.body.append(other); return 0",
        world.link
    );
    world.browser.run(&other).await;
    world
        .until(
            "document.querySelector('#other').talking.busy && document.querySelector('#other').talking.can",
        )
        .await;
    let words = "document.querySelector('#other').shadowRoot.querySelector('.ui-talk').textContent";
    world.until(&format!("{words} === 'Somebody else is speaking.'")).await;
    let refused = world.browser.run_async("return document.querySelector('#other').talk(true)").await;
    assert_eq!((&refused["ok"], &refused["error"]), (&json!(false), &json!("busy")), "{refused}");

    let before = sent(&world).await;
    // Who lets go is silent, and the word is free.
    key(&world.browser, KeyAction::Up { value: 't' }).await;
    talks(&world, "off").await;
    world.until(&format!("{words} === ''")).await;
    let begun = world.browser.run_async("return document.querySelector('#other').talk(true)").await;
    assert_eq!(begun["ok"], true, "{begun}");
    assert!(sent(&world).await < before + 100, "it goes on without anybody at the key");
    world.until("document.querySelector('porthole-camera').talking.busy").await;
    world.browser.run("document.querySelector('#other').pause(); return 0").await;
    world.until("!document.querySelector('porthole-camera').talking.busy").await;
    world.close().await;
}

/// Packets of sound that the page's first connection has sent.
async fn sent(world: &World) -> u64 {
    let script = "
        for (const row of (await peers[0].getStats()).values()) if (row.type === 'outbound-rtp' && row.kind === 'audio') return row.packetsSent;
        return 0;";
    world.browser.run_async(script).await.as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_there_is_no_button_and_nothing_is_sent() {
    let Some(world) = World::of("view", with_sound, &MICROPHONE).await else { return };
    world.until("shown('[data-name=sound]')").await;
    world.until("document.querySelector('porthole-camera').camera.rights?.has('view')").await;
    assert_eq!(world.browser.run("return shown('[data-name=talk]')").await, false);
    let refused =
        world.browser.run_async("return document.querySelector('porthole-camera').talk(true)").await;
    assert_eq!((&refused["ok"], &refused["error"]), (&json!(false), &json!("forbidden")), "{refused}");
    // Also not by a page that does not ask.
    let wished = "return document.querySelector('porthole-camera').do('talk', { on: true })";
    assert_eq!(world.browser.run_async(wished).await["error"], "forbidden");
    assert_eq!(sent(&world).await, 0);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_sound_is_offered_none() {
    let Some(world) = World::of("view,talk", |settings| settings, &[]).await else { return };
    world.until("document.querySelector('porthole-camera').camera.rights?.has('view')").await;
    let shown = "return [shown('[data-name=sound]'), shown('[data-name=talk]'), /m=audio/.test(peers.at(-1).localDescription.sdp), peers.length]";
    assert_eq!(world.browser.run(shown).await, json!([false, false, false, 1]));
    world.close().await;
}

/// Beeps and flashes as they leave the browser, in ms of `performance.now()`. A flash is when its picture is due on the screen; a
/// beep is heard when the sample that begins it leaves the sound's output, by the browser's own account of its buffers.
const LIPS: &str = "
    const { video } = window.camera;
    video.muted = false;
    const context = new AudioContext({ latencyHint: 'interactive' });
    const code = `registerProcessor('beeps', class extends AudioWorkletProcessor {
        quiet = 0;
        process([[samples]]) {
            samples?.forEach((sample, n) => {
                if (Math.abs(sample) < 0.15) { this.quiet += 1; return; }
                if (this.quiet > sampleRate / 4) this.port.postMessage(currentTime + n / sampleRate);
                this.quiet = 0;
            });
            return true;
        }
    });`;
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
    const beeps = new AudioWorkletNode(context, 'beeps');
    context.createMediaStreamSource(video.srcObject).connect(beeps).connect(new GainNode(context, { gain: 0 })).connect(context.destination);
    await context.resume();
    window.lips = { beeps: [], flashes: [] };
    beeps.port.onmessage = ({ data }) => {
        const { contextTime, performanceTime } = context.getOutputTimestamp();
        lips.beeps.push(performanceTime + (data - contextTime) * 1000);
    };
    const dot = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    let wasBright = true;
    const look = (_, { expectedDisplayTime }) => {
        dot.drawImage(video, 8, 24, 32, 24, 0, 0, 1, 1);
        const isBright = dot.getImageData(0, 0, 1, 1).data[1] > 128;
        if (isBright && !wasBright) lips.flashes.push(expectedDisplayTime);
        wasBright = isBright;
        video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
    window.pairs = () => lips.flashes.flatMap((flash) => {
        const beep = lips.beeps.find((beep) => Math.abs(beep - flash) < 500);
        return beep === undefined ? [] : [[flash, beep]];
    });
    const ahead = Date.now() - performance.now();
    const sinceSecond = (at) => (at + ahead + 200) % 1000 - 200;
    window.measured = () => pairs().map(([flash, beep]) => [beep - flash, sinceSecond(flash), sinceSecond(beep)]);
    return 0;";

/// The median and the 95th percentile.
fn summary(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[figures.len() * 95 / 100])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure: cargo nextest run --test page_sound --run-ignored only --no-capture (docs/performance.md)"]
async fn lips_and_voice_go_together() {
    const SECONDS: u64 = 64;
    let options = Options { websocket: true, ..Options::default() };
    let Some(broker) = Mosquitto::start_with(&options) else { return };
    let settings = with_sound(Settings::new(&broker.url())).value("camera.fps", 30);
    let mut daemon = Daemon::run(settings);
    let Some(browser) = element_page(&daemon.page().await).await else { return };
    add(&browser, &json!({ "broker": broker.ws_url(), "device": DEVICE })).await;
    browser.phase("live").await;
    browser.frames_advance(30).await;
    browser.run_async(LIPS).await;
    let mut measured = Value::Null;
    while measured.as_array().is_none_or(|pairs| (pairs.len() as u64) < SECONDS) {
        browser.a_moment().await;
        measured = browser.run("return measured()").await;
    }
    let stats = browser.run_async("return window.porthole.stats()").await;
    let column = |n: usize| -> Vec<f64> {
        measured.as_array().into_iter().flatten().filter_map(|pair| pair[n].as_f64()).collect()
    };
    let (apart, shown, heard) = (column(0), column(1), column(2));
    let (median, _) = summary(apart.clone());
    let (distance, p95) = summary(apart.iter().map(|ms| ms.abs()).collect());
    println!(
        "sound after the picture: median {median:.1} ms; apart: median {distance:.1} ms, p95 {p95:.1} ms"
    );
    let ((shown, shown_p95), (heard, heard_p95)) = (summary(shown), summary(heard));
    println!("from the second to the screen: median {shown:.1} ms, p95 {shown_p95:.1} ms");
    println!("from the second to the loudspeaker: median {heard:.1} ms, p95 {heard_p95:.1} ms");
    println!("{stats:#}");
    assert!(median.abs() < 400.0, "picture and sound do not belong together: {measured}");
    daemon.assert_unharmed();
    browser.close().await;
}
