//! What the viewers counted, as a table for people and as one JSON object for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::count::ViewerFigures;

/// What went wrong for one viewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Trouble {
    pub viewer: String,
    /// A code of the protocol, or one of this program's own.
    pub code: String,
    pub message: String,
}

/// One viewer's result.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub viewer: String,
    pub connected: bool,
    /// From the published offer to the first whole key frame.
    pub first_frame: Option<Duration>,
    pub figures: ViewerFigures,
    pub trouble: Vec<Trouble>,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct WatchReport {
    /// How many viewers there should have been.
    viewers: u16,
    rows: Vec<Row>,
}

impl WatchReport {
    pub(super) fn new(viewers: u16, rows: Vec<Row>) -> Self {
        Self { viewers, rows }
    }

    /// Whether every viewer that there should have been got a whole key frame.
    pub fn all_got_video(&self) -> bool {
        self.rows.len() == usize::from(self.viewers) && self.rows.iter().all(|row| row.first_frame.is_some())
    }

    fn connected(&self) -> usize {
        self.rows.iter().filter(|row| row.connected).count()
    }

    fn sum(&self, figure: impl Fn(&ViewerFigures) -> u64) -> u64 {
        self.rows.iter().map(|row| figure(&row.figures)).sum()
    }

    /// A figure of every viewer that got video, in order of size.
    fn sorted(&self, figure: impl Fn(&Row) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> =
            self.rows.iter().filter(|row| row.first_frame.is_some()).map(figure).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// As `porthole watch --json` documents it. `null` where nobody got video.
    pub fn json(&self) -> String {
        let first = self.sorted(first_frame_ms);
        let fps = self.sorted(|row| row.figures.fps);
        let bitrate = self.sorted(|row| row.figures.bits_per_second);
        let gaps = self.sorted(longest_gap_ms);
        let errors: Vec<&Trouble> = self.rows.iter().flat_map(|row| &row.trouble).collect();
        let rows: Vec<Value> = self.rows.iter().map(row_json).collect();
        json!({
            "viewers": self.viewers,
            "connected": self.connected(),
            "first_frame_ms": {
                "p50": rounded(percentile(&first, 50)),
                "p95": rounded(percentile(&first, 95)),
                "max": rounded(first.last().copied()),
            },
            "frames": self.sum(|f| f.frames),
            "fps": { "p50": tenths(percentile(&fps, 50)), "min": tenths(fps.first().copied()) },
            "key_frames": self.sum(|f| f.key_frames),
            "bitrate": { "p50": rounded(percentile(&bitrate, 50)) },
            "lost": self.sum(|f| f.lost),
            "longest_gap_ms": rounded(gaps.last().copied()),
            "errors": errors,
            "per_viewer": rows,
        })
        .to_string()
    }

    /// Aligned columns, the errors, and a line that sums it up.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<20} {:>9} {:>11} {:>7} {:>6} {:>4} {:>12} {:>5} {:>6} {:>7}\n",
            "viewer", "connected", "first frame", "frames", "fps", "key", "bitrate", "lost", "broken", "gap"
        );
        for row in &self.rows {
            let f = &row.figures;
            let first = row.first_frame.map_or("-".to_owned(), |_| format!("{:.0} ms", first_frame_ms(row)));
            let _ = writeln!(
                text,
                "{:<20} {:>9} {:>11} {:>7} {:>6.1} {:>4} {:>12} {:>5} {:>6} {:>7}",
                row.viewer,
                if row.connected { "yes" } else { "no" },
                first,
                f.frames,
                f.fps,
                f.key_frames,
                bitrate(f.bits_per_second),
                f.lost,
                f.broken,
                format!("{:.0} ms", longest_gap_ms(row)),
            );
        }
        for trouble in self.rows.iter().flat_map(|row| &row.trouble) {
            let _ = writeln!(text, "{}: {}: {}", trouble.viewer, trouble.code, trouble.message);
        }
        text + &self.summary()
    }

    fn summary(&self) -> String {
        let first = self.sorted(first_frame_ms);
        let total: f64 = self.rows.iter().map(|row| row.figures.bits_per_second).sum();
        let mut text = format!("{} of {} viewers got video", first.len(), self.viewers);
        if let (Some(p50), Some(max)) = (percentile(&first, 50), first.last()) {
            let _ = write!(
                text,
                "; first frame {p50:.0} ms (median), {max:.0} ms (slowest); {} frames at {:.1} fps (median), {} key frames, \
                 {} in all, {} packets lost, longest gap {:.0} ms",
                self.sum(|f| f.frames),
                percentile(&self.sorted(|row| row.figures.fps), 50).unwrap_or_default(),
                self.sum(|f| f.key_frames),
                bitrate(total),
                self.sum(|f| f.lost),
                self.sorted(longest_gap_ms).last().copied().unwrap_or_default(),
            );
        }
        text
    }
}

