//! Whether what a transaction read still reads the same, while nobody can change it: under latches, or with the gate closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exclusive::Halt;
use super::latched::Latched;
use super::plan::Plan;
use super::reads::Look;
use super::{Engine, TreeState};
use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::limits::READ_BLOBS_MAX;
use crate::tree::{Limb, Page, PageRequest, Part, Stop};

/// Why a try under latches came to nothing.
pub(super) enum Unsure {
    /// In this tree: settle it and start again.
    Stop(u32, Stop),
    /// There are too many leaf blobs to latch them all.
    Wide,
    /// Conflict.
    Error(Error),
}

impl From<Error> for Unsure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Looks at leaf blobs that it latches, and that stay latched.
struct Latching<'l, 'e> {
    engine: &'e Engine,
    trees: &'e BTreeMap<u32, Arc<TreeState>>,
    latched: &'l mut Latched<'e>,
    most: usize,
}

impl Latching<'_, '_> {
    fn hold(&mut self, tree: &TreeState, key: &[u8]) -> Result<usize, Unsure> {
        let held = self.engine.hold(self.latched, &self.trees[&tree.id], key, self.most);
        held.map_err(|stop| Unsure::Stop(tree.id, stop))?.ok_or(Unsure::Wide)
    }
}

impl Look for Latching<'_, '_> {
    type Halt = Unsure;

    fn point(&mut self, tree: &TreeState, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Unsure> {
        let at = self.hold(tree, key)?;
        let found = self.latched.0[at].leaf.read(key);
        Ok(found.map(|(version, found)| {
            *value = found;
            version
        }))
    }

    fn page(&mut self, tree: &TreeState, request: &PageRequest<'_>, page: &mut Page) -> Result<(), Unsure> {
        let at = self.hold(tree, request.low)?;
        let held = &self.latched.0[at];
        held.leaf.fill(held.fences.high.as_deref(), request, page);
        Ok(())
    }

    fn count(&mut self, tree: &TreeState, low: &[u8], high: Option<&[u8]>) -> Result<Part, Unsure> {
        let at = self.hold(tree, low)?;
        let held = &self.latched.0[at];
        Ok(held.leaf.count_part(&held.fences, low, high))
    }
}

/// Looks without latches, with the gate closed.
struct Alone<'e> {
    engine: &'e Engine,
    /// Whether missing blobs are loaded rather than reported.
    loads: bool,
}

impl Alone<'_> {
    fn look<T>(
        &self,
        tree: &TreeState,
        mut look: impl FnMut(&Limb<'_>) -> Result<T, Stop>,
    ) -> Result<T, Halt> {
        let limb = self.engine.limb(tree);
        match self.loads {
            true => Ok(limb.retry(|_| look(&limb))?),
            false => look(&limb).map_err(|stop| Halt::Stop(tree.id, stop)),
        }
    }
}

impl Look for Alone<'_> {
    type Halt = Halt;

    fn point(&mut self, tree: &TreeState, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Halt> {
        Ok(self.look(tree, |limb| limb.get_once(key, value))?.map(|found| found.version))
    }

    fn page(&mut self, tree: &TreeState, request: &PageRequest<'_>, page: &mut Page) -> Result<(), Halt> {
        self.look(tree, |limb| limb.fill_once(request, page))
    }

    fn count(&mut self, tree: &TreeState, low: &[u8], high: Option<&[u8]>) -> Result<Part, Halt> {
        self.look(tree, |limb| limb.count_part(low, high))
    }
}

/// Looks outside gate and latches, as any reader, and loads what is not in memory.
struct Early<'e>(&'e Engine);

impl Look for Early<'_> {
    type Halt = Error;

    fn point(&mut self, tree: &TreeState, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>> {
        Ok(self.0.read(tree, |limb| limb.get(key, value))?.map(|found| found.version))
    }

    fn page(&mut self, tree: &TreeState, request: &PageRequest<'_>, page: &mut Page) -> Result<()> {
        self.0.read(tree, |limb| limb.fill(request, page))
    }

    fn count(&mut self, tree: &TreeState, low: &[u8], high: Option<&[u8]>) -> Result<Part> {
        Ok((self.0.read(tree, |limb| limb.count(low, high))?, None))
    }
}

impl Engine {
    /// Compares what a plan read under the latches of its leaf blobs, which stay latched.
    pub(super) fn validate_latched<'e>(
        &'e self,
        plan: &Plan,
        latched: &mut Latched<'e>,
        trees: &'e BTreeMap<u32, Arc<TreeState>>,
    ) -> Result<(), Unsure> {
        let most = self.batch_blobs_max().min(latched.0.len() + READ_BLOBS_MAX);
        let mut look = Latching { engine: self, trees, latched, most };
        plan.reads.iter().try_for_each(|read| read.check(&mut look))
    }

    /// The same with the gate closed: nothing changes but which blobs are in memory.
    pub(super) fn validate_alone(&self, plan: &Plan, loads: bool) -> Result<(), Halt> {
        let mut look = Alone { engine: self, loads };
        plan.reads.iter().try_for_each(|read| read.check(&mut look))
    }

    /// The same at no one instant: loads what the comparison will look at, and finds most conflicts without closing the gate. What
    /// does not read the same now did change. Returns the sequence at which all reads the same, if nothing was committed since it:
    /// a commit takes its sequence under the latches of all that it changes.
    pub(super) fn validate_early(&self, plan: &Plan, journal: &Journal) -> Result<u64> {
        let sequence = journal.last_sequence();
        plan.reads.iter().try_for_each(|read| read.check(&mut Early(self)))?;
        Ok(sequence)
    }
}
