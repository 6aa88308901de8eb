//! A page of ours in a real browser that plays over WHEP and speaks on the data channel.

use serde_json::{Value, json};

use super::browser::{Browser, PLAYER_PAGE, elsewhere};

/// Joins, and keeps what it is told.
const JOIN: &str = "
    const pc = window.pc = new RTCPeerConnection();
    const media = () => pc.addTransceiver('video', { direction: 'recvonly' });
    const data = () => { window.channel = pc.createDataChannel(label, options); };
    if (dataFirst) { data(); media(); } else { media(); data(); }
    pc.ontrack = (event) => { document.querySelector('video').srcObject = new MediaStream([event.track]); };
    window.told = []; window.owed = new Map(); let last = 0;
    channel.onmessage = (event) => {
        const message = JSON.parse(event.data);
        const owed = window.owed.get(message.id);
        if (owed) { window.owed.delete(message.id); owed(message); } else window.told.push(message);
    };
    window.ask = (message) => new Promise((done) => {
        const id = 'ask-' + (last += 1);
        window.owed.set(id, done);
        channel.send(JSON.stringify({ id, ...message }));
    });
    window.tell = async (fits) => {
        for (;;) {
            const found = window.told.find(fits);
            if (found) return found;
            await new Promise((done) => setTimeout(done, 20));
        }
    };
    window.opened = new Promise((done) => { channel.onopen = done; });
    window.closed = new Promise((done) => { channel.onclose = done; });
    await pc.setLocalDescription();
    const headers = { 'Content-Type': 'application/sdp', ...(token ? { Authorization: 'Bearer ' + token } : {}) };
    const answer = await fetch(whep, { method: 'POST', headers, body: pc.localDescription.sdp });
    if (!answer.ok) throw new Error(await answer.text());
    window.resource = new URL(answer.headers.get('Location'), whep).href;
    const sdp = await answer.text();
    await pc.setRemoteDescription({ type: 'answer', sdp });
    return sdp;";

/// How the channel is offered.
pub struct Offered<'a> {
    pub label: &'a str,
    /// As `createDataChannel` takes them.
    pub options: Value,
    /// Before the video.
    pub is_first: bool,
}

impl Default for Offered<'_> {
    fn default() -> Self {
        Self { label: "porthole", options: json!({}), is_first: false }
    }
}

/// An empty page. `None` without a browser.
pub async fn page() -> Option<Browser> {
    let browser = Browser::start().await?;
    browser.open(&elsewhere().await).await;
    browser.run(PLAYER_PAGE).await;
    Some(browser)
}

/// Has the page join at `whep`, and gives the answer.
pub async fn join(browser: &Browser, whep: &str, token: Option<&str>, offered: &Offered<'_>) -> String {
    let Offered { label, options, is_first } = offered;
    let script = format!(
        "const whep = {}, token = {}, label = {}, options = {options}, dataFirst = {is_first};\n{JOIN}",
        json!(whep),
        json!(token),
        json!(label)
    );
    browser.run_async(&script).await.as_str().expect("an answer").to_owned()
}

/// The answer to `message`, once the channel is open.
pub async fn ask(browser: &Browser, message: &Value) -> Value {
    browser.run_async(&format!("await opened; return await ask({message})")).await
}

/// The first message that `fits`, as JavaScript has it of `m`.
pub async fn told(browser: &Browser, fits: &str) -> Value {
    browser.run_async(&format!("return await tell((m) => {fits})")).await
}
