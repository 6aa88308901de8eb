//! The whole sound side with the test tone and the real encoder.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};

use super::*;
use crate::media::audio::SpeakerChoice;
use crate::stream::{AudioPacket, AudioSubscription, Talk};

/// Bound on waits for events, never reached on a working machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn config() -> AudioConfig {
    AudioConfig { device: AudioChoice::Test, ..AudioConfig::default() }
}

fn start(config: AudioConfig, is_on: bool) -> (Audio, AudioFanout) {
    let fanout = AudioFanout::default();
    let (_, voices) = Talk::new();
    (Audio::start(config, fanout.clone(), voices, is_on, &TaskGroup::new()).unwrap(), fanout)
}

async fn until(audio: &Audio, wanted: impl Fn(&AudioStatus) -> bool) -> AudioStatus {
    let mut status = audio.status();
    let reached = tokio::time::timeout(PATIENCE, status.wait_for(wanted)).await;
    reached.expect("in time").expect("it lives").clone()
}

async fn next(subscription: &mut AudioSubscription) -> AudioPacket {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("a packet in time")
}

/// What a player makes of the packets: samples of one channel.
fn decoded(packets: &[AudioPacket], channels: i32) -> Vec<i16> {
    let caps = gst::Caps::builder("audio/x-opus")
        .field("rate", 48_000)
        .field("channels", channels)
        .field("channel-mapping-family", 0)
        .build();
    let source = AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
    let decoder = gst::ElementFactory::make("opusdec").build().unwrap();
    let sink = AppSink::builder().sync(false).build();
    let pipeline = gst::Pipeline::new();
    let chain: [&gst::Element; 3] = [source.upcast_ref(), &decoder, sink.upcast_ref()];
    pipeline.add_many(chain).unwrap();
    gst::Element::link_many(chain).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for packet in packets {
        let mut buffer = gst::Buffer::from_slice(packet.payload.clone());
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::from_mseconds(packet.samples / 48));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut samples = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        samples.extend(
            map.chunks_exact(2 * channels.unsigned_abs() as usize).map(|b| i16::from_le_bytes([b[0], b[1]])),
        );
    }
    pipeline.set_state(gst::State::Null).unwrap();
    samples
}

#[tokio::test]
async fn the_beep_is_where_the_times_of_the_packets_say() {
    let (audio, fanout) = start(config(), true);
    assert_eq!(until(&audio, |status| status.card.is_some()).await.state, AudioState::Idle);
    let mut viewer = fanout.subscribe();
    let mut packets = vec![next(&mut viewer).await];
    assert!(packets[0].begins_talkspurt);
    while packets.len() < 230 {
        let packet = next(&mut viewer).await;
        let last = packets.last().unwrap();
        assert_eq!(packet.samples - last.samples, 480, "at {}", packets.len());
        assert!(packet.captured_at > last.captured_at && packet.captured_at < Instant::now());
        assert!((3..=1275).contains(&packet.payload.len()));
        packets.push(packet);
    }
    let samples = decoded(&packets, 1);
    assert_eq!(samples.len(), 230 * 480);
    // A beep that begins: after a silence of 50 ms. The decoder needs the first few packets to settle.
    let loud: Vec<usize> = (2400..samples.len()).filter(|&at| samples[at].unsigned_abs() > 5000).collect();
    let begins: Vec<usize> =
        loud.windows(2).filter(|pair| pair[1] - pair[0] > 2400).map(|pair| pair[1]).collect();
    assert!(!begins.is_empty(), "no beep in {} samples", samples.len());
    for at in begins {
        let into = Duration::from_nanos((at % 480) as u64 * 1_000_000_000 / 48_000);
        let captured_at = packets[at / 480].captured_at + into;
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let unix = unix_now.checked_sub(captured_at.elapsed()).unwrap();
        let off_ms = (unix.as_secs_f64() + 0.5).fract() * 1000.0 - 500.0;
        assert!(off_ms.abs() < 4.0, "the beep is {off_ms} ms off the whole second");
    }
    let live = until(&audio, |status| status.level.is_some()).await;
    let level = live.level.unwrap();
    assert!((-40.0..=-5.0).contains(&level.rms_dbfs) && level.peak_dbfs >= level.rms_dbfs, "{level:?}");
    assert_eq!(
        (live.state, live.starts, live.gaps, live.card.as_deref()),
        (AudioState::Live, 1, 0, Some("test tone"))
    );
    drop(viewer);
    let idle = until(&audio, |status| status.state == AudioState::Idle).await;
    assert_eq!(idle.level, None);
}

