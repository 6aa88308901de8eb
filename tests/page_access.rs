//! The viewer page and who is who: what it signs, which answers it takes, and what it says of the others. The device
//! is made of the protocol alone, and lies on request.

#[path = "support/fake_device.rs"]
mod fake_device;
mod support;

use fake_device::Behaviour;
use porthole::base::tasks::TaskGroup;
use porthole::http::{self, PageBroker, PageInfo};
use serde_json::Value;
use support::browser::Browser;
use support::fake_identity::{DEVICE_SEED, GRANT, GRANT_SEED, Proof, bearer_token, public_key, text};
use support::mosquitto::{Mosquitto, Options};

/// Watches everything that could give something away or let something in. The tab's own storage holds the link, which a reload
/// needs; all else is watched. `crypto.subtle` is taken away, as it is on a page that came over http from another host.
const WITNESS: &str = "
    window.seen = { applied: [], peers: [], out: [] };
    const latin1 = (data) => typeof data === 'string' ? data
        : Array.from(new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength), (byte) => String.fromCharCode(byte)).join('');
    const spy = (where, name, note) => {
        const real = where[name];
        where[name] = function (...given) { note.call(this, ...given); return real.apply(this, given); };
    };
    spy(RTCPeerConnection.prototype, 'setRemoteDescription', function ({ sdp }) {
        seen.applied.push(sdp);
        seen.peers.push(this);
    });
    spy(WebSocket.prototype, 'send', (data) => seen.out.push(latin1(data)));
    for (const name of ['log', 'info', 'warn', 'error', 'debug']) spy(console, name, (...said) => seen.out.push(said.map(String).join(' ')));
    for (const name of ['pushState', 'replaceState']) spy(history, name, (...state) => seen.out.push(JSON.stringify(state)));
    spy(window, 'fetch', (what) => seen.out.push(String(what)));
    spy(Storage.prototype, 'setItem', function (...item) { if (this !== sessionStorage) seen.out.push(item.join(' ')); });
    Object.defineProperty(Crypto.prototype, 'subtle', { get() { throw new Error('not in an insecure context'); } });";

struct World {
    browser: Browser,
    broker: Mosquitto,
    device: tokio::task::JoinHandle<()>,
    page: String,
    _server: http::HttpServer,
}

impl World {
    /// A browser, a page, a broker that knows the device and the grant only, and a device that behaves like this.
    async fn with(behaviour: Behaviour) -> Option<Self> {
        let token = bearer_token(&GRANT_SEED);
        let users = [("cam", "its-password"), (GRANT, token.as_str())];
        let broker =
            Mosquitto::start_with(&Options { websocket: true, users: &users, ..Options::default() })?;
        let browser = Browser::start().await?;
        browser.before_each_page(WITNESS).await;
        let info = PageInfo {
            device: "cam".into(),
            name: "Front door".into(),
            root: "porthole".into(),
            access: "grants",
            broker: PageBroker::Url(broker.ws_url()),
            ice_servers: Vec::new(),
        };
        let listener = http::bind(([127, 0, 0, 1], 0).into()).await.expect("a page");
        let page = listener.address();
        let server = listener.serve_page(info, &TaskGroup::new());
        let url = broker.url().replace("mqtt://", "mqtt://cam:its-password@");
        let (ready, listening) = tokio::sync::oneshot::channel();
        let device = tokio::spawn(async move { fake_device::run(&url, "cam", behaviour, ready).await });
        listening.await.expect("a device that listens");
        Some(Self { browser, broker, device, page: format!("http://{page}/"), _server: server })
    }

    /// The whole link, as the owner of the device would give it away.
    fn link(&self) -> String {
        format!("{}&grant={GRANT}&secret={}", self.link_with_key(), text(&GRANT_SEED))
    }

    fn link_with_key(&self) -> String {
        format!("{}#broker={}&device=cam&key={}", self.page, self.broker.ws_url(), public_key(&DEVICE_SEED))
    }

    /// A link of somebody with a user name at the broker, without a grant.
    fn link_of_a_user(&self) -> String {
        self.link_with_key().replace("ws://", &format!("ws://{GRANT}:{}@", bearer_token(&GRANT_SEED)))
    }

    /// How many answers reached the browser's WebRTC.
    async fn applied(&self) -> Vec<String> {
        let seen = self.browser.run("return window.seen.applied").await;
        serde_json::from_value(seen).expect("texts")
    }

    /// Waits until media could flow: DTLS is up with the fingerprint of the answer.
    async fn connected(&self) {
        let peers = "return window.seen.peers.some((peer) => peer.connectionState === 'connected')";
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while self.browser.run(peers).await != Value::Bool(true) {
            assert!(
                std::time::Instant::now() < deadline,
                "never connected: {:#}",
                self.browser.state().await
            );
            self.browser.a_moment().await;
        }
    }

    /// The page refuses for this reason, in these words, and nothing of the answer was used.
    async fn assert_refused(&self, code: &str, words: &[&str]) {
        let state = self.browser.phase("refused").await;
        assert_eq!(state["code"], code, "{state:#}");
        let said = self.browser.words().await;
        for part in words {
            assert!(said.contains(part), "{part:?} is not in: {said}");
        }
        assert_eq!(self.applied().await, [""; 0]);
        let fed = self.browser.run("return inPage('video').srcObject !== null").await;
        assert_eq!(fed, false);
        self.keep_screenshot(code).await;
    }

