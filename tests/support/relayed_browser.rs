//! A peer connection of a real Chromium behind a [`Relay`], and what it says of what came.

use serde_json::{Value, json};

use super::browser::{Browser, PEER_PAGE};
use super::relay::{Link, Relay};
use super::remote::{candidate_of, host_address, without_candidates};
use super::viewer::Viewer;

/// A browser that watches. Its session ends with it.
pub struct RelayedBrowser<'a> {
    pub browser: &'a Browser,
    pub relay: Relay,
    _mailbox: Viewer,
}

impl<'a> RelayedBrowser<'a> {
    /// Watches over `link`, with its offer and the answer to it as `edit` makes them.
    pub async fn watch(
        browser: &'a Browser,
        broker_port: u16,
        link: Link,
        edit: impl Fn(&str) -> String,
    ) -> Self {
        let mut mailbox = Viewer::connect(broker_port, "chromium").await;
        browser.open("about:blank").await;
        browser.run(PEER_PAGE).await;
        let offer = browser.run_async("return await window.offer()").await;
        let offer = edit(&without_candidates(offer.as_str().expect("text")));
        mailbox.say(json!({"type": "offer", "session": "relayed", "sdp": offer, "ice": "full"})).await;
        let answer = mailbox.expect("answer").await;
        let sdp = answer["sdp"].as_str().expect("text");
        let mut candidates = sdp
            .lines()
            .filter_map(|line| line.strip_prefix("a="))
            .filter(|line| line.starts_with("candidate:"));
        let device = candidates.find_map(host_address).expect("a candidate");
        let relay = Relay::before(device, link).await;
        // The section with the picture is the last one.
        let sdp = edit(&without_candidates(sdp)).replace("a=end-of-candidates\r\n", "");
        let sdp = format!("{sdp}a={}\r\n", candidate_of(relay.address));
        let answer = json!({"type": "answer", "sdp": sdp});
        browser.run_async(&format!("await pc.setRemoteDescription({answer}); return 0")).await;
        browser.frames_advance(10).await;
        Self { browser, relay, _mailbox: mailbox }
    }

    /// The `inbound-rtp` of its statistics.
    pub async fn stats(&self) -> Value {
        self.browser.run_async("return await window.porthole.stats()").await
    }

    /// When pictures were presented since the last time that this was asked, in ms.
    pub async fn shown_ms(&self) -> Vec<f64> {
        let shown = self.browser.run("const shown = window.shown; window.shown = []; return shown").await;
        shown.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    }
}
