//! A page from elsewhere and a camera at home: Chromium asks before one may reach the other, and the page says so.

mod support;

use support::browser::Browser;
use support::daemon::Daemon;
use support::free_ports;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_from_elsewhere_asks_for_the_way_into_the_local_network() {
    let [mqtt_port] = free_ports();
    let daemon = Daemon::demo(mqtt_port);
    let link = daemon.link().await;
    let (page, fragment) = link.split_once('#').expect("a fragment");
    let port = page.trim_end_matches('/').rsplit(':').next().expect("a port");
    // The page's own server counts as one on the internet, with a name and a certificate.
    let origin = format!("http://page.example:{port}");
    let Some(browser) = Browser::start_with(&[
        "--host-resolver-rules=MAP page.example 127.0.0.1",
        &format!("--ip-address-space-overrides=127.0.0.1:{port}=public"),
        &format!("--unsafely-treat-insecure-origin-as-secure={origin}"),
    ])
    .await
    else {
        return;
    };
    let names = ["loopback-network", "local-network", "local-network-access"];
    for name in names {
        browser.permission(&origin, name, "denied").await;
    }
    let far = format!("{origin}/#{fragment}");
    browser.open(&far).await;
    let says = |part: &'static str| {
        move |state: &serde_json::Value| state["hint"].as_str().is_some_and(|hint| hint.contains(part))
    };
    browser.until("that it is refused", says("allow it in the site settings")).await;
    let is_hidden = "return document.getElementById('local').hidden";
    assert_eq!(browser.run(is_hidden).await, true, "a button that can do nothing");

    for name in names {
        browser.permission(&origin, name, "prompt").await;
    }
    browser.reload().await;
    browser.until("that it will be asked", says("press the button and allow it")).await;
    assert_eq!(browser.run(is_hidden).await, false);
    for name in names {
        browser.permission(&origin, name, "granted").await;
    }
    browser.run("document.getElementById('local').click()").await;
    browser.phase("live").await;
    browser.frames_advance(5).await;
    browser.close().await;
}
