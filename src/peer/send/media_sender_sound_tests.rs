//! What sound takes of a path, and what a viewer may not send as its voice.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::Receiver;

use super::*;
use crate::peer::rtp::audio_stream::{AudioRtpPacket, NegotiatedAudio};
use crate::peer::send::voice_receiver::VoiceReceiver;
use crate::peer::sound::AudioParts;
use crate::peer::stats::SessionStats;
use crate::signaling::topic::Id;
use crate::stream::{AudioFanout, SpokenPacket, Talk};

const SOUND_SSRC: u32 = 0x33;
const OPUS: u8 = 111;
const VOICE_SSRC: u32 = 0x44;

impl Viewer {
    /// The same, who is to hear.
    fn hearing(mut self) -> Self {
        let extensions = Extensions { transport_cc: Some(TRANSPORT_CC), ..Default::default() };
        let sent = NegotiatedAudio { ssrc: SOUND_SSRC, payload_type: OPUS, extensions };
        self.media.set_audio(Some(&sent), None);
        self
    }

    fn sound(&mut self, now: Instant, payload: &'static [u8]) -> Option<usize> {
        let packet =
            AudioRtpPacket { payload: payload.into(), timestamp: 48_000, marker: true, capture_time: None };
        self.media.send_audio(&mut self.net, now, &packet, now)
    }
}

#[tokio::test]
async fn loss_of_sound_is_none_of_the_pictures_and_sound_takes_its_part_of_the_path() {
    let all = async {
        let mut viewer = Viewer::new(true).await.hearing();
        let feedback = Arc::clone(&viewer.media.feedback);
        let report = |ssrc, fraction_lost| {
            let report = ReceptionReport { ssrc, fraction_lost, ..Default::default() };
            ReceiverReport { ssrc: 1, reports: vec![report], ..Default::default() }
        };
        viewer.report(&report(SSRC, 64));
        viewer.report(&report(SOUND_SSRC, 255));
        assert!((feedback.loss() - 0.25).abs() < f64::EPSILON, "{}", feedback.loss());
        let now = Instant::now();
        let boast = ReceiverEstimatedMaximumBitrate { sender_ssrc: 1, bitrate: 500_000.0, ssrcs: vec![SSRC] };
        viewer.report_at(now, &boast);
        let before = feedback.rate(now).unwrap();
        // A second of it.
        for at in 0..100 {
            viewer.sound(now + Duration::from_millis(at * 10), &[1; 40]);
        }
        let left = feedback.rate(now + Duration::from_millis(990)).unwrap();
        let taken = before - left;
        assert!((80_000.0..=95_000.0).contains(&taken), "of {before} {left} are left");
        let later = feedback.rate(now + Duration::from_secs(3)).unwrap();
        assert!((later - before).abs() < 1.0, "{later}: it is silent again");
    };
    LocalSet::new().run_until(all).await;
}

/// A viewer with the right to talk, until it is taken, and what is on its way to the loudspeaker.
struct Speaking {
    viewer: Viewer,
    talk: Talk,
    voices: Receiver<SpokenPacket>,
    live: Arc<SessionStats>,
    may: Arc<AtomicBool>,
    next: u16,
}

