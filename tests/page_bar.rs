//! The bar over the picture in a real Chromium, control by control, against a real device.

#[path = "support/bar_page.rs"]
mod bar_page;
mod support;

use bar_page::World;
use serde_json::json;

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_a_recording_are_files_that_show_the_picture() {
    let Some(world) = World::with("view").await else { return };
    world.click("[data-name=snapshot]").await;
    let name = world.saved(0).await;
    let camera = world.browser.state().await["name"].as_str().expect("a name").to_owned();
    assert!(name.starts_with(&format!("{camera} ")) && ending(&name) == "jpg", "{name}");
    let picture = world
        .browser
        .run_async(
            "const { blob } = saved[0];
             const [bytes, bitmap] = [new Uint8Array(await blob.arrayBuffer()), await createImageBitmap(blob)];
             return [blob.type, bytes[0], bytes[1], bitmap.width, bitmap.height];",
        )
        .await;
    assert_eq!(picture, json!(["image/jpeg", 0xff, 0xd8, 640, 480]));
    world.until("inBar('.ui-note').textContent.includes(saved[0].name)").await;

    world.click("[data-name=record]").await;
    world.until("inBar('[data-name=record]').hasAttribute('data-recording')").await;
    world.until("inBar('.ui-time').textContent >= '0:02'").await;
    world.click("[data-name=record]").await;
    let name = world.saved(1).await;
    assert!(["mp4", "webm"].contains(&ending(&name)), "{name}");
    let played = world
        .browser
        .run_async(
            "const video = document.createElement('video');
             video.muted = true;
             video.src = URL.createObjectURL(saved[1].blob);
             document.body.append(video);
             await video.play();
             while (video.currentTime < 0.5) await new Promise((done) => video.requestVideoFrameCallback(done));
             return [video.videoWidth, video.videoHeight, saved[1].blob.type];",
        )
        .await;
    assert_eq!((&played[0], &played[1]), (&json!(640), &json!(480)), "{played}");
    assert_eq!(world.browser.run("return inBar('.ui-time').textContent").await, "");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_the_device_and_say_what_became_of_it() {
    let Some(mut world) = World::with("view,control").await else { return };
    world.until("shown('[data-name=settings]')").await;
    world.keys("e").await;
    world.click("input[data-name=mirror]").await;
    world.dashboard.state("a mirrored picture", |state| state["picture"]["mirror"] == true).await;
    world.until("inBar('.ui-outcome').textContent === 'Mirror: done.'").await;
    let choose = "const at = inBar('select[data-name=bitrate]'); at.value = '600'; at.dispatchEvent(new Event('change')); return 0";
    world.browser.run(choose).await;
    world.dashboard.state("a ceiling", |state| state["encoder"]["ceiling"] == 600_000).await;
    world.until("inBar('.ui-outcome').textContent === 'Bit rate, at most: done.'").await;
    world
        .browser
        .run("inBar('input[data-name=overlay]').value = '%Q {'; inBar('[part=apply]').click(); return 0")
        .await;
    let said = world
        .until("/^Text in the picture: /.test(inBar('.ui-outcome').textContent) && inBar('.ui-outcome').textContent")
        .await;
    assert!(
        said.as_str().is_some_and(|words| words.contains("not changed") && words.contains("%Q")),
        "{said}"
    );

    // The privacy switch is asked about, and no is an answer.
    world.click("[part=privacy]").await;
    world.until("focusIn() === inBar('[part=privacy-cancel]')").await;
    world.click("[part=privacy-cancel]").await;
    world.until("focusIn() === inBar('[part=privacy]')").await;
    assert_eq!(world.dashboard.new_state("a state", |_| true).await["streaming"], "ON");
    world.click("[part=privacy]").await;
    world.click("[part=privacy-yes]").await;
    world.dashboard.state("privacy", |state| state["streaming"] == "OFF").await;
    world.browser.until("privacy", |state| state["code"] == "privacy").await;
    world.until("inBar('.ui-settings fieldset').disabled").await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_watch_sees_no_settings() {
    let Some(world) = World::with("view").await else { return };
    world.until("document.querySelector('porthole-camera').camera.rights?.has('view')").await;
    world.keys("e").await;
    world.keys("i").await;
    world.until("shown('.ui-stats')").await;
    assert_eq!(
        world.browser.run("return [shown('[data-name=settings]'), shown('.ui-settings')]").await,
        json!([false, false])
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_wheel_enlarge_the_picture_within_its_borders() {
    let Some(world) = World::with("view").await else { return };
    let video = "const { style } = document.querySelector('porthole-camera').video; return [Number(style.scale), style.translate, shown('.ui-zoom')]";
    world.keys("++").await;
    world.until("shown('.ui-zoom')").await;
    let large = world.browser.run(video).await;
    assert_eq!((&large[0], &large[2]), (&json!(1.5625), &json!(true)), "{large}");
    let before = large[1].clone();
    world.keys("\u{e014}").await; // the right arrow
    let moved = world.browser.run(video).await;
    assert_ne!(moved[1], before);
    let bounded = world
        .browser
        .run(
            "const camera = document.querySelector('porthole-camera'), { left, top, width, height } = camera.getBoundingClientRect();
             for (let n = 0; n < 40; n++) camera.dispatchEvent(new WheelEvent('wheel', { deltaY: -200, clientX: left + 5, clientY: top + height / 2, cancelable: true }));
             const box = camera.video.getBoundingClientRect();
             return [Number(camera.video.style.scale), box.left <= left + 1, box.right >= left + width - 1];",
        )
        .await;
    assert_eq!(bounded, json!([8, true, true]), "eight times and no more, and nothing beside the picture");
    world.keys("0").await;
    assert_eq!(world.browser.run(video).await, json!([0, "", false]));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_reaches_all_of_it_and_the_bar_hides_only_when_nobody_is_at_it() {
    let Some(world) = World::with("view,control").await else { return };
    world.until("shown('[data-name=settings]')").await;
    let idle =
        "window.idle.forEach((act) => act()); return inBar('.ui-bar').parentNode.hasAttribute('data-idle')";
    assert_eq!(world.browser.run(idle).await, true, "nobody is there");
    world.keys("i").await;
    world
        .until(
            "shown('.ui-stats') && inBar('[data-name=statistics]').getAttribute('aria-expanded') === 'true'",
        )
        .await;
    assert_eq!(world.browser.run(idle).await, false, "a panel is open");
    assert_eq!(world.browser.run("return inBar('[part~=panel-statistics]').contains(focusIn())").await, true);
    world.keys("\u{e00c}").await; // Escape
    world.until("!shown('.ui-stats') && focusIn() === inBar('[data-name=statistics]')").await;
    assert_eq!(world.browser.run(idle).await, false, "the keyboard is at a button");
    // From the first button on, the tabulator reaches each one that is shown.
    world.browser.run("inBar('.ui-bar button:not([hidden])').focus(); return 0").await;
    let wanted = world.browser.run("return [...inBar('.ui-bar').querySelectorAll('button')].filter((at) => at.getClientRects().length && !at.disabled).map((at) => at.dataset.name)").await;
    let wanted = wanted.as_array().expect("buttons").clone();
    let mut reached = Vec::new();
    for _ in 0..wanted.len() {
        reached.push(world.browser.run("return focusIn().dataset.name ?? null").await);
        world.keys("\u{e004}").await; // Tab
    }
    assert_eq!(reached, wanted);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_tell_the_way_of_the_picture_and_its_last_minute() {
    let Some(world) = World::with("view").await else { return };
    world.click("[data-name=statistics]").await;
    let rows = world
        .until(
            "(() => {
                const rows = [...inBar('.ui-stats dl').children].filter((row) => !row.hidden).map((row) => [row.querySelector('dt').textContent, row.querySelector('dd span').textContent]);
                const plots = [...inBar('.ui-stats').querySelectorAll('.ui-plot')].slice(0, 3);
                const drawn = plots.every((plot) => /L/.test(plot.querySelector('path').getAttribute('d')) && /^In the last minute from /.test(plot.getAttribute('aria-label')));
                return drawn && rows.every(([, value]) => value !== 'not known') && Object.fromEntries(rows);
            })()",
        )
        .await;
    assert_eq!((&rows["Path"], &rows["Size"]), (&json!("direct, over UDP"), &json!("640 × 480")), "{rows:#}");
    assert!(rows["Camera to screen"].as_str().is_some_and(|text| text.ends_with(" ms")), "{rows:#}");
    assert!(rows["Encoder"].as_str().is_some_and(|text| text.contains("264")), "{rows:#}");
    world.close().await;
}
