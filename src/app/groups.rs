//! The daemon's tasks, by when they end.

use crate::base::tasks::TaskGroup;

/// The daemon's tasks, by when they end. What ends early in any of them is known to all.
pub(super) struct Groups {
    /// All of them.
    pub all: TaskGroup,
    /// What follows something and can go first.
    pub watch: TaskGroup,
    /// What routes messages: until viewers and dashboards have heard the last.
    pub gateway: TaskGroup,
    /// Sound: what ends early there is its own trouble, and no reason to restart the daemon.
    pub sound: TaskGroup,
    /// What writes files: the last.
    pub persist: TaskGroup,
}

impl Groups {
    pub fn new() -> Self {
        let all = TaskGroup::new();
        let sound = TaskGroup::new();
        Self { watch: all.child(), gateway: all.child(), sound, persist: all.child(), all }
    }
}