    /// For a look with one's own eyes: PORTHOLE_TEST_SCREENSHOTS names a directory.
    async fn keep_screenshot(&self, name: &str) {
        let Some(directory) = std::env::var_os("PORTHOLE_TEST_SCREENSHOTS") else { return };
        let png = self.browser.client.screenshot().await.expect("a screenshot");
        let path = std::path::Path::new(&directory).join(format!("{name}.png"));
        std::fs::write(path, png).expect("write the screenshot");
    }

    async fn close(self) {
        assert!(!self.device.is_finished(), "the device broke down");
        self.device.abort();
        self.browser.close().await;
    }
}

fn proving(proof: Proof) -> Behaviour {
    Behaviour { proof, only_invited: true, ..Behaviour::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_offer_and_a_signed_answer_connect_and_the_secret_stays_in_the_link() {
    let Some(world) = World::with(proving(Proof::Device)).await else { return };
    let link = world.link();
    world.browser.open(&link).await;
    world.connected().await;
    assert_eq!(world.applied().await.len(), 1);

    let out = world.browser.run("return window.seen.out.join('\\n')").await;
    let out = out.as_str().expect("text");
    // What must be seen shows that the witness sees: the login, and the offer's signature.
    for said in [bearer_token(&GRANT_SEED).as_str(), "\"auth\":{\"grant\":\"anna\",\"nonce\":"] {
        assert!(out.contains(said), "{said} never went out");
    }
    let secret = text(&GRANT_SEED);
    let raw: String = GRANT_SEED.map(char::from).iter().collect();
    assert!(!out.contains(&secret) && !out.contains(&raw), "the secret went out");
    let told = world.browser.run("return document.title + JSON.stringify(window.porthole.state())").await;
    assert!(!told.to_string().contains(&secret), "{told}");
    let text = world.browser.run("return document.documentElement.outerHTML").await;
    assert!(!text.to_string().contains(&secret), "the secret is on the page");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_signature_is_refused() {
    let Some(world) = World::with(proving(Proof::None)).await else { return };
    world.browser.open(&world.link()).await;
    world.assert_refused("answer-unsigned", &["did not prove that it is", "for a new link"]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_forged_signature_is_refused() {
    let Some(world) = World::with(proving(Proof::Forged)).await else { return };
    world.browser.open(&world.link()).await;
    world.assert_refused("answer-changed", &["Someone between you and", "for a new link"]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_fingerprint_was_swapped_is_refused() {
    let Some(world) = World::with(proving(Proof::SwappedFingerprint)).await else { return };
    world.browser.open(&world.link()).await;
    world.assert_refused("answer-changed", &["has changed its answer"]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_another_device_is_refused() {
    let Some(world) = World::with(proving(Proof::AnotherDevice)).await else { return };
    world.browser.open(&world.link()).await;
    world.assert_refused("other-device", &["has another key than this link", "for a new link"]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_answer_is_passed_over_and_the_right_one_taken() {
    let Some(world) = World::with(proving(Proof::Replayed)).await else { return };
    world.browser.open(&world.link()).await;
    world.connected().await;
    // The network is another one: the page calls again, with a new offer under the same session.
    world.browser.run("seen.peers.length = 0; window.dispatchEvent(new Event('online'))").await;
    world.connected().await;
    let applied = world.applied().await;
    assert!(applied.len() >= 2, "{applied:?}");
    assert!(!applied[1..].contains(&applied[0]), "the first answer was taken once more");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_without_a_key_takes_an_answer_without_a_signature() {
    let Some(world) = World::with(proving(Proof::None)).await else { return };
    let link = world.link().replace(&format!("&key={}", public_key(&DEVICE_SEED)), "");
    world.browser.open(&link).await;
    world.connected().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_wants_an_invitation_is_not_asked_twice_without_one() {
    let Some(world) = World::with(proving(Proof::Device)).await else { return };
    world.browser.open(&world.link_of_a_user()).await;
    world.assert_refused("unauthorized", &["only be watched with a link from its owner"]).await;
    let state = world.browser.state().await;
    assert_eq!((&state["attempt"], &state["retry"]), (&1.into(), &true.into()), "{state:#}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_take_the_grant_is_told_in_words_about_the_link() {
    let Some(world) = World::with(proving(Proof::Device)).await else { return };
    let withdrawn = world.link().replace(&text(&GRANT_SEED), &text(&[1; 32]));
    world.browser.open(&withdrawn).await;
    let state = world.browser.phase("broker-waiting").await;
    assert_eq!(state["code"], "broker-refused", "{state:#}");
    let words = world.browser.words().await;
    assert!(words.contains("does not accept this link"), "{words}");
    world.keep_screenshot("broker-refused").await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_link_connects_to_nothing_and_says_what_to_do() {
    let Some(world) = World::with(proving(Proof::Device)).await else { return };
    let link = world.link();
    world.browser.open(&link[..link.len() - 3]).await;
    world.assert_refused("bad-secret", &["This link is damaged", "Copy the whole link again"]).await;
    let shown = world.browser.run("return !document.querySelector('#setup').hidden").await;
    assert_eq!(shown, false, "a form cannot mend it");
    let state = world.browser.state().await;
    assert_eq!((&state["brokerConnected"], &state["attempt"]), (&false.into(), &0.into()), "{state:#}");
    let out = world.browser.run("return window.seen.out").await;
    assert_eq!(out, serde_json::json!([]), "something went out");
    world.close().await;
}
