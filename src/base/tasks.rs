//! Tasks with a name and an owner: one that ends before it was told to is an ailment of the daemon.
//!
//! A [`TaskGroup`] is one owner's tasks. It is handed down, never global: whoever starts a part gives it the group (or a
//! [`TaskGroup::child`]) under which its tasks run, and [`TaskGroup::close`] ends them all in the order of the house.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::polls::Polls;

/// What the reason of a panic begins with.
const PANIC: &str = "panic: ";
/// Characters kept of what a panic said.
const MAX_PANIC_TEXT: usize = 200;

/// A task that ended although nobody had told it to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task \"{task}\" ended early: {reason}")]
pub struct EndedEarly {
    /// The task's name.
    pub task: &'static str,
    /// What its panic said, or that it returned.
    pub reason: String,
}

impl EndedEarly {
    fn is_panic(&self) -> bool {
        self.reason.starts_with(PANIC)
    }
}

/// One owner's tasks. Clones are the same group.
#[derive(Clone, Debug)]
pub struct TaskGroup {
    shared: Arc<Shared>,
    /// Cancelled when this group, or one above it, ends.
    cancelled: CancellationToken,
    tracker: TaskTracker,
    running: Arc<Mutex<Running>>,
}

/// What a group and all groups below it have in common.
#[derive(Debug)]
struct Shared {
    /// The first task that ended early, a panic before all others; later ones are usually its consequence.
    ended_early: watch::Sender<Option<EndedEarly>>,
    polls: Arc<Polls>,
    /// Panics of tasks that end by themselves.
    panics: AtomicU64,
    /// The owner is ending all of it, so that tasks whose clients go before them may return.
    is_ending: AtomicBool,
}

/// The tasks of one group that still run, to be aborted and named when they do not end in time.
#[derive(Debug, Default)]
struct Running {
    next: u64,
    tasks: BTreeMap<u64, (&'static str, AbortHandle)>,
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskGroup {
    /// A group that belongs to nobody else.
    pub fn new() -> Self {
        let shared = Shared {
            ended_early: watch::Sender::new(None),
            polls: Arc::default(),
            panics: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            cancelled: CancellationToken::new(),
            tracker: TaskTracker::new(),
            running: Arc::default(),
        }
    }

    /// A group that is cancelled with this one but can be closed by itself; what ends early in it is told to this one's owner.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            cancelled: self.cancelled.child_token(),
            tracker: TaskTracker::new(),
            running: Arc::default(),
        }
    }

