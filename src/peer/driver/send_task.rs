//! One viewer's pictures and sound on their way: a task of the driver's thread that waits for them, and for the pacer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep_until;
use tracing::Instrument;

use super::event::PeerEvent;
use super::new_peer::NewPeer;
use crate::base::tasks::TaskGroup;
use crate::peer::net::Net;
use crate::peer::net::demux::PeerId;
use crate::peer::send::audio_sender::AudioSender;
use crate::peer::send::media_sender::MediaSender;
use crate::peer::send::video_sender::VideoSender;
use crate::peer::stats::SessionStats;
use crate::stream::{AccessUnit, AudioFanout, AudioPacket, AudioSubscription, Fanout, Subscription};

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
    let sound = Sound::new(new, live);
    let reporter = PanicReporter(new.events.clone());
    let live = Arc::clone(live);
    let task = async move {
        let _reporter = reporter;
        run(host, peer_id, video_sender, live, fanout, sound).await;
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

/// What a sender waits for.
enum Next {
    Picture(AccessUnit),
    Sound(AudioPacket),
    /// Packets of a picture may leave, or what found no room may be tried again.
    Due,
    /// A later offer has sound, or has none any more.
    Switched,
}

async fn run(
    host: Rc<dyn MediaHost>,
    peer_id: PeerId,
    mut video_sender: VideoSender,
    live: Arc<SessionStats>,
    fanout: Fanout,
    mut sound: Sound,
) {
    let mut subscription: Subscription = fanout.subscribe();
    // Something found no room; sound, too, where all goes in order.
    let (mut waits, mut holds_sound) = (false, false);
    let mut due: Option<Instant> = None;
    loop {
        let next = tokio::select! {
            // Sound goes first.
            biased;
            next = sound.next(), if !holds_sound => next,
            unit = subscription.next(), if !waits => Next::Picture(unit),
            () = pause(due) => Next::Due,
        };
        let now = Instant::now();
        let is_of_sound = matches!(next, Next::Sound(_) | Next::Switched);
        let (waited, rate) = (waits, (!is_of_sound || waits).then(|| live.feedback.rate(now)));
        if let (Next::Picture(unit), Some(rate)) = (&next, rate) {
            video_sender.take(now, unit, rate);
        }
        let mut send = |media: &mut MediaSender, net: &mut Net| {
            if let Next::Sound(packet) = &next {
                sound.sender.send(now, packet, media, net);
            } else if let Some(rate) = rate.filter(|_| !is_of_sound && !waited) {
                video_sender.send(now, rate, media, net);
            }
            waits = !media.finish(net, now);
            holds_sound = waits && media.holds_sound(net);
        };
        if !host.with_media(peer_id, &mut send) {
            return;
        }
        due = match (waits, rate) {
            // A packet of sound leaves a time that is set already as it is, and so does not put it off for ever.
            (true, _) if waited && is_of_sound => due,
            (true, _) => Some(now + ROOM_EVERY),
            (false, Some(rate)) => video_sender.wait(rate).map(|wait| now + wait),
            (false, None) => due,
        };
    }
}

async fn pause(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The sound of one viewer: without any negotiated there is no subscription, and the microphone is not asked for.
struct Sound {
    sender: AudioSender,
    source: Option<AudioFanout>,
    sends: watch::Receiver<bool>,
    subscription: Option<AudioSubscription>,
}

impl Sound {
    fn new(new: &NewPeer, live: &Arc<SessionStats>) -> Self {
        let source = new.parts.audio.as_ref().map(|audio| audio.fanout.clone());
        let sends = new.sends_audio.subscribe();
        let mut sound =
            Self { sender: AudioSender::new(Arc::clone(live)), source, sends, subscription: None };
        sound.follow();
        sound
    }

    fn follow(&mut self) {
        let sends = *self.sends.borrow_and_update();
        let source = self.source.as_ref().filter(|_| sends);
        self.subscription =
            source.map(|source| self.subscription.take().unwrap_or_else(|| source.subscribe()));
    }

    /// Nothing is lost when this is dropped.
    async fn next(&mut self) -> Next {
        let packet = async {
            match &mut self.subscription {
                Some(subscription) => subscription.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            packet = packet => Next::Sound(packet),
            Ok(()) = self.sends.changed() => {
                self.follow();
                Next::Switched
            }
        }
    }
}
