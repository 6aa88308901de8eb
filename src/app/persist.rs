//! The one task that writes files while the daemon runs, so that nobody who serves viewers waits for a slow card.
//!
//! [`Slots`] decides what to write and when, and is pure; the task beside it carries out, one file at a time, in a
//! blocking thread.

mod slots;

use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep_until, timeout};

use crate::base::clock;
use crate::base::durable_file::DurableFile;
use crate::base::tasks::TaskGroup;
use slots::{Content, Slots};
pub use slots::{Manner, SaveError};

/// What may wait to be taken note of; beyond it a command is told so.
const INBOX: usize = 64;
/// Readings that may wait; they come from `systemctl reload`.
const MAX_READINGS: usize = 16;
/// Whoever waits to hear that something is kept hears after this, in any case.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Word of whether something is kept.
pub struct Saving(oneshot::Receiver<Result<(), SaveError>>);

impl Saving {
    /// Known from the start.
    fn resolved(result: Result<(), SaveError>) -> Self {
        let (sender, saving) = oneshot::channel();
        let _ = sender.send(result);
        Self(saving)
    }

    /// Resolves when it is kept, or with the reason why it may not be; after ten seconds at the latest.
    pub async fn outcome(self) -> Result<(), SaveError> {
        match timeout(ANSWER_LIMIT, self.0).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(SaveError::Refused("the daemon ends".to_owned())),
            Err(_) => Err(SaveError::Slow),
        }
    }
}

/// What a file was found to say.
#[derive(Debug)]
pub struct FileReading {
    /// Its text; `None` when there is no such file.
    pub text: io::Result<Option<String>>,
    /// Something else is to be written into it, and could not be yet.
    pub is_stale: bool,
}

/// Hands over what is to be kept. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Persist {
    inbox: mpsc::Sender<Job>,
}

type Waiter = oneshot::Sender<Result<(), SaveError>>;

enum Job {
    Save { file: DurableFile, content: Content, manner: Manner, waiter: Waiter },
    Read { file: DurableFile, reader: oneshot::Sender<FileReading> },
    Flush { done: oneshot::Sender<()> },
}

impl Persist {
    /// Starts the task; when `tasks` ends, it writes what is still to be written, and ends.
    pub fn start(tasks: &TaskGroup) -> Self {
        let (inbox, jobs) = mpsc::channel(INBOX);
        let writer = Writer { slots: Slots::default(), readings: Vec::new(), flushing: Vec::new() };
        tasks.spawn("persist", writer.run(jobs, tasks.clone()));
        Self { inbox }
    }

    /// Has `text` kept in `file`, in place of what there is or is still to be written.
    pub fn save(&self, file: &DurableFile, text: String, manner: Manner) -> Saving {
        self.put(file, Some(text), manner)
    }

    /// Has `file` removed.
    pub fn remove(&self, file: &DurableFile) -> Saving {
        self.put(file, None, Manner::Usual)
    }

    fn put(&self, file: &DurableFile, content: Content, manner: Manner) -> Saving {
        let (waiter, saving) = oneshot::channel();
        let job = Job::Save { file: file.clone(), content, manner, waiter };
        match self.inbox.try_send(job) {
            Ok(()) => Saving(saving),
            Err(_) => Saving::resolved(Err(SaveError::Full)),
        }
    }

    /// Reads `file`, after trying to write what is still to be written into it. `None`: too many ask at once, or the daemon ends.
    pub fn read(&self, file: &DurableFile) -> impl Future<Output = Option<FileReading>> + Send + use<> {
        let (reader, found) = oneshot::channel();
        let sent = self.inbox.try_send(Job::Read { file: file.clone(), reader });
        async move {
            sent.ok()?;
            found.await.ok()
        }
    }

