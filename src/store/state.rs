//! Who holds which unit. All of it lies behind one lock, held for bookkeeping only, never across I/O.
//!
//! I1: every unit behind the superblocks is exactly one of
//!   (a) free, (b) of an image in the current table, (c) of a table block or the catalog of the durable checkpoint,
//!   (d) on the dead list of an epoch, (e) reserved by a write in progress.
//!
//! What the durable table or the table of a cut in progress holds is (b) or (d) always, so it is never free:
//! - The current epoch is E, the last cut's is C < E, the durable checkpoint's is d <= C. An entry born in epoch b is
//!   held by the current table; by the cut's table too if b <= C; by the durable one too if b <= d.
//! - *Replaced or freed in the current table*: born in E, nobody else holds it: free at once. Born before: dead[E],
//!   that is until the next cut, which ends epoch E, is durable.
//! - *Live image for the cut*: it replaces the current table's entry, which cannot be born in E (the blob has not
//!   changed since the cut; if it was, only the current table holds it: free). Born in C: the cut's table held it and
//!   does no more: free. Born before: the durable table holds it until the cut is durable: dead[C]. The new image is
//!   born in C. If the cut's table had another image than the current one, that is in dead[E] by the next rule.
//! - *Shadow image for the cut*: only the cut holds it, so it is dead[E] from the start. What it replaces in the cut's
//!   table is untouched: it is in the current table still, or was put on dead[E] when it left that (it was born
//!   before E), or was itself a shadow image and is in dead[E].
//! - dead[n] becomes free when a checkpoint whose cut ended an epoch >= n is durable and the caller has said that no
//!   older one will be needed.

use super::block::Image;
use super::extents::{Extents, Policy, RUN_UNITS, Run};
use super::ids::Ids;
use super::table::{Entry, Table};
use super::{BlobId, Origin};
use std::collections::BTreeMap;

/// A cut that is not durable yet.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) table: Table,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) sequence_mark: u64,
    pub(super) id_bound: u32,
}

/// The bookkeeping of the data file.
#[derive(Debug)]
pub(super) struct State {
    pub(super) current: Table,
    pub(super) cut: Option<Cut>,
    pub(super) ids: Ids,
    pub(super) extents: Extents,
    pub(super) epoch: u64,
    /// The epoch that the durable checkpoint's cut ended.
    pub(super) durable_epoch: u64,
    pub(super) lowest_first: bool,
    dead: BTreeMap<u64, Vec<Run>>,
    dead_units: u64,
    reserved: BTreeMap<u32, u32>,
}

impl State {
    /// The state after open: the current table is the durable one.
    pub(super) fn new(current: Table, ids: Ids, extents: Extents) -> Self {
        Self {
            current,
            cut: None,
            ids,
            extents,
            epoch: 1,
            durable_epoch: 0,
            lowest_first: false,
            dead: BTreeMap::new(),
            dead_units: 0,
            reserved: BTreeMap::new(),
        }
    }

    /// How space is looked for unless a write has to do with what there is. `full`: the device is.
    pub(super) fn policy(&self, full: bool) -> Policy {
        match (self.lowest_first, full) {
            (true, _) => Policy::Lowest,
            (false, true) => Policy::Gaps,
            (false, false) => Policy::Compact,
        }
    }

    /// Reserves a run of `needs[i]` units for each i, neighbours next to each other where possible; all or nothing.
    pub(super) fn reserve(&mut self, needs: &[u32], policy: Policy) -> Option<Vec<u32>> {
        let mut starts = Vec::with_capacity(needs.len());
        while let Some(&least) = needs.get(starts.len()) {
            let Some(run) = self.extents.allocate(bulk(&needs[starts.len()..]), least, policy) else {
                self.release(&starts, needs);
                return None;
            };
            let mut next = run.start;
            while let Some(&units) = needs.get(starts.len()) {
                if u64::from(next) + u64::from(units) > run.end() {
                    break;
                }
                self.reserved.insert(next, units);
                starts.push(next);
                next += units;
            }
            let rest = run.start + run.units - next;
            if rest > 0 {
                self.extents.free(Run { start: next, units: rest });
            }
        }
        Some(starts)
    }

