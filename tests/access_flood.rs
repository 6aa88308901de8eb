//! A thousand offers a second that nobody invited, while somebody watches.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use support::client::Client;
use support::daemon::DEVICE;
use support::invited::{World, auth, watch};
use support::viewer::OFFER;

const SECONDS: u64 = 10;
/// Ten at a time, a hundred times a second.
const BURST: usize = 10;
const TICK: Duration = Duration::from_millis(10);

/// What a stranger sends who has seen somebody's offers: another's name, a signature by a key that is not theirs.
fn forged(link: &porthole::access::link::ViewingLink, session: usize) -> String {
    let session = format!("s{session}");
    let mut auth = auth(link, DEVICE, "stranger", &session, OFFER);
    auth["grant"] = json!("anna");
    json!({"type": "offer", "session": session, "sdp": OFFER, "auth": auth}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_uninvited_offers_a_second_disturb_nobody() {
    let Some(mut world) = World::new().await else { return };
    let anna = world.grant("anna", &[]).await;
    let other = world.grant("other", &[]).await;
    world.command(&["revoke", "other"]).expect("revoked");
    let offers: Vec<String> = (0..200).map(|session| forged(&other, session)).collect();
    let port = world.broker.port();
    let seconds = u32::try_from(SECONDS).expect("a few") + 5;
    let watching = tokio::spawn(async move { watch(&anna, port, seconds).await });
    world.dashboard.viewers(1).await;
    let connected = |state: &Value| state["viewers"]["sessions"][0]["path"].is_string();
    world.dashboard.state("a picture on its way", connected).await;

    let up = format!("porthole/{DEVICE}/signal/stranger/up");
    let down = format!("porthole/{DEVICE}/signal/stranger/down");
    let mut stranger = Client::connect(port, "stranger", &[down]).await;
    let before = world.daemon.usage();
    let begin = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0;
    let mut replies = Vec::new();
    while begin.elapsed() < Duration::from_secs(SECONDS) {
        ticks.tick().await;
        for offer in offers.iter().cycle().skip(sent % offers.len()).take(BURST) {
            stranger.publish(&up, offer.as_str()).await;
        }
        sent += BURST;
        replies.extend(std::iter::from_fn(|| stranger.arrived()).map(|message| message.json()));
    }
    let took = begin.elapsed().as_secs_f64();
    let after = world.daemon.usage();
    let report = watching.await.expect("a report");
    let cpu = (after.cpu_ms - before.cpu_ms) as f64 / 10.0 / took;
    eprintln!(
        "{sent} offers in {took:.1} s, {} replies; the daemon, one viewer's picture included: {cpu:.1} % of a core, \
         memory {} KiB before and {} KiB after; the viewer: {} frames, {} lost, longest gap {} ms",
        replies.len(),
        before.rss_kib,
        after.rss_kib,
        report["frames"],
        report["lost"],
        report["longest_gap_ms"],
    );
    assert_eq!((&report["connected"], &report["errors"]), (&json!(1), &json!([])), "{report}");
    assert!(report["frames"].as_u64().is_some_and(|frames| frames > 50), "{report}");
    // None came through, and each code says why.
    assert_eq!(world.daemon.count("session granted"), 1);
    assert!(!replies.is_empty());
    for reply in &replies {
        assert!(reply["code"] == "rate-limited" || reply["code"] == "unauthorized", "{reply}");
        assert!(
            reply["code"] != "rate-limited" || reply["retryAfter"].as_u64().is_some_and(|s| s > 0),
            "{reply}"
        );
    }
    assert!(replies.iter().any(|reply| reply["code"] == "rate-limited"), "no limit was reached");
    // Neither sockets nor threads nor memory went with the offers.
    assert!(after.files <= before.files + 8 && after.threads <= before.threads + 4, "{after:?} {before:?}");
    assert!(after.rss_kib < before.rss_kib + 16 * 1024, "memory grew from {before:?} to {after:?}");
    world.daemon.assert_unharmed();
}