impl Speaking {
    async fn new() -> Self {
        let (talk, voices) = Talk::new();
        let may = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&may);
        let parts = AudioParts {
            fanout: AudioFanout::default(),
            talk: talk.clone(),
            has_microphone: false,
            is_stereo: false,
            has_speaker: true,
            may_talk: Arc::new(move |_| asked.load(Ordering::Relaxed)),
        };
        let live = Arc::new(SessionStats::new(Id::new("tab-1").unwrap(), Id::default_session(), 7, None));
        let Viewer { socket, opening, protecting, media, net } = Viewer::new(true).await;
        let mut media = media.with_voice(Some(VoiceReceiver::new(&parts, Arc::clone(&live))));
        media.set_audio(None, Some(OPUS));
        let viewer = Viewer { socket, opening, protecting, media, net };
        Self { viewer, talk, voices, live, may, next: 65_000 }
    }

    /// The next packet of the viewer, before it is protected.
    fn packet(&mut self, ssrc: u32, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.next.to_be_bytes());
        packet.extend((u32::from(self.next) * 480).to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.extend(payload);
        self.next = self.next.wrapping_add(1);
        packet
    }

    fn protected(&mut self, ssrc: u32, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let packet = self.packet(ssrc, payload_type, payload);
        self.viewer.protecting.encrypt_rtp(&packet).unwrap().to_vec()
    }

    fn say(&mut self, now: Instant, payload: &[u8]) {
        let packet = self.protected(VOICE_SSRC, OPUS, payload);
        self.viewer.receive_at(now, &packet);
    }

    /// Packets that went on, and those that did not.
    fn counts(&self) -> (u64, u64) {
        let sound = &self.live.sound;
        (sound.voice_packets.load(Ordering::Relaxed), sound.voice_discarded.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn who_loses_the_right_is_silent_at_once_and_others_may_speak() {
    let all = async {
        let mut speaking = Speaking::new().await;
        let now = Instant::now();
        speaking.say(now, b"one");
        speaking.may.store(false, Ordering::Relaxed);
        speaking.say(now, b"two");
        assert_eq!((speaking.talk.speaker(now), speaking.counts()), (None, (1, 1)));
        assert_eq!(speaking.talk.begin(8, now), Ok(()));
        speaking.may.store(true, Ordering::Relaxed);
        speaking.say(now, b"three");
        assert_eq!(
            (speaking.talk.speaker(now), speaking.counts()),
            (Some(8), (1, 2)),
            "who is busy is not cut off"
        );
        // A later offer without it.
        speaking.talk.end(8);
        speaking.say(now, b"four");
        speaking.viewer.media.set_audio(None, None);
        speaking.say(now, b"five");
        assert_eq!((speaking.talk.speaker(now), speaking.counts()), (None, (2, 3)));
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn what_is_no_voice_is_dropped_and_counted_and_nothing_else_suffers() {
    let all = async {
        let mut speaking = Speaking::new().await;
        let now = Instant::now();
        speaking.say(now, b"first");
        let replayed = speaking.protected(VOICE_SSRC, OPUS, b"once");
        speaking.viewer.receive_at(now, &replayed);
        let (mut padded, mut endless) =
            (speaking.packet(VOICE_SSRC, OPUS, &[1, 2, 9]), speaking.packet(VOICE_SSRC, OPUS, &[1, 2, 200]));
        (padded[0], endless[0]) = (0xa0, 0xa0);
        let mut bad = vec![
            ("played again", replayed),
            ("another codec", speaking.protected(VOICE_SSRC, 0, b"pcmu")),
            ("another source", speaking.protected(0x55, OPUS, b"who?")),
            ("nothing", speaking.protected(VOICE_SSRC, OPUS, b"")),
            ("too long", speaking.protected(VOICE_SSRC, OPUS, &[1; 1276])),
            ("not protected", speaking.packet(VOICE_SSRC, OPUS, &[1; 40])),
            ("short", vec![0x80, OPUS, 0, 1]),
            ("more sources than there are bytes", vec![0x8f, OPUS, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x44, 1, 2]),
            (
                "an extension without end",
                [&[0x90, OPUS, 0, 1][..], &[0; 7], &[0x44, 0xbe, 0xde, 0xff, 0xff]].concat(),
            ),
        ];
        for (what, packet) in [("all padding", padded), ("more padding than bytes", endless)] {
            bad.push((what, speaking.viewer.protecting.encrypt_rtp(&packet).unwrap().to_vec()));
        }
        for (at, (what, datagram)) in (1..).zip(&bad) {
            speaking.viewer.receive_at(now, datagram);
            assert_eq!(speaking.counts(), (2, at), "{what}");
        }
        speaking.say(now, b"goes on");
        assert_eq!(speaking.counts(), (3, bad.len() as u64));
        let heard: Vec<_> = std::iter::from_fn(|| speaking.voices.try_recv().ok()).collect();
        assert_eq!(heard.len(), 3);
        // The other source speaks once this one is silent.
        let other = speaking.protected(0x55, OPUS, b"later");
        speaking.viewer.receive_at(now + Duration::from_secs(2), &other);
        assert_eq!(speaking.counts().0, 4);
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn ten_thousand_packets_a_second_cost_the_pictures_nothing() {
    let all = async {
        let mut speaking = Speaking::new().await;
        let start = Instant::now();
        for at in 0..10_000_u64 {
            let now = start + Duration::from_micros(at * 100);
            if at % 2 == 0 {
                speaking.say(now, b"and on");
            } else {
                speaking.viewer.receive_at(now, &[0x80, OPUS, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x44, 1, 2, 3]);
            }
            // Somebody plays it.
            while speaking.voices.try_recv().is_ok() {}
        }
        let (taken, discarded) = speaking.counts();
        assert!((100..=300).contains(&taken), "{taken}");
        assert_eq!(taken + discarded, 10_000);
        speaking.viewer.send(start + Duration::from_secs(1), &[100]);
        // A report a second is all that such a viewer gets.
        let reports = async {
            let mut reports = 0;
            while matches!(speaking.viewer.datagram().await, datagram if (192..=223).contains(&datagram[1])) {
                reports += 1;
            }
            reports
        };
        assert_eq!(reports.await, 1);
    };
    LocalSet::new().run_until(all).await;
}
