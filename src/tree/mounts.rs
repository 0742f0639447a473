//! Finding the mounts of a limb, by way of the bounds that say where there may be any.

use crate::art::{Blob, Cursor};
use crate::buffer::Gate;
use crate::error::Result;

use super::descend::Step;
use super::{Limb, Stop};

/// A mount: its path, and the blob at the root of its limb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) path: Vec<u8>,
    pub(crate) root: u32,
}

impl<'a> Limb<'a> {
    /// The first mounts in the limb that is mounted at exactly `limb` (empty: this one), from the path `from` on, which starts
    /// with `limb`; not those in limbs further down. At most `most`: the next call goes on behind the last one. None: there is no
    /// such limb.
    pub(crate) fn mounts(
        &self,
        gate: &Gate,
        limb: &[u8],
        from: &[u8],
        most: usize,
    ) -> Result<Option<Vec<Mount>>> {
        self.retry(|_| {
            let _entry = gate.enter();
            if let Err(ended) = self.check_alive() {
                return Ok(Err(ended));
            }
            let (inner, offset) = self.innermost(limb)?;
            if offset != limb.len() {
                return Ok(Ok(None));
            }
            let mut found = Vec::new();
            let search = Search { limb: inner, from: &from[offset..], most };
            search.visit(&inner.root_step()?, &[], &mut found)?;
            for mount in &mut found {
                mount.path.splice(0..0, limb.iter().copied());
            }
            Ok(Ok(Some(found)))
        })?
    }
}

struct Search<'a, 'k> {
    limb: Limb<'a>,
    from: &'k [u8],
    most: usize,
}

impl<'a> Search<'a, '_> {
    /// Looks through a blob whose range begins at `low`.
    fn visit(&self, step: &Step<'a>, low: &[u8], found: &mut Vec<Mount>) -> Result<(), Stop> {
        let lead = low.get(..step.base).unwrap_or(&[]);
        if step.blob().is_leaf() {
            let before = found.len();
            self.visit_leaf(step.blob(), lead, found);
            return step.validate().inspect_err(|_| found.truncate(before));
        }
        let all = step.blob().slots();
        let spell = |separator: &Vec<u8>| [lead, separator].concat();
        for (at, slot) in all.iter().enumerate() {
            let ends = all.get(at + 1).and_then(|next| next.separator.as_ref()).map(spell);
            if !slot.child.below.mounts() || ends.is_some_and(|end| end.as_slice() <= self.from) {
                continue;
            }
            let begins = slot.separator.as_ref().map_or_else(|| low.to_vec(), spell);
            let next = self.limb.child_step(step, slot.child, usize::MAX)?;
            self.visit(&next, &begins, found)?;
            if found.len() >= self.most {
                break;
            }
        }
        step.validate()
    }

    fn visit_leaf(&self, blob: Blob<'_>, lead: &[u8], found: &mut Vec<Mount>) {
        let mut cursor = Cursor::new(blob);
        cursor.first();
        while cursor.leaf().is_some() && found.len() < self.most {
            if let Some(limb) = cursor.mount() {
                let path = [lead, cursor.key()].concat();
                if path.as_slice() >= self.from {
                    found.push(Mount { path, root: limb.id });
                }
            }
            cursor.advance();
        }
    }
}
