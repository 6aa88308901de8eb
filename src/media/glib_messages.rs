//! What GLib and GStreamer complain about by themselves: defects of theirs, or of how they are used here. Counted, and said once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use gstreamer::glib;

/// Different complaints that are said; what comes later is counted only.
const MAX_SAID: usize = 32;
/// Characters of one.
const MAX_CHARS: usize = 200;

static CRITICALS: AtomicU64 = AtomicU64::new(0);
static WARNINGS: AtomicU64 = AtomicU64::new(0);
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Complaints since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlibMessages {
    /// Something was done that must not be: what follows is not certain.
    pub criticals: u64,
    /// Something looks wrong.
    pub warnings: u64,
}

impl GlibMessages {
    /// As they are now.
    pub fn so_far() -> Self {
        Self { criticals: CRITICALS.load(Ordering::Relaxed), warnings: WARNINGS.load(Ordering::Relaxed) }
    }
}

/// Listens from now on. GLib itself would write to standard error, and wait there for a reader that stands still.
pub fn listen() {
    static ONCE: Once = Once::new();
    // GLib takes one listener for the life of the process.
    ONCE.call_once(|| {
        glib::log_set_writer_func(|level, fields| {
            let field =
                |key| fields.iter().find(|field| field.key() == key).and_then(glib::LogField::value_str);
            let text = field("MESSAGE").unwrap_or("a message that is no text");
            take(level, field("GLIB_DOMAIN").unwrap_or("GLib"), text);
            glib::LogWriterOutput::Handled
        });
    });
}

fn take(level: glib::LogLevel, domain: &str, text: &str) {
    let count = match level {
        glib::LogLevel::Error | glib::LogLevel::Critical => &CRITICALS,
        glib::LogLevel::Warning => &WARNINGS,
        _ => return,
    };
    count.fetch_add(1, Ordering::Relaxed);
    let text: String = text.chars().take(MAX_CHARS).collect();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() < MAX_SAID && said.insert(text.clone()) {
        drop(said);
        tracing::warn!(domain, text, ?level, "a library complains; more of the same is only counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_counted_and_the_rest_is_not() {
        let before = GlibMessages::so_far();
        take(glib::LogLevel::Critical, "GStreamer", "assertion failed");
        take(glib::LogLevel::Critical, "GStreamer", "assertion failed");
        take(glib::LogLevel::Warning, "GStreamer", "odd");
        take(glib::LogLevel::Message, "GStreamer", "hello");
        let now = GlibMessages::so_far();
        assert!(now.criticals >= before.criticals + 2 && now.warnings > before.warnings);
    }
}
