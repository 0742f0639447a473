//! The clock of the checkers: it stands still, so that an execution depends on nothing but its schedule. And what they run in one
//! thread only.

use std::ops::Sub;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(Duration::ZERO)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    pub(crate) fn checked_add(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, other: Self) -> Duration {
        self.0 - other.0
    }
}

/// What is shared out is done by one: an open comes before the threads that a schedule is about.
pub(crate) fn in_threads(_threads: usize, work: impl Fn() + Sync) {
    work();
}

pub(crate) fn processors() -> usize {
    1
}
