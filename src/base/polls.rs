//! Who is polled, how often, and since when. A task that does not come back from a poll holds its thread, and whoever else lives
//! there: no message to it, and no answer of it, is needed to see that.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// All polled futures of one owner.
#[derive(Debug)]
pub struct Polls {
    epoch: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// Polls since the start, by name.
    counts: BTreeMap<&'static str, Arc<AtomicU64>>,
    /// The futures that there are: name, whether it is meant to go on for ever, and how far it is.
    futures: BTreeMap<u64, (&'static str, bool, Arc<Progress>)>,
}

/// How far one future is.
#[derive(Debug, Default)]
struct Progress {
    /// When the poll began that has not ended, in milliseconds since the epoch and 1 more; 0: none.
    polled_since: AtomicU64,
    #[cfg(test)]
    sabotage: sabotage::Place,
}

impl Default for Polls {
    fn default() -> Self {
        Self { epoch: Instant::now(), table: Mutex::default() }
    }
}

impl Polls {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// `future`, watched over as `name`.
    pub fn watch<F: Future>(self: &Arc<Self>, name: &'static str, is_endless: bool, future: F) -> Polled<F> {
        let progress = Arc::<Progress>::default();
        let mut table = self.table();
        let id = table.next;
        table.next += 1;
        table.futures.insert(id, (name, is_endless, Arc::clone(&progress)));
        let count = Arc::clone(table.counts.entry(name).or_default());
        drop(table);
        Polled { polls: Arc::clone(self), id, count, progress, future: Box::pin(future) }
    }

    /// How often the futures of each name were polled since the start: what wakes for nothing shows here.
    #[cfg(test)]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.table().counts.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed))).collect()
    }

    /// A future whose poll has not come back for `limit`, the longest of them.
    pub fn held(&self, now: Instant, limit: Duration) -> Option<&'static str> {
        let table = self.table();
        let polled = table.futures.values().filter_map(|(name, _, progress)| {
            let since = progress.polled_since.load(Ordering::Relaxed).checked_sub(1)?;
            let lasted = Duration::from_millis(self.millis(now).saturating_sub(since));
            (lasted >= limit).then_some((lasted, *name))
        });
        polled.max().map(|(_, name)| name)
    }
}

/// See [`Polls::watch`].
pub struct Polled<F> {
    polls: Arc<Polls>,
    id: u64,
    count: Arc<AtomicU64>,
    progress: Arc<Progress>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Polled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let began = self.polls.millis(Instant::now()).saturating_add(1);
        self.progress.polled_since.store(began, Ordering::Relaxed);
        #[cfg(test)]
        self.progress.sabotage.strike(context.waker());
        let polled = self.future.as_mut().poll(context);
        self.progress.polled_since.store(0, Ordering::Relaxed);
        polled
    }
}

/// Also of one that is aborted, or that panicked.
impl<F> Drop for Polled<F> {
    fn drop(&mut self) {
        self.polls.table().futures.remove(&self.id);
    }
}

/// What a test does to a task, to see who notices.
#[cfg(test)]
pub mod sabotage {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
    use std::task::Waker;

    use super::Polls;

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of a task's next poll.
    #[derive(Clone, Debug)]
    pub enum Sabotage {
        /// It fails.
        Panic,
        /// It does not come back before the test opens this.
        Hold(Arc<Gate>),
    }

    /// What a held poll waits for.
    #[derive(Debug, Default)]
    pub struct Gate {
        is_open: Mutex<bool>,
        opened: Condvar,
    }

    impl Gate {
        /// Lets it go on.
        pub fn open(&self) {
            *lock(&self.is_open) = true;
            self.opened.notify_all();
        }

        fn wait(&self) {
            drop(self.opened.wait_while(lock(&self.is_open), |is_open| !*is_open));
        }
    }

    #[derive(Debug, Default)]
    pub(super) struct Place {
        plan: Mutex<Option<Sabotage>>,
        waker: Mutex<Option<Waker>>,
    }

    impl Place {
        pub fn strike(&self, waker: &Waker) {
            *lock(&self.waker) = Some(waker.clone());
            let plan = lock(&self.plan).take();
            match plan {
                None => {}
                Some(Sabotage::Panic) => panic!("on purpose"),
                Some(Sabotage::Hold(gate)) => gate.wait(),
            }
        }
    }

    impl Polls {
        /// Strikes one task of this name. False: there is none.
        pub fn strike(&self, name: &str, plan: Sabotage) -> bool {
            let table = self.table();
            let Some((.., progress)) = table.futures.values().find(|(found, ..)| *found == name) else {
                return false;
            };
            let progress = Arc::clone(progress);
            drop(table);
            *lock(&progress.sabotage.plan) = Some(plan);
            if let Some(waker) = lock(&progress.sabotage.waker).as_ref() {
                waker.wake_by_ref();
            }
            true
        }

        /// Those that there are now and that are meant to go on for ever.
        pub fn endless(&self) -> BTreeSet<&'static str> {
            let table = self.table();
            table.futures.values().filter(|(_, is_endless, _)| *is_endless).map(|(name, ..)| *name).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_poll_that_lasts_is_seen_while_it_does_and_what_is_gone_is_forgotten() {
        let (polls, limit) = (Arc::new(Polls::default()), Duration::from_secs(20));
        let in_time = |later| Instant::now() + Duration::from_secs(later);
        let looking = Arc::clone(&polls);
        let busy = polls.watch("busy", true, async move {
            assert_eq!(looking.held(in_time(10), limit), None);
            looking.held(in_time(21), limit)
        });
        let mut idle = polls.watch("idle", true, pending::<()>());
        assert!((&mut idle).now_or_never().is_none());
        let mut busy = busy;
        assert_eq!((&mut busy).now_or_never(), Some(Some("busy")));
        assert_eq!(polls.held(in_time(1000), limit), None, "one that waits holds nothing");
        drop(idle);
        assert_eq!(polls.endless(), ["busy"].into(), "not taken apart yet");
        assert_eq!(polls.counts(), [("busy", 1), ("idle", 1)].into());
    }
}
