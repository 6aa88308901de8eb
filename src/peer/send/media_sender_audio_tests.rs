//! Sound beside a picture, and the voice of a viewer, over a real socket.

use std::sync::atomic::AtomicBool;

use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp;
use rtc::shared::marshal::Marshal;
use tokio::task::LocalSet;

use super::tests::{TRANSPORT_CC, Viewer};
use super::*;
use crate::peer::send::audio_sender::AudioSender;
use crate::peer::sound::AudioParts;
use crate::peer::stats::SessionStats;
use crate::signaling::topic::Id;
use crate::stream::{AudioFanout, AudioPacket, SpokenPacket, Talk};

const AUDIO_SSRC: u32 = 11;
const OPUS: u8 = 111;

fn negotiated() -> NegotiatedAudio {
    let extensions =
        crate::peer::rtp::rtp_header::Extensions { transport_cc: Some(TRANSPORT_CC), ..Default::default() };
    NegotiatedAudio { ssrc: AUDIO_SSRC, payload_type: OPUS, extensions }
}

fn live(number: u64) -> Arc<SessionStats> {
    let id = |text| Id::new(text).unwrap();
    Arc::new(SessionStats::new(id("viewer"), id("session"), number, None))
}

fn sound(captured_at: Instant, samples: u64) -> AudioPacket {
    AudioPacket { payload: vec![0xfc; 40].into(), samples, captured_at, begins_talkspurt: samples == 0 }
}

/// NTP's middle 32 bits of seconds and fraction as a time in seconds.
fn seconds(ntp: u64) -> f64 {
    ntp as f64 / f64::from(u32::MAX)
}

/// When what has `timestamp` was captured, by a sender report of a clock with so many ticks a second.
fn captured(report: &SenderReport, timestamp: u32, hz: f64) -> f64 {
    let ticks = timestamp.wrapping_sub(report.rtp_time).cast_signed();
    seconds(report.ntp_time) + f64::from(ticks) / hz
}

async fn next_report(viewer: &mut Viewer) -> SenderReport {
    loop {
        let datagram = viewer.datagram().await;
        if !matches!(datagram[1], 192..=223) {
            continue;
        }
        let opened = viewer.opening.decrypt_rtcp(&datagram).unwrap();
        let packets = rtc::rtcp::packet::unmarshal(&mut &opened[..]).unwrap();
        if let Some(report) = packets[0].as_any().downcast_ref::<SenderReport>() {
            return report.clone();
        }
    }
}

