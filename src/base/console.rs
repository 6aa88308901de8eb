//! What is said to whoever started the program, on standard output and standard error.
//!
//! Nobody may be there to read it: the terminal closed, the reader of a pipe gone, a disk full, output stopped with ^S. So no line
//! fails, and in a daemon, after [`detach`], none waits either.

use std::fmt::Arguments;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use super::line_writer::LineWriter;
use super::tasks::panic_text;
use super::text;

/// How long the end of the program waits for a reader to take the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Of a daemon.
static DETACHED: OnceLock<Detached> = OnceLock::new();

#[derive(Debug)]
struct Detached {
    out: LineWriter,
    error: LineWriter,
}

/// Gives the last lines a moment when it is dropped, at the end of the program.
#[must_use]
#[derive(Debug)]
pub struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        if let Some(detached) = DETACHED.get() {
            detached.error.flush_for(LAST_LINES);
            detached.out.flush_for(LAST_LINES);
        }
    }
}

/// From now on two threads write; whoever says something does not wait for them. Panics are told the same way.
pub fn detach() -> LastLines {
    let out = LineWriter::start("stdout", std::io::stdout());
    let error = LineWriter::start("log", std::io::stderr());
    if let (Ok(out), Ok(error)) = (out, error) {
        // A second call changes nothing.
        let _ = DETACHED.set(Detached { out, error });
        std::panic::set_hook(Box::new(tell_panic));
    }
    LastLines
}

/// What a line to standard error goes through; `None` before [`detach`].
pub fn error_writer() -> Option<LineWriter> {
    DETACHED.get().map(|detached| detached.error.clone())
}

/// Lines that could not be written since [`detach`].
pub fn lost_lines() -> u64 {
    DETACHED.get().map_or(0, |detached| detached.out.lost() + detached.error.lost())
}

/// A line on standard output.
pub fn out(line: Arguments<'_>) {
    text(format_args!("{line}\n"));
}

/// Text on standard output.
pub fn text(text: Arguments<'_>) {
    put(DETACHED.get().map(|detached| &detached.out), std::io::stdout(), text);
}

/// A line on standard error.
pub fn error(line: Arguments<'_>) {
    put(DETACHED.get().map(|detached| &detached.error), std::io::stderr(), format_args!("{line}\n"));
}

/// Whatever is said, and whoever it quotes: nothing of it moves a cursor or turns text around.
fn put(detached: Option<&LineWriter>, mut stream: impl Write, text: Arguments<'_>) {
    let text = text::lines(&text.to_string());
    match detached {
        Some(writer) => writer.put(text.as_bytes().to_vec()),
        None => {
            // Whoever would hear of a failure is who does not read.
            let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
        }
    }
}

/// As the standard library tells a panic, which there may wait for ever.
fn tell_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let reason = panic_text(info.payload());
    error(format_args!("thread '{}' panicked at {at}: {reason}", thread.name().unwrap_or("?")));
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        error(format_args!("{backtrace}"));
    }
}
