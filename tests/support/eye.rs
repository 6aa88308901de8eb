//! A viewer that really looks: it receives over WebRTC, decodes, and knows what stands where in the picture.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc};
use porthole::peer::receiver::{PacketSink, Received, Receiver as Peer, ReceiverEvent};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::PATIENCE;
use super::viewer::Viewer;

/// As often as browsers ask for a key frame while they have none.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// A part of a picture in percent of it: from left, from top, width, height.
pub type Part = [usize; 4];

/// A picture's luma.
#[derive(Clone, Default)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    luma: Vec<u8>,
}

impl Picture {
    /// Of a decoded sample in I420.
    fn of(sample: &gst::Sample) -> Option<Self> {
        let info = gstreamer_video::VideoInfo::from_caps(sample.caps()?).ok()?;
        let map = sample.buffer()?.map_readable().ok()?;
        let (width, height) = (info.width() as usize, info.height() as usize);
        let stride = usize::try_from(info.stride()[0]).ok()?;
        let row = |y: usize| map.get(y * stride..y * stride + width);
        let luma = (0..height).map(row).collect::<Option<Vec<&[u8]>>>()?.concat();
        Some(Self { width, height, luma })
    }

    /// What a JPEG shows.
    pub fn of_jpeg(jpeg: &[u8]) -> Self {
        gst::init().expect("GStreamer");
        let text =
            "appsrc name=in ! jpegdec ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false";
        let pipeline =
            gst::parse::launch(text).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
        let source =
            pipeline.by_name("in").and_then(|element| element.downcast::<AppSrc>().ok()).expect("a source");
        let sink =
            pipeline.by_name("out").and_then(|element| element.downcast::<AppSink>().ok()).expect("a sink");
        source.set_caps(Some(&gst::Caps::new_empty_simple("image/jpeg")));
        pipeline.set_state(gst::State::Playing).expect("it plays");
        source.push_buffer(gst::Buffer::from_slice(jpeg.to_vec())).expect("taken");
        source.end_of_stream().expect("an end");
        let picture = sink.pull_sample().ok().as_ref().and_then(Self::of).expect("a picture in the JPEG");
        pipeline.set_state(gst::State::Null).expect("it stops");
        picture
    }

    /// The luma of a part of it.
    fn samples(&self, [left, top, across, down]: Part) -> impl Iterator<Item = u8> + '_ {
        let part = |from: usize, length: usize, side: usize| from * side / 100..(from + length) * side / 100;
        let (columns, rows) = (part(left, across, self.width), part(top, down, self.height));
        rows.flat_map(move |row| self.luma[row * self.width..][columns.clone()].iter().copied())
    }

    /// The mean luma of a part of it.
    pub fn mean(&self, part: Part) -> usize {
        let (sum, count) =
            self.samples(part).fold((0, 0), |(sum, count), luma| (sum + usize::from(luma), count + 1));
        sum / count.max(1)
    }

    /// The darkest and the brightest sample of a part.
    pub fn extremes(&self, part: Part) -> (u8, u8) {
        (self.samples(part).min().unwrap_or(0), self.samples(part).max().unwrap_or(0))
    }
}

/// Puts packets into a decoder.
struct Decoder {
    source: AppSrc,
    pipeline: gst::Pipeline,
    latest: Arc<watch::Sender<Picture>>,
    order: Mutex<()>,
}

impl Decoder {
    fn new() -> Self {
        gst::init().expect("GStreamer");
        let text = "appsrc name=in format=time is-live=true ! rtph264depay ! h264parse ! openh264dec ! videoconvert \
                    ! video/x-raw,format=I420 ! appsink name=out sync=false";
        let pipeline =
            gst::parse::launch(text).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
        let source =
            pipeline.by_name("in").and_then(|element| element.downcast::<AppSrc>().ok()).expect("a source");
        let sink =
            pipeline.by_name("out").and_then(|element| element.downcast::<AppSink>().ok()).expect("a sink");
        let caps = gst::Caps::builder("application/x-rtp")
            .field("media", "video")
            .field("encoding-name", "H264")
            .field("payload", 96)
            .field("clock-rate", 90_000);
        source.set_caps(Some(&caps.build()));
        let latest = Arc::new(watch::Sender::new(Picture::default()));
        let seen = Arc::clone(&latest);
        let new_sample = move |sink: &AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(picture) = Picture::of(&sample) {
                seen.send_replace(picture);
            }
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(AppSinkCallbacks::builder().new_sample(new_sample).build());
        pipeline.set_state(gst::State::Playing).expect("it plays");
        Self { source, pipeline, latest, order: Mutex::new(()) }
    }
}

impl PacketSink for Decoder {
    fn packet(&self, packet: Received<'_>) {
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let marker = if packet.marker { 0xe0 } else { 0x60 };
        let mut bytes = vec![0x80, marker];
        bytes.extend(packet.sequence.to_be_bytes());
        bytes.extend(packet.timestamp.to_be_bytes());
        bytes.extend([0, 0, 0, 1]);
        bytes.extend(packet.payload);
        // It ends with the viewer.
        let _ = self.source.push_buffer(gst::Buffer::from_slice(bytes));
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A connected viewer that decodes. Cut off on drop.
pub struct Eye {
    latest: Arc<watch::Sender<Picture>>,
    task: JoinHandle<()>,
}

impl Eye {
    /// Watches; returns when media can flow.
    pub async fn join(broker_port: u16, id: &str) -> Self {
        let mut mailbox = Viewer::connect(broker_port, id).await;
        let decoder = Arc::new(Decoder::new());
        let latest = Arc::clone(&decoder.latest);
        let (mut peer, sdp) = Peer::offer(decoder as Arc<dyn PacketSink>).await.expect("a peer connection");
        mailbox.offer("eye", &sdp).await;
        let answer = mailbox.expect("answer").await;
        peer.accept(answer["sdp"].as_str().expect("sdp").to_owned()).await.expect("an answer");
        let connected = timeout(PATIENCE, async {
            loop {
                match peer.next().await {
                    Some(ReceiverEvent::Connected) => return true,
                    Some(ReceiverEvent::Candidate(_)) => {}
                    _ => return false,
                }
            }
        });
        assert_eq!(connected.await, Ok(true), "{id} does not connect");
        let has_picture = Arc::clone(&latest);
        let task = tokio::spawn(async move {
            let _mailbox = mailbox;
            loop {
                tokio::select! {
                    event = peer.next() => {
                        if !matches!(event, Some(ReceiverEvent::Candidate(_) | ReceiverEvent::Connected)) {
                            return;
                        }
                    }
                    () = sleep(ASK_EVERY) => {
                        if has_picture.borrow().width == 0 {
                            peer.request_key_frame().await;
                        }
                    }
                }
            }
        });
        Self { latest, task }
    }

    /// Waits until it sees a picture that fits.
    pub async fn sees(&self, what: &str, fits: impl Fn(&Picture) -> bool) -> Picture {
        let mut pictures = self.latest.subscribe();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let picture = pictures.borrow_and_update().clone();
            if picture.width > 0 && fits(&picture) {
                return picture;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let came = timeout(left, pictures.changed()).await;
            assert!(
                matches!(came, Ok(Ok(()))),
                "no picture that is {what}; it is {}x{}",
                picture.width,
                picture.height
            );
        }
    }

    /// Whether the session that it began with is still the one that it watches.
    pub fn is_connected(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Eye {
    fn drop(&mut self) {
        self.task.abort();
    }
}
