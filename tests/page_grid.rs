//! Several cameras on one page: two daemons on one broker, a real Chromium.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::client::Client;
use support::daemon::{Daemon, Settings};
use support::mosquitto::{Mosquitto, Options};
use support::namespace::{HOST, inside, run};

struct World {
    browser: Browser,
    front: Daemon,
    back: Daemon,
    page: String,
    broker: Mosquitto,
}

impl World {
    async fn new() -> Option<Self> {
        let broker = Mosquitto::start_with(&Options { websocket: true, ..Options::default() })?;
        let browser = Browser::start().await?;
        let daemon = |id: &str, name: &str| {
            Daemon::run(Settings::new(&broker.url()).text("device.id", id).text("device.name", name))
        };
        let (front, back) = (daemon("front", "Front door"), daemon("back", "Back door"));
        let page = front.page().await;
        back.page().await;
        Some(Self { browser, front, back, page, broker })
    }

    /// In a network that can be taken away; what is on this machine goes on without it.
    async fn reached_by_network() -> Option<(Self, String)> {
        let extra = format!("listener 1883 {HOST}\nlistener 9001 {HOST}\nprotocol websockets");
        let broker = Mosquitto::start_with(&Options { extra: &extra, ..Options::default() })?;
        let browser = Browser::start().await?;
        let daemon = |id: &str, listen: &str| {
            Daemon::run(Settings::new(&broker.url()).text("device.id", id).text("http.listen", listen))
        };
        let (front, back) = (daemon("front", "0.0.0.0:8080"), daemon("back", "0.0.0.0:8081"));
        front.page().await;
        back.page().await;
        let page = format!("http://{HOST}:8080/");
        let link = format!("{page}#broker=ws://{HOST}:9001");
        Some((Self { browser, front, back, page, broker }, link))
    }

    /// Sessions that the two devices have ended.
    fn ended(&self) -> [usize; 2] {
        [&self.front, &self.back].map(|daemon| daemon.count("session ended"))
    }

    async fn open(&self, rest: &str) {
        self.browser.open(&format!("{}#broker={}{rest}", self.page, self.broker.ws_url())).await;
    }

