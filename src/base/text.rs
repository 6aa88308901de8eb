//! Text that came from outside, made harmless for whoever reads it: in logs, events, `state` and terminals.
//!
//! Control characters move cursors, change colours and begin new lines, and some of Unicode's turn the order of what is
//! shown; they are written as escapes. What is longer than anybody reads is cut.

use std::fmt::{self, Debug, Write};

use serde_json::Value;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// The longest text from outside that is shown, in characters.
pub const MAX_SHOWN: usize = 200;
/// The same for a sentence of ours, in which what it quotes from outside is cut already.
const MAX_SENTENCE: usize = 400;
/// Fields of documents that hold such sentences. Everything else that is text in them may be somebody else's.
const SENTENCES: [&str; 4] = ["message", "error", "reason", "ailment"];
/// The same for one value of a log line, whoever wrote it: libraries quote what they were sent.
const MAX_LOGGED: usize = 1000;

/// Text from outside.
pub fn shown(text: &str) -> String {
    cut(text, MAX_SHOWN, &[])
}

/// A sentence of ours, in which [`shown`] has cut what it quotes, or one of a library's.
pub fn sentence(text: &str) -> String {
    cut(text, MAX_SENTENCE, &[])
}

/// Several lines of ours that may quote from outside, for a terminal.
pub fn lines(text: &str) -> String {
    cut(text, usize::MAX, &['\n', '\t'])
}

/// Every text in `value`, names of fields left out.
pub fn clean(value: &mut Value) {
    clean_to(value, MAX_SHOWN);
}

fn clean_to(value: &mut Value, most: usize) {
    match value {
        Value::String(text) if text.len() > most || text.chars().any(is_unprintable) => {
            *text = cut(text, most, &[]);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| clean_to(value, most)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_sentence = SENTENCES.contains(&name.as_str());
                clean_to(value, if is_sentence { MAX_SENTENCE } else { MAX_SHOWN });
            }
        }
        _ => {}
    }
}

/// `value` as JSON that is harmless on a terminal, too: the same texts, with what is not printable escaped.
pub fn json(value: &Value) -> String {
    json_text(&value.to_string())
}

/// The same of JSON that is written already, in one line or several.
pub fn json_text(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    for c in written.chars() {
        if c != '\n' && is_unprintable(c) {
            // Stands in texts alone, and is of the first plane: one escape each (RFC 8259 section 7).
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// How values of log lines are written.
pub fn log_fields() -> impl for<'writer> FormatFields<'writer> {
    debug_fn(|writer: &mut Writer<'_>, field, value: &dyn Debug| {
        if field.name() != "message" {
            write!(writer, "{}=", field.name())?;
        }
        let mut escaped = Escaped { out: writer, left: MAX_LOGGED, keep: &[] };
        // A value that was cut is no failure of the line.
        let _ = write!(escaped, "{value:?}");
        Ok(())
    })
    .delimited(" ")
}

fn cut(text: &str, most: usize, keep: &[char]) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    let _ = Escaped { out: &mut out, left: most, keep }.write_str(text);
    out
}

/// Neither a letter nor anything else that only shows itself.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Passes on what is written to it, harmless and not too much; then it fails.
struct Escaped<'a, W> {
    out: &'a mut W,
    /// Characters that may still come.
    left: usize,
    /// Passed on all the same.
    keep: &'a [char],
}

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.left == 0 {
                self.out.write_char('…')?;
                return Err(fmt::Error);
            }
            self.left -= 1;
            if is_unprintable(c) && !self.keep.contains(&c) {
                write!(self.out, "{}", c.escape_default())?;
            } else {
                self.out.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    const HOSTILE: &str = "a\n2026 INFO forged\r\u{1b}[2J\u{9b}31m\u{202e}gnp.exe\0";

    #[test]
    fn nothing_but_text_is_left_of_text() {
        assert_eq!(shown(HOSTILE), "a\\n2026 INFO forged\\r\\u{1b}[2J\\u{9b}31m\\u{202e}gnp.exe\\u{0}");
        assert_eq!(shown("Grüße, \"ok\" \\ 😀"), "Grüße, \"ok\" \\ 😀");
        assert_eq!(shown(&"ä".repeat(50_000)), format!("{}…", "ä".repeat(MAX_SHOWN)));
        assert_eq!(shown(&"x".repeat(MAX_SHOWN)).len(), MAX_SHOWN, "nothing is added to what fits");
        assert_eq!(lines("one\n\ttwo\u{7}"), "one\n\ttwo\\u{7}");
        let told = serde_json::json!({"id": [HOSTILE, {"\u{9b}": "\u{7f}😀"}]});
        assert!(json(&told).chars().all(|c| !is_unprintable(c)), "{:?}", json(&told));
        assert_eq!(
            serde_json::from_str::<Value>(&json(&told)).unwrap(),
            told,
            "the same to whoever reads JSON"
        );
        let mut document = serde_json::json!({"a": [HOSTILE, 1], "b": "x".repeat(5000), "c": "fine"});
        clean(&mut document);
        assert_eq!(document["a"][0], shown(HOSTILE));
        assert_eq!((document["b"].as_str().unwrap().chars().count(), &document["c"]), (201, &"fine".into()));
        let mut document = serde_json::json!({"error": "x".repeat(5000), "device": "x".repeat(5000)});
        clean(&mut document);
        let length = |name: &str| document[name].as_str().unwrap().chars().count();
        assert_eq!((length("error"), length("device")), (401, 201), "sentences of ours stay whole");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whatever_is_logged_is_one_short_line() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(log_fields())
            .with_ansi(false)
            .finish();
        let much = "y".repeat(50_000);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("session", viewer = %HOSTILE);
            let _in = span.enter();
            tracing::info!(shown = %HOSTILE, text = HOSTILE, debug = ?HOSTILE, count = 7, "said {HOSTILE}");
            tracing::info!(%much, "much");
        });
        let bytes = log.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.chars().all(|c| c == '\n' || !is_unprintable(c)), "{text:?}");
        assert!(
            text.contains("count=7") && text.contains("said a\\n2026") && text.contains("viewer=a\\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() < 1500), "{text}");
    }
}
