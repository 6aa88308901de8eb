//! The page over https in a real Chromium, with the built-in broker behind the same port.

mod support;

use support::browser::Browser;
use support::certificates::Certificates;
use support::daemon::{DEVICE, Daemon};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_over_https_shows_the_picture() {
    let certificates = Certificates::new();
    // The certificate is not what is tested here; a browser does without mixing whatever signed it.
    let Some(browser) = Browser::start_with(&["--ignore-certificate-errors"]).await else { return };
    let mut daemon = Daemon::run(certificates.settings());
    let page = daemon.page().await.replace("http://", "https://");
    browser.open(&format!("{page}#device={DEVICE}")).await;
    browser.phase("live").await;
    browser.frames_advance(20).await;
    browser.assert_test_picture_is_live().await;
    assert_eq!(browser.run("return location.protocol").await, "https:");
    daemon.assert_unharmed();
    browser.close().await;
}