    /// Starts a task that is meant to run until the group is cancelled: if it returns before, or panics, that is an ailment.
    /// It hears of the cancellation through [`Self::cancelled`], or is aborted by [`Self::close`].
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), name, future)
    }

    /// [`Self::spawn`], for a loop that has nothing to finish: it is dropped where it waits when the group is cancelled.
    pub fn spawn_loop<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cancelled = self.cancelled();
        self.spawn(name, async move {
            tokio::select! {
                () = cancelled => {}
                () = future => {}
            }
        })
    }

    /// [`Self::spawn`], on another runtime: that of the media thread.
    pub fn spawn_on<F>(&self, runtime: &Handle, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(runtime, name, true, future)
    }

    /// Starts a task that ends by itself: one connection, one request. A panic in it ends it alone: it is said in the log and
    /// counted, but is no ailment of the daemon, or one bad request could restart it for all.
    pub fn spawn_finite<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(&Handle::current(), name, false, future)
    }

    /// [`Self::spawn`], on this thread's [`tokio::task::LocalSet`].
    pub fn spawn_local<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + 'static,
    {
        let id = self.reserve();
        let task = self.tracker.spawn_local(self.clone().watched(id, name, true, future));
        self.remember(id, name, task)
    }

    /// [`Self::spawn_finite`], on this thread's [`tokio::task::LocalSet`].
    pub fn spawn_local_finite<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + 'static,
    {
        let id = self.reserve();
        let task = self.tracker.spawn_local(self.clone().watched(id, name, false, future));
        self.remember(id, name, task)
    }

    fn start<F>(&self, runtime: &Handle, name: &'static str, is_endless: bool, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.reserve();
        let task = self.tracker.spawn_on(self.clone().watched(id, name, is_endless, future), runtime);
        self.remember(id, name, task)
    }

    /// `future`, with its polls counted and its end told.
    fn watched<F: Future<Output = ()>>(
        self,
        id: u64,
        name: &'static str,
        is_endless: bool,
        future: F,
    ) -> impl Future<Output = ()> {
        let future = self.shared.polls.watch(name, is_endless, future);
        async move {
            let outcome = AssertUnwindSafe(future).catch_unwind().await;
            self.forget(id);
            match outcome {
                Err(panic) if is_endless => {
                    self.report(EndedEarly { task: name, reason: panic_text(panic.as_ref()) });
                }
                Err(panic) => {
                    self.shared.panics.fetch_add(1, Ordering::Relaxed);
                    let reason = panic_text(panic.as_ref());
                    tracing::error!(task = name, reason, "a task failed; the others go on");
                }
                Ok(()) if is_endless && !self.is_cancelled() && !self.is_ending() => {
                    self.report(EndedEarly { task: name, reason: "it returned".to_owned() });
                }
                Ok(()) => {}
            }
        }
    }

    fn remember(&self, id: u64, name: &'static str, task: JoinHandle<()>) -> JoinHandle<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.is_finished() {
            running.tasks.insert(id, (name, task.abort_handle()));
        }
        // One that is aborted cannot take itself out.
        running.tasks.retain(|_, (_, task)| !task.is_finished());
        task
    }

    fn reserve(&self) -> u64 {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.next += 1;
        running.next
    }

    fn forget(&self, id: u64) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).tasks.remove(&id);
    }

    /// Takes note of a task (or a thread) that ended although nobody had told it to. Said in the log at once.
    pub fn report(&self, ended: EndedEarly) {
        tracing::error!(%ended, "a part of the daemon is gone");
        self.shared.ended_early.send_if_modified(|first| {
            // What returned may have done so because of the panic, whose task takes longer to be taken apart.
            let is_kept = first.as_ref().is_some_and(|first| first.is_panic() || !ended.is_panic());
            if !is_kept {
                *first = Some(ended);
            }
            !is_kept
        });
    }

    /// The first task that ended early, in this group or any other of the same owner; and word of it when it happens.
    pub fn ended_early(&self) -> watch::Receiver<Option<EndedEarly>> {
        self.shared.ended_early.subscribe()
    }

    /// Panics of tasks that end by themselves, since the start.
    #[cfg(test)]
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Resolves when the group is to end.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        self.cancelled.clone().cancelled_owned()
    }

    /// Whether the group is to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// The owner begins to end all its groups, one after another: a task that returns because those it serves are gone is no
    /// ailment from now on. One that panics still is.
    pub fn begin_ending(&self) {
        self.shared.is_ending.store(true, Ordering::Relaxed);
    }

    fn is_ending(&self) -> bool {
        self.shared.is_ending.load(Ordering::Relaxed)
    }

    /// Tells all tasks of the group, and of the groups below it, to end. Does not wait.
    pub fn cancel(&self) {
        self.cancelled.cancel();
        self.tracker.close();
    }

    /// Tells them, waits for this group's tasks, and aborts those that have not ended within `limit`: these are returned by name.
    pub async fn close(&self, limit: Duration) -> Vec<&'static str> {
        self.cancel();
        if timeout(limit, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let running = std::mem::take(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner).tasks);
        let late = running.into_values().filter(|(_, task)| !task.is_finished());
        late.map(|(name, task)| {
            task.abort();
            name
        })
        .collect()
    }

    /// How often the tasks of each name were polled since the start: what wakes for nothing shows here.
    #[cfg(test)]
    pub fn polls(&self) -> BTreeMap<&'static str, u64> {
        self.shared.polls.counts()
    }

    /// A task, of this group or any other of the same owner, that has held its thread for `limit` without coming back.
    pub fn held(&self, now: Instant, limit: Duration) -> Option<&'static str> {
        self.shared.polls.held(now, limit)
    }

    /// Has a test strike a task.
    #[cfg(test)]
    pub fn sabotaged(&self) -> &Polls {
        &self.shared.polls
    }
}

