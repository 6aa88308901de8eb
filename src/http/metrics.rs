//! The daemon's figures as Prometheus reads them, in OpenMetrics or in its older text format. Pure.
//!
//! They are pulled out of what the parts of the daemon count anyway, once for each scrape.

use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::media::{AudioState, AudioStatus, CameraState, GlibMessages, Latency, MediaStatus};
use crate::sessions::send_latency::SendLatency;
use crate::sessions::totals::{FIRST_FRAME_BOUNDS_S, Totals};
use crate::signaling::message::ErrorCode;

/// What there is to tell.
#[derive(Clone, Debug)]
pub struct Figures {
    /// When the process started.
    pub started: SystemTime,
    /// Processor time used, in seconds of one core.
    pub cpu_s: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Of the processor in °C, where the board tells.
    pub temperature_c: Option<f64>,
    /// Log lines that nobody could take.
    pub lost_log_lines: u64,
    /// What GStreamer complained about by itself.
    pub glib: GlibMessages,
    /// Whether there is a connection to the broker.
    pub mqtt_connected: bool,
    /// The capture side.
    pub media: MediaStatus,
    /// The sound side; `None` where none is configured.
    pub sound: Option<AudioStatus>,
    /// Encoded pictures.
    pub frames: u64,
    /// Their bytes.
    pub encoded_bytes: u64,
    /// Pictures that viewers lost because they, or their network, were too slow.
    pub dropped_frames: u64,
    /// Sessions running or starting.
    pub viewers: usize,
    /// Of them, those whose connection has come about.
    pub connected_viewers: usize,
    /// Of them, those that get the small rendition.
    pub small_viewers: usize,
    /// The cap.
    pub max_viewers: usize,
    /// The longest round-trip time of a viewer.
    pub worst_round_trip: Option<Duration>,
    /// The largest part of packets, 0 to 1, that a viewer last said to have lost.
    pub worst_loss: Option<f64>,
    /// From the encoder to the network.
    pub send_latency: SendLatency,
    /// Sums since the start.
    pub totals: Totals,
}

/// How the figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, for whoever does not ask for the other.
    Text,
}

impl Format {
    /// What a client with this `Accept` header reads.
    pub fn of(accept: Option<&str>) -> Self {
        let wants = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if wants { Self::OpenMetrics } else { Self::Text }
    }

    /// The content type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The figures as text.
///
/// # Errors
/// Does not happen: only the writing of text could fail.
pub(super) fn write(figures: Figures, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(figures));
    let mut written = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut written, &registry)?,
        Format::Text => prometheus_text::encode(&mut written, &registry)?,
    }
    Ok(written)
}

/// Writes one metric after the other.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?)
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, unit, MetricType::Counter)?)
    }

    /// One gauge for each value of a label.
    fn gauges<'v, T: EncodeGaugeValue>(
        &mut self,
        (name, help, unit): (&str, &str, Option<&Unit>),
        label: &str,
        values: impl IntoIterator<Item = (&'v str, T)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (value, figure) in values {
            ConstGauge::new(figure).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}

impl Writer<'_> {
    /// Percentiles of a time, where it is known.
    fn latency(&mut self, name: &str, help: &str, latency: Option<Latency>) -> fmt::Result {
        let Some(latency) = latency else { return Ok(()) };
        let values = [("50", latency.p50_ms / 1e3), ("95", latency.p95_ms / 1e3)];
        self.gauges((name, help, Some(&Unit::Seconds)), "percentile", values)
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut writer = Writer(encoder);
        self.process(&mut writer)?;
        self.camera(&mut writer)?;
        self.sound(&mut writer)?;
        self.viewers(&mut writer)?;
        self.sessions(&mut writer)
    }
}

impl Figures {
    fn process(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let (name, help) = ("process_start_time", "When the process started, since 1970");
        writer.gauge(name, help, seconds, started)?;
        writer.counter("process_cpu", "Processor time used, of one core", seconds, self.cpu_s)?;
        writer.gauge("process_resident_memory", "Resident memory", bytes, self.rss_bytes)?;
        let (name, help) = ("porthole_build", "The version of Porthole");
        let mut info = writer.0.encode_descriptor(name, help, None, MetricType::Info)?;
        info.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        if let Some(temperature) = self.temperature_c {
            let (name, help) = ("porthole_board_temperature", "Temperature of the processor");
            writer.gauge(name, help, Some(&Unit::Celsius), temperature)?;
        }
        let help = "Log lines that nobody could take";
        writer.counter("porthole_log_lines_lost", help, None, self.lost_log_lines)?;
        let help = "Defects that GStreamer reported by itself";
        writer.counter("porthole_gstreamer_criticals", help, None, self.glib.criticals)?;
        let help = "Oddities that GStreamer reported by itself";
        writer.counter("porthole_gstreamer_warnings", help, None, self.glib.warnings)?;
        let help = "Whether there is a connection to the broker";
        writer.gauge("porthole_mqtt_connected", help, None, u64::from(self.mqtt_connected))
    }

