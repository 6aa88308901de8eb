//! Lines for a terminal or a journal, written by a thread of their own: whoever has something to say never waits for a
//! reader that is slow or stopped, and never hears of one that is gone.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What may wait for a slow reader; some thousand lines.
const MAX_BYTES: usize = 512 * 1024;
/// A terminal that somebody else made non-blocking and that is full is tried again after this.
const RETRY: Duration = Duration::from_millis(20);

/// Takes lines for one stream. Clones are the same.
#[derive(Clone, Debug)]
pub struct LineWriter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    is_writing: bool,
    /// Lines that nobody got to read, since the start.
    lost: u64,
    /// Of those, the ones that the reader was not told of yet.
    untold: u64,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineWriter {
    /// Starts the thread that writes to `stream`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(name: &str, stream: impl Write + Send + 'static) -> io::Result<Self> {
        let writer = Self { shared: Arc::default() };
        let shared = Arc::clone(&writer.shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || write_all_of(&shared, stream))?;
        Ok(writer)
    }

    /// Has `line`, with its end, written. Never waits: where there is no room the line is lost, and counted.
    pub fn put(&self, line: Vec<u8>) {
        let mut queue = self.shared.queue();
        if queue.bytes + line.len() > MAX_BYTES {
            queue.lost += 1;
            queue.untold += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        self.shared.filled.notify_one();
    }

    /// Lines that nobody got to read, since the start.
    pub fn lost(&self) -> u64 {
        self.shared.queue().lost
    }

    /// Waits until all is written, for `limit` at most. Whether it is.
    pub fn flush_for(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut queue = self.shared.queue();
        while queue.is_writing || !queue.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.shared.emptied.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// One call is one line, as the formatter of `tracing` makes them.
impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all_of(shared: &Shared, mut stream: impl Write) {
    let mut queue = shared.queue();
    loop {
        let Some(line) = queue.lines.pop_front() else {
            shared.emptied.notify_all();
            queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        queue.bytes -= line.len();
        queue.is_writing = true;
        let untold = std::mem::take(&mut queue.untold);
        drop(queue);
        let is_written = put(&mut stream, &line);
        if is_written && untold > 0 {
            let words = format!("porthole: {untold} lines are missing here: nobody could take them\n");
            put(&mut stream, words.as_bytes());
        }
        queue = shared.queue();
        queue.is_writing = false;
        if !is_written {
            queue.lost += 1;
            queue.untold += 1 + untold;
        }
    }
}

/// Whether `line` was taken. A reader that is gone, or a full disk, is nobody's trouble.
fn put(stream: &mut impl Write, mut line: &[u8]) -> bool {
    while !line.is_empty() {
        match stream.write(line) {
            Ok(0) => return false,
            Ok(taken) => line = &line[taken..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(_) => return false,
        }
    }
    stream.flush().is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// A stream that takes a line only when the test does.
    struct Stream(SyncSender<Vec<u8>>);

    impl Write for Stream {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer() -> (LineWriter, Receiver<Vec<u8>>) {
        let (sender, lines) = sync_channel(0);
        (LineWriter::start("log", Stream(sender)).unwrap(), lines)
    }

    #[test]
    fn nobody_waits_for_a_reader_that_stands_still_and_it_is_told_what_it_missed() {
        let (writer, lines) = writer();
        let line = vec![b'x'; 1024];
        let put = 2 * MAX_BYTES / line.len();
        for _ in 0..put {
            writer.put(line.clone());
        }
        let lost = writer.lost();
        assert!(lost > 0 && !writer.flush_for(Duration::ZERO));
        let kept = put - usize::try_from(lost).unwrap();
        let mut read = Vec::new();
        while read.len() < kept + 1 {
            read.push(lines.recv_timeout(PATIENCE).unwrap());
        }
        let told = read.iter().position(|found| *found != line).unwrap();
        let words = String::from_utf8_lossy(&read[told]).into_owned();
        assert!(words.contains(&lost.to_string()), "{words}");
        assert!(writer.flush_for(PATIENCE));
    }

    #[test]
    fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
        let (writer, lines) = writer();
        drop(lines);
        for _ in 0..3 {
            writer.put(b"line\n".to_vec());
        }
        assert!(writer.flush_for(PATIENCE));
        assert_eq!(writer.lost(), 3);
    }

    #[test]
    fn a_full_disk_and_a_stream_that_would_block_are_borne() {
        struct Trouble(VecDeque<io::ErrorKind>, SyncSender<Vec<u8>>);
        impl Write for Trouble {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                if let Some(kind) = self.0.pop_front() {
                    return Err(kind.into());
                }
                // In two pieces.
                let half = line.len().div_ceil(2);
                let _ = self.1.send(line[..half].to_vec());
                Ok(half)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        use io::ErrorKind::{Interrupted, StorageFull, WouldBlock};
        let (sender, lines) = sync_channel(64);
        let trouble = Trouble([StorageFull, WouldBlock, Interrupted].into(), sender);
        let writer = LineWriter::start("log", trouble).unwrap();
        writer.put(b"first\n".to_vec());
        writer.put(b"second\n".to_vec());
        assert!(writer.flush_for(PATIENCE));
        let read: Vec<u8> = lines.try_iter().flatten().collect();
        let read = String::from_utf8(read).unwrap();
        assert!(read.starts_with("second\n") && read.contains("1 lines are missing"), "{read}");
        assert_eq!(writer.lost(), 1);
    }
}
