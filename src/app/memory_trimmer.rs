//! Gives memory back after viewers have left.

use std::time::Instant;

use tokio::time::sleep_until;

use crate::base::memory::{MemoryTrimmer, give_back};
use crate::base::tasks::blocking;
use crate::base::{clock, stats};
use crate::stream::Fanout;

/// Follows how many want pictures. Ends with the fanout.
pub(super) async fn run(fanout: Fanout) {
    let (mut trimmer, mut demand) = (MemoryTrimmer::default(), fanout.watch_demand());
    demand.mark_changed();
    loop {
        let due = trimmer.due();
        tokio::select! {
            changed = demand.changed() => if changed.is_err() { return },
            () = sleep_until(due.unwrap_or_else(clock::now).into()), if due.is_some() => {}
        }
        let viewers = *demand.borrow_and_update();
        if trimmer.is_due(clock::now(), viewers) {
            blocking(give_back_and_tell).await;
        }
    }
}

fn give_back_and_tell() {
    let (before, begin) = (stats::snapshot().rss, Instant::now());
    give_back();
    let (took, after) = (begin.elapsed(), stats::snapshot().rss);
    tracing::debug!(?took, before, after, "memory given back, in bytes");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::tasks::TaskGroup;

    #[tokio::test(start_paused = true)]
    async fn it_wakes_when_viewers_come_and_go_and_once_after() {
        let (tasks, fanout) = (TaskGroup::new(), Fanout::default());
        tasks.spawn_loop("memory", run(fanout.clone()));
        tokio::time::sleep(Duration::from_mins(1)).await;
        let idle = tasks.polls()["memory"];
        assert!(idle <= 2, "polled {idle} times with nobody there");
        let viewer = fanout.demand();
        tokio::time::sleep(Duration::from_mins(10)).await;
        drop(viewer);
        tokio::time::sleep(Duration::from_mins(10)).await;
        let polls = tasks.polls()["memory"] - idle;
        assert!((3..=6).contains(&polls), "polled {polls} times for one viewer");
    }
}
