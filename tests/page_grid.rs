//! Several cameras on one page: two daemons on one broker, a real Chromium.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::client::Client;
use support::daemon::{Daemon, Settings};
use support::mosquitto::{Mosquitto, Options};

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

/// A JPEG that the browser makes of nothing.
const ONE_JPEG: &str = "
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 64;
    canvas.getContext('2d').fillRect(0, 0, 64, 64);
    const blob = await new Promise((done) => canvas.toBlob(done, 'image/jpeg'));
    return [...new Uint8Array(await blob.arrayBuffer())];";
