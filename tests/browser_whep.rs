//! WHEP players that were not written here, in a real Chromium: what they show, and what they leave behind.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use support::browser::Browser;
use support::daemon::{Daemon, Settings};
use support::invited;
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Both players, as they come from their packages.
const ENTRY: &str = "
    export { WHEPClient } from 'whip-whep/whep.js';
    export { WebRTCPlayer } from '@eyevinn/webrtc-player';";

/// A page with a video, and the frames that any connection of it has decoded.
const PAGE: &str = "
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

/// The players in one script, or the reason why there are none.
fn players() -> Option<String> {
    let viewer = Path::new(env!("CARGO_MANIFEST_DIR")).join("viewer");
    if !viewer.join("node_modules/whip-whep").exists() {
        eprintln!("SKIPPED: there are no WHEP players in viewer/node_modules; `make viewer` installs them");
        return None;
    }
    let mut esbuild = Command::new(viewer.join("node_modules/.bin/esbuild"))
        .args(["--bundle", "--format=iife", "--global-name=players", "--log-level=error"])
        .current_dir(&viewer)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start esbuild");
    esbuild.stdin.take().expect("its input").write_all(ENTRY.as_bytes()).expect("write");
    let bundled = esbuild.wait_with_output().expect("an end");
    assert!(bundled.status.success(), "esbuild failed");
    let script = String::from_utf8(bundled.stdout).expect("UTF-8");
    Some(format!("{script}\nwindow.players = players; return 0;"))
}

/// A page of another origin than the daemon's, with the players in it.
async fn page() -> Option<Browser> {
    let (players, browser) = (players()?, Browser::start().await?);
    browser.open(&elsewhere().await).await;
    browser.run(PAGE).await;
    browser.run(&players).await;
    Some(browser)
}

/// A site that has nothing but an empty page. An address of its own, because browsers trust pages without one less.
async fn elsewhere() -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<!doctype html>";
            let _ = stream.write_all(page.as_bytes()).await;
        }
    });
    format!("http://{address}/")
}

async fn daemon(broker: &Mosquitto) -> (Daemon, Dashboard, String) {
    let daemon = Daemon::run(Settings::new(&broker.url()).value("video.linger_s", 1));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let whep = format!("{}whep", daemon.page().await);
    (daemon, dashboard, whep)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_sends_all_at_once_shows_the_picture() {
    let Some(broker) = Mosquitto::start() else { return };
    let Some(browser) = page().await else { return };
    let (mut daemon, mut dashboard, whep) = daemon(&broker).await;
    let play = format!(
        "const player = new players.WebRTCPlayer({{ video: document.querySelector('video'), type: 'whep' }});
         window.player = player;
         await player.load(new URL({})); return 0",
        json!(whep)
    );
    browser.run_async(&play).await;
    browser.frames_advance(20).await;
    browser.assert_test_picture_is_live().await;
    dashboard.viewers(1).await;
    browser.run_async("await player.unload(); return 0").await;
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
    assert_eq!(daemon.count("the viewer left"), 1, "DELETE ended it");
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_trickles_restarts_ice_and_shows_the_picture() {
    let Some(browser) = page().await else { return };
    let Some(mut world) = invited::World::new().await else { return };
    let link = world.grant("player", &["--rights", "view"]).await;
    let token = link.grant.expect("a grant").1.bearer();
    let whep = format!("{}whep", world.daemon.page().await);
    // Audio first, as its manual has it: the device has none.
    let play = format!(
        "const pc = window.pc = new RTCPeerConnection({{ bundlePolicy: 'max-bundle' }});
         pc.addTransceiver('audio'); pc.addTransceiver('video');
         pc.ontrack = (event) => {{
             if (event.track.kind == 'video') document.querySelector('video').srcObject = event.streams[0] ?? new MediaStream([event.track]);
         }};
         const whep = window.whep = new players.WHEPClient();
         await whep.view(pc, {}, {}); return 0",
        json!(whep),
        json!(token)
    );
    browser.run_async(&play).await;
    browser.frames_advance(20).await;
    browser.assert_test_picture_is_live().await;
    let state = world.dashboard.viewers(1).await;
    let session = &state["viewers"]["sessions"][0];
    assert_eq!(session["grant"], "player", "{state:#}");
    let ufrag = "const stats = await pc.getStats();
        for (const one of stats.values()) if (one.type === 'transport') return one.iceLocalUsernameFragment;
        return null";
    let before = browser.run_async(ufrag).await;
    browser.run_async("await whep.restart(); return 0").await;
    browser.frames_advance(30).await;
    browser.assert_test_picture_is_live().await;
    let after = browser.run_async(ufrag).await;
    assert_ne!(before, after, "the player did not restart ICE");
    let state = world.dashboard.new_state("one session", |state| state["viewers"]["count"] == 1).await;
    assert_eq!(state["viewers"]["sessions"][0]["since"], session["since"], "the session was replaced");
    browser.run_async("await whep.stop(); return 0").await;
    world.dashboard.viewers(0).await;
    world.daemon.assert_unharmed();
    browser.close().await;
}
