//! What the viewer's RTCP tells: key-frame requests, loss, and what its path carries.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::control::ViewerControl;
use super::first_key_frame::FirstKeyFrame;
use super::key_frame_budget::KeyFrameBudget;
use super::rtx_budget::Conditions;
use super::{Estimator, Outstanding, PacketResult};
use crate::stream::Fanout;

/// What a viewer's RTCP told, readable from anywhere.
#[derive(Debug)]
pub struct Feedback {
    /// Key frames asked for (PLI and FIR).
    pub key_frame_requests: AtomicU64,
    /// Packets asked for again (NACK).
    pub nacked_packets: AtomicU64,
    /// Pictures are left out up to a key frame, which the sender asks for as soon as the path has room.
    pub(in crate::peer) is_skipping: AtomicBool,
    /// Packets sent again.
    pub retransmitted_packets: AtomicU64,
    /// Parity packets sent (FEC).
    pub fec_packets: AtomicU64,
    /// Packets sent once more to find out what the path carries.
    pub probe_packets: AtomicU64,
    fraction_lost: AtomicU8,
    packets_lost: AtomicU32,
    /// What the viewer is to get.
    pub(in crate::peer) control: Arc<ViewerControl>,
    estimate: Mutex<Estimator>,
    first_key_frame: Mutex<FirstKeyFrame>,
    key_frames: Mutex<KeyFrameBudget>,
}

impl Default for Feedback {
    fn default() -> Self {
        Self::of(Arc::default())
    }
}

impl Feedback {
    /// Of a viewer that is to get what `control` says.
    pub(in crate::peer) fn of(control: Arc<ViewerControl>) -> Self {
        Self {
            key_frame_requests: AtomicU64::default(),
            nacked_packets: AtomicU64::default(),
            is_skipping: AtomicBool::default(),
            retransmitted_packets: AtomicU64::default(),
            fec_packets: AtomicU64::default(),
            probe_packets: AtomicU64::default(),
            fraction_lost: AtomicU8::default(),
            packets_lost: AtomicU32::default(),
            control,
            estimate: Mutex::new(Estimator::new(Instant::now())),
            first_key_frame: Mutex::default(),
            key_frames: Mutex::default(),
        }
    }

    /// What the path carries of pictures, bit/s; `None`: no limit was seen.
    pub fn rate(&self, now: Instant) -> Option<f64> {
        self.estimate().pictures_rate(now)
    }

    /// The viewer takes parity packets (FEC).
    pub(in crate::peer) fn allow_fec(&self) {
        self.estimate().allow_fec();
    }

    /// How many packets share a parity packet (FEC); `None`: there are none.
    pub(in crate::peer) fn fec_spacing(&self) -> Option<u8> {
        self.estimate().fec_spacing()
    }

    /// What is under way, at a look.
    pub(in crate::peer) fn outstanding(&self, now: Instant) -> Outstanding {
        self.estimate().outstanding(now)
    }

    /// Bits to send at once, if the path is to be tried for more than it is known to carry.
    pub(in crate::peer) fn probe(&self, now: Instant) -> Option<f64> {
        let wanted = self.control.wanted.load(Ordering::Relaxed);
        self.estimate().probe(now, wanted as f64)
    }

    /// What retransmissions have to go by.
    pub(in crate::peer) fn conditions(&self, now: Instant) -> Conditions {
        self.estimate().conditions(now)
    }

    /// `bytes` of pictures were sent.
    pub(in crate::peer) fn sent(&self, now: Instant, bytes: usize) {
        self.estimate().sent(now, bytes);
    }

    /// `bytes` were sent beside the pictures: retransmissions, parity packets and probes.
    pub(in crate::peer) fn sent_besides(&self, now: Instant, bytes: usize) {
        self.estimate().sent_besides(now, bytes);
    }

    /// A packet of sound was sent, of `bytes` on the path; `is_numbered`: it is reported by itself.
    pub(in crate::peer) fn sound_sent(&self, now: Instant, bytes: usize, is_numbered: bool) {
        self.estimate().sound_sent(now, bytes, is_numbered);
    }

    /// What became of packets that left.
    pub(in crate::peer) fn take_packet_results(&self, now: Instant, reports: &[PacketResult]) {
        self.estimate().feedback(now, reports);
        self.first_key_frame().reported(reports);
    }

    /// A packet of a key frame was sent; `now` as the estimate got it.
    pub(in crate::peer) fn key_frame_sent(&self, now: Instant, is_first: bool, is_last: bool) {
        self.first_key_frame().sent(now, is_first, is_last);
    }

