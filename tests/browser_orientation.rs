//! A camera that encodes its picture itself and cannot turn it, in a real Chromium: the browser turns it by what the stream tells of
//! each picture (3GPP TS 26.114 section 7.4.5), or the page does, and what neither can is said.

mod support;

use serde_json::{Value, json};
use support::browser::{Browser, PEER_PAGE};
use support::daemon::{DEVICE, Daemon, Settings};
use support::mosquitto::{Mosquitto, Options};
use support::viewer::{Dashboard, Viewer};

const EXTENSION: &str = "urn:3gpp:video-orientation";

/// The test picture as of a camera with an encoder inside, which nobody can ask for key frames.
fn settings(broker: &Mosquitto) -> Settings {
    Settings::new(&broker.url())
        .value("camera.height", 360)
        .text("camera.format", "h264")
        .value("video.keyframe_interval_s", 1)
}

async fn set(dashboard: &mut Dashboard, topic: &str, payload: &str) {
    let answer = dashboard.ask(topic, payload).await;
    assert_eq!(answer["ok"], true, "{topic} {payload}: {answer}");
}

/// Waits until the page's video has this size, and the bars of the test picture run in this direction.
async fn looks(browser: &Browser, what: &str, script: &str) {
    let script = format!(
        "for (let n = 0; n < 600; n++) {{
             const video = inPage('video');
             const mean = (x, y) => {{
                 const data = window.grab().getImageData(x * video.videoWidth - 4, y * video.videoHeight - 4, 8, 8).data;
                 let sum = 0;
                 for (let at = 0; at < data.length; at += 4) sum += data[at] + data[at + 1] + data[at + 2];
                 return sum / 192;
             }};
             if (video.videoWidth && ({script})) return 'seen';
             await new Promise((done) => setTimeout(done, 50));
         }}
         const video = inPage('video');
         return `${{video.videoWidth}}x${{video.videoHeight}}`;"
    );
    assert_eq!(browser.run_async(&script).await, "seen", "{what}");
}

/// Bright bars are at the left above in the upright picture, dark ones at the right.
const UPRIGHT: &str = "video.videoWidth === 640 && mean(0.06, 0.2) > 150 && mean(0.93, 0.2) < 70";
const QUARTER: &str =
    "video.videoWidth === 360 && video.videoHeight === 640 && mean(0.8, 0.06) > 150 && mean(0.8, 0.93) < 70";
const HALF: &str = "video.videoWidth === 640 && mean(0.94, 0.8) > 150 && mean(0.07, 0.8) < 70";

