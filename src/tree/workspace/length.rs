//! Whether keys get too long by a move: exactly, where the bounds do not say.

use std::collections::HashMap;

use super::Workspace;
use crate::art::{Blob, Cursor};
use crate::limits::KEY_BYTES_MAX;
use crate::store::BlobId;
use crate::tree::Stop;
use crate::tree::bounds::successor;

/// The lengths of the longest keys of leaf blobs that were read through, relative to their bases. They hold while the gate
/// stays closed: so a search goes on where a miss stopped it, even if what it has read leaves memory again.
#[derive(Debug, Default)]
pub(crate) struct Known {
    lengths: HashMap<BlobId, usize>,
    /// The bound of a tree was over [`BOUND_ENOUGH`] when a directory moved in it.
    pub(crate) is_high: bool,
    /// Bounds did not say whether keys get too long, so those were read.
    pub(crate) has_searched: bool,
}

/// Bounds on keys' lengths under this need no lowering: they let any directory move below paths of as many bytes.
pub(crate) const BOUND_ENOUGH: usize = KEY_BYTES_MAX / 2;

/// The ends of a range relative to a blob: None: it begins before the blob, or ends behind it.
pub(super) type Ends<'k> = [Option<&'k [u8]>; 2];

impl Workspace<'_> {
    /// Whether any key that starts with `prefix` is longer than that by more than `most` bytes. Reads the blobs under the
    /// prefix whose bounds do not rule it out.
    pub(crate) fn any_longer(
        &self,
        root: BlobId,
        prefix: &[u8],
        most: usize,
        known: &mut Known,
    ) -> Result<bool, Stop> {
        known.has_searched = true;
        let place = self.place(root, prefix)?;
        if let Some(limb) = place.exact {
            return self.any_longer_in(BlobId(limb.id), [None, None], Some(most), known);
        }
        let low = &prefix[place.offset..];
        let high = successor(low);
        self.any_longer_in(place.limb, [Some(low), high.as_deref()], Some(low.len() + most), known)
    }

    /// The same for the part of a blob's range between the ends; lengths are relative to its base. `most` None: any key is.
    fn any_longer_in(
        &self,
        id: BlobId,
        ends: Ends<'_>,
        most: Option<usize>,
        known: &mut Known,
    ) -> Result<bool, Stop> {
        let is_whole = ends == [None, None];
        let is_own = self.works.contains_key(&id);
        if let Some(longest) = known.lengths.get(&id).filter(|_| is_whole && !is_own) {
            return Ok(most.is_none_or(|most| *longest > most));
        }
        if !self.peek(id, |blob| blob.is_leaf())? {
            for (child, delta, ends) in self.peek(id, |blob| children(blob, ends, most))? {
                let ends = [0, 1].map(|at| ends[at].as_deref());
                if self.any_longer_in(child, ends, most.and_then(|most| most.checked_sub(delta)), known)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let (longest, mounts) = self.peek(id, |blob| lengths(blob, ends))?;
        if mounts.is_empty() && is_whole && !is_own {
            known.lengths.insert(id, longest.unwrap_or(0));
        }
        if longest.is_some_and(|longest| most.is_none_or(|most| longest > most)) {
            return Ok(true);
        }
        for (limb, path, under) in mounts {
            let most = most.and_then(|most| most.checked_sub(path));
            let may = most.is_none_or(|most| under > most);
            if may && self.any_longer_in(limb, [None, None], most, known)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A child, the delta of its base, and the ends of the range relative to it.
type Part = (BlobId, usize, [Option<Vec<u8>>; 2]);

/// The children that have a part of the range and whose bounds do not rule a longer key out.
fn children(blob: Blob<'_>, ends: Ends<'_>, most: Option<usize>) -> Vec<Part> {
    let all = blob.slots();
    let mut found = Vec::new();
    for (at, slot) in all.iter().enumerate() {
        let starts = slot.separator.as_deref();
        let stops = all.get(at + 1).and_then(|next| next.separator.as_deref());
        let is_before = ends[0].is_some_and(|low| stops.is_some_and(|stops| stops <= low));
        let is_behind = ends[1].is_some_and(|high| starts.is_some_and(|starts| high <= starts));
        let delta = usize::from(slot.child.delta);
        let may = most.is_none_or(|most| delta + slot.child.below.longest() > most);
        if is_before || is_behind || !may {
            continue;
        }
        // An end inside the child's range starts with its base.
        let inside =
            |end: &&[u8]| starts.is_none_or(|starts| starts < *end) && stops.is_none_or(|stops| *end < stops);
        let under =
            |end: Option<&[u8]>| end.filter(inside).map(|end| end.get(delta..).unwrap_or(&[]).to_vec());
        found.push((BlobId(slot.child.id), delta, ends.map(under)));
    }
    found
}

/// A limb mounted in a leaf blob: its root, the length of its path, the bound on what is below.
pub(super) type Mounted = (BlobId, usize, usize);

/// The length of the longest record's key in a part of a leaf blob, and the mounts there.
pub(super) fn lengths(blob: Blob<'_>, [low, high]: Ends<'_>) -> (Option<usize>, Vec<Mounted>) {
    let (mut longest, mut mounts) = (None, Vec::new());
    let mut cursor = Cursor::new(blob);
    cursor.seek(low.unwrap_or(&[]));
    while cursor.leaf().is_some() && high.is_none_or(|high| cursor.key() < high) {
        match cursor.mount() {
            Some(limb) => mounts.push((BlobId(limb.id), cursor.key().len(), limb.below.longest())),
            None => longest = longest.max(Some(cursor.key().len())),
        }
        cursor.advance();
    }
    (longest, mounts)
}