#[tokio::test]
async fn sound_is_a_stream_of_its_own_that_is_neither_kept_nor_protected_by_parity() {
    let test = async {
        let mut viewer = Viewer::new(true).await;
        let (now, live) = (Instant::now(), live(1));
        let mut sender = AudioSender::new(Arc::clone(&live));
        let mut send = |viewer: &mut Viewer, samples| {
            sender.send(now, &sound(now, samples), &mut viewer.media, &mut viewer.net);
        };
        send(&mut viewer, 0);
        assert_eq!(live.sound.sent_packets.load(Ordering::Relaxed), 0, "nothing was negotiated");
        viewer.media.set_audio(Some(&negotiated()), None);
        send(&mut viewer, 0);
        let first = viewer.packet().await.header;
        assert_eq!((first.ssrc, first.payload_type, first.marker), (AUDIO_SSRC, OPUS, true));
        assert!(first.get_extension(TRANSPORT_CC).is_some());
        let _report = next_report(&mut viewer).await;
        send(&mut viewer, 960);
        let second = viewer.packet().await.header;
        assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 960);
        assert_eq!(second.sequence_number, first.sequence_number.wrapping_add(1));
        assert!(!second.marker);
        // A later offer holds the sound, and another takes it up under another payload type: its numbers go on.
        viewer.media.set_audio(None, None);
        send(&mut viewer, 1920);
        viewer.media.set_audio(Some(&NegotiatedAudio { payload_type: 96, ..negotiated() }), None);
        send(&mut viewer, 2880);
        let again = viewer.packet().await.header;
        assert_eq!((again.payload_type, again.sequence_number), (96, second.sequence_number.wrapping_add(1)));
        assert_eq!(live.sound.sent_packets.load(Ordering::Relaxed), 3);
        assert_eq!(live.sound.sent_bytes.load(Ordering::Relaxed), 120);
        let nack = TransportLayerNack {
            sender_ssrc: 0,
            media_ssrc: AUDIO_SSRC,
            nacks: vec![rtc::rtcp::transport_feedbacks::transport_layer_nack::NackPair {
                packet_id: first.sequence_number,
                lost_packets: 0,
            }],
        };
        viewer.report(&nack);
        assert_eq!(viewer.besides(), 0, "sound that comes again comes too late");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn picture_and_sound_of_one_moment_carry_the_same_time() {
    let test = async {
        let mut viewer = Viewer::new(true).await;
        viewer.media.set_audio(Some(&negotiated()), None);
        let now = Instant::now();
        let moment = now.checked_sub(Duration::from_millis(180)).unwrap();
        // The picture of that moment was some way in the encoder, the sound of it less.
        viewer.media.report(&mut viewer.net, now, 1_000, moment);
        let picture = captured(&next_report(&mut viewer).await, 1_000, 90_000.0);
        let later = now + Duration::from_millis(300);
        let heard = moment + Duration::from_millis(400);
        let mut sender = AudioSender::new(live(1));
        sender.send(later, &sound(heard, 19_200), &mut viewer.media, &mut viewer.net);
        let packet = viewer.packet().await.header;
        let report = next_report(&mut viewer).await;
        // 400 ms are 19,200 samples: the sample of the same moment.
        let same = packet.timestamp.wrapping_sub(19_200);
        let difference = captured(&report, same, 48_000.0) - picture;
        // The test's own clock did not go on by the 300 ms that it says.
        let difference = difference + 0.3;
        assert!(difference.abs() < 0.05, "{difference}");
    };
    LocalSet::new().run_until(test).await;
}

/// A viewer whose voice goes on to the queue that is given with it.
async fn speaker(number: u64, talk: &Talk, may: &Arc<AtomicBool>) -> (Viewer, Arc<SessionStats>) {
    let (may, live) = (Arc::clone(may), live(number));
    let parts = AudioParts {
        fanout: AudioFanout::default(),
        talk: talk.clone(),
        has_microphone: false,
        is_stereo: false,
        has_speaker: true,
        may_talk: Arc::new(move |_| may.load(Ordering::Relaxed)),
    };
    let mut viewer = Viewer::new(true).await;
    viewer.media.voice = Some(VoiceReceiver::new(&parts, Arc::clone(&live)));
    (viewer, live)
}

fn voice(payload_type: u8, ssrc: u32, sequence_number: u16, length: usize) -> rtp::Packet {
    let header = rtp::Header {
        version: 2,
        payload_type,
        ssrc,
        sequence_number,
        timestamp: u32::from(sequence_number) * 960,
        ..Default::default()
    };
    rtp::Packet { header, payload: vec![0xfc; length].into() }
}

impl Viewer {
    fn speak_at(&mut self, now: Instant, packet: &rtp::Packet) {
        let protected = self.protecting.encrypt_rtp(&packet.marshal().unwrap()).unwrap();
        assert!(!self.receive_at(now, &protected));
    }
}

fn counts(live: &SessionStats) -> (u64, u64) {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    (of(&live.sound.voice_packets), of(&live.sound.voice_discarded))
}

#[tokio::test]
async fn a_voice_is_taken_as_negotiated_and_no_other_way() {
    let test = async {
        let ((talk, mut queue), may) = (Talk::new(), Arc::new(AtomicBool::new(true)));
        let (mut viewer, live) = speaker(5, &talk, &may).await;
        let now = Instant::now();
        viewer.speak_at(now, &voice(OPUS, 9, 1, 40));
        assert_eq!(counts(&live), (0, 1), "nothing was negotiated");
        viewer.media.set_audio(None, Some(OPUS));
        viewer.speak_at(now, &voice(OPUS, 9, 2, 40));
        let SpokenPacket { speaker, payload, sequence_number, timestamp, .. } = queue.try_recv().unwrap();
        assert_eq!((speaker, payload.len(), sequence_number, timestamp), (5, 40, 2, 1_920));
        let report = {
            let datagram = viewer.datagram().await;
            let opened = viewer.opening.decrypt_rtcp(&datagram).unwrap();
            let packets = rtc::rtcp::packet::unmarshal(&mut &opened[..]).unwrap();
            packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap().reports[0].clone()
        };
        assert_eq!((report.ssrc, report.last_sequence_number), (9, 2));
        viewer.speak_at(now, &voice(OPUS + 1, 9, 3, 40));
        viewer.speak_at(now, &voice(OPUS, 9, 4, 1276));
        viewer.speak_at(now, &voice(OPUS, 9, 5, 0));
        let twice = viewer.protecting.encrypt_rtp(&voice(OPUS, 9, 6, 40).marshal().unwrap()).unwrap();
        viewer.receive_at(now, &twice);
        viewer.receive_at(now, &twice);
        let mut forged = viewer.protecting.encrypt_rtp(&voice(OPUS, 9, 7, 40).marshal().unwrap()).unwrap();
        forged[20] ^= 1;
        viewer.receive_at(now, &forged);
        for length in 0..16 {
            viewer.receive_at(now, &twice[..length]);
        }
        assert_eq!(counts(&live), (2, 1 + 3 + 1 + 1 + 16), "{live:?}");
        // The right is asked for at each packet.
        may.store(false, Ordering::Relaxed);
        viewer.speak_at(now, &voice(OPUS, 9, 8, 40));
        assert_eq!(counts(&live).0, 2);
        assert_eq!(talk.speaker(now), None, "and who has lost it does not keep the word");
        may.store(true, Ordering::Relaxed);
        viewer.speak_at(now, &voice(OPUS, 9, 9, 40));
        assert_eq!(talk.speaker(now), Some(5));
        drop(viewer);
        assert_eq!(talk.speaker(now), None, "who has gone does not keep the word");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_flood_of_voice_is_cut_off_and_costs_no_memory_by_its_sources() {
    let test = async {
        let ((talk, mut queue), may) = (Talk::new(), Arc::new(AtomicBool::new(true)));
        let (mut viewer, live) = speaker(5, &talk, &may).await;
        viewer.media.set_audio(None, Some(OPUS));
        let start = Instant::now();
        for packet in 0..10_000_u16 {
            let now = start + Duration::from_micros(u64::from(packet) * 100);
            viewer.speak_at(now, &voice(OPUS, 9, packet, 40));
            let _ = queue.try_recv();
        }
        let (taken, discarded) = counts(&live);
        assert!((250..=310).contains(&taken), "{taken}");
        assert_eq!(taken + discarded, 10_000);
        let later = start + Duration::from_mins(1);
        viewer.speak_at(later, &voice(OPUS, 9, 10_000, 40));
        viewer.speak_at(later, &voice(OPUS, 99, 1, 40));
        assert_eq!(counts(&live).0 - taken, 1, "one source at a time");
        for ssrc in 100..200 {
            viewer.speak_at(later + Duration::from_secs(ssrc.into()), &voice(OPUS, ssrc, 1, 40));
        }
        assert_eq!(counts(&live).0 - taken, 1 + 7, "so many sources and no more");
        viewer.speak_at(later + Duration::from_mins(5), &voice(OPUS, 9, 10_001, 40));
        assert_eq!(counts(&live).0 - taken, 1 + 7 + 1, "those that are known go on");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn the_second_who_speaks_is_not_heard() {
    let test = async {
        let ((talk, mut queue), may) = (Talk::new(), Arc::new(AtomicBool::new(true)));
        let (mut first, _) = speaker(1, &talk, &may).await;
        let (mut second, live) = speaker(2, &talk, &may).await;
        let now = Instant::now();
        for viewer in [&mut first, &mut second] {
            viewer.media.set_audio(None, Some(OPUS));
            viewer.speak_at(now, &voice(OPUS, 9, 1, 40));
        }
        assert_eq!(queue.try_recv().unwrap().speaker, 1);
        assert!(queue.try_recv().is_err());
        assert_eq!(counts(&live), (0, 1));
        let later = now + Duration::from_secs(1);
        second.speak_at(later, &voice(OPUS, 9, 2, 40));
        assert_eq!(queue.try_recv().unwrap().speaker, 2);
    };
    LocalSet::new().run_until(test).await;
}