    fn camera(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let (bytes, media) = (Some(&Unit::Bytes), &self.media);
        let states = CameraState::ALL.map(|state| (state.to_string(), u64::from(state == media.state)));
        let states = states.iter().map(|(name, is)| (name.as_str(), *is));
        let help = "1 for the state that the camera is in, 0 for the others";
        writer.gauges(("porthole_camera_state", help, None), "state", states)?;
        if let Some(encoder) = &media.encoder {
            let (name, help) = ("porthole_encoder", "The encoder in use, or chosen for the next start");
            let mut info = writer.0.encode_descriptor(name, help, None, MetricType::Info)?;
            let kind = match encoder.kind {
                crate::media::EncoderKind::Hardware => "hardware",
                crate::media::EncoderKind::Software => "software",
                crate::media::EncoderKind::Passthrough => "passthrough",
            };
            info.encode_info(&[("name", encoder.name.as_str()), ("kind", kind)])?;
        }
        writer.counter(
            "porthole_camera_restarts",
            "Pipeline runs that failed, or were restarted on request",
            None,
            media.restarts,
        )?;
        writer.counter("porthole_frames", "Encoded pictures", None, self.frames)?;
        writer.counter("porthole_key_frames", "Encoded key frames", None, media.key_frames)?;
        writer.counter("porthole_encoded", "Bytes of encoded pictures", bytes, self.encoded_bytes)?;
        let unit = Unit::Other("bytes_per_second".to_owned());
        let help = "What the encoder is asked for; 0 where the camera encodes";
        writer.gauge("porthole_encoder_target", help, Some(&unit), media.target as f64 / 8.0)?;
        if let Some(small) = media.small {
            let help = "What the small rendition's encoder is asked for; 0 while it does not run";
            writer.gauge("porthole_small_target", help, Some(&unit), small.target as f64 / 8.0)?;
        }
        let help = "From the camera to the encoder's output, over the last seconds";
        writer.latency("porthole_encode_latency", help, media.encode_latency)
    }

    fn sound(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let Some(sound) = &self.sound else { return Ok(()) };
        let states = AudioState::ALL.map(|state| (state.as_str(), u64::from(state == sound.state)));
        let help = "1 for the state that the sound is in, 0 for the others";
        writer.gauges(("porthole_audio_state", help, None), "state", states)?;
        if let Some(level) = sound.level {
            let unit = Unit::Other("dbfs".to_owned());
            let help = "How loud it is at the microphone, in dB below full scale";
            writer.gauge("porthole_audio_level", help, Some(&unit), level.rms_dbfs)?;
        }
        let help = "Times that the sound card was opened to capture";
        writer.counter("porthole_audio_starts", help, None, sound.starts)?;
        let help = "Gaps in what the sound card gave";
        writer.counter("porthole_audio_gaps", help, None, sound.gaps)?;
        let help = "Packets of a viewer's voice that could not be played";
        writer.counter("porthole_talk_discarded_packets", help, None, sound.discarded_packets)?;
        let help = "Pieces of a viewer's voice that were made up because they had not come";
        writer.counter("porthole_talk_concealed", help, None, sound.concealed)
    }

    fn viewers(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.gauge("porthole_viewers", "Sessions, running or starting", None, self.viewers)?;
        let help = "Sessions whose connection has come about";
        writer.gauge("porthole_viewers_connected", help, None, self.connected_viewers)?;
        let help = "Sessions that get the small rendition";
        writer.gauge("porthole_viewers_small", help, None, self.small_viewers)?;
        writer.gauge(
            "porthole_viewers_limit",
            "Sessions that there may be at once",
            None,
            self.max_viewers,
        )?;
        if let Some(time) = self.worst_round_trip {
            let (name, help) = ("porthole_worst_round_trip", "The longest round-trip time of a viewer");
            writer.gauge(name, help, Some(&Unit::Seconds), time.as_secs_f64())?;
        }
        if let Some(loss) = self.worst_loss {
            let (name, help) = ("porthole_worst_loss", "The largest part of packets that a viewer lost");
            writer.gauge(name, help, Some(&Unit::Other("ratio".to_owned())), loss)?;
        }
        let help =
            "From the encoder's output to a picture's first packet on the network, over the last pictures";
        writer.latency("porthole_first_packet_latency", help, self.send_latency.first_packet)?;
        let help =
            "From the encoder's output to a picture's last packet on the network, over the last pictures";
        writer.latency("porthole_send_latency", help, self.send_latency.last_packet)?;
        let help = "Pictures that slow viewers lost";
        writer.counter("porthole_dropped_frames", help, None, self.dropped_frames)
    }

    fn sessions(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let totals = &self.totals;
        writer.counter("porthole_sessions_started", "Sessions that began", None, totals.started)?;
        writer.counter("porthole_sessions_ended", "Sessions that ended", None, totals.ended)?;
        let (name, help) = ("porthole_sessions_refused", "Offers and messages that were refused, by code");
        let mut family = writer.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (code, count) in ErrorCode::ALL.iter().zip(&totals.refused) {
            let counter = ConstCounter::new(*count);
            counter.encode(family.encode_family(&[("code", code.as_str())])?)?;
        }
        let help = "Bytes of pictures to all viewers";
        writer.counter("porthole_sent", help, Some(&Unit::Bytes), totals.sent_bytes)?;
        writer.counter("porthole_sent_packets", "RTP packets to all viewers", None, totals.sent_packets)?;
        let help = "Packets that viewers asked for again";
        writer.counter("porthole_nacked_packets", help, None, totals.nacked_packets)?;
        let help = "Packets sent again because viewers asked for them";
        writer.counter("porthole_repaired_packets", help, None, totals.retransmitted_packets)?;
        let help = "Repairs (FlexFEC) sent before viewers could miss anything";
        writer.counter("porthole_unasked_repairs", help, None, totals.fec_packets)?;
        let help = "Packets sent once more to find out what a viewer's path carries";
        writer.counter("porthole_probe_packets", help, None, totals.probe_packets)?;
        let help = "Key frames that viewers asked for";
        writer.counter("porthole_key_frame_requests", help, None, totals.key_frame_requests)?;
        let (name, help) = ("porthole_first_frame", "From a viewer's offer to its first picture");
        let unit = Some(&Unit::Seconds);
        let mut histogram = writer.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        let bounds = FIRST_FRAME_BOUNDS_S.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(totals.first_frames).collect();
        let (sum, count) = (totals.first_frames_took.as_secs_f64(), totals.first_frames.iter().sum());
        histogram.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
