//! Feeds pictures that are drawn here into a pipeline at their rate, from a thread of its own: the test picture, a placeholder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;

use crate::base::tasks::panic_text;
use crate::media::capture::mode::Rate;
use crate::media::elements::set;
use crate::media::encode::encoder::{EncodeSettings, EncoderSpec, raw_caps};
use crate::media::error::MediaError;
use crate::media::test_picture::drawing::Drawing;
use crate::media::test_picture::picture::TestPicture;

/// Pictures in flight between drawing and encoding; one more is skipped, never waited for.
const POOL_PICTURES: u32 = 3;

/// The element that the pictures are pushed into. It keeps only the newest picture: the leaky
/// queue before the encoder.
pub fn element(settings: &EncodeSettings) -> gst::Element {
    let source = AppSrc::builder()
        .caps(&raw_caps(settings))
        .format(gst::Format::Time)
        .is_live(true)
        .block(false)
        .build();
    let source: gst::Element = source.upcast();
    for (property, value) in [("max-buffers", "1"), ("max-bytes", "0"), ("leaky-type", "downstream")] {
        set(&source, property, value);
    }
    source
}

/// The same with an encoder behind it, as of a camera that encodes by itself.
pub fn encoding(inside: &EncoderSpec, settings: &EncodeSettings) -> Result<Vec<gst::Element>, MediaError> {
    let mut elements = vec![element(settings)];
    elements.extend(inside.build(settings)?.elements);
    Ok(elements)
}

/// The feeding thread; it ends when this is dropped.
pub struct Feeder {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    /// Starts feeding the test picture into `source`, an element made by [`element`] that is playing already.
    pub fn start(source: gst::Element, settings: EncodeSettings) -> Result<Self, MediaError> {
        let picture = TestPicture::new(settings.width, settings.height)?;
        Self::start_with(source, settings, picture)
    }

    /// The same with another picture of this size. A panic of the thread is reported on the pipeline's bus, as an error of
    /// that element.
    pub fn start_with(
        source: gst::Element,
        settings: EncodeSettings,
        mut picture: impl Drawing + 'static,
    ) -> Result<Self, MediaError> {
        let pool = pool(&settings).ok_or(MediaError::System {
            what: "allocating test pictures",
            reason: "no buffer pool".into(),
        })?;
        Self::spawn(source, move |source, stopped| {
            if let Some(source) = source.downcast_ref::<AppSrc>() {
                feed(source, &pool, &mut picture, settings.rate, stopped);
            }
            // Without effect when that fails: the pool is about to be dropped.
            let _ = pool.set_active(false);
        })
    }

    /// `work` ends when its receiver is disconnected.
    fn spawn(
        source: gst::Element,
        work: impl FnOnce(&gst::Element, &Receiver<()>) + Send + 'static,
    ) -> Result<Self, MediaError> {
        // Nothing is ever sent: the sender's end is the message.
        let (stop, stopped) = mpsc::sync_channel(0);
        let guarded = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&source, &stopped))) {
                let reason = panic_text(panic.as_ref());
                gst::element_error!(
                    source,
                    gst::StreamError::Failed,
                    ("The thread of the test picture failed."),
                    ["{reason}"]
                );
            }
        };
        let started = thread::Builder::new().name("test-picture".into()).spawn(guarded);
        let thread = started.map_err(|error| MediaError::System {
            what: "starting the thread of the test picture",
            reason: error.to_string(),
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported on the bus; there is nothing left to clean up.
            let _ = thread.join();
        }
    }
}

fn pool(settings: &EncodeSettings) -> Option<gst::BufferPool> {
    let pool = gst::BufferPool::new();
    let mut config = pool.config();
    let size = settings.width * settings.height * 3 / 2;
    config.set_params(Some(&raw_caps(settings)), size, 1, POOL_PICTURES);
    pool.set_config(config).ok()?;
    pool.set_active(true).ok()?;
    Some(pool)
}

fn feed(
    source: &AppSrc,
    pool: &gst::BufferPool,
    picture: &mut dyn Drawing,
    rate: Rate,
    stopped: &Receiver<()>,
) {
    let start = Instant::now();
    let mut number = 0;
    loop {
        let pushed = push(source, pool, picture);
        if pushed == Err(gst::FlowError::Flushing) || pushed == Err(gst::FlowError::Eos) {
            return;
        }
        number = next_due(number, start.elapsed(), rate);
        let wait = (start + due_at(number, rate)).saturating_duration_since(Instant::now());
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// When picture `number` is due, counted from the start: computed afresh for each, so that
/// rounding never adds up to a drift.
fn due_at(number: u64, rate: Rate) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 * u128::from(rate.den) / u128::from(rate.num.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The picture after `number`. One that is late by a whole interval is skipped, not made up for.
fn next_due(number: u64, elapsed: Duration, rate: Rate) -> u64 {
    let current = elapsed.as_nanos() * u128::from(rate.num) / (1_000_000_000 * u128::from(rate.den.max(1)));
    (number + 1).max(u64::try_from(current).unwrap_or(u64::MAX))
}

fn push(source: &AppSrc, pool: &gst::BufferPool, picture: &mut dyn Drawing) -> Result<(), gst::FlowError> {
    let params = gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT);
    let stamp = source.current_running_time();
    let data = picture.advance(SystemTime::now());
    // A full pool means that the encoder is behind: this picture is left out.
    let Ok(mut buffer) = pool.acquire_buffer(Some(&params)) else { return Ok(()) };
    {
        let buffer = buffer.make_mut();
        buffer.set_pts(stamp);
        let mut map = buffer.map_writable().map_err(|_| gst::FlowError::Error)?;
        let room = map.as_mut_slice().get_mut(..data.len()).ok_or(gst::FlowError::Error)?;
        room.copy_from_slice(data);
    }
    source.push_buffer(buffer).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::pipeline::bus_errors::explain;

    #[test]
    fn a_panic_of_the_thread_is_an_error_of_the_pipeline() {
        gst::init().unwrap();
        let settings = EncodeSettings {
            width: 640,
            height: 360,
            rate: Rate::whole(30),
            bitrate_kbps: 1000,
            keyframe_interval_s: 10,
            board: crate::media::board::BoardClass::Medium,
            cores: 1,
        };
        let source = element(&settings);
        let pipeline = gst::Pipeline::new();
        pipeline.add(&source).unwrap();
        pipeline.set_state(gst::State::Ready).unwrap();
        drop(Feeder::spawn(source, |_, _| panic!("a font with a defect")).unwrap());
        let message = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]).expect("an error");
        pipeline.set_state(gst::State::Null).unwrap();
        let gst::MessageView::Error(error) = message.view() else { panic!("{message:?}") };
        let text = explain("test", &error.error(), error.debug().as_deref()).to_string();
        assert!(text.contains("test picture failed (panic: a font with a defect)"), "{text}");
    }

    #[test]
    fn pictures_come_at_their_rate_without_drift_or_bursts() {
        let rate = Rate { num: 30000, den: 1001 };
        assert_eq!(due_at(30_000, rate), Duration::from_secs(1001));
        let thirty = Rate::whole(30);
        assert_eq!(next_due(0, Duration::from_millis(1), thirty), 1);
        assert_eq!(next_due(5, due_at(5, thirty) + Duration::from_millis(20), thirty), 6);
        // Held up for ten intervals: go on with the current one.
        assert_eq!(next_due(5, due_at(15, thirty) + Duration::from_millis(1), thirty), 15);
        assert!(due_at(15, thirty) < due_at(15, thirty) + Duration::from_millis(1));
    }
}
