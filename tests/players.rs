//! GStreamer's WHEP players, as their crates have them: they decode pictures, with a grant and from behind a proxy, and hang up.

mod support;

use support::gst_player::GstPlayer;
use support::http::{Site, behind_prefix};
use support::invited;

/// Plays with `pipeline`, in which `URL` and `TOKEN` are replaced, from behind a proxy and with a grant.
async fn plays(pipeline: &str) {
    let Some(player) = GstPlayer::found() else { return };
    let Some(mut world) = invited::World::new().await else { return };
    let link = world.grant("player", &["--rights", "view"]).await;
    let token = link.grant.expect("a grant").1.bearer();
    let front = behind_prefix(&Site::of(&world.daemon.page().await)).await;
    let url = format!("http://{}/front/whep", front.0);
    let playing = tokio::spawn(player.play(pipeline.replace("URL", &url).replace("TOKEN", &token)));
    let started = world.dashboard.event("a session", |event| event["type"] == "session-started").await;
    assert_eq!(started["grant"], "player", "{started}");
    playing.await.expect("a run").expect("pictures");
    world.dashboard.event("its end", |event| event["type"] == "session-ended").await;
    world.dashboard.viewers(0).await;
    assert_eq!(world.daemon.count("the viewer left"), 1, "it said goodbye by its session's URL");
    world.daemon.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn whepsrc_plays_with_a_grant_from_behind_a_proxy() {
    plays(
        "whepsrc whep-endpoint=URL auth-token=TOKEN \
         video-caps=application/x-rtp,media=video,encoding-name=H264,payload=102,clock-rate=90000 \
         ! rtph264depay ! decodebin ! fakesink",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whepclientsrc_plays_with_a_grant_from_behind_a_proxy() {
    plays("whepclientsrc signaller::whep-endpoint=URL signaller::auth-token=TOKEN ! decodebin ! fakesink")
        .await;
}
