//! How long was waited: counts by powers of two. Only what had to wait is timed, after its first try failed.

use std::fmt;
use std::time::Duration;

use crate::sync::{Instant, Ordering, Tally};

/// Number of counts.
const COUNTS: usize = 32;

/// Waits, counted by how long they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// At index `i` those that took from 2^i to 2^(i+1) nanoseconds; at the first also shorter ones, at the last also longer
    /// ones (from 2.1 seconds).
    pub counts: [u64; COUNTS],
}

impl Waits {
    /// How many there were.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What the longest took less than; zero if there was none.
    pub fn longest(&self) -> Duration {
        let last = self.counts.iter().rposition(|count| *count > 0);
        last.map_or(Duration::ZERO, |at| Duration::from_nanos(2 << at))
    }
}

/// The counts that are not zero: `under 512ns: 3, under 1.024µs: 1`, or `none`.
impl fmt::Display for Waits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (at, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let before = if first { "" } else { ", " };
            write!(formatter, "{before}under {:?}: {count}", Duration::from_nanos(2 << at))?;
            first = false;
        }
        if first { formatter.write_str("none") } else { Ok(()) }
    }
}

/// The counts while they are made. Numbers for people, no part of any protocol.
#[derive(Debug, Default)]
pub(super) struct Meter([Tally; COUNTS]);

impl Meter {
    pub(super) fn add(&self, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.0[(nanos.ilog2() as usize).min(COUNTS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// Times something that has to wait.
    #[cold]
    pub(super) fn time<T>(&self, wait: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let outcome = wait();
        self.add(started.elapsed());
        outcome
    }

    pub(super) fn read(&self) -> Waits {
        Waits { counts: std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_counted_where_it_belongs() {
        let meter = Meter::default();
        assert_eq!((meter.read().total(), meter.read().longest()), (0, Duration::ZERO));
        assert_eq!(meter.read().to_string(), "none");
        for nanos in [0, 1, 2, 3, 4, 1023, 1024, u64::MAX] {
            meter.add(Duration::from_nanos(nanos));
        }
        let waits = meter.read();
        let counts = |at: &[usize]| at.iter().map(|at| waits.counts[*at]).collect::<Vec<_>>();
        assert_eq!(counts(&[0, 1, 2, 9, 10, 31]), [2, 2, 1, 1, 1, 1]);
        assert_eq!(waits.total(), 8);
        assert_eq!(waits.longest(), Duration::from_nanos(1 << 32));
        assert!(waits.to_string().starts_with("under 2ns: 2, under 4ns: 2, under 8ns: 1, "));
        assert_eq!(meter.time(|| 7), 7);
        assert_eq!(meter.read().total(), 9);
    }
}
