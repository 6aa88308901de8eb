//! From the last element of a pipeline to the fan-out: each picture with its times, counted.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};

use crate::media::look::turn::Rotation;
use crate::media::pipeline::event::{EventReporter, PipelineEvent};
use crate::media::pipeline::timeline::{Meter, Timeline};
use crate::stream::h264;
use crate::stream::{AccessUnit, Orientation};
use crate::stream::{Fanout, Rendition};

/// What outlives single pipelines: where pictures go and what is counted.
pub struct FanoutSink {
    rendition: Rendition,
    fanout: Fanout,
    epoch: Instant,
    /// One for all renditions, so that the same picture has the same time in each.
    timeline: Arc<Mutex<Timeline>>,
    meter: Mutex<Meter>,
    /// Time of the last picture in milliseconds since `epoch`.
    last_picture_ms: AtomicU64,
    /// The same of the last one that went to viewers.
    last_on_air_ms: AtomicU64,
    /// The pipeline whose pictures count.
    run: AtomicU64,
    /// Quarters clockwise that are left to viewers.
    quarters: AtomicU8,
    /// Has a test hold up the thread of a run.
    #[cfg(test)]
    pub gate: Mutex<Option<(u64, Arc<Mutex<()>>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FanoutSink {
    /// Media time starts now.
    pub fn new(fanout: Fanout) -> Self {
        let epoch = Instant::now();
        Self {
            rendition: Rendition::Full,
            fanout,
            epoch,
            timeline: Arc::new(Mutex::new(Timeline::new(epoch))),
            meter: Mutex::default(),
            last_picture_ms: AtomicU64::new(0),
            last_on_air_ms: AtomicU64::new(0),
            run: AtomicU64::new(0),
            quarters: AtomicU8::new(0),
            #[cfg(test)]
            gate: Mutex::default(),
        }
    }

    /// The sink of the small rendition of the same pictures.
    pub fn small_rendition(&self) -> Self {
        Self {
            rendition: Rendition::Small,
            fanout: self.fanout.clone(),
            epoch: self.epoch,
            timeline: Arc::clone(&self.timeline),
            meter: Mutex::default(),
            last_picture_ms: AtomicU64::new(0),
            last_on_air_ms: AtomicU64::new(0),
            run: AtomicU64::new(0),
            quarters: AtomicU8::new(0),
            #[cfg(test)]
            gate: Mutex::default(),
        }
    }

    /// When the last picture came out.
    pub fn last_picture(&self) -> Instant {
        self.epoch + Duration::from_millis(self.last_picture_ms.load(Ordering::Relaxed))
    }

    /// When the last picture went to viewers: after a placeholder those before a key frame do not.
    pub fn last_on_air(&self) -> Instant {
        self.epoch + Duration::from_millis(self.last_on_air_ms.load(Ordering::Relaxed))
    }

    /// The figures of the stream.
    pub fn meter(&self) -> MutexGuard<'_, Meter> {
        lock(&self.meter)
    }

    /// A pipeline is about to start; its number.
    fn start_run(&self) -> u64 {
        if self.rendition == Rendition::Full {
            lock(&self.timeline).start_run();
        }
        self.meter().start_run();
        self.end_run()
    }

    /// Pictures of pipelines that were started count no more; the number of the next one.
    pub fn end_run(&self) -> u64 {
        self.run.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The camera's pictures are to be turned so by whoever shows them, from the next one on.
    pub fn orient(&self, rotation: Rotation) {
        self.quarters.store(rotation.quarters(), Ordering::Relaxed);
    }

    /// The last pipeline's number.
    fn current_run(&self) -> u64 {
        self.run.load(Ordering::Relaxed)
    }

    /// Has a placeholder shown from now on; the number for [`Self::placeholder_picture`].
    pub fn begin_placeholder(&self) -> u64 {
        self.fanout.begin_placeholder()
    }

    /// It is shown no more.
    pub fn end_placeholder(&self, number: u64) {
        self.fanout.end_placeholder(number);
    }

    /// Whether its time is not over.
    pub fn is_placeholder(&self, number: u64) -> bool {
        self.fanout.is_placeholder(number)
    }

    /// A picture of the placeholder of this number, which says nothing of the camera: no figure counts it. Whether the
    /// placeholder's time is not over.
    fn placeholder_picture(&self, number: u64, data: Bytes, report: &dyn Fn(PipelineEvent)) -> bool {
        let now = Instant::now();
        let kind = h264::picture_kind(&data);
        // Without a stamp: those of the camera's pipeline may go on meanwhile.
        let media_time = lock(&self.timeline).media_time(None, now, now);
        if kind.key_frame {
            report(PipelineEvent::KeyFrame);
        }
        self.fanout.publish_placeholder(number, &AccessUnit::of_kind(data, media_time, now, now, kind))
    }

    fn picture(&self, picture: Picture, report: &dyn Fn(PipelineEvent), first: bool) {
        let Picture { data, stamp, age } = picture;
        let now = Instant::now();
        let kind = h264::picture_kind(&data);
        let key_frame = kind.key_frame;
        let (media_time, captured_at) = {
            let mut timeline = lock(&self.timeline);
            let stamped_at = now.checked_sub(age).unwrap_or(now);
            let media_time = match self.rendition {
                Rendition::Full => timeline.media_time(stamp, stamped_at, now),
                Rendition::Small => timeline.same_time(stamp, stamped_at, now),
            };
            (media_time, timeline.captured_at(media_time, now))
        };
        let latency = now.saturating_duration_since(captured_at);
        self.meter().frame(now, data.len(), key_frame, latency);
        let since_epoch = now.saturating_duration_since(self.epoch).as_millis();
        let since_epoch_ms = u64::try_from(since_epoch).unwrap_or(0);
        self.last_picture_ms.store(since_epoch_ms, Ordering::Relaxed);
        if first {
            report(PipelineEvent::FirstPicture { key_frame });
        }
        if key_frame {
            // Before publishing: a subscriber that comes in between gets one key frame too many;
            // the other way round it would get none.
            report(PipelineEvent::KeyFrame);
        }
        let orientation = Orientation::of_quarters(self.quarters.load(Ordering::Relaxed));
        let unit = AccessUnit::of_kind(data, media_time, captured_at, now, kind).oriented(orientation);
        if self.fanout.publish_to(self.rendition, &unit) {
            self.last_on_air_ms.store(since_epoch_ms, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl FanoutSink {
    fn wait_at_gate(&self, run: u64) {
        let gate = lock(&self.gate).clone().filter(|(held, _)| *held == run);
        if let Some((_, gate)) = gate {
            drop(lock(&gate));
        }
    }

    /// Its thread stands still while the test holds the gate.
    pub fn block(&self, gate: &Arc<Mutex<()>>) {
        *lock(&self.gate) = Some((self.current_run(), Arc::clone(gate)));
    }
}

/// One encoded picture with its times.
struct Picture {
    data: Bytes,
    /// Running time at capture.
    stamp: Option<Duration>,
    /// Time since capture.
    age: Duration,
}

/// The end of a placeholder's pipeline. `over` is called when its time is.
pub fn placeholder_sink(
    fanout_sink: Arc<FanoutSink>,
    number: u64,
    report: EventReporter,
    over: impl Fn() + Send + 'static,
) -> AppSink {
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
            let map = buffer.into_mapped_buffer_readable().map_err(|_| gst::FlowError::Error)?;
            if fanout_sink.placeholder_picture(number, Bytes::from_owner(map), &*report) {
                return Ok(gst::FlowSuccess::Ok);
            }
            over();
            Err(gst::FlowError::Eos)
        })
        .build();
    AppSink::builder().sync(false).async_(false).max_buffers(4).callbacks(callbacks).build()
}

/// The end of a pipeline, whose pictures count from now on. `copy`: the pictures' memory is not ours to keep.
pub fn app_sink(fanout_sink: Arc<FanoutSink>, report: EventReporter, copy: bool) -> AppSink {
    let (first, run) = (AtomicBool::new(true), fanout_sink.start_run());
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            #[cfg(test)]
            fanout_sink.wait_at_gate(run);
            if fanout_sink.current_run() != run {
                // It hung and was given up; another one shows the camera.
                return Err(gst::FlowError::Eos);
            }
            let picture = picture(sink, &sample, copy).ok_or(gst::FlowError::Error)?;
            fanout_sink.picture(picture, &*report, first.swap(false, Ordering::Relaxed));
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    let sink = AppSink::builder().sync(false).async_(false).max_buffers(4).callbacks(callbacks);
    sink.build()
}

fn picture(sink: &AppSink, sample: &gst::Sample, copy: bool) -> Option<Picture> {
    let buffer = sample.buffer_owned()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let stamp = segment.to_running_time(buffer.pts());
    let age = match (sink.current_running_time(), stamp) {
        (Some(now), Some(stamp)) => now.saturating_sub(stamp).into(),
        _ => Duration::ZERO,
    };
    let map = buffer.into_mapped_buffer_readable().ok()?;
    let data = if copy { Bytes::copy_from_slice(&map) } else { Bytes::from_owner(map) };
    Some(Picture { data, stamp: stamp.map(Duration::from), age })
}
