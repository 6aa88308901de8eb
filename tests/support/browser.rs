//! A real headless Chromium behind its driver: opens the page, asks it how it is, looks at its picture.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::PATIENCE;
use super::process_tree::{descendants, pids_with};

/// One peer connection that shows its video, and when each picture was presented.
pub const PEER_PAGE: &str = "
    window.pc = new RTCPeerConnection();
    pc.addTransceiver('video', { direction: 'recvonly' });
    const video = document.createElement('video');
    video.muted = true; video.autoplay = true;
    document.body.append(video);
    window.shown = [];
    const each = (now) => { window.shown.push(now); video.requestVideoFrameCallback(each); };
    video.requestVideoFrameCallback(each);
    pc.ontrack = (event) => { video.srcObject = new MediaStream([event.track]); };
    window.offer = async () => {
        const gathered = new Promise((done) => {
            pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && done());
        });
        await pc.setLocalDescription();
        if (pc.iceGatheringState !== 'complete') await gathered;
        return pc.localDescription.sdp;
    };
    window.porthole = { stats: async () => {
        for (const entry of (await pc.getStats()).values()) if (entry.type === 'inbound-rtp') return entry;
        return { framesDecoded: 0 };
    } };
    return 0;";

/// A page with a video, and the frames that any connection of it has decoded.
pub const PLAYER_PAGE: &str = "
    const Original = window.RTCPeerConnection;
    window.connections = [];
    window.RTCPeerConnection = class extends Original {
        constructor(...all) { super(...all); window.connections.push(this); }
    };
    const video = document.createElement('video');
    video.muted = true; video.autoplay = true;
    document.body.append(video);
    window.porthole = { stats: async () => {
        let best = { framesDecoded: 0 };
        for (const pc of window.connections) for (const entry of (await pc.getStats()).values())
            if (entry.type === 'inbound-rtp' && entry.kind === 'video' && entry.framesDecoded > best.framesDecoded) best = entry;
        return best;
    } };
    return 0;";

/// A site that has nothing but an empty page.
pub async fn elsewhere() -> String {
    site_of("<!doctype html>".to_owned()).await
}

/// A site that has nothing but this page. An address of its own, because browsers trust pages without one less.
pub async fn site_of(page: String) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let length = page.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
            );
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
        }
    });
    format!("http://{address}/")
}

/// Chromium as Debian installs it, and its driver.
const CHROMIUM: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";

/// What every page here can be asked for, beside what it offers itself.
const HELPERS: &str = "
    // In the page itself or within its camera.
    window.inPage = (selector) => document.querySelector(selector) ?? document.querySelector('porthole-camera')?.shadowRoot?.querySelector(selector) ?? null;
    window.grab = (selector = 'video') => {
        const video = inPage(selector);
        if (!video || !video.videoWidth) return null;
        const canvas = document.createElement('canvas');
        canvas.width = video.videoWidth; canvas.height = video.videoHeight;
        const context = canvas.getContext('2d', { willReadFrequently: true });
        context.drawImage(video, 0, 0);
        return context;
    };";

/// Draws the video and gives the mean brightness of the 40 time blocks, a few pixels inside of each.
const TIME_BLOCKS: &str = "
    const context = window.grab();
    if (!context) return null;
    const blocks = [];
    for (let block = 0; block < 40; block++) {
        const pixels = context.getImageData(block * 16 + 4, 4, 8, 8).data;
        let sum = 0;
        for (let at = 0; at < pixels.length; at += 4) sum += 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
        blocks.push(sum / 64);
    }
    return blocks;";