    async fn both_live(&self) -> Value {
        self.browser
            .until("two live cameras", |state| {
                let cameras = state["cameras"].as_array();
                cameras.is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["phase"] == "live"))
            })
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_a_device_shows_all_its_cameras_and_one_of_them_large() {
    let Some(mut world) = World::new().await else { return };
    world.open("").await;
    let state = world.both_live().await;
    assert_eq!(
        (&state["cameras"][0]["device"], &state["cameras"][1]["device"]),
        (&json!("back"), &json!("front")),
        "by name: {state:#}"
    );
    let labels = "return [...document.querySelectorAll('.grid button')].map((button) => [button.innerText, button.title])";
    let labels = world.browser.run(labels).await.to_string();
    for part in ["Back door", "Front door", "Live", "Show Front door large"] {
        assert!(labels.contains(part), "{part:?} is not in {labels}");
    }

    world.browser.run("document.querySelectorAll('.grid button')[1].click()").await;
    world
        .browser
        .until("the front door alone", |state| {
            state["large"] == "front"
                && state["cameras"][0]["phase"].is_null()
                && state["cameras"][1]["phase"] == "live"
        })
        .await;
    let covers = "const box = document.querySelector('.large porthole-camera').getBoundingClientRect();
                  return [Math.round(box.width), Math.round(box.height)].join() === [innerWidth, innerHeight].join()";
    assert_eq!(world.browser.run(covers).await, true);
    world
        .browser
        .run("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))")
        .await;
    let state = world.both_live().await;
    assert!(state["large"].is_null(), "{state:#}");
    // The one that was not live meanwhile had its last picture.
    assert_eq!(state["cameras"][0]["still"], true, "{state:#}");

    world.back.kill();
    let state =
        world.browser.until("that one is offline", |state| state["cameras"][0]["text"] == "Offline").await;
    assert_eq!(state["cameras"][1]["phase"], "live", "{state:#}");
    world.back.start_again();
    world.both_live().await;
    world.front.assert_unharmed();
    world.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_several_cameras_shows_those_with_what_is_the_matter_with_each() {
    let Some(world) = World::new().await else { return };
    world.open("&device=front&device=no-such-camera&device=back").await;
    let state = world
        .browser
        .until("the two that are there", |state| {
            state["cameras"][0]["phase"] == "live" && state["cameras"][2]["phase"] == "live"
        })
        .await;
    assert_eq!(state["cameras"].as_array().map(Vec::len), Some(3), "{state:#}");
    world
        .browser
        .until("that one does not answer", |state| {
            state["cameras"][1]["text"].as_str().is_some_and(|text| text.contains("does not answer"))
        })
        .await;

    // Pasted twice, it is damaged, and nothing is guessed.
    world.open("&device=front&key=x&key=x&device=back").await;
    let state = world.browser.phase("refused").await;
    assert!(state["code"].as_str().is_some_and(|code| code.contains("repeated")), "{state:#}");
    world.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_still_that_a_device_keeps_is_shown_until_it_clears_it() {
    let Some(world) = World::new().await else { return };
    // A camera of the protocol alone, which is there and answers nobody.
    let topics: [String; 0] = [];
    let device = Client::connect(world.broker.port(), "still", &topics).await;
    let jpeg = world.browser.run_async(ONE_JPEG).await;
    let jpeg: Vec<u8> = serde_json::from_value(jpeg).expect("bytes");
    device.publish_retained("porthole/still/info", r#"{"v":1,"device":"still","name":"A still"}"#).await;
    device.publish_retained("porthole/still/availability", "offline").await;
    device.publish_retained("porthole/still/snapshot", jpeg).await;
    world.open("").await;
    let still = |state: &Value| {
        let cameras = state["cameras"].as_array().cloned().unwrap_or_default();
        cameras.into_iter().find(|camera| camera["device"] == "still").unwrap_or_default()
    };
    world.browser.until("a still", |state| still(state)["still"] == true).await;
    let size = "const image = document.querySelector('.grid img:not([hidden])'); await image.decode(); return image.naturalWidth";
    assert_eq!(world.browser.run_async(size).await, 64);
    device.publish_retained("porthole/still/snapshot", "").await;
    world.browser.until("no still", |state| still(state)["still"] == false).await;
    world.browser.close().await;
}

/// That the pictures of all tiles move.
async fn assert_moving(browser: &Browser) {
    let moving =
        "const all = [...document.querySelectorAll('.grid porthole-camera')].map((camera) => camera.video);
        await Promise.all(all.map((video) => new Promise((done) => {
            let left = 10;
            const next = () => (--left ? video.requestVideoFrameCallback(next) : done());
            next();
        })));
        return all.length";
    assert_eq!(browser.run_async(moving).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_whose_broker_is_lost_goes_on_and_hears_from_the_next_one() {
    let Some(mut world) = World::new().await else { return };
    world.open("").await;
    world.both_live().await;
    let sessions = "return [...document.querySelectorAll('.grid porthole-camera')].map((camera) => camera.state.session)";
    let before = world.browser.run(sessions).await;
    world.broker.kill();
    let without = "[...document.querySelectorAll('.grid porthole-camera')].every((camera) => !camera.state.brokerConnected && camera.state.hint.includes('goes on without it'))";
    let waited = format!("while (!({without})) await new Promise((done) => setTimeout(done, 50)); return 0");
    world.browser.run_async(&waited).await;
    world.both_live().await;
    assert_moving(&world.browser).await;
    world.broker.start_again();
    let again = waited.replace(without, "[...document.querySelectorAll('.grid porthole-camera')].every((camera) => camera.state.brokerConnected)");
    world.browser.run_async(&again).await;
    assert_moving(&world.browser).await;
    assert_eq!(
        (world.browser.run(sessions).await, world.ended()),
        (before, [0, 0]),
        "nobody has dialled anew"
    );
    // What is said of the cameras comes from there now. (A device that is not there has no will.)
    world
        .back
        .find("the device at the new broker", |log| {
            (log.matches("connected to the broker").count() > 1).then_some(())
        })
        .await;
    world.back.kill();
    world.browser.until("that one is offline", |state| state["cameras"][0]["text"] == "Offline").await;
    world.back.start_again();
    world.both_live().await;
    world.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_that_nobody_sees_hangs_up_and_shows_all_again() {
    let Some(mut world) = World::new().await else { return };
    world.open("").await;
    world.both_live().await;
    let look = "Object.defineProperty(document, 'visibilityState', { configurable: true, value: 'IS' });
                Object.defineProperty(document, 'hidden', { configurable: true, value: 'IS' !== 'visible' });
                document.dispatchEvent(new Event('visibilitychange')); return document.hidden";
    assert_eq!(world.browser.run(&look.replace("IS", "hidden")).await, true);
    for daemon in [&world.front, &world.back] {
        daemon.find("the end of its session", |log| log.contains("session ended").then_some(())).await;
    }
    let state = world.browser.state().await;
    assert!(
        state["cameras"].as_array().is_some_and(|all| all.iter().all(|one| one["phase"].is_null())),
        "{state:#}"
    );
    assert_eq!(
        (&state["cameras"][0]["still"], &state["cameras"][1]["still"]),
        (&json!(true), &json!(true)),
        "{state:#}"
    );
    assert_eq!(world.browser.run(&look.replace("IS", "visible")).await, false);
    world.both_live().await;
    assert_moving(&world.browser).await;
    world.front.assert_unharmed();
    world.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_without_a_network_says_so_on_each_tile_and_comes_back() {
    if !inside("a_grid_without_a_network_says_so_on_each_tile_and_comes_back", &[]) {
        return;
    }
    let Some((mut world, link)) = World::reached_by_network().await else { return };
    world.browser.open(&link).await;
    world.both_live().await;
    run("ip address flush dev br0");
    let lost = |camera: &Value| camera["text"].as_str().is_some_and(|text| text.contains("no network"));
    world
        .browser
        .until("words on both tiles", |state| {
            state["cameras"].as_array().is_some_and(|all| all.len() == 2 && all.iter().all(lost))
        })
        .await;
    for daemon in [&world.front, &world.back] {
        daemon.find("the end of its session", |log| log.contains("session ended").then_some(())).await;
    }
    run(&format!("ip address add {HOST}/24 dev br0"));
    world.both_live().await;
    assert_moving(&world.browser).await;
    world.front.assert_unharmed();
    world.browser.close().await;
}

/// A JPEG that the browser makes of nothing.
const ONE_JPEG: &str = "
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 64;
    canvas.getContext('2d').fillRect(0, 0, 64, 64);
    const blob = await new Promise((done) => canvas.toBlob(done, 'image/jpeg'));
    return [...new Uint8Array(await blob.arrayBuffer())];";
