//! A real Home Assistant finds the camera, shows it live on its own cards, and says when its grant is revoked.

mod support;

use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use support::PATIENCE;
use support::browser::Browser;
use support::invited::World;
use support::mosquitto::{Mosquitto, Options};

/// `chroot.sh`'s "cannot run on this machine".
const CANNOT_RUN: i32 = 77;
const HOUSE: &str = "/porthole/tests/homeassistant/house.py";

/// Finds what is inside of shadow roots, as all of Home Assistant's page is.
const DEEP: &str = "
    window.deep = (selector, root = document) => {
        const here = root.querySelector(selector);
        if (here) return here;
        for (const one of root.querySelectorAll('*')) {
            const inside = one.shadowRoot && window.deep(selector, one.shadowRoot);
            if (inside) return inside;
        }
        return null;
    };
    window.words = (root = document.body) => {
        let text = root.nodeType === Node.TEXT_NODE ? root.data : '';
        if (root.nodeName === 'STYLE' || root.nodeName === 'SCRIPT') return '';
        for (const one of [...(root.shadowRoot?.childNodes ?? []), ...root.childNodes]) text += ' ' + window.words(one);
        return text.replace(/\\s+/g, ' ');
    };
    window.grab = () => {
        const video = window.deep('video');
        if (!video || !video.videoWidth) return null;
        const canvas = document.createElement('canvas');
        canvas.width = video.videoWidth; canvas.height = video.videoHeight;
        const context = canvas.getContext('2d', { willReadFrequently: true });
        context.drawImage(video, 0, 0);
        return context;
    };";

fn inside(arguments: &[&str]) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/homeassistant/chroot.sh");
    let mut command = Command::new(script);
    command.args(["run", "/root/venv/bin/python", HOUSE]).args(arguments).stdin(Stdio::null());
    command
}

/// A Home Assistant of its own. It ends on drop.
struct House {
    child: Child,
    folder: tempfile::TempDir,
    url: String,
    token: String,
    /// What its page keeps of a user who has logged in.
    kept: Value,
}

impl House {
    /// Starts one that has the camera of `link`, found on the broker at `port`; `None` where it cannot be had.
    fn with(port: u16, link: &str) -> Option<Self> {
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/homeassistant/chroot.sh"))
            .output()
            .expect("run chroot.sh");
        if made.status.code() == Some(CANNOT_RUN) {
            eprintln!("SKIPPED: {}", String::from_utf8_lossy(&made.stderr).trim());
            return None;
        }
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        let own = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|free| free.local_addr())
            .expect("a port")
            .port();
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = inside(&["start", folder.path().to_str().expect("UTF-8"), &own.to_string()])
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("start Home Assistant");
        let url = format!("http://127.0.0.1:{own}");
        let mut house = Self { child, folder, url, token: String::new(), kept: Value::Null };
        let began = Instant::now();
        let moved = house.run(&["move-in", &house.url, &port.to_string(), link]);
        eprintln!("Home Assistant was there after {:.1} s", began.elapsed().as_secs_f32());
        moved["access_token"].as_str().expect("a token").clone_into(&mut house.token);
        assert_eq!(
            (&moved["title"], &moved["found"]["name"]),
            (&json!("Test camera"), &json!("Test camera"))
        );
        house.kept = json!({
            "access_token": moved["access_token"], "refresh_token": moved["refresh_token"], "token_type": "Bearer",
            "expires_in": 1800, "expires": 4_000_000_000_000_u64, "hassUrl": house.url, "clientId": "http://127.0.0.1/",
        });
        Some(house)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn run(&self, arguments: &[&str]) -> Value {
        let Output { status, stdout, stderr } = inside(arguments).output().expect("run house.py");
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{arguments:?}: {said}\n{}", self.log());
        serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// One command of its WebSocket API.
    fn ask(&self, command: &Value) -> Value {
        self.run(&["ask", &self.url, &self.token, &command.to_string()])
    }

    /// The issues of the integration that are shown under Repairs.
    fn issues(&self) -> Vec<String> {
        let all = self.ask(&json!({ "type": "repairs/list_issues" }));
        let list = all["issues"].as_array().expect("issues");
        let ours = list.iter().filter(|issue| issue["domain"] == "porthole");
        ours.map(|issue| issue["translation_key"].as_str().expect("a key").to_owned()).collect()
    }

    /// The dashboard's view in the browser, with what looks into it.
    async fn open(&self, browser: &Browser, view: &str) {
        browser.open(&format!("{}/porthole-test/{view}", self.url)).await;
        browser.run(DEEP).await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // What was started in its namespace ends with its first process.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("Home Assistant's log:\n{}", self.log());
        }
    }
}