/// A browser with one page. Its processes end on drop.
pub struct Browser {
    pub client: Client,
    driver: Child,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one, or tells that the test is skipped and why.
    pub async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same with further arguments.
    pub async fn start_with(further: &[&str]) -> Option<Self> {
        for (program, package) in [(CHROMIUM, "chromium"), (DRIVER, "chromium-driver")] {
            if !Path::new(program).exists() {
                eprintln!("SKIPPED: there is no {program}; install the package {package} to run this test");
                return None;
            }
        }
        let profile = tempfile::tempdir().expect("a directory for the browser");
        let mut driver = Command::new(DRIVER)
            .arg("--port=0")
            // Its own temporary files go with the profile.
            .env("TMPDIR", profile.path())
            // What the browser's own GLib complains about is no failure of ours.
            .env_remove("G_DEBUG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start chromedriver");
        let output = BufReader::new(driver.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split_once("successfully on port ").map(|(_, port)| port.to_owned()))
            .expect("chromedriver tells its port");
        // Its pipe has to stay open and empty.
        std::thread::spawn(move || lines.for_each(drop));
        let user_data = profile.path().join("user-data");
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1000,800",
            "--autoplay-policy=no-user-gesture-required",
            &format!("--user-data-dir={}", user_data.display()),
        ];
        let arguments = [&arguments, further].concat();
        let options = json!({ "binary": CHROMIUM, "args": arguments });
        let capabilities =
            json!({ "goog:chromeOptions": options, "timeouts": { "script": PATIENCE.as_secs() * 1000 } });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", port.trim_end_matches('.')))
            .await;
        match client {
            Ok(client) => Some(Self { client, driver, profile }),
            Err(error) => {
                let _ = driver.kill();
                let _ = driver.wait();
                panic!("Chromium does not start: {error}");
            }
        }
    }

    /// Opens a page.
    pub async fn open(&self, link: &str) {
        self.client.goto(link).await.expect("open the page");
        self.run(HELPERS).await;
    }

    /// The same page, loaded anew.
    pub async fn reload(&self) {
        self.client.refresh().await.expect("a reload");
        self.run(HELPERS).await;
    }

    /// Opens a page in a tab of its own, which is the one that is asked from then on.
    pub async fn open_tab(&self, link: &str) {
        let tab = self.client.new_window(true).await.expect("a new tab");
        self.client.switch_to_window(tab.handle).await.expect("the new tab");
        self.open(link).await;
    }

    /// Goes back to the `n`-th tab.
    pub async fn switch_to(&self, n: usize) {
        let tabs = self.client.windows().await.expect("the tabs");
        self.client.switch_to_window(tabs[n].clone()).await.expect("a tab");
    }

    /// Runs JavaScript.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Runs JavaScript that uses `await`.
    pub async fn run_async(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{ {script} }})().then(done, (error) => done({{ thrown: String(error) }}));"
        );
        let value = self.client.execute_async(&script, Vec::new()).await;
        let value = value.unwrap_or_else(|error| panic!("{script}: {error}"));
        assert!(value.get("thrown").is_none(), "{script}: {value}");
        value
    }

    /// What the page says of itself.
    pub async fn state(&self) -> Value {
        self.run("return window.porthole ? window.porthole.state() : {phase: 'loading'}").await
    }

    /// Waits until the page's own state fits.
    pub async fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state().await;
            if fits(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "the page never showed {what}; now it says {state:#}");
            self.a_moment().await;
        }
    }

    /// Waits for a phase of the page.
    pub async fn phase(&self, wanted: &str) -> Value {
        self.until(wanted, |state| state["phase"] == wanted).await
    }

    /// What a person reads on the page.
    pub async fn words(&self) -> String {
        self.run("return (inPage('.words') ?? document.querySelector('main')).innerText")
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// A few animation frames of the browser; its own clock, so a busy machine has as many.
    pub async fn a_moment(&self) {
        self.run_async(
            "for (let n = 0; n < 6; n++) await new Promise((done) => setTimeout(done, 16)); return 0",
        )
        .await;
    }

    /// Frames that the page's video has decoded.
    pub async fn frames(&self) -> u64 {
        let stats = self.run_async("return await window.porthole.stats()").await;
        stats["framesDecoded"].as_u64().expect("framesDecoded")
    }

    /// Waits until `more` further frames are decoded.
    pub async fn frames_advance(&self, more: u64) {
        let first = self.frames().await;
        let deadline = Instant::now() + PATIENCE;
        while self.frames().await < first + more {
            assert!(Instant::now() < deadline, "framesDecoded stands at {}", self.frames().await);
            self.a_moment().await;
        }
    }

    /// Reads the test picture's own time, in milliseconds (its low 32 bits), once its check is right.
    pub async fn picture_time(&self) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let blocks = self.run(TIME_BLOCKS).await;
            if let Some(time) = time_of(&blocks) {
                return time;
            }
            assert!(Instant::now() < deadline, "the picture is no test picture: {blocks}");
            self.a_moment().await;
        }
    }

    /// The picture is the test picture, made a moment ago, and goes on.
    pub async fn assert_test_picture_is_live(&self) {
        let first = self.picture_time().await;
        let late = now_ms().wrapping_sub(first).cast_signed();
        assert!((-1000..10_000).contains(&late), "the picture's time is {late} ms behind");
        let deadline = Instant::now() + PATIENCE;
        while self.picture_time().await.wrapping_sub(first).cast_signed() < 500 {
            assert!(Instant::now() < deadline, "the picture's time stands still");
            self.a_moment().await;
        }
    }

    /// Waits until the delay that the page tells of a picture agrees with the time in that picture: both come from the
    /// moment of capture, by ways that have nothing in common.
    pub async fn delay_fits_the_picture(&self) {
        let script = format!(
            "const read = () => {{ {TIME_BLOCKS} }};
             const shown = new Promise((done) => inPage('video').requestVideoFrameCallback(
                 (_, {{ expectedDisplayTime }}) => done([read(), performance.timeOrigin + expectedDisplayTime, window.porthole.stats()])));
             const [blocks, at, stats] = await shown;
             return {{ blocks, captured: at - (await stats).glassToGlassMs }};"
        );
        let deadline = Instant::now() + PATIENCE;
        loop {
            let picture = self.run_async(&script).await;
            let (drawn, captured) = (time_of(&picture["blocks"]), picture["captured"].as_f64());
            if let (Some(drawn), Some(captured)) = (drawn, captured) {
                let apart = (captured - f64::from(drawn)).rem_euclid(2_f64.powi(32));
                if apart.min(2_f64.powi(32) - apart) < 50.0 {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "drawn at {drawn:?}, captured at {captured:?} ms");
        }
    }

    /// Runs JavaScript in every page before the page's own.
    pub async fn before_each_page(&self, source: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source })).await;
    }

    /// A command of Chromium's own.
    pub async fn devtools(&self, name: &'static str, params: Value) {
        self.client.issue_cmd(Devtools { name, params }).await.expect("the browser does it");
    }

    /// What the person has said of a permission of this origin: `prompt`, `granted` or `denied`.
    pub async fn permission(&self, origin: &str, name: &str, setting: &str) {
        let params = json!({ "permission": { "name": name }, "setting": setting, "origin": origin });
        self.devtools("Browser.setPermission", params).await;
    }

    /// Stops all of its processes where they are, as a machine that goes to sleep does.
    pub fn sleep(&self) {
        self.signal("-STOP");
    }

    /// Undoes [`Self::sleep`].
    pub fn wake(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let pids = descendants(self.driver.id());
        assert!(pids.len() > 2, "these are not all processes of a browser: {pids:?}");
        for pid in pids {
            // One may have ended since.
            let _ = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// Quits the browser.
    pub async fn close(self) {
        let _ = self.client.clone().close().await;
    }
}

/// A command of Chromium's own, which its driver passes on.
#[derive(Debug)]
struct Devtools {
    name: &'static str,
    params: Value,
}

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "cmd": self.name, "params": self.params }).to_string()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // A browser whose driver is gone stays; it is known by its own profile.
        let profile = self.profile.path().display().to_string();
        for pid in pids_with(&profile) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

/// The time in the blocks, if all of them are clearly bright or dark and the check byte is right.
fn time_of(blocks: &Value) -> Option<u32> {
    let blocks: Vec<f64> = blocks.as_array()?.iter().filter_map(Value::as_f64).collect();
    if blocks.len() != 40 || blocks.iter().any(|level| (80.0..175.0).contains(level)) {
        return None;
    }
    let bits = blocks.iter().fold(0_u64, |bits, level| bits << 1 | u64::from(*level > 128.0));
    let [.., a, b, c, d, check] = bits.to_be_bytes();
    // Forty zeros would have a right check too.
    (a ^ b ^ c ^ d == check && bits != 0).then(|| u32::from_be_bytes([a, b, c, d]))
}

/// The low 32 bits of this machine's clock in milliseconds.
pub fn now_ms() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u32::try_from(now.as_millis() & u128::from(u32::MAX)).expect("32 bits")
}
