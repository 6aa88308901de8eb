use super::*;
use crate::media::audio::AudioLevel;

fn figures() -> Figures {
    Figures {
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
        cpu_s: 2.5,
        rss_bytes: 4096,
        temperature_c: Some(41.5),
        lost_log_lines: 5,
        glib: GlibMessages { criticals: 6, warnings: 0 },
        mqtt_connected: true,
        media: MediaStatus::sample(CameraState::Live),
        sound: Some(AudioStatus {
            state: AudioState::Live,
            level: Some(AudioLevel { rms_dbfs: -30.5, peak_dbfs: -12.0 }),
            starts: 2,
            gaps: 11,
            discarded_packets: 13,
            concealed: 15,
            ..AudioStatus::default()
        }),
        frames: 100,
        encoded_bytes: 12_345,
        dropped_frames: 3,
        viewers: 2,
        connected_viewers: 1,
        small_viewers: 1,
        max_viewers: 8,
        worst_round_trip: Some(Duration::from_millis(12)),
        worst_loss: Some(0.25),
        send_latency: SendLatency::default(),
        totals: Totals {
            started: 4,
            retransmitted_packets: 7,
            fec_packets: 9,
            probe_packets: 17,
            first_frames: [0, 1, 0, 0, 0, 0, 0, 0, 1],
            ..Totals::default()
        },
    }
}

fn lines(format: Format) -> Vec<String> {
    write(figures(), format).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn figures_have_their_units_in_their_names() {
    let lines = lines(Format::OpenMetrics);
    let has = |line: &str| assert!(lines.iter().any(|found| found == line), "{line:?} is not in {lines:#?}");
    has("process_start_time_seconds 1.5");
    has("# UNIT process_cpu_seconds seconds");
    has("process_cpu_seconds_total 2.5");
    has("porthole_board_temperature_celsius 41.5");
    has("porthole_camera_state{state=\"live\"} 1");
    has("porthole_camera_state{state=\"idle\"} 0");
    has("porthole_encoder_info{name=\"x264enc\",kind=\"software\"} 1");
    has("porthole_encoder_target_bytes_per_second 125000.0");
    has("porthole_audio_state{state=\"live\"} 1");
    has("porthole_audio_state{state=\"lost\"} 0");
    has("porthole_audio_level_dbfs -30.5");
    has("porthole_audio_starts_total 2");
    has("porthole_audio_gaps_total 11");
    has("porthole_talk_discarded_packets_total 13");
    has("porthole_talk_concealed_total 15");
    has("porthole_viewers_small 1");
    has("porthole_encoded_bytes_total 12345");
    has("porthole_worst_round_trip_seconds 0.012");
    has("porthole_worst_loss_ratio 0.25");
    has("porthole_sessions_started_total 4");
    has("porthole_repaired_packets_total 7");
    has("porthole_unasked_repairs_total 9");
    has("porthole_probe_packets_total 17");
    has("porthole_sessions_refused_total{code=\"busy\"} 0");
    has("porthole_first_frame_seconds_bucket{le=\"0.1\"} 0");
    has("porthole_first_frame_seconds_bucket{le=\"10.0\"} 1");
    has("porthole_first_frame_seconds_bucket{le=\"+Inf\"} 2");
    assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
}

#[test]
fn whoever_does_not_ask_gets_the_older_format() {
    for (accept, format) in [
        (None, Format::Text),
        (Some("*/*"), Format::Text),
        (Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), Format::OpenMetrics),
    ] {
        assert_eq!(Format::of(accept), format, "{accept:?}");
    }
    let lines = lines(Format::Text);
    assert!(lines.contains(&"# TYPE porthole_frames_total counter".to_owned()), "{lines:#?}");
    assert!(!lines.contains(&"# EOF".to_owned()));
}

#[test]
fn what_is_not_known_is_left_out() {
    let mut figures = figures();
    figures.temperature_c = None;
    figures.worst_loss = None;
    figures.worst_round_trip = None;
    figures.media.encoder = None;
    figures.sound = None;
    let text = write(figures, Format::OpenMetrics).unwrap();
    for name in
        ["temperature", "worst", "porthole_encoder_info", "latency", "porthole_audio", "porthole_talk"]
    {
        assert!(!text.contains(name), "{name}: {text}");
    }
}

/// The names in `text` that look like those of our figures.
fn names(text: &str) -> std::collections::BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("porthole_") || word.starts_with("process_")).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is() {
    let mut figures = figures();
    let latency = Some(Latency { p50_ms: 10.0, p95_ms: 20.0 });
    figures.media.encode_latency = latency;
    figures.send_latency = SendLatency { first_packet: latency, last_packet: latency };
    let text = write(figures, Format::Text).unwrap();
    let there: Vec<&str> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    for asked in [
        include_str!("../../docs/dashboards/grafana.json"),
        include_str!("../../docs/dashboards/prometheus-rules.yml"),
        include_str!("../../tests/prometheus/rules_test.yml"),
    ] {
        let asked = names(asked);
        assert!(asked.len() > 5, "{asked:?}");
        for name in asked {
            assert!(there.contains(&name), "nothing is called {name}: {there:?}");
        }
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/dashboards/grafana.json")).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}