/// Waits until the page shows these words.
async fn words(browser: &Browser, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = browser.run("return window.words()").await;
        let shown = shown.as_str().unwrap_or_default();
        if shown.contains(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{wanted:?} is not in: {shown}");
        browser.a_moment().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn home_assistant_shows_the_camera_live_until_its_grant_is_revoked() {
    let Some(broker) = Mosquitto::start_with(&Options { websocket: true, ..Options::default() }) else {
        return;
    };
    let mut world = World::on(broker).await;
    let link = world.grant("homeassistant", &["--for", "home-assistant"]).await;
    assert!(link.broker.is_none(), "Home Assistant has a broker of its own");
    let port = world.broker.port();
    let Some(house) = tokio::task::block_in_place(|| House::with(port, &link.to_string())) else { return };
    let Some(browser) = Browser::start().await else { return };
    browser.open(&format!("{}/manifest.json", house.url)).await;
    browser.run(&format!("localStorage.setItem('hassTokens', {:?}); return 0", house.kept.to_string())).await;

    house.open(&browser, "one").await;
    browser.assert_test_picture_is_live().await;
    let state = world.dashboard.state("one viewer", |state| state["viewers"]["count"] == 1).await;
    let session = &state["viewers"]["sessions"][0];
    assert_eq!(session["grant"], "homeassistant", "{state:#}");
    assert!(
        session["viewer"].as_str().is_some_and(|viewer| viewer.starts_with("home-assistant-")),
        "{state:#}"
    );
    if let Ok(file) = std::env::var("HOME_ASSISTANT_SCREENSHOT") {
        std::fs::write(file, browser.client.screenshot().await.expect("a screenshot")).expect("write it");
    }
    // Another card; who has left one frees the place of that session.
    house.open(&browser, "glance").await;
    browser.assert_test_picture_is_live().await;
    world.dashboard.state("one viewer again", |state| state["viewers"]["count"] == 1).await;

    // The live camera and the entities of the discovery are one device.
    let list = tokio::task::block_in_place(|| house.ask(&json!({ "type": "config/entity_registry/list" })));
    let device_of = |name: &str| {
        let entities = list.as_array().expect("entities");
        let entity = entities.iter().find(|entity| entity["entity_id"] == name);
        entity.unwrap_or_else(|| panic!("no {name}: {list:#}"))["device_id"].clone()
    };
    let live = device_of("camera.test_camera_live");
    assert!(live.is_string() && live == device_of("switch.test_camera_streaming"), "{list:#}");

    assert_eq!(tokio::task::block_in_place(|| house.issues()), Vec::<String>::new());
    world.command(&["revoke", "homeassistant"]).expect("revoked");
    world.dashboard.state("nobody", |state| state["viewers"]["count"] == 0).await;
    // Whoever looks again is told, on the card and under Repairs.
    house.open(&browser, "one").await;
    words(&browser, "refuses the invitation of Home Assistant").await;
    assert_eq!(tokio::task::block_in_place(|| house.issues()), ["grant_revoked"]);

    // Another grant's link, where Home Assistant asks for it, and all is well.
    let link = world.grant("again", &["--for", "home-assistant"]).await.to_string();
    tokio::task::block_in_place(|| house.run(&["paste", &house.url, &house.token, &link]));
    house.open(&browser, "one").await;
    browser.assert_test_picture_is_live().await;
    assert_eq!(tokio::task::block_in_place(|| house.issues()), Vec::<String>::new());
    the_card_needs_no_integration(&mut world, &house, &browser).await;
    browser.close().await;
}

/// A dashboard with Porthole's own card, of a guest whom Home Assistant knows nothing of.
async fn the_card_needs_no_integration(world: &mut World, house: &House, browser: &Browser) {
    let mut link = world.grant("card", &["--rights", "view"]).await;
    link.broker = Some(world.broker.ws_url());
    let module = format!("{}porthole-card.js", world.daemon.page().await);
    let card = |more: Value| {
        let mut card = json!({ "type": "custom:porthole-card" });
        card.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        json!([{ "type": "grid", "cards": [card] }])
    };
    let view = |path: &str, sections: Value| json!({ "title": path, "path": path, "type": "sections", "sections": sections });
    let views = [
        view(
            "card",
            card(json!({ "link": link.to_string(), "controls": true, "grid_options": { "columns": 12 } })),
        ),
        view("nothing", card(json!({}))),
        view("wrong", card(json!({ "link": link.to_string(), "aspect_ratio": "round" }))),
    ];
    tokio::task::block_in_place(|| {
        house.ask(&json!({ "type": "lovelace/resources/create", "res_type": "module", "url": module }));
        house.ask(&json!({ "type": "lovelace/config/save", "url_path": "porthole-test", "config": { "views": views } }));
    });
    house.open(browser, "nothing").await;
    words(browser, "No camera is named yet.").await;
    house.open(browser, "wrong").await;
    // Its words are in the editor.
    words(browser, "Configuration error").await;
    house.open(browser, "card").await;
    browser.assert_test_picture_is_live().await;
    let by = |state: &Value| state["viewers"]["sessions"][0]["grant"] == "card";
    world.dashboard.state("the card's guest", by).await;
    let size = browser.run("const { width, height } = window.deep('porthole-camera').getBoundingClientRect(); return width / height").await;
    assert!(size.as_f64().is_some_and(|ratio| (ratio - 16.0 / 9.0).abs() < 0.02), "{size}");
    if let Ok(file) = std::env::var("HOME_ASSISTANT_CARD_SCREENSHOT") {
        std::fs::write(file, browser.client.screenshot().await.expect("a screenshot")).expect("write it");
    }
    // Where the dashboard is left, the card hangs up.
    house.open(browser, "nothing").await;
    words(browser, "No camera is named yet.").await;
    world.dashboard.state("nobody", |state| state["viewers"]["count"] == 0).await;
}
