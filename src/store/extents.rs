//! Free space of the data file in units. Free runs never touch: neighbours are joined when space comes back.
//! Knows nothing of who holds what; that is the subject of [`super::state`].

use std::collections::{BTreeMap, BTreeSet};

/// Units that a bulk write takes in one piece at most: 1 MiB.
pub(super) const RUN_UNITS: u32 = 256;
/// A run shorter than this (the largest blob) is not worth breaking a bulk write for.
const PIECE_UNITS: u32 = 16;

/// Where to look for space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// The best fitting run, else the end of the file.
    Compact,
    /// The lowest run that is long enough, else the end of the file.
    Lowest,
    /// As it fits, never past the end of the file.
    Within,
}

/// Consecutive units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) start: u32,
    pub(super) units: u32,
}

impl Run {
    /// The first unit behind the run.
    pub(super) fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.units)
    }
}

/// The free runs below `end`.
#[derive(Debug)]
pub(super) struct Extents {
    by_start: BTreeMap<u32, u32>,
    by_size: BTreeSet<(u32, u32)>,
    free: u64,
    end: u32,
}

impl Extents {
    /// No free unit; the file ends at `end`.
    pub(super) fn new(end: u32) -> Self {
        Self { by_start: BTreeMap::new(), by_size: BTreeSet::new(), free: 0, end }
    }

    /// Everything from `start` to `end` is free but `used`, which is put into order. Fails with a run that overlaps
    /// another or lies outside.
    pub(super) fn around(start: u32, end: u32, used: &mut [Run]) -> Result<Self, Run> {
        used.sort_unstable();
        let mut extents = Self::new(end);
        let mut next = u64::from(start);
        for &run in used.iter() {
            if u64::from(run.start) < next || run.end() > u64::from(end) {
                return Err(run);
            }
            extents.insert_gap(next, run.start);
            next = run.end();
        }
        extents.insert_gap(next, end);
        Ok(extents)
    }

    fn insert_gap(&mut self, from: u64, to: u32) {
        if from < u64::from(to) {
            // `from` is below a 32-bit number.
            self.insert(Run { start: from as u32, units: to - from as u32 });
        }
    }

    fn insert(&mut self, run: Run) {
        self.by_start.insert(run.start, run.units);
        self.by_size.insert((run.units, run.start));
        self.free += u64::from(run.units);
    }

    fn remove(&mut self, run: Run) {
        self.by_start.remove(&run.start);
        self.by_size.remove(&(run.units, run.start));
        self.free -= u64::from(run.units);
    }

    /// Takes `want` units in one run, or fewer but at least `least`; `None` when the policy finds none.
    pub(super) fn allocate(&mut self, want: u32, least: u32, policy: Policy) -> Option<Run> {
        let found = match policy {
            Policy::Lowest => self.lowest(least),
            Policy::Compact => self.best(want).or_else(|| self.largest(least.max(PIECE_UNITS))),
            Policy::Within => self.best(want).or_else(|| self.largest(least)),
        };
        match found {
            Some(run) => Some(self.take(run, want)),
            None if policy == Policy::Within => None,
            None => self.grow(want),
        }
    }

    fn best(&self, want: u32) -> Option<Run> {
        self.by_size.range((want, 0)..).next().map(|&(units, start)| Run { start, units })
    }

    fn largest(&self, least: u32) -> Option<Run> {
        let &(units, start) = self.by_size.last()?;
        (units >= least).then_some(Run { start, units })
    }

    fn lowest(&self, least: u32) -> Option<Run> {
        self.by_start.iter().find(|&(_, &units)| units >= least).map(|(&start, &units)| Run { start, units })
    }

    fn take(&mut self, run: Run, want: u32) -> Run {
        self.remove(run);
        let units = run.units.min(want);
        if units < run.units {
            self.insert(Run { start: run.start + units, units: run.units - units });
        }
        Run { start: run.start, units }
    }

    fn grow(&mut self, want: u32) -> Option<Run> {
        let tail = self.tail();
        let start = tail.map_or(self.end, |run| run.start);
        let end = start.checked_add(want)?.max(self.end);
        if let Some(tail) = tail {
            self.remove(tail);
        }
        self.end = end;
        let run = Run { start, units: end - start };
        self.insert(run);
        Some(self.take(run, want))
    }

