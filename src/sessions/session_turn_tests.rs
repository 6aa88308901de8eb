//! A picture that whoever watches has to turn, where one of them cannot be told how.

use futures_util::FutureExt;

use super::*;
use crate::media::look::turn::{Rotation, Turn};
use crate::media::{EncoderKind, EncoderStatus};

#[tokio::test]
async fn it_is_encoded_for_who_watches_already_and_for_who_comes() {
    let without: String = OFFER
        .lines()
        .filter(|line| !line.contains("video-orientation"))
        .fold(String::new(), |sdp, line| sdp + line + "\r\n");
    assert!(without.len() + 20 < OFFER.len());
    for is_turned_before in [false, true] {
        let mut world = World::new(true, Ice::default());
        let turn = |status: &mut MediaStatus| {
            status.viewers_turn = Turn { rotation: Rotation::Half, mirror: false };
        };
        world.media.send_modify(|status| {
            status.could_encode = true;
            status.encoder =
                Some(EncoderStatus { name: "camera".to_owned(), kind: EncoderKind::Passthrough });
        });
        if is_turned_before {
            world.media.send_modify(turn);
        }
        world.say("new", trickle(OFFER.to_owned())).await;
        world.answer("new").await;
        assert!(world.fanout.encoding_wanted().now_or_never().is_none(), "that one turns it");
        world.say("old", trickle(without.clone())).await;
        if !is_turned_before {
            world.answer("old").await;
            assert!(world.fanout.encoding_wanted().now_or_never().is_none(), "there is nothing to turn");
            world.media.send_modify(turn);
        }
        let wanted = timeout(PATIENCE, world.fanout.encoding_wanted()).await;
        assert!(wanted.is_ok(), "turned before: {is_turned_before}");
    }
}
