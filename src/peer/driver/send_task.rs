//! One viewer's pictures on their way: a task of the driver's thread that waits for them, and for the pacer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::Instrument;

use super::event::PeerEvent;
use super::new_peer::NewPeer;
use crate::base::tasks::TaskGroup;
use crate::peer::net::Net;
use crate::peer::net::demux::PeerId;
use crate::peer::send::media_sender::MediaSender;
use crate::peer::send::video_sender::VideoSender;
use crate::peer::stats::SessionStats;
use crate::stream::{Fanout, Subscription};

/// How soon packets that found no room are tried again.
const ROOM_EVERY: Duration = Duration::from_millis(2);

/// What a sender asks of the driver's thread.
pub(super) trait MediaHost {
    /// Does `what` with the media of `peer_id`; `false` when that connection has ended.
    fn with_media(&self, peer_id: PeerId, what: &mut dyn FnMut(&mut MediaSender, &mut Net)) -> bool;
}

/// Sends to `peer_id` until its connection ends.
pub(super) fn start(
    host: Rc<dyn MediaHost>,
    peer_id: PeerId,
    new: &NewPeer,
    tasks: &TaskGroup,
) -> Option<AbortHandle> {
    let live = new.parts.live.as_ref()?;
    let fanout = new.parts.fanout.clone();
    let video_sender = VideoSender::new(new.parts.playout_delay_ms, fanout.clone(), Arc::clone(live));
    let reporter = PanicReporter(new.events.clone());
    let live = Arc::clone(live);
    let task = async move {
        let _reporter = reporter;
        run(host, peer_id, video_sender, live, fanout).await;
    };
    Some(tasks.spawn_local_finite("sender", task.instrument(new.span.clone())).abort_handle())
}

/// Tells the session that its sender has failed: nobody would see but that no pictures come.
struct PanicReporter(mpsc::Sender<PeerEvent>);

impl Drop for PanicReporter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A session that no longer reads is being closed.
            let _ = self.0.try_send(PeerEvent::Failed);
        }
    }
}

async fn run(
    host: Rc<dyn MediaHost>,
    peer_id: PeerId,
    mut video_sender: VideoSender,
    live: Arc<SessionStats>,
    fanout: Fanout,
) {
    let mut subscription: Subscription = fanout.subscribe();
    loop {
        let rate = live.feedback.rate(Instant::now());
        let unit = match video_sender.wait(rate) {
            None => Some(subscription.next().await),
            Some(wait) => timeout(wait, subscription.next()).await.ok(),
        };
        let now = Instant::now();
        if let Some(unit) = unit {
            video_sender.take(now, &unit, rate);
        }
        let mut waits = false;
        let mut send = |media: &mut MediaSender, net: &mut Net| {
            video_sender.send(now, rate, media, net);
            waits = !media.finish(net, now);
        };
        if !host.with_media(peer_id, &mut send) {
            return;
        }
        while waits {
            tokio::time::sleep(ROOM_EVERY).await;
            let mut finish =
                |media: &mut MediaSender, net: &mut Net| waits = !media.finish(net, Instant::now());
            if !host.with_media(peer_id, &mut finish) {
                return;
            }
        }
    }
}