    fn tail(&self) -> Option<Run> {
        let (&start, &units) = self.by_start.last_key_value()?;
        (start + units == self.end).then_some(Run { start, units })
    }

    /// Gives units back.
    pub(super) fn free(&mut self, run: Run) {
        debug_assert!(run.units > 0 && run.end() <= u64::from(self.end), "{run:?} is outside the file");
        let mut joined = run;
        if let Some((&start, &units)) = self.by_start.range(..=run.start).next_back() {
            debug_assert!(start + units <= run.start, "{run:?} is free already");
            if start + units == run.start {
                self.remove(Run { start, units });
                joined = Run { start, units: units + run.units };
            }
        }
        if let Some((&start, &units)) = self.by_start.range(run.start..).next() {
            debug_assert!(u64::from(start) >= run.end(), "{run:?} is free already");
            if u64::from(start) == run.end() {
                self.remove(Run { start, units });
                joined.units += units;
            }
        }
        self.insert(joined);
    }

    /// Cuts a free tail of at least `least` units off and says whether it did.
    pub(super) fn trim(&mut self, least: u32) -> bool {
        let Some(tail) = self.tail().filter(|tail| tail.units >= least) else { return false };
        self.remove(tail);
        self.end = tail.start;
        true
    }

    /// The first unit behind the file.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// How many units are free.
    pub(super) fn free_units(&self) -> u64 {
        self.free
    }

    /// All free runs, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.by_start.iter().map(|(&start, &units)| Run { start, units })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: u32, units: u32) -> Run {
        Run { start, units }
    }

    #[test]
    fn takes_the_best_fit_and_joins_what_comes_back() {
        let mut extents =
            Extents::around(2, 100, &mut [run(40, 10), run(2, 8), run(60, 40)]).expect("no overlap");
        assert_eq!(extents.runs().collect::<Vec<_>>(), [run(10, 30), run(50, 10)]);
        assert_eq!(extents.allocate(9, 9, Policy::Compact), Some(run(50, 9)));
        assert_eq!(extents.allocate(9, 9, Policy::Lowest), Some(run(10, 9)));
        extents.free(run(50, 9));
        extents.free(run(40, 10));
        assert_eq!(extents.runs().collect::<Vec<_>>(), [run(19, 41)]);
        extents.free(run(60, 40));
        assert_eq!(extents.free_units(), 81);
        assert!(extents.trim(81));
        assert_eq!((extents.end(), extents.free_units(), extents.trim(1)), (19, 0, false));
    }

    #[test]
    fn a_long_run_breaks_only_for_pieces_worth_it() {
        let mut extents = Extents::new(2);
        assert_eq!(extents.allocate(200, 1, Policy::Compact), Some(run(2, 200)));
        extents.free(run(10, 15));
        assert_eq!(extents.allocate(20, 1, Policy::Compact), Some(run(202, 20)));
        extents.free(run(50, 18));
        assert_eq!(extents.allocate(20, 1, Policy::Compact), Some(run(50, 18)));
        assert_eq!(extents.allocate(20, 1, Policy::Within), Some(run(10, 15)));
        assert_eq!(extents.allocate(20, 1, Policy::Within), None);
    }

    #[test]
    fn growth_begins_in_a_free_tail_and_ends_at_the_limit() {
        let mut extents = Extents::new(10);
        extents.free(run(7, 3));
        assert_eq!(extents.allocate(5, 5, Policy::Compact), Some(run(7, 5)));
        assert_eq!(extents.end(), 12);
        assert_eq!(extents.allocate(u32::MAX, u32::MAX, Policy::Compact), None);
        assert_eq!((extents.end(), extents.free_units()), (12, 0));
    }

    #[test]
    fn overlaps_and_strays_are_found() {
        assert_eq!(Extents::around(2, 50, &mut [run(2, 3), run(4, 1)]).err(), Some(run(4, 1)));
        assert_eq!(Extents::around(2, 50, &mut [run(1, 1)]).err(), Some(run(1, 1)));
        assert_eq!(Extents::around(2, 50, &mut [run(49, 2)]).err(), Some(run(49, 2)));
        assert_eq!(Extents::around(2, 50, &mut [run(u32::MAX, 2)]).err(), Some(run(u32::MAX, 2)));
    }
}