    /// Resolves when everything that was to be written has been tried.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.inbox.send(Job::Flush { done }).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

struct Writer {
    slots: Slots<Waiter>,
    readings: Vec<(DurableFile, oneshot::Sender<FileReading>)>,
    flushing: Vec<oneshot::Sender<()>>,
}

/// What became of a write.
enum Wrote {
    Kept,
    /// There was no room for it, but the file could be emptied, which says enough ([`Manner::AtOnce`]).
    Emptied(io::Error),
    Failed(io::Error),
}

/// What the blocking thread did.
enum Done {
    Wrote(DurableFile, Wrote),
    Read(DurableFile, io::Result<Option<String>>, oneshot::Sender<FileReading>),
}

impl Writer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>, tasks: TaskGroup) {
        let mut work: Option<JoinHandle<Done>> = None;
        let mut is_ending = false;
        loop {
            if work.is_none() {
                work = self.next();
            }
            let due = self.slots.due().filter(|_| work.is_none());
            if work.is_none() {
                for done in self.flushing.drain(..) {
                    let _ = done.send(());
                }
                if is_ending {
                    return;
                }
            }
            tokio::select! {
                biased;
                done = finished(&mut work) => {
                    work = None;
                    self.done(done);
                }
                job = jobs.recv(), if !is_ending => {
                    if let Some(job) = job {
                        self.take(job);
                    } else {
                        is_ending = true;
                        self.slots.hurry_all(clock::now());
                    }
                }
                () = tasks.cancelled(), if !is_ending => {
                    is_ending = true;
                    jobs.close();
                    while let Ok(job) = jobs.try_recv() {
                        self.take(job);
                    }
                    self.slots.hurry_all(clock::now());
                }
                () = sleep_until(due.unwrap_or_else(clock::now).into()), if due.is_some() => {}
            }
        }
    }

    fn take(&mut self, job: Job) {
        let now = clock::now();
        match job {
            Job::Save { file, content, manner, waiter } => {
                for (waiter, result) in self.slots.want(now, file, content, manner, waiter) {
                    // Whoever asked may have stopped waiting.
                    let _ = waiter.send(result);
                }
            }
            Job::Read { file, reader } => {
                self.slots.hurry(now, &file);
                if self.readings.len() < MAX_READINGS {
                    self.readings.push((file, reader));
                }
            }
            Job::Flush { done } => {
                self.slots.hurry_all(now);
                self.flushing.push(done);
            }
        }
    }

    /// Begins what is due, in a blocking thread: what is to be written before what is to be read.
    #[cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "runs in a blocking thread"))]
    fn next(&mut self) -> Option<JoinHandle<Done>> {
        if let Some((file, content)) = self.slots.take_due(clock::now()) {
            let may_be_emptied = self.slots.writes_at_once(&file);
            return Some(spawn_blocking(move || {
                let result = match content {
                    Some(text) => file.save(&text),
                    None => file.remove(),
                };
                let wrote = match result {
                    Ok(()) => Wrote::Kept,
                    Err(error) if may_be_emptied && file.blank().is_ok() => Wrote::Emptied(error),
                    Err(error) => Wrote::Failed(error),
                };
                Done::Wrote(file, wrote)
            }));
        }
        if self.readings.is_empty() {
            return None;
        }
        let (file, reader) = self.readings.remove(0);
        Some(spawn_blocking(move || {
            let text = file.load();
            Done::Read(file, text, reader)
        }))
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Wrote(file, wrote) => {
                let (path, is_written) = (file.path().display(), matches!(wrote, Wrote::Kept));
                let result = match wrote {
                    Wrote::Kept => Ok(()),
                    Wrote::Emptied(error) => {
                        tracing::error!(file = %path, %error, "there is no room for OFF; the file is empty, which means off too");
                        Ok(())
                    }
                    Wrote::Failed(error) => {
                        tracing::error!(file = %path, %error, "what was set cannot be kept: a restart will forget it");
                        Err(SaveError::Refused(error.to_string()))
                    }
                };
                for waiter in self.slots.written(clock::now(), &file, is_written) {
                    let _ = waiter.send(result.clone());
                }
            }
            Done::Read(file, text, reader) => {
                let is_stale = self.slots.found(&file, text.as_ref().ok());
                let _ = reader.send(FileReading { text, is_stale });
            }
        }
    }
}

/// Resolves when the blocking thread is done; never without one.
async fn finished(work: &mut Option<JoinHandle<Done>>) -> Done {
    match work {
        // A panic there is one of ours: the daemon is told that this task is gone.
        Some(work) => match work.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends.
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "persist/tests.rs"]
mod tests;