    /// Frees what was reserved at `starts`.
    pub(super) fn release(&mut self, starts: &[u32], needs: &[u32]) {
        for (&start, &units) in starts.iter().zip(needs) {
            self.keep(start);
            self.extents.free(Run { start, units });
        }
    }

    /// Ends the reservation at `start`, whose units are held by something from now on.
    pub(super) fn keep(&mut self, start: u32) {
        let reserved = self.reserved.remove(&start);
        debug_assert!(reserved.is_some(), "unit {start} was not reserved");
    }

    /// Puts a reserved image into the current table. If the id was freed meanwhile, the image is dropped.
    pub(super) fn install_current(&mut self, id: BlobId, image: Image) {
        self.keep(image.unit);
        if !self.ids.contains(id.0) {
            self.extents.free(run_of(image));
            return;
        }
        if let Some(old) = self.current.set(id.0, Entry { image, birth: self.epoch }) {
            self.retire(old, self.epoch, self.epoch);
        }
    }

    /// Puts a reserved image into the table of the cut, and, if it is live, into the current one. A live image of an
    /// id that was freed meanwhile is a shadow.
    pub(super) fn install_cut(&mut self, id: BlobId, image: Image, origin: Origin) {
        let Some(cut) = &mut self.cut else { return };
        self.reserved.remove(&image.unit);
        let entry = Entry { image, birth: cut.epoch };
        let cut_epoch = cut.epoch;
        cut.table.set(id.0, entry);
        if origin == Origin::Shadow || !self.ids.contains(id.0) {
            self.bury(image, self.epoch);
        } else if let Some(old) = self.current.set(id.0, entry) {
            self.retire(old, cut_epoch, cut_epoch);
        }
    }

    /// Takes `id` out of the current table and makes it free.
    pub(super) fn free_id(&mut self, id: BlobId) {
        if let Some(old) = self.current.remove(id.0) {
            self.retire(old, self.epoch, self.epoch);
        }
        self.ids.free(id.0);
    }

    /// Frees an entry that left the current table, if it was born in `private` or later, else lets it die in `dying`.
    fn retire(&mut self, old: Entry, private: u64, dying: u64) {
        if old.birth >= private {
            self.extents.free(run_of(old.image));
        } else {
            self.bury(old.image, dying);
        }
    }

    /// Puts an extent on the dead list of `epoch`.
    pub(super) fn bury(&mut self, image: Image, epoch: u64) {
        self.dead_units += u64::from(image.units());
        self.dead.entry(epoch).or_default().push(run_of(image));
    }

    /// Frees at most `count` dead runs that no checkpoint needs; says whether there may be more.
    pub(super) fn release_dead(&mut self, count: usize) -> bool {
        let Some(mut list) = self.dead.first_entry().filter(|list| *list.key() <= self.durable_epoch) else {
            return false;
        };
        let from = list.get().len().saturating_sub(count);
        let freed = list.get_mut().split_off(from);
        if list.get().is_empty() {
            list.remove();
        }
        for run in freed {
            self.dead_units -= u64::from(run.units);
            self.extents.free(run);
        }
        true
    }

    /// Units on dead lists.
    pub(super) fn dead_units(&self) -> u64 {
        self.dead_units
    }

    /// All dead runs and all reserved ones.
    pub(super) fn dead_and_reserved(&self) -> impl Iterator<Item = Run> + '_ {
        let reserved = self.reserved.iter().map(|(&start, &units)| Run { start, units });
        self.dead.values().flatten().copied().chain(reserved)
    }
}

/// The run that an image takes.
pub(super) fn run_of(image: Image) -> Run {
    Run { start: image.unit, units: image.units() }
}

/// Units of the next needs that go into one bulk write, at least the first.
fn bulk(needs: &[u32]) -> u32 {
    let mut sum = 0;
    for &units in needs {
        if sum > 0 && sum + units > RUN_UNITS {
            break;
        }
        sum += units;
    }
    sum
}
