//! A card that hears the test tone: it delivers as a real one does, ten milliseconds at a time, when they have passed.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;

use super::tone::{self, ToneClock};
use crate::media::elements::set;
use crate::media::error::MediaError;

/// Samples of one delivery.
const BLOCK: u64 = tone::RATE_HZ as u64 / 100;
const BLOCK_TIME: Duration = Duration::from_millis(10);

/// The element that the tone is pushed into.
pub fn element() -> gst::Element {
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", i32::try_from(tone::RATE_HZ).unwrap_or(i32::MAX))
        .field("channels", 1)
        .build();
    let source = AppSrc::builder().caps(&caps).format(gst::Format::Time).is_live(true).block(false).build();
    let source: gst::Element = source.upcast();
    for (property, value) in [("max-buffers", "100"), ("max-bytes", "0"), ("leaky-type", "downstream")] {
        set(&source, property, value);
    }
    source
}

/// The card at work; it ends when this is dropped.
#[derive(Debug)]
pub struct TestCard {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestCard {
    /// Begins to deliver into `source`, an element made by [`element`] that is playing already.
    pub fn start(source: gst::Element) -> Result<Self, MediaError> {
        // Nothing is ever sent: the sender's end is the message.
        let (stop, stopped) = mpsc::sync_channel(0);
        let work = move || {
            if let Some(source) = source.downcast_ref::<AppSrc>() {
                deliver(source, &stopped);
            }
        };
        let started = thread::Builder::new().name("test-tone".into()).spawn(work);
        let thread = started.map_err(|error| MediaError::System {
            what: "starting the thread of the test tone",
            reason: error.to_string(),
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for TestCard {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn deliver(source: &AppSrc, stopped: &Receiver<()>) {
    let (start, mut clock) = (Instant::now(), ToneClock::default());
    let mut block = 0_u64;
    loop {
        let due = start + Duration::from_millis(10 * (block + 1));
        let wait = due.saturating_duration_since(Instant::now());
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        // Held up for long, it goes on with what is to be heard now, as a card does whose buffer was full.
        let late = Instant::now().saturating_duration_since(due);
        if late > BLOCK_TIME * 100 {
            block += u64::try_from(late.as_millis() / BLOCK_TIME.as_millis()).unwrap_or(0);
            continue;
        }
        let first = block * BLOCK;
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let of_second = clock.of_second(first, unix_now.saturating_sub(late + BLOCK_TIME));
        let samples = (0..BLOCK).flat_map(|at| tone::sample(first + at, of_second + at).to_le_bytes());
        let mut buffer = gst::Buffer::from_mut_slice(samples.collect::<Vec<u8>>());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_offset(first);
        }
        if source.push_buffer(buffer).is_err() {
            return;
        }
        block += 1;
    }
}
