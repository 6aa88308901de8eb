//! One viewer's pictures on their way: a task of the driver's thread that waits for them, and for the pacer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::Instrument;

use super::Shared;
use super::command::PeerEvent;
use super::peer::NewPeer;
use crate::peer::net::demux::Owner;
use crate::peer::send::pictures::Sending;
use crate::peer::stats::SessionStats;
use crate::stream::{Fanout, Subscription};

/// How soon packets that found no room are tried again.
const ROOM_EVERY: Duration = Duration::from_millis(2);

/// Sends to `owner` until its connection ends.
pub(super) fn start(shared: Rc<Shared>, owner: Owner, new: &NewPeer) -> Option<AbortHandle> {
    let live = new.live.as_ref()?;
    let fanout = new.media.fanout().clone();
    let sending = Sending::new(new.playout_delay_ms, fanout.clone(), Arc::clone(live));
    let (tasks, told) = (shared.tasks.clone(), TellsOfPanic(new.events.clone()));
    let live = Arc::clone(live);
    let task = async move {
        let _told = told;
        run(shared, owner, sending, live, fanout).await;
    };
    Some(tasks.spawn_local_finite("sender", task.instrument(new.span.clone())).abort_handle())
}

/// Tells the session that its sender has failed: nobody would see but that no pictures come.
struct TellsOfPanic(mpsc::Sender<PeerEvent>);

impl Drop for TellsOfPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A session that no longer reads is being closed.
            let _ = self.0.try_send(PeerEvent::SenderFailed);
        }
    }
}

async fn run(
    shared: Rc<Shared>,
    owner: Owner,
    mut sending: Sending,
    live: Arc<SessionStats>,
    fanout: Fanout,
) {
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