#[tokio::test]
async fn off_silences_at_once_and_on_goes_on_in_the_same_time() {
    let config = AudioConfig { channels: 2, gain_db: 6, bitrate_kbps: 64, ..config() };
    let (audio, fanout) = start(config, false);
    let mut viewer = fanout.subscribe();
    until(&audio, |status| status.state == AudioState::Off && status.card.is_some()).await;
    audio.set_on(true);
    let first = next(&mut viewer).await;
    let packets = [first.clone(), next(&mut viewer).await, next(&mut viewer).await];
    assert_eq!(decoded(&packets, 2).len(), 3 * 480);
    audio.set_on(false);
    while viewer.try_next().is_some() {}
    until(&audio, |status| status.state == AudioState::Off).await;
    assert!(viewer.try_next().is_none());
    audio.set_on(true);
    let later = next(&mut viewer).await;
    let (samples, time) = (later.samples - first.samples, later.captured_at - first.captured_at);
    let off_ms = samples as f64 / 48.0 - time.as_secs_f64() * 1000.0;
    assert!(off_ms.abs() < 60.0 && later.begins_talkspurt, "{samples} samples in {time:?}");
    assert_eq!(until(&audio, |status| status.state == AudioState::Live).await.starts, 2);
}

#[tokio::test]
async fn a_card_that_is_not_there_is_waited_for_and_said() {
    let named = |name: &str| AudioConfig { device: AudioChoice::Named(name.into()), ..config() };
    let (audio, _) = start(named("a card that nobody makes"), true);
    let lost = until(&audio, |status| status.state == AudioState::Lost).await;
    assert!(lost.error.unwrap().contains("the sound card a card that nobody makes is not there"));
    // ALSA's own words are tried, and what it says is told.
    let (audio, fanout) = start(named("plug:nonsense"), true);
    let _viewer = fanout.subscribe();
    let failed = until(&audio, |status| status.state == AudioState::Error).await;
    let error = failed.error.unwrap();
    assert!(error.contains("plug:nonsense"), "{error}");
}

#[tokio::test]
async fn garbage_is_counted_and_a_speaker_that_does_not_open_says_why() {
    let speaker = SpeakerChoice::Named("plug:nonsense".into());
    let (talk, voices) = Talk::new();
    let config = AudioConfig { speaker, ..AudioConfig::default() };
    let audio = Audio::start(config, AudioFanout::default(), voices, true, &TaskGroup::new()).unwrap();
    assert_eq!(
        until(&audio, |status| status.speaker.is_some()).await.speaker.as_deref(),
        Some("plug:nonsense")
    );
    let speak = |payload: &'static [u8]| {
        let (payload, received_at) = (Bytes::from_static(payload), Instant::now());
        let packet =
            SpokenPacket { speaker: 1, payload, sequence_number: 0, timestamp: 0, marker: true, received_at };
        assert_eq!(talk.speak(packet, received_at), Ok(true));
    };
    speak(&[7, 44, 81, 118]);
    assert_eq!(until(&audio, |status| status.discarded_packets > 0).await.speaker_error, None);
    speak(&[0x78, 1, 2, 3]);
    let failed = until(&audio, |status| status.speaker_error.is_some()).await;
    assert!(failed.speaker_error.unwrap().contains("plug:nonsense"));
    assert_eq!(failed.discarded_packets, 1);
}
