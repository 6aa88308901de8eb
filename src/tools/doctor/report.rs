//! What was found: one line each for people, one object for programs, and what the exit code says.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::base::{console, text};

/// What a finding means for video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// Video works, but something will be missed sooner or later.
    Warn,
    /// Video would not work.
    Fail,
    /// Not looked at, or nothing to look at.
    Skip,
}

impl Severity {
    /// The first word of a line; what is wrong has to catch the eye.
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skip => "-",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Finding {
    /// Which part was looked at.
    pub area: &'static str,
    pub verdict: Severity,
    /// What was found, in words.
    pub what: String,
    /// What to do next, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What was measured, for programs; units are in the names.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub figures: Map<String, Value>,
}

impl Finding {
    fn new(area: &'static str, verdict: Severity, what: impl Into<String>) -> Self {
        // It may quote a broker, a camera or a driver.
        Self { area, verdict, what: text::lines(&what.into()), next: None, figures: Map::new() }
    }

    pub fn ok(area: &'static str, what: impl Into<String>) -> Self {
        Self::new(area, Severity::Ok, what)
    }

    pub fn warn(area: &'static str, what: impl Into<String>) -> Self {
        Self::new(area, Severity::Warn, what)
    }

    pub fn fail(area: &'static str, what: impl Into<String>) -> Self {
        Self::new(area, Severity::Fail, what)
    }

    pub fn skip(area: &'static str, what: impl Into<String>) -> Self {
        Self::new(area, Severity::Skip, what)
    }

    /// Adds what to do.
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(text::lines(&next.into())), ..self }
    }

    /// Adds a figure.
    pub fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }

    /// An error of the rest of the house: its words hold what was found, often followed by what to do.
    pub fn explained(self) -> Self {
        match split_advice(&self.what) {
            Some((what, next)) => Self { what, next: Some(next), ..self },
            None => self,
        }
    }

    /// The line, and the line below it with what to do.
    pub fn line(&self) -> String {
        let mut text = format!("{:<6}{:<13}{}", self.verdict.word(), self.area, one_line(&self.what));
        if let Some(next) = &self.next {
            let _ = write!(text, "\n{:19}→ {}", "", one_line(next));
        }
        text
    }
}

/// Errors here are "what happened: what to do" or "what happened; what to do". Splits at the last of
/// these whose second half tells somebody to do something.
fn split_advice(text: &str) -> Option<(String, String)> {
    const VERBS: [&str; 18] = [
        "check",
        "install",
        "start",
        "put",
        "plug",
        "run",
        "set",
        "allow",
        "use",
        "renew",
        "reinstall",
        "write",
        "change",
        "look",
        "give",
        "widen",
        "choose",
        "wait",
    ];
    let breaks = text.match_indices(": ").chain(text.match_indices("; "));
    breaks
        .filter(|(at, mark)| {
            let rest = &text[at + mark.len()..];
            let first = rest.split([' ', ',']).next().unwrap_or_default();
            VERBS.contains(&first)
        })
        .map(|(at, mark)| (text[..at].to_owned(), text[at + mark.len()..].to_owned()))
        .min_by_key(|(what, _)| what.len())
}

