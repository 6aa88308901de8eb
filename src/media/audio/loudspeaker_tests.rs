//! The speaker's pipeline with real Opus, as a viewer's packets come to it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer_app::AppSink;

use super::*;
use crate::base::tasks::TaskGroup;
use crate::media::audio::{Audio, AudioChoice, opus_form};
use crate::stream::{AudioFanout, AudioPacket, AudioSubscription, Talk};

/// The test tone in packets, as they are made; alive as long as what it gives.
fn tone() -> (Audio, AudioSubscription) {
    let fanout = AudioFanout::default();
    let (_, voices) = Talk::new();
    let config = AudioConfig { device: AudioChoice::Test, ..AudioConfig::default() };
    let audio = Audio::start(config, fanout.clone(), voices, true, &TaskGroup::new()).unwrap();
    (audio, fanout.subscribe())
}

fn spoken(packet: &AudioPacket, number: u16) -> SpokenPacket {
    SpokenPacket {
        speaker: 1,
        payload: packet.payload.clone(),
        sequence_number: 65_530_u16.wrapping_add(number),
        timestamp: u32::MAX.wrapping_sub(4800).wrapping_add(u32::try_from(packet.samples).unwrap()),
        marker: packet.begins_talkspurt,
        received_at: Instant::now(),
    }
}

/// A speaker whose samples come here.
fn heard(config: &AudioConfig) -> (Loudspeaker, AppSink, Arc<Mutex<Vec<MediaError>>>) {
    gst::init().unwrap();
    let caps =
        gst::Caps::builder("audio/x-raw").field("format", "S16LE").field("rate", 48_000).field("channels", 1);
    let sink = AppSink::builder().sync(true).caps(&caps.build()).build();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&failures);
    let report: FailureReporter = Arc::new(move |error| kept.lock().unwrap().push(error));
    let device = SoundDevice::test_tone();
    let speaker = Loudspeaker::start_with(sink.clone().upcast(), &device, config, &report).unwrap();
    (speaker, sink, failures)
}

fn drain(sink: &AppSink) -> Vec<i16> {
    let mut samples = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        samples.extend(map.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])));
    }
    samples
}

#[tokio::test]
async fn a_voice_is_heard_through_loss_reordering_and_garbage() {
    let (_audio, mut packets) = tone();
    let (speaker, sink, failures) = heard(&AudioConfig::default());
    let mut held = None;
    let mut sent = 0;
    for number in 0..150_u16 {
        let packet = spoken(&packets.next().await, number);
        match number {
            // Lost for good, one at a time.
            n if n % 10 == 5 => continue,
            // It comes after the next one.
            n if n % 10 == 7 => held = Some(packet),
            n if n % 10 == 9 => {
                // Of the right form: what is not does not come so far (`opus_form`), and would hold up the decoder for good.
                let noise =
                    (0..40_u8).map(|byte| byte.wrapping_mul(37).wrapping_add(number.to_le_bytes()[0]));
                let garbage: Vec<u8> = std::iter::once(0x78).chain(noise).collect();
                assert!(opus_form::duration(&garbage).is_some());
                speaker.play(&SpokenPacket { payload: Bytes::from(garbage), ..packet });
            }
            _ => speaker.play(&packet),
        }
        sent += 1;
        if number % 10 == 8
            && let Some(held) = held.take()
        {
            speaker.play(&held);
        }
    }
    let concealed = speaker.figures().concealed;
    speaker.end();
    let samples = drain(&sink);
    assert!((10..=20).contains(&concealed), "{concealed} made up");
    // All is there in its time, what was lost too; the last 60 ms may be in the jitter buffer still.
    let ms = samples.len() / 48;
    assert!((1350..=1520).contains(&ms), "{ms} ms of {sent} packets");
    let loud = samples.iter().filter(|sample| sample.unsigned_abs() > 300).count();
    assert!(loud * 10 > samples.len() * 4, "{loud} of {} samples", samples.len());
    assert!(failures.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_amplified_is_limited() {
    let (_audio, mut packets) = tone();
    let (speaker, sink, failures) = heard(&AudioConfig { speaker_gain_db: 10, ..AudioConfig::default() });
    // A beep falls into each second.
    for number in 0..110_u16 {
        let packet = packets.next().await;
        speaker.play(&spoken(&packet, number));
    }
    speaker.end();
    let samples = drain(&sink);
    let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    assert!(loudest > 20_000, "{loudest}");
    // What is too loud for 16 bits would jump from one end to the other.
    let step = samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
    assert!(step < 15_000, "{step}");
    assert!(failures.lock().unwrap().is_empty());
}

#[test]
fn a_packet_gets_its_header_back() {
    let packet = SpokenPacket {
        speaker: 7,
        payload: Bytes::from_static(&[8, 9]),
        sequence_number: 0x0102,
        timestamp: 0x0304_0506,
        marker: true,
        received_at: Instant::now() + Duration::from_secs(1),
    };
    assert_eq!(rtp(&packet), [0x80, 0xe0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 1, 8, 9]);
}
