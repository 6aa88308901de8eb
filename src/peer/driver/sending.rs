//! One viewer's pictures on their way: a task of the driver's thread that waits for them, and for the pacer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;
use tracing::Instrument;

use super::Shared;
use super::peer::NewPeer;
use crate::fanout::{Fanout, Subscription};
use crate::peer::net::demux::Owner;
use crate::peer::send::pictures::Sending;
use crate::peer::stats::Live;

/// How soon packets that found no room are tried again.
const ROOM_EVERY: Duration = Duration::from_millis(2);

/// Sends to `owner` until its connection ends.
pub(super) fn start(shared: Rc<Shared>, owner: Owner, new: &NewPeer) -> Option<AbortHandle> {
    let live = new.live.as_ref()?;
    let fanout = new.media.fanout().clone();
    let sending = Sending::new(new.playout_delay_ms, fanout.clone(), Arc::clone(live));
    let task = run(shared, owner, sending, Arc::clone(live), fanout).instrument(new.span.clone());
    Some(spawn_local(task).abort_handle())
}

async fn run(shared: Rc<Shared>, owner: Owner, mut sending: Sending, live: Arc<Live>, fanout: Fanout) {
    let mut subscription: Subscription = fanout.subscribe();
    loop {
        let rate = live.feedback.rate(Instant::now());
        let unit = match sending.wait(rate) {
            None => Some(subscription.next().await),
            Some(wait) => timeout(wait, subscription.next()).await.ok(),
        };
        let now = Instant::now();
        if let Some(unit) = unit {
            sending.take(now, &unit, rate);
        }
        let Some(mut waits) = shared.media(owner, |media, net| {
            sending.send(now, rate, media, net);
            !media.finish(net, now)
        }) else {
            return;
        };
        while waits {
            tokio::time::sleep(ROOM_EVERY).await;
            let finished = shared.media(owner, |media, net| media.finish(net, Instant::now()));
            let Some(finished) = finished else { return };
            waits = !finished;
        }
    }
}