/// Prints a line. Whoever stops reading (`| head`) has read enough.
pub(super) fn print(line: &str) {
    console::out(format_args!("{line}"));
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything that was found, in the order it was looked for.
#[derive(Debug, Default)]
pub(super) struct DoctorReport {
    findings: Vec<Finding>,
    /// Each line is printed as it is found: the whole takes a quarter of a minute.
    live: bool,
}

impl DoctorReport {
    pub fn new(live: bool) -> Self {
        Self { findings: Vec::new(), live }
    }

    pub fn add(&mut self, finding: Finding) {
        if self.live {
            print(&finding.line());
        }
        self.findings.push(finding);
    }

    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    fn count(&self, verdict: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Whether a viewer would get video.
    pub fn video_would_work(&self) -> bool {
        self.count(Severity::Fail) == 0
    }

    /// The last line.
    pub fn summary(&self) -> String {
        let plural =
            |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let warnings = match self.count(Severity::Warn) {
            0 => String::new(),
            count => format!(", {}", plural(count, "warning")),
        };
        if self.video_would_work() {
            return format!(
                "Video works here: {} passed{warnings}.",
                plural(self.count(Severity::Ok), "check")
            );
        }
        let areas: Vec<&str> = self
            .findings
            .iter()
            .filter(|finding| finding.verdict == Severity::Fail)
            .map(|finding| finding.area)
            .collect();
        let mut named = areas.clone();
        named.dedup();
        format!(
            "Video would not work: {} ({}){warnings}. Begin with the first.",
            plural(areas.len(), "problem"),
            named.join(", ")
        )
    }

    /// One object. `source` is where the configuration came from.
    pub fn json(&self, source: &str) -> String {
        let report = json!({
            "v": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "configuration": source,
            "video": self.video_would_work(),
            "findings": self.findings,
        });
        // Pretty, because people read it too; a map of plain values cannot fail.
        text::json_text(&serde_json::to_string_pretty(&report).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> DoctorReport {
        DoctorReport { findings, live: false }
    }

    #[test]
    fn lines_are_aligned_and_what_to_do_stands_below() {
        let ok = Finding::ok("camera", "/dev/video0");
        let bad = Finding::fail("first frame", "no\n picture").next("plug it in");
        assert_eq!(ok.line(), "ok    camera       /dev/video0");
        assert_eq!(bad.line(), "FAIL  first frame  no picture\n                   → plug it in");
        assert_eq!(ok.line().find("/dev"), bad.line().find("no"));
        assert_eq!(Finding::skip("ice", "x").line(), "-     ice          x");
    }

    #[test]
    fn what_it_quotes_moves_no_cursor_and_begins_no_line() {
        let hostile = "a\n FORGED \u{1b}[2J\u{9b}31m\u{202e}\u{7}";
        let finding = Finding::fail("camera", hostile).next(hostile).figure("code", hostile);
        assert_eq!(finding.line().lines().count(), 2, "{:?}", finding.line());
        for told in [finding.line(), report(vec![finding]).json(hostile)] {
            assert!(told.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')), "{told:?}");
        }
    }

    #[test]
    fn only_a_failure_says_that_video_would_not_work() {
        let good = report(vec![Finding::ok("a", ""), Finding::warn("b", ""), Finding::skip("c", "")]);
        assert!(good.video_would_work());
        assert_eq!(good.summary(), "Video works here: 1 check passed, 1 warning.");
        let bad = report(vec![
            Finding::ok("a", ""),
            Finding::fail("broker", ""),
            Finding::fail("broker", ""),
            Finding::fail("camera", ""),
        ]);
        assert!(!bad.video_would_work());
        assert_eq!(bad.summary(), "Video would not work: 3 problems (broker, camera). Begin with the first.");
    }

    #[test]
    fn the_json_is_as_documented() {
        let findings =
            vec![Finding::ok("camera", "x").figure("fps", 29.5), Finding::fail("clock", "y").next("set it")];
        let value: Value = serde_json::from_str(&report(findings).json("porthole.toml")).expect("JSON");
        assert_eq!(
            value["findings"],
            json!([
                {"area": "camera", "verdict": "ok", "what": "x", "figures": {"fps": 29.5}},
                {"area": "clock", "verdict": "fail", "what": "y", "next": "set it"},
            ])
        );
        assert_eq!((&value["v"], &value["video"]), (&json!(1), &json!(false)));
        assert_eq!(value["configuration"], "porthole.toml");
    }

    #[test]
    fn advice_is_split_from_what_happened() {
        let split = |text: &str| {
            let finding = Finding::fail("x", text).explained();
            (finding.what, finding.next)
        };
        assert_eq!(
            split("nothing listens at mqtt://h:1883: start the broker, or check the address and the port"),
            (
                "nothing listens at mqtt://h:1883".to_owned(),
                Some("start the broker, or check the address and the port".to_owned())
            )
        );
        assert_eq!(
            split("the element x is missing; install y"),
            ("the element x is missing".to_owned(), Some("install y".to_owned()))
        );
        assert_eq!(split("it hangs: no reason"), ("it hangs: no reason".to_owned(), None));
        assert_eq!(split(""), (String::new(), None));
    }
}
