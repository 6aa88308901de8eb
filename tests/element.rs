//! `<porthole-camera>` in a page that is not Porthole's, in a real Chromium: several, moved, changed, and in trouble.

mod support;

use serde_json::json;
use support::browser::Browser;
use support::certificates::Certificates;
use support::daemon::{DEVICE, Daemon, Settings};
use support::element_page::{World, add, assert_live, assert_open, element_page, prepare, until};
use support::invited;

#[tokio::test(flavor = "multi_thread")]
async fn several_cameras_share_one_connection_and_leave_nothing_behind() {
    let Some(mut world) = World::new().await else { return };
    let Some(browser) = world.page().await else { return };
    let _other = Daemon::run(Settings::new(&world.broker.url()).text("device.id", "other"));
    let mut other = world.place();
    other["device"] = json!("other");
    for place in [&world.place(), &world.place(), &other] {
        add(&browser, place).await;
        assert_live(&browser).await;
    }
    assert_open(&browser, 3, 1).await;
    assert_eq!((world.connections(), browser.run("return count().sockets.made").await), (1, json!(1)));
    let both = world.dashboard.viewers(2).await;
    let rows = &both["viewers"]["sessions"];
    assert_eq!(rows[0]["viewer"], rows[1]["viewer"], "{rows:#}");
    assert_ne!(rows[0]["session"], rows[1]["session"], "{rows:#}");

    // One of them goes, and the others don't notice.
    let before = browser.run("return [camera.state.session, camera.state.attempt]").await;
    browser.run("document.querySelector('porthole-camera').remove(); return 0").await;
    world.dashboard.viewers(1).await;
    assert_open(&browser, 2, 1).await;
    browser.frames_advance(10).await;
    assert_eq!(browser.run("return [camera.state.session, camera.state.attempt]").await, before);
    assert_eq!(browser.run("return camera.state.brokerConnected").await, true);
    browser.run("document.body.replaceChildren(); return 0").await;
    world.dashboard.viewers(0).await;
    assert_open(&browser, 0, 0).await;
    world.daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_element_may_be_moved_and_comes_back_by_itself() {
    let Some(mut world) = World::new().await else { return };
    let Some(browser) = world.page().await else { return };
    let within = format!(
        "window.shadow = document.body.appendChild(document.createElement('div')).attachShadow({{ mode: 'open' }});
         shadow.append(make({})); return 0",
        world.place()
    );
    browser.run("window.heard = []; document.addEventListener('state', (event) => heard.push(event.detail.phase)); return 0").await;
    browser.run(&within).await;
    assert_live(&browser).await;
    until(&browser, "heard.includes('live')", &json!(true)).await;
    let session = "[camera.state.session, camera.state.attempt, count().peers.made]";
    let before = browser.run(&format!("return {session}")).await;

    // Moved at once, and taken along for less than five seconds.
    browser.run("document.body.append(camera); return 0").await;
    browser.run_async("camera.remove(); await new Promise((done) => setTimeout(done, 1000)); shadow.append(camera); return 0").await;
    browser.frames_advance(20).await;
    browser.assert_test_picture_is_live().await;
    assert_eq!(browser.run(&format!("return {session}")).await, before);

    // Gone for good: the device serves nobody.
    browser.run("camera.remove(); return 0").await;
    world.dashboard.viewers(0).await;
    assert_open(&browser, 0, 0).await;
    browser.run("document.body.append(camera); return 0").await;
    assert_live(&browser).await;
    assert_open(&browser, 1, 1).await;
    assert_eq!(browser.run("return loads").await, 1, "no reload");
    let after = browser.run(&format!("return {session}")).await;
    assert_ne!(after[0], before[0], "another session");

    // By hand: it says so, and goes on when it is asked to.
    browser.run("camera.pause(); return 0").await;
    world.dashboard.viewers(0).await;
    assert!(browser.run("return words()").await.as_str().is_some_and(|words| words.contains("Press Play")));
    browser.run("camera.shadowRoot.querySelector('button.play').click(); return 0").await;
    assert_live(&browser).await;
    let still = "const blob = await camera.snapshot(); const image = await createImageBitmap(blob);
                 return [blob.type, image.width, image.height]";
    assert_eq!(browser.run_async(still).await, json!(["image/jpeg", 640, 480]));
    world.daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_may_change_while_it_connects() {
    let Some(mut world) = World::new().await else { return };
    let Some(browser) = world.page().await else { return };
    let mut nobody = world.place();
    nobody["device"] = json!("nobody");
    add(&browser, &nobody).await;
    // At every moment of connecting, ending with the right one.
    let script = format!(
        "for (let round = 0; round < 40; round += 1) {{
             camera.device = round % 2 ? 'nobody' : 'other';
             if (round % 4 === 0) camera.key = 'x'; else camera.key = null;
             await new Promise((done) => setTimeout(done, round * 3));
         }}
         camera.key = null; camera.device = '{DEVICE}'; return 0"
    );
    browser.run_async(&script).await;
    assert_live(&browser).await;
    assert_open(&browser, 1, 1).await;
    let state = world.dashboard.viewers(1).await;
    assert_eq!(state["viewers"]["sessions"].as_array().map(Vec::len), Some(1), "{state:#}");
    // While it is live, too.
    browser.run("camera.setAttribute('device', 'nobody'); return 0").await;
    world.dashboard.viewers(0).await;
    browser.run(&format!("camera.setAttribute('device', '{DEVICE}'); return 0")).await;
    assert_live(&browser).await;
    assert_open(&browser, 1, 1).await;
    world.daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_never_without_words_or_a_picture() {
    let Some(mut world) = World::new().await else { return };
    let Some(browser) = world.page().await else { return };
    let broker = world.broker.ws_url();
    browser
        .run(
            "window.errors = []; window.made = make; window.make = (attributes) => {
        const camera = made(attributes);
        camera.addEventListener('error', (event) => errors.push(event.detail.code));
        return camera;
    }; return 0",
        )
        .await;
    let damaged = format!("http://camera/#broker={broker}&device={DEVICE}&key=abc");
    for (attributes, part, code) in [
        (json!({}), "address of the MQTT broker is missing", "no-broker no-device"),
        (json!({ "broker": broker }), "id of the camera is missing", "no-device"),
        (json!({ "broker": "mqtt://x", "device": DEVICE }), "ws:// or wss://", "bad-broker"),
        (json!({ "broker": broker, "device": DEVICE, "key": "" }), "key in it is not whole", "bad-key"),
        (json!({ "link": damaged }), "This link is damaged", "bad-key"),
        (json!({ "link": "" }), "address of the MQTT broker is missing", "no-broker no-device"),
        (json!({ "whep": "ftp://x" }), "http:// or https://", "bad-whep"),
        (
            json!({ "broker": "ws://127.0.0.1:9/", "device": DEVICE }),
            "127.0.0.1:9 cannot be reached",
            "broker-unreachable",
        ),
        (
            json!({ "whep": "http://127.0.0.1:9/whep" }),
            "The camera at 127.0.0.1:9 cannot be reached",
            "broker-unreachable",
        ),
        (json!({ "broker": broker, "device": "nobody" }), "nobody does not answer", "no-answer"),
    ] {
        browser.run("document.body.replaceChildren(); errors.length = 0; return 0").await;
        add(&browser, &attributes).await;
        assert_ne!(browser.run("return words().trim()").await, "", "at once: {attributes}");
        until(&browser, &format!("words().includes({})", json!(part)), &json!(true)).await;
        until(&browser, &format!("errors.includes({})", json!(code)), &json!(true)).await;
    }
    // The link that was whole all the time, in the place of the last one.
    browser.run("document.body.replaceChildren(); return 0").await;
    add(&browser, &json!({ "link": format!("http://camera/#broker={broker}&device={DEVICE}") })).await;
    assert_live(&browser).await;
    let before = world.daemon.count("connected to the broker");
    world.broker.kill();
    until(&browser, "words().includes('The picture goes on without it')", &json!(true)).await;
    browser.assert_test_picture_is_live().await;
    world.broker.start_again();
    until(&browser, "camera.state.brokerConnected", &json!(true)).await;
    // Without a connection it leaves no will, and nobody would say that it is gone.
    let is_back = |log: &str| (log.matches("connected to the broker").count() > before).then_some(());
    world.daemon.find("the daemon at the new broker", is_back).await;
    world.daemon.kill();
    until(&browser, "camera.state.phase", &json!("device-offline")).await;
    assert!(browser.run("return words()").await.as_str().is_some_and(|words| words.contains("is offline")));
    world.daemon.start_again();
    assert_live(&browser).await;
    assert_open(&browser, 1, 1).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_whep_it_needs_no_broker() {
    let Some(mut world) = invited::World::new().await else { return };
    let site = world.daemon.page().await;
    let Some(browser) = element_page(&site).await else { return };
    let token = |link: porthole::access::link::ViewingLink| link.grant.expect("a grant").1.bearer();
    let steers = token(world.grant("guest", &["--rights", "view,control"]).await);
    let whep = format!("{site}whep");
    add(&browser, &json!({ "whep": whep, "token": steers })).await;
    assert_live(&browser).await;
    until(&browser, "[...(camera.camera.rights ?? [])]", &json!(["view", "control"])).await;
    let done = browser.run_async("return await camera.set('bitrate', 700)").await;
    assert_eq!(done, json!({ "ok": true }));
    world.dashboard.state("the ceiling", |state| state["encoder"]["ceiling"] == 700_000).await;
    until(&browser, "camera.camera.device.ceilingKbps", &json!(700)).await;
    let refused = browser.run_async("return await camera.do('snapshot')").await;
    assert_eq!((&refused["ok"], &refused["error"]), (&json!(false), &json!("forbidden")), "{refused}");
    until(
        &browser,
        "camera.camera.samples.at(-1)?.bitrateKbps > 0 && camera.camera.samples.at(-1).path === 'host'",
        &json!(true),
    )
    .await;

    browser.run("camera.remove(); return 0").await;
    world.dashboard.viewers(0).await;
    assert_eq!(browser.run("return count().sockets.made").await, 0, "no broker was asked");
    browser.run("document.body.append(camera); return 0").await;
    assert_live(&browser).await;
    browser.run("camera.token = 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE'; return 0").await;
    until(&browser, "camera.state.code", &json!("unauthorized")).await;
    world.dashboard.viewers(0).await;
    assert_open(&browser, 0, 0).await;
    world.daemon.assert_unharmed();
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_over_https_shows_it_in_the_same_way() {
    let certificates = Certificates::new();
    let Some(browser) = Browser::start_with(&["--ignore-certificate-errors"]).await else { return };
    let mut daemon = Daemon::run(certificates.settings());
    let site = daemon.page().await.replace("http://", "https://");
    prepare(&browser, &format!("{site}viewer.json"), &site).await;
    add(&browser, &json!({ "broker": "ws://192.0.2.1:9001/", "device": DEVICE })).await;
    until(&browser, "camera.state.code", &json!("insecure")).await;
    let same = format!("camera.broker = {}; return 0", json!(site.replace("https://", "wss://") + "mqtt"));
    browser.run(&same).await;
    assert_live(&browser).await;
    browser.run(&format!("camera.whep = {}; return 0", json!(format!("{site}whep")))).await;
    until(&browser, "count().sockets.open", &json!(0)).await;
    assert_live(&browser).await;
    assert_open(&browser, 1, 0).await;
    daemon.assert_unharmed();
    browser.close().await;
}