    /// Takes one RTCP packet of a viewer that gets the stream `ssrc`; key frames are asked of `fanout`.
    pub(in crate::peer) fn take(&self, now: Instant, packet: &dyn Any, ssrc: Option<u32>, fanout: &Fanout) {
        if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
            self.key_frame_requests.fetch_add(1, Ordering::Relaxed);
            // One that comes now would be left out too, and the next one could be had only after a while.
            if self.is_skipping.load(Ordering::Relaxed) {
                return;
            }
            if self.first_key_frame().asks(now) {
                fanout.request_first_key_frame();
            } else if self.key_frames().allows(now) || fanout.demands() < 2 {
                // Whoever watches alone pays alone.
                fanout.request_key_frame();
            }
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            // RTX and FEC are streams of their own, with reports of their own.
            if let Some(report) = report.reports.iter().find(|report| Some(report.ssrc) == ssrc) {
                self.fraction_lost.store(report.fraction_lost, Ordering::Relaxed);
                self.packets_lost.store(report.total_lost, Ordering::Relaxed);
                self.estimate().receiver_report(now, self.loss());
            }
        } else if let Some(remb) = packet.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
            self.estimate().remb(now, f64::from(remb.bitrate));
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let asked: u64 =
                nack.nacks.iter().map(|pair| 1 + u64::from(pair.lost_packets.count_ones())).sum();
            self.nacked_packets.fetch_add(asked, Ordering::Relaxed);
        }
    }

    fn first_key_frame(&self) -> MutexGuard<'_, FirstKeyFrame> {
        self.first_key_frame.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key_frames(&self) -> MutexGuard<'_, KeyFrameBudget> {
        self.key_frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn estimate(&self) -> MutexGuard<'_, Estimator> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loss in the last report interval, 0 to 1 (RFC 3550 section 6.4.1, before repair).
    pub fn loss(&self) -> f64 {
        f64::from(self.fraction_lost.load(Ordering::Relaxed)) / 256.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::stream::{KeyFrameReason, Rendition};

    #[tokio::test]
    async fn a_viewer_that_would_be_left_out_of_a_key_frame_gets_none_made() {
        let (fanout, feedback) = (Fanout::default(), Feedback::default());
        let asks = || feedback.take(Instant::now(), &PictureLossIndication::default(), None, &fanout);
        let wanted = || timeout(Duration::ZERO, fanout.key_frame_wanted(Rendition::Full));
        feedback.is_skipping.store(true, Ordering::Relaxed);
        asks();
        assert!(wanted().await.is_err());
        feedback.is_skipping.store(false, Ordering::Relaxed);
        asks();
        assert!(wanted().await.is_ok());
        assert_eq!(feedback.key_frame_requests.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn one_of_several_viewers_that_asks_all_the_time_is_not_heard_each_time() {
        let start = Instant::now();
        let came = PacketResult { departure: start, arrival: None, arrived: true, bytes: 1000 };
        for (viewers, least, most) in [(1, 60, 60), (3, 15, 32)] {
            let feedback = Feedback::default();
            feedback.key_frame_sent(start, true, true);
            feedback.take_packet_results(start, &[came]);
            let fanout = Fanout::default();
            let demands: Vec<_> = (0..viewers).map(|_| fanout.demand()).collect();
            let mut made = 0;
            for second in 0..60 {
                let now = start + Duration::from_secs(second);
                feedback.take(now, &FullIntraRequest::default(), None, &fanout);
                feedback.take(now, &PictureLossIndication::default(), None, &fanout);
                made += usize::from(
                    timeout(Duration::ZERO, fanout.key_frame_wanted(Rendition::Full)).await.is_ok(),
                );
            }
            assert!((least..=most).contains(&made), "{} viewers: {made} in a minute", demands.len());
        }
    }

    #[tokio::test]
    async fn a_viewer_without_a_whole_key_frame_asks_as_one_that_joins() {
        let (fanout, feedback, now) = (Fanout::default(), Feedback::default(), Instant::now());
        feedback.key_frame_sent(now, true, true);
        let ask = async || {
            feedback.take(now, &PictureLossIndication::default(), None, &fanout);
            fanout.key_frame_wanted(Rendition::Full).await
        };
        let report = |arrived| PacketResult { departure: now, arrival: None, arrived, bytes: 1000 };
        assert_eq!(ask().await, KeyFrameReason::Join);
        feedback.take_packet_results(now, &[report(false)]);
        assert_eq!(ask().await, KeyFrameReason::Join);
        feedback.key_frame_sent(now, true, true);
        feedback.take_packet_results(now, &[report(true)]);
        assert_eq!(ask().await, KeyFrameReason::Loss);
    }
}