/// Runs what may wait for a disk or a driver in a thread where nobody else waits for it.
///
/// # Panics
/// `work` did. Where the runtime ends before it began, this never resolves.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await,
    }
}

/// What a panic said, cut to a line.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let line = text.unwrap_or("a panic without words").lines().next().unwrap_or_default();
    format!("{PANIC}{}", line.chars().take(MAX_PANIC_TEXT).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_panic_and_an_early_return_are_told_and_the_first_is_kept() {
        for is_panic in [true, false] {
            let group = TaskGroup::new();
            let mut told = group.ended_early();
            let task =
                group.child().spawn("victim", async move { assert!(!is_panic, "on purpose\nsecond line") });
            task.await.unwrap();
            let ended = told.wait_for(Option::is_some).await.unwrap().clone().unwrap();
            assert_eq!(ended.task, "victim");
            assert_eq!(ended.reason, if is_panic { "panic: on purpose" } else { "it returned" });
            group.spawn("later", async {}).await.unwrap();
            assert_eq!(group.ended_early().borrow().as_ref(), Some(&ended));
            // What a panic brought down may end before it is known.
            group.spawn("cause", async { panic!("the cause") }).await.unwrap();
            let kept = if is_panic { "victim" } else { "cause" };
            assert_eq!(group.ended_early().borrow().as_ref().map(|ended| ended.task), Some(kept));
        }
    }

    #[tokio::test]
    async fn what_is_told_to_end_may_end_and_finite_tasks_may_at_any_time() {
        let group = TaskGroup::new();
        group.spawn_finite("request", async {}).await.unwrap();
        let end = group.cancelled();
        let task = group.spawn("loop", end);
        let other = group.spawn_loop("endless", pending());
        assert!(group.close(Duration::from_secs(5)).await.is_empty());
        task.await.unwrap();
        other.await.unwrap();
        assert_eq!(*group.ended_early().borrow(), None);
        group.spawn_finite("bad request", async { panic!("alone") }).await.unwrap();
        assert_eq!((group.panics(), group.ended_early().borrow().clone()), (1, None), "it ends alone");
    }

    #[tokio::test]
    async fn while_all_end_a_task_may_return_when_those_it_serves_are_gone() {
        let group = TaskGroup::new();
        group.begin_ending();
        group.child().spawn("server", async {}).await.unwrap();
        assert_eq!(*group.ended_early().borrow(), None);
        group.spawn("victim", async { panic!("on purpose") }).await.unwrap();
        assert!(group.ended_early().borrow().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_is_aborted_and_named_and_the_parent_goes_on() {
        let group = TaskGroup::new();
        let part = group.child();
        let task = part.spawn("deaf", pending());
        let other = group.spawn("other", group.cancelled());
        assert_eq!(part.close(Duration::from_secs(1)).await, ["deaf"]);
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(!other.is_finished() && !group.is_cancelled());
        assert!(group.close(Duration::from_secs(1)).await.is_empty());
    }

    #[tokio::test]
    async fn polls_are_counted_by_name() {
        let group = TaskGroup::new();
        for _ in 0..2 {
            group.spawn_finite("twice", tokio::task::yield_now()).await.unwrap();
        }
        assert_eq!(group.polls(), BTreeMap::from([("twice", 4)]));
    }

    #[tokio::test]
    async fn ended_tasks_are_not_kept() {
        let group = TaskGroup::new();
        for _ in 0..100 {
            group.spawn_finite("request", async {}).await.unwrap();
        }
        assert!(group.running.lock().unwrap().tasks.len() <= 1);
    }
}