fn row_json(row: &Row) -> Value {
    let f = &row.figures;
    json!({
        "viewer": row.viewer,
        "connected": row.connected,
        "first_frame_ms": rounded(row.first_frame.map(|_| first_frame_ms(row))),
        "frames": f.frames,
        "fps": tenths(Some(f.fps)),
        "key_frames": f.key_frames,
        "bare_key_frames": f.bare_key_frames,
        "bitrate": rounded(Some(f.bits_per_second)),
        "lost": f.lost,
        "late": f.late,
        "broken": f.broken,
        "longest_gap_ms": rounded(Some(longest_gap_ms(row))),
        "backward": f.backward,
        "clock_error_ms": rounded(Some(f.clock_error.as_secs_f64() * 1000.0)),
    })
}

fn first_frame_ms(row: &Row) -> f64 {
    row.first_frame.unwrap_or_default().as_secs_f64() * 1000.0
}

fn longest_gap_ms(row: &Row) -> f64 {
    row.figures.longest_gap.as_secs_f64() * 1000.0
}

fn bitrate(bits_per_second: f64) -> String {
    format!("{:.0} kbit/s", bits_per_second / 1000.0)
}

/// Nearest rank, as in "95 of 100 were at most this".
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[allow(clippy::cast_possible_truncation)] // milliseconds and bit/s are far below 2^63
fn rounded(value: Option<f64>) -> Option<i64> {
    value.map(|value| value.round() as i64)
}

fn tenths(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u16) -> Row {
        Row {
            viewer: format!("watch-{n}"),
            connected: true,
            first_frame: Some(Duration::from_millis(u64::from(n))),
            figures: ViewerFigures {
                frames: 100,
                key_frames: 2,
                lost: 1,
                fps: 25.04,
                bits_per_second: 2_000_000.4,
                longest_gap: Duration::from_millis(u64::from(n) * 2),
                ..ViewerFigures::default()
            },
            trouble: Vec::new(),
        }
    }

    fn black(n: u16) -> Row {
        let trouble = Trouble { viewer: format!("watch-{n}"), code: "busy".into(), message: "full".into() };
        Row {
            connected: false,
            first_frame: None,
            figures: ViewerFigures::default(),
            trouble: vec![trouble],
            ..row(n)
        }
    }

    #[test]
    fn the_json_is_as_documented() {
        let report = WatchReport::new(100, (1..=100).map(row).collect());
        let value: Value = serde_json::from_str(&report.json()).expect("json");
        assert_eq!(value["first_frame_ms"], json!({"p50": 50, "p95": 95, "max": 100}));
        assert_eq!(value["fps"], json!({"p50": 25.0, "min": 25.0}));
        assert_eq!(value["bitrate"], json!({"p50": 2_000_000}));
        assert_eq!((&value["viewers"], &value["connected"]), (&json!(100), &json!(100)));
        assert_eq!((&value["frames"], &value["key_frames"]), (&json!(10_000), &json!(200)));
        assert_eq!((&value["lost"], &value["longest_gap_ms"]), (&json!(100), &json!(200)));
        assert_eq!(value["errors"], json!([]));
        assert!(report.all_got_video());
    }

    #[test]
    fn one_black_viewer_fails_the_run_and_spoils_no_percentile() {
        let report = WatchReport::new(2, vec![row(7), black(2)]);
        let value: Value = serde_json::from_str(&report.json()).expect("json");
        assert_eq!(value["first_frame_ms"]["p50"], json!(7));
        assert_eq!(value["errors"], json!([{"viewer": "watch-2", "code": "busy", "message": "full"}]));
        assert!(!report.all_got_video());
        assert!(!WatchReport::new(2, vec![row(1)]).all_got_video());
    }

    #[test]
    fn nobody_gives_null() {
        let value: Value = serde_json::from_str(&WatchReport::new(1, vec![black(1)]).json()).expect("json");
        assert_eq!(value["first_frame_ms"], json!({"p50": null, "p95": null, "max": null}));
        assert_eq!(value["longest_gap_ms"], json!(null));
    }

    #[test]
    fn the_table_is_aligned_and_summed_up() {
        let table = WatchReport::new(2, vec![row(7), black(2)]).table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0].len(), lines[1].len());
        assert_eq!(lines[1].len(), lines[2].len());
        assert_eq!(lines[3], "watch-2: busy: full");
        assert_eq!(
            lines[4],
            "1 of 2 viewers got video; first frame 7 ms (median), 7 ms (slowest); 100 frames at 25.0 fps (median), \
             2 key frames, 2000 kbit/s in all, 1 packets lost, longest gap 14 ms"
        );
    }
}
