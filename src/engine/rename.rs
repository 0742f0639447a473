//! The rename of one record: both leaf blobs latched at once, one record in the journal. In a batch or a transaction it is one of
//! the [`batch`](super::batch)'s changes.

use std::cell::RefCell;

use super::commit::{Draft, Outcome, Step, check_key};
use super::latched::{absent_source, taken_target};
use super::{Engine, TreeState};
use crate::error::Result;
use crate::journal::{Durability, Op};
use crate::sync::thread_local;
use crate::tree::LockedPair;

thread_local! {
    static VALUE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Engine {
    /// Moves the record of `src` to `dst`; returns its sequence. NotFound: there is none. Exists: one is at `dst` and is not
    /// to be replaced.
    pub(crate) fn rename(
        &self,
        tree: &TreeState,
        src: &[u8],
        dst: &[u8],
        replace: bool,
        durability: Option<Durability>,
    ) -> Result<u64> {
        check_key(src)?;
        check_key(dst)?;
        let op = Op::Rename { tree: tree.id, src, dst };
        let outcome = VALUE.with(|value| {
            let value = &mut *value.borrow_mut();
            self.single(tree, op, dst, durability, |limb, draft| {
                Ok(draft.rename(limb.lock_pair(src, dst)?, src, dst, replace, value))
            })
        })?;
        match outcome {
            Outcome::Done { sequence, .. } => Ok(sequence),
            Outcome::Unmet(_) => Err(taken_target(dst)),
        }
    }
}

impl Draft<'_, '_> {
    /// One try under the latches. `value` is memory to work with.
    fn rename<'k>(
        &mut self,
        mut pair: LockedPair<'_>,
        src: &'k [u8],
        dst: &[u8],
        replace: bool,
        value: &mut Vec<u8>,
    ) -> Result<Step<'k>> {
        value.clear();
        if pair.source().read_into(src, value).is_none() {
            return Err(absent_source(src));
        }
        if !replace && let Some(there) = pair.target().version(dst) {
            return Ok(Step::Done(Outcome::Unmet(Some(there)), None));
        }
        if let Some(lack) = self.lack(pair.target(), dst, value.len()) {
            return Ok(lack);
        }
        let _watch = self.journal.watch();
        let sequence = self.append()?;
        pair.carry(src, dst, sequence, value).map_err(|error| self.journal.poison(error))?;
        let sparse = pair.wants_merge().then_some(src);
        Ok(Step::Done(Outcome::Done { sequence, old: None }, sparse))
    }
}
