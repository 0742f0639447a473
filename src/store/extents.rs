//! Free space of the data file in units. Free runs never touch: neighbours are joined when space comes back.
//! Knows nothing of who holds what; that is the subject of [`super::state`].
//!
//! E1: every free unit was written once, so that writing it again takes no new space of the device.
//! E2: images of `capacity` units in all find space, in whatever order and sizes they come. A run that does not take an
//! image of up to [`PIECE_UNITS`] has fewer units than that left: so when none takes it, all but `PIECE_UNITS - 1` units
//! of each run are taken, and these are what the capacity counts.

use crate::limits::{BLOB_BYTES, BLOCK_BYTES};
use crate::sync::{AtomicU64, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Units that a bulk write takes in one piece at most: 1 MiB.
pub(super) const RUN_UNITS: u32 = 256;
/// A run shorter than this (the largest blob) is not worth breaking a bulk write for.
const PIECE_UNITS: u32 = 16;
const _: () = assert!(PIECE_UNITS as usize * BLOCK_BYTES == BLOB_BYTES);

/// Where to look for space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// The best fitting run.
    Compact,
    /// The lowest run that is long enough.
    Lowest,
    /// As it fits.
    Within,
    /// Each need by itself in the best fitting run. A gap that is too short to count is taken first, so the capacity stays
    /// for those that fit no gap.
    Gaps,
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
    /// See E2. Also read without the lock that all else lies behind; less than it is for an instant of each change.
    capacity: Arc<AtomicU64>,
}

/// What a run of so many units adds to the capacity.
fn capacity_of(units: u32) -> u64 {
    units.saturating_sub(PIECE_UNITS - 1).into()
}

impl Extents {
    /// No free unit; the file ends at `end`.
    pub(super) fn new(end: u32) -> Self {
        Self { by_start: BTreeMap::new(), by_size: BTreeSet::new(), free: 0, end, capacity: Arc::default() }
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
        self.capacity.fetch_add(capacity_of(run.units), Ordering::Relaxed);
    }

    fn remove(&mut self, run: Run) {
        self.by_start.remove(&run.start);
        self.by_size.remove(&(run.units, run.start));
        self.free -= u64::from(run.units);
        self.capacity.fetch_sub(capacity_of(run.units), Ordering::Relaxed);
    }

    /// Takes `want` units in one run, or fewer but at least `least`; `None` when the policy finds none.
    pub(super) fn allocate(&mut self, want: u32, least: u32, policy: Policy) -> Option<Run> {
        let found = match policy {
            Policy::Lowest => self.lowest(least),
            Policy::Compact => self.best(want).or_else(|| self.largest(least.max(PIECE_UNITS))),
            Policy::Gaps => self.best(least),
            Policy::Within => self.best(want).or_else(|| self.largest(least)),
        };
        let want = if policy == Policy::Gaps { least } else { want };
        found.map(|run| self.take(run, want))
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

    /// The file has been made longer by `units`, which are free.
    pub(super) fn extend(&mut self, units: u32) {
        let start = self.end;
        self.end += units;
        self.free(Run { start, units });
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

    /// Cuts a free tail off but for what keeps the capacity at `keep`, if that is at least `least` units; says whether
    /// it did.
    pub(super) fn trim(&mut self, least: u32, keep: u64) -> bool {
        let Some(tail) = self.tail() else { return false };
        let others = self.capacity() - capacity_of(tail.units);
        let kept = match keep.saturating_sub(others) {
            0 => 0,
            short => u32::try_from(short).map_or(u32::MAX, |short| short.saturating_add(PIECE_UNITS - 1)),
        };
        if tail.units.saturating_sub(kept) < least {
            return false;
        }
        self.remove(tail);
        self.end = tail.start + kept;
        if kept > 0 {
            self.insert(Run { start: tail.start, units: kept });
        }
        true
    }

    /// Units that images of any size find space for (E2).
    pub(super) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// The same for whoever has no lock.
    pub(super) fn capacity_meter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.capacity)
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
        assert!(!extents.trim(52, 15) && extents.trim(51, 15));
        assert_eq!((extents.end(), extents.free_units(), extents.capacity()), (49, 30, 15));
        assert!(extents.trim(30, 0));
        assert_eq!((extents.end(), extents.free_units(), extents.trim(1, 0)), (19, 0, false));
    }

    #[test]
    fn what_the_capacity_promises_finds_space_in_any_order() {
        let mut state = 7_u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        for _ in 0..200 {
            let mut used: Vec<Run> = (0..20).map(|at| run(2 + at * 50, 1 + below(45) as u32)).collect();
            let mut extents = Extents::around(2, 1002, &mut used).expect("no overlap");
            let mut promised = extents.capacity();
            while promised > 0 {
                let units = 1 + below(promised.min(16)) as u32;
                let policy =
                    [Policy::Compact, Policy::Lowest, Policy::Within, Policy::Gaps][below(4) as usize];
                let found = extents
                    .allocate(units, units, policy)
                    .or_else(|| extents.allocate(units, units, Policy::Within));
                assert_eq!(found.map(|run| run.units), Some(units));
                promised -= u64::from(units);
            }
        }
    }

    #[test]
    fn a_long_run_breaks_only_for_pieces_worth_it() {
        let mut extents = Extents::new(2);
        extents.extend(200);
        assert_eq!(extents.allocate(200, 1, Policy::Compact), Some(run(2, 200)));
        extents.free(run(10, 15));
        assert_eq!(extents.allocate(20, 1, Policy::Compact), None);
        extents.free(run(50, 18));
        assert_eq!(extents.allocate(20, 1, Policy::Compact), Some(run(50, 18)));
        assert_eq!(extents.allocate(20, 1, Policy::Within), Some(run(10, 15)));
        assert_eq!(extents.allocate(20, 1, Policy::Within), None);
    }

    #[test]
    fn growth_joins_a_free_tail() {
        let mut extents = Extents::new(10);
        extents.free(run(7, 3));
        assert_eq!((extents.allocate(5, 5, Policy::Compact), extents.capacity()), (None, 0));
        extents.extend(20);
        assert_eq!((extents.end(), extents.capacity()), (30, 8));
        assert_eq!(extents.allocate(5, 5, Policy::Compact), Some(run(7, 5)));
    }

    #[test]
    fn overlaps_and_strays_are_found() {
        assert_eq!(Extents::around(2, 50, &mut [run(2, 3), run(4, 1)]).err(), Some(run(4, 1)));
        assert_eq!(Extents::around(2, 50, &mut [run(1, 1)]).err(), Some(run(1, 1)));
        assert_eq!(Extents::around(2, 50, &mut [run(49, 2)]).err(), Some(run(49, 2)));
        assert_eq!(Extents::around(2, 50, &mut [run(u32::MAX, 2)]).err(), Some(run(u32::MAX, 2)));
    }
}
