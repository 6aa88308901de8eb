//! WHEP players that were not written here, in a real Chromium: what they show, and what they leave behind.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use support::browser::{Browser, PLAYER_PAGE};
use support::daemon::{Daemon, Settings};
use support::http::{Site, behind_prefix};
use support::invited;
use support::mosquitto::Mosquitto;
use support::viewer::Dashboard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The players, as they come from their packages. The reader is the one that MediaMTX serves, with types.
const ENTRY: &str = "
    export { WHEPClient } from 'whip-whep/whep.js';
    export { WebRTCPlayer } from '@eyevinn/webrtc-player';
    export { MediaMTXWebRTCReader } from './node_modules/mediamtx-webrtc-react/src/lib/MediaMTXWebRTCReader.ts';";

/// The players in one script, or the reason why there are none.
fn players() -> Option<String> {
    let viewer = Path::new(env!("CARGO_MANIFEST_DIR")).join("viewer");
    if !viewer.join("node_modules/mediamtx-webrtc-react").exists() {
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
    browser.run(PLAYER_PAGE).await;
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
    // It takes a relative `Location` for one of its own page's, so that its DELETE goes there: the end of DTLS is what is left.
    dashboard.viewers(0).await;
    dashboard.camera("idle").await;
    daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mediamtx_reader_plays_with_a_grant_from_behind_a_proxy_and_hangs_up() {
    let Some(browser) = page().await else { return };
    let Some(mut world) = invited::World::new().await else { return };
    let link = world.grant("player", &["--rights", "view"]).await;
    let token = link.grant.expect("a grant").1.bearer();
    let front = behind_prefix(&Site::of(&world.daemon.page().await)).await;
    let asked = "window.requests = [];
        const real = window.fetch;
        window.fetch = async (url, init) => {
            const answer = await real(url, init);
            window.requests.push([init.method, new URL(url).pathname.split('/').slice(0, 3).join('/'), answer.status,
                Boolean(init.headers && init.headers.Authorization)]);
            return answer;
        };
        return 0";
    browser.run_async(asked).await;
    let play = format!(
        "window.complaints = [];
         window.reader = new players.MediaMTXWebRTCReader({{ url: {}, token: {},
             onError: (error) => window.complaints.push(error),
             onTrack: (event) => {{ document.querySelector('video').srcObject = event.streams[0]; }} }});
         return 0",
        json!(format!("http://{}/front/whep", front.0)),
        json!(token)
    );
    browser.run_async(&play).await;
    browser.frames_advance(20).await;
    browser.assert_test_picture_is_live().await;
    let state = world.dashboard.viewers(1).await;
    assert_eq!(state["viewers"]["sessions"][0]["grant"], "player", "{state:#}");
    // As it does after an error: it hangs up without its token, and comes again.
    browser.run_async("reader.handleError('a test'); return 0").await;
    let deleted = "const at = Date.now();
        while (!requests.some(([method]) => method === 'DELETE') && Date.now() - at < 20000)
            await new Promise((done) => setTimeout(done, 50));
        return requests";
    let requests = browser.run_async(deleted).await;
    let of = |method: &str| -> Vec<serde_json::Value> {
        let all = requests.as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|one| one[0] == method).collect()
    };
    let [deleted] = &of("DELETE")[..] else { panic!("{requests}") };
    // It has closed its connection just before, and the end of that may be the quicker word.
    assert!([json!(200), json!(404)].contains(&deleted[2]), "{requests}");
    assert_eq!((&deleted[1], &deleted[3]), (&json!("/front/whep"), &json!(false)), "{requests}");
    let patches = of("PATCH");
    assert!(!patches.is_empty(), "{requests}");
    assert!(patches.iter().all(|one| one[2] == 204 && one[3] == false), "{requests}");
    let complaints = browser.run_async("reader.close(); return complaints").await;
    assert_eq!(complaints, json!(["a test, retrying in some seconds"]));
    world.daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_trickles_restarts_ice_and_shows_the_picture() {
    let Some(browser) = page().await else { return };
    let Some(mut world) = invited::World::new().await else { return };
    let link = world.grant("player", &["--rights", "view"]).await;
    let token = link.grant.expect("a grant").1.bearer();
    let front = behind_prefix(&Site::of(&world.daemon.page().await)).await;
    let whep = format!("http://{}/front/whep", front.0);
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
