//! The worker's part in still pictures: keeps the camera running for them, and has them made on a thread of their own.

use std::time::Instant;

use super::Worker;
use crate::media::error::MediaError;
use crate::media::life::inbox::Message;
use crate::media::life::lifecycle::Input;
use crate::media::plan::planner::Source;
use crate::media::still::queue::Reply;
use crate::media::still::snapshot;
use crate::media::still::snapshot::CapturedPicture;
use crate::media::still::snapshot::Snapshot;

impl Worker {
    pub(super) fn ask_still(&mut self, width: Option<u32>, reply: Reply) {
        if !self.life.is_streaming() {
            let _ = reply.send(Err(MediaError::Private));
            return;
        }
        self.stills.ask(Instant::now(), width, reply);
    }

    /// Everybody who waits is told `error`, and the camera no longer runs for them.
    pub(super) fn refuse_stills(&mut self, error: &MediaError) {
        self.stills.refuse_all(error);
    }

    /// Asks the pipeline for a picture when one is due, and gives up on what comes too late.
    pub(super) fn tend_stills(&mut self, now: Instant) {
        let why = self.life.error().unwrap_or("the camera gives no picture").to_owned();
        self.stills.expire(now, &why);
        // A test picture is good from its first one on.
        let settles = self.plan.as_ref().is_none_or(|plan| plan.source != Source::Test);
        self.stills.set_settles(settles);
        if self.stills.poll(now, self.life.live_since())
            && let Some(pipeline) = &self.pipeline
        {
            pipeline.copy_picture();
        }
        self.feed(Input::Snapshot(self.stills.need_camera()));
    }

    pub(super) fn still_taken(&mut self, still: CapturedPicture) {
        let Some(order) = self.stills.taken(Instant::now()) else { return };
        let outbox = self.outbox.clone();
        let encode = move || snapshot::encode(&still, order.width);
        let done = move |result| outbox.send(Message::SnapshotEncoded(result));
        if let Err(error) = snapshot::on_its_thread(encode, done) {
            self.still_made(&Err(error));
        }
    }

    pub(super) fn still_made(&mut self, result: &Result<Snapshot, MediaError>) {
        self.stills.encoded(result);
    }
}
