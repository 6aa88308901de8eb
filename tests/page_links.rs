//! Where a link's secret is while somebody watches, and cameras that are kept on a device: a real Chromium and a real daemon.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::daemon::{Daemon, Settings};
use support::{free_ports, invited};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Everything in which a browser keeps what a page gives it, as text, but for the tab's own storage.
const KEPT_BY_THE_BROWSER: &str = "
    const all = [location.href, document.cookie, document.documentElement.outerHTML, JSON.stringify(localStorage), JSON.stringify(history.state)];
    for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const request of await cache.keys()) all.push(request.url, await (await cache.match(request)).text());
    }
    return all.join('\\n');";

async fn press(browser: &Browser, label: &str) {
    let shown = browser.run("return document.getElementById('keep').getAttribute('aria-label')").await;
    assert_eq!(shown, label);
    browser.run("document.getElementById('keep').click()").await;
}

async fn text(browser: &Browser, script: &str) -> String {
    browser.run_async(script).await.as_str().expect("text").to_owned()
}

fn secret_of(link: &str) -> &str {
    let (_, secret) = link.split_once("secret=").expect("a secret");
    secret.split('&').next().expect("a first part")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_leaves_the_address_bar_and_a_reload_still_shows_the_picture() {
    let Some(browser) = Browser::start().await else { return };
    let [mqtt_port] = free_ports();
    let daemon = Daemon::demo(mqtt_port);
    let link = daemon.link().await;
    browser.open(&link).await;
    browser.phase("live").await;
    let kept = text(&browser, KEPT_BY_THE_BROWSER).await;
    assert!(!kept.contains(secret_of(&link)), "{kept}");
    assert!(kept.contains("grant="), "the rest of the address stays: {kept}");

    browser.reload().await;
    browser.phase("live").await;
    browser.frames_advance(10).await;

    // Somebody copies what stands in the address bar: nothing opens by it, and the page says why.
    let address = text(&browser, "return location.href").await;
    browser.open_tab(&address).await;
    let refused = browser.phase("refused").await;
    assert_eq!(refused["code"], "no-secret", "{refused:#}");
    let words = browser.words().await;
    assert!(words.contains("address bar"), "{words}");
    browser.close().await;
}

/// A page of another origin on the same host, which browsers give the same storage: with the camera's page in a frame.
async fn framing(page: &str) -> String {
    let body = format!("<!doctype html><iframe src={page:?} style='width:600px;height:400px'></iframe>");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                // One that asks for nothing is answered nothing; one that hangs up is no matter.
                if stream.read(&mut [0; 4096]).await.is_ok_and(|bytes| bytes > 0) {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_another_origin_is_shown_no_camera_that_was_kept() {
    let Some(browser) = Browser::start().await else { return };
    let ports: [u16; 2] = free_ports();
    let [mqtt, websocket] = ports.map(|port| format!("127.0.0.1:{port}"));
    let settings = Settings::new("embedded").text("access.mode", "grants");
    let settings = settings.text("broker.listen", mqtt).text("broker.websocket", websocket);
    let daemon = Daemon::run(settings);
    let page = daemon.page().await;
    let link = invited::grant(&daemon, "guest", &["--rights", "view,control"]).await;
    let link = format!("{page}#{}", link.to_string().split_once('#').expect("a fragment").1);
    browser.open(&link).await;
    browser.phase("live").await;
    press(&browser, "Keep this camera on this device").await;
    browser.open_tab(&page).await;
    browser.phase("live").await;
    browser.open_tab(&framing(&page).await).await;
    browser.client.enter_frame(0).await.expect("the frame");
    let refused = browser.phase("refused").await;
    assert_eq!(refused["code"], "no-invitation", "{refused:#}");
    assert_eq!(browser.run("return document.getElementById('keep').hidden").await, true);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_was_kept_opens_by_itself_until_it_is_forgotten_and_without_a_network_says_so() {
    let Some(browser) = Browser::start().await else { return };
    let [mqtt_port] = free_ports();
    let mut daemon = Daemon::demo(mqtt_port);
    let link = daemon.link().await;
    let (page, _) = link.split_once('#').expect("a fragment");
    browser.open(&link).await;
    browser.phase("live").await;
    press(&browser, "Keep this camera on this device").await;
    browser.run_async("await navigator.serviceWorker.ready; return 0").await;

    // As the installed app starts: in a tab that has never seen the link.
    browser.open_tab(page).await;
    browser.phase("live").await;
    browser.frames_advance(10).await;
    let manifest = browser
        .run_async(
            "const { href } = document.querySelector('link[rel=manifest]');
             const manifest = await (await fetch(href)).json();
             const sizes = [];
             for (const { src, sizes: said, type } of manifest.icons) {
                 const image = new Image();
                 image.src = new URL(src, href);
                 await image.decode();
                 sizes.push([said, type, image.naturalWidth]);
             }
             return { display: manifest.display, start: new URL(manifest.start_url, href).href, sizes };",
        )
        .await;
    assert_eq!((&manifest["display"], &manifest["start"]), (&json!("standalone"), &json!(page)));
    for icon in manifest["sizes"].as_array().expect("icons") {
        let is_as_said = icon[1] == "image/svg+xml" || icon[0] == format!("{0}x{0}", icon[2]);
        assert!(is_as_said, "{icon}");
    }
    let told = text(&browser, KEPT_BY_THE_BROWSER).await;
    assert_eq!(told.matches(secret_of(&link)).count(), 1, "in the list of kept cameras and nowhere else");
    assert!(!told.contains("\u{fffd}\u{fffd}JFIF"), "a picture was kept");

    daemon.kill();
    browser.reload().await;
    browser.phase("broker-waiting").await;
    let words = browser.words().await;
    assert!(words.contains("cannot be reached"), "{words}");
    browser.before_each_page("Object.defineProperty(navigator, 'onLine', { get: () => false });").await;
    browser.reload().await;
    browser.phase("network-lost").await;
    let words = browser.words().await;
    assert!(words.contains("no network"), "{words}");

    press(&browser, "Forget this camera on this device").await;
    let mut left = Value::Null;
    for _ in 0..100 {
        left = browser.run_async("return [localStorage.length, (await caches.keys()).length]").await;
        if left == json!([0, 0]) {
            break;
        }
        browser.a_moment().await;
    }
    assert_eq!(left, json!([0, 0]));
    browser.close().await;
}