/// Offers with what `change` makes of Chromium's offer; the answer.
async fn call(browser: &Browser, viewer: &mut Viewer, change: impl Fn(&str) -> String) -> String {
    browser.open("about:blank").await;
    browser.run(PEER_PAGE).await;
    let offer = browser.run_async("return await window.offer()").await;
    let offer = change(offer.as_str().expect("text"));
    viewer.say(json!({"type": "offer", "session": "raw", "sdp": offer, "ice": "full"})).await;
    let answer = viewer.expect("answer").await;
    let sdp = answer["sdp"].as_str().expect("text").to_owned();
    let apply = format!("await pc.setRemoteDescription({}); return 0", json!({"type": "answer", "sdp": sdp}));
    browser.run_async(&apply).await;
    browser.frames_advance(5).await;
    sdp
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_turns_what_the_camera_encoded() {
    let (Some(broker), Some(browser)) = (Mosquitto::start(), Browser::start().await) else { return };
    let mut daemon = Daemon::run(settings(&broker));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let mut viewer = Viewer::connect(broker.port(), "chromium").await;
    let answer = call(&browser, &mut viewer, str::to_owned).await;
    assert!(answer.contains(EXTENSION), "{answer}");
    looks(&browser, "upright", UPRIGHT).await;
    let starts = daemon.count("→ live");
    let state = dashboard.state("the camera", |state| state["encoder"]["kind"] == "passthrough").await;
    assert_eq!(
        (&state["picture"]["viewer_turn"], &state["picture"]["problem"]),
        (&Value::Null, &Value::Null)
    );

    for (degrees, script) in [(90, QUARTER), (180, HALF), (0, UPRIGHT), (90, QUARTER)] {
        set(&mut dashboard, "set/rotate", &degrees.to_string()).await;
        looks(&browser, &format!("turned by {degrees}"), script).await;
    }
    let told = dashboard.state("the turn", |state| state["picture"]["viewer_turn"]["rotate"] == 90).await;
    assert_eq!((&told["camera"]["width"], &told["camera"]["height"]), (&json!(360), &json!(640)), "{told:#}");
    assert!(told["picture"]["problem"].as_str().is_some_and(|words| words.contains(EXTENSION)), "{told:#}");
    assert_eq!(daemon.count("→ live"), starts, "none of this takes a start of the camera");
    assert_eq!(told["viewers"]["count"], 1);

    // One that cannot be told sees it as it is, and the log says so.
    viewer.say(json!({"type": "bye", "session": "raw"})).await;
    dashboard.viewers(0).await;
    let mut viewer = Viewer::connect(broker.port(), "old").await;
    let old = |offer: &str| {
        let kept = offer.lines().filter(|line| !line.contains(EXTENSION));
        kept.flat_map(|line| [line, "\r\n"]).collect::<String>()
    };
    let answer = call(&browser, &mut viewer, old).await;
    assert!(!answer.contains(EXTENSION), "{answer}");
    looks(&browser, "as the camera gives it", UPRIGHT).await;
    daemon.logged("offer has no urn:3gpp:video-orientation").await;
    daemon.assert_unharmed();
}

/// Turned by nothing.
const NOTHING: [i8; 4] = [1, 0, 0, 1];
/// How the page shows its video: what is left of turning it, and where it then stands.
const SHOWN: &str = "
    const video = inPage('video');
    const { a, b, c, d } = new DOMMatrix(getComputedStyle(video).transform);
    const box = video.getBoundingClientRect();
    const fills = Math.abs(box.width - innerWidth) < 2 && Math.abs(box.height - innerHeight) < 2 && Math.abs(box.x) < 2 && Math.abs(box.y) < 2;
    return { matrix: [a, b, c, d].map(Math.round), fills, size: [video.videoWidth, video.videoHeight] };";

async fn shows(browser: &Browser, what: &str, matrix: [i8; 4], size: [u32; 2]) {
    let deadline = std::time::Instant::now() + support::PATIENCE;
    let wanted = json!({ "matrix": matrix, "fills": true, "size": size });
    loop {
        let shown = browser.run(SHOWN).await;
        if shown == wanted {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: {shown}, not {wanted}");
        browser.a_moment().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_turns_what_the_browser_does_not() {
    let options = Options { websocket: true, ..Options::default() };
    let (Some(broker), Some(browser)) = (Mosquitto::start_with(&options), Browser::start().await) else {
        return;
    };
    let mut daemon = Daemon::run(settings(&broker).value("camera.rotate", 90));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.availability("online").await;
    let link = format!("{}#broker={}&device={DEVICE}", daemon.page().await, broker.ws_url());

    browser.open(&link).await;
    browser.phase("live").await;
    shows(&browser, "Chromium rotates by itself", NOTHING, [360, 640]).await;
    set(&mut dashboard, "set/mirror", "ON").await;
    shows(&browser, "and does not mirror", [-1, 0, 0, 1], [360, 640]).await;
    set(&mut dashboard, "set/mirror", "OFF").await;
    shows(&browser, "not mirrored", NOTHING, [360, 640]).await;

    // As a browser that does not know the extension.
    browser
        .before_each_page(
            "const known = RTCRtpTransceiver.prototype.getHeaderExtensionsToNegotiate;
             RTCRtpTransceiver.prototype.getHeaderExtensionsToNegotiate = function () {
                 const all = known.call(this);
                 for (const one of all) if (one.uri === 'urn:3gpp:video-orientation') one.direction = 'stopped';
                 return all;
             };",
        )
        .await;
    browser.open("about:blank").await;
    browser.open(&link).await;
    browser.phase("live").await;
    shows(&browser, "the page rotates", [0, 1, -1, 0], [640, 360]).await;
    set(&mut dashboard, "set/rotate", "270").await;
    shows(&browser, "the other way", [0, -1, 1, 0], [640, 360]).await;
    set(&mut dashboard, "set/mirror", "ON").await;
    shows(&browser, "and mirrored", [0, -1, -1, 0], [640, 360]).await;
    set(&mut dashboard, "set/rotate", "180").await;
    shows(&browser, "upside down and mirrored", [1, 0, 0, -1], [640, 360]).await;
    set(&mut dashboard, "set/mirror", "OFF").await;
    set(&mut dashboard, "set/rotate", "0").await;
    shows(&browser, "as it is", NOTHING, [640, 360]).await;
    daemon.assert_unharmed();
}
