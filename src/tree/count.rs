//! Counting what starts with a prefix, mostly from the headers of leaf blobs.

use smallvec::SmallVec;

use crate::art::{Blob, Walk, WalkMemory};
use crate::error::Result;
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::descend::Step;
use super::land::separators;
use super::scan::Edge;
use super::{Fences, Limb, LockedLeaf, Stop};

/// What a count found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) keys: u64,
    /// Sum of the lengths of the full keys.
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
}

/// Leaf blobs whose headers are fetched at once.
const AHEAD: usize = 16;
/// How often a count starts again because a directory moved meanwhile.
const WHOLE_TRIES: u32 = 4;

impl Counted {
    pub(crate) fn add(&mut self, keys: u64, key_bytes: u64, value_bytes: u64) {
        self.keys += keys;
        self.key_bytes += key_bytes;
        self.value_bytes += value_bytes;
    }

    /// Adds all that is in a leaf blob.
    fn add_header(&mut self, blob: Blob<'_>, base: usize) {
        let keys = u64::from(blob.entries());
        self.add(keys, u64::from(blob.key_bytes()) + base as u64 * keys, u64::from(blob.value_bytes()));
    }
}

/// What a count found in one leaf blob, and where it goes on.
pub(crate) type Part = (Counted, Option<Vec<u8>>);

impl<'a> Limb<'a> {
    /// Counts the records with keys from `low` to below `high` (None: to the end). Costs a descent for each inner blob
    /// and each mount in the range, and a look at the header of each leaf blob; only the leaf blobs at its two ends and those with
    /// mounts are read through.
    ///
    /// Each leaf blob counts as it was at one moment, so changes made meanwhile may or may not show. Moves of directories do
    /// not tear a count: it starts again, a few times; a tree in which directories move all the time is counted across them.
    pub(crate) fn count(&self, low: &[u8], high: Option<&[u8]>) -> Result<Counted> {
        let moves = || self.life.map(|(life, _)| life.moves());
        for _ in 1..WHOLE_TRIES {
            let before = moves();
            let counted = self.count_range(low, high)?;
            if moves() == before {
                return Ok(counted);
            }
        }
        self.count_range(low, high)
    }

    fn count_range(&self, low: &[u8], high: Option<&[u8]>) -> Result<Counted> {
        let mut sum = Counted::default();
        let mut low = low.to_vec();
        loop {
            let (part, next) = self.read(|_| self.count_part(&low, high))?;
            sum.add(part.keys, part.key_bytes, part.value_bytes);
            match next {
                Some(next) => low = next,
                None => return Ok(sum),
            }
        }
    }

    /// Counts from `low` on, at least to the end of its leaf blob or to a mount in it, at most to the end of the inner blob above;
    /// returns where to go on. One try: directory moves are not heeded.
    pub(crate) fn count_part(&self, low: &[u8], high: Option<&[u8]>) -> Result<Part, Stop> {
        let landing = self.land(low)?;
        let [begins, ends] = landing.fences(low)?;
        let fences = Fences { low: begins, high: ends, mount: landing.offset };
        let (mut counted, mut next) = count_leaf(landing.leaf.blob(), landing.leaf.base, &fences, low, high);
        landing.leaf.validate()?;
        if let Some(parent) = landing.path.last()
            && next.is_some()
            && next == fences.high
        {
            self.count_siblings(parent, low, high, &mut counted, &mut next)?;
        }
        Ok((counted, next))
    }

    /// Goes on from the separator `next` of a blob right above leaf blobs, by the headers of those that lie whole in the range
    /// and hold no mounts. What is counted was read of children that the parent, as it is, still had.
    fn count_siblings(
        &self,
        parent: &Step<'a>,
        low: &[u8],
        high: Option<&[u8]>,
        counted: &mut Counted,
        next: &mut Option<Vec<u8>>,
    ) -> Result<(), Stop> {
        let blob = parent.blob();
        let mut walk = separators(parent, low);
        let Some(from) = next.as_deref().filter(|from| from.starts_with(walk.above())) else { return Ok(()) };
        walk.seek(from);
        if walk.spell() != from {
            // The separator of a blob further up.
            return Ok(());
        }
        // Separators up to `high` itself end what is whole in the range.
        let above = high.map(|high| [high, &[0]].concat());
        let mut edge = above.as_deref().map(Edge::new);
        let mut children: SmallVec<[Step<'a>; AHEAD]> = SmallVec::new();
        let mut is_last = false;
        while !is_last {
            children.clear();
            while children.len() < AHEAD && !is_last {
                let child = walk.leaf().map(|leaf| blob.child_of(leaf));
                walk.advance();
                let kept = walk.kept();
                is_last = true;
                if let (Some(child), Some(end)) = (child, walk.leaf())
                    && edge.as_mut().is_none_or(|edge| edge.is_below(blob.w, &walk, end, kept))
                    && !child.below.mounts()
                    && let Ok(guard) = self.buffer.read(BlobId(child.id))
                {
                    let step = Step { guard, base: parent.base + usize::from(child.delta) };
                    step.blob().w.prefetch(0);
                    children.push(step);
                    is_last = false;
                }
            }
            if is_last {
                // Back to the child that was not taken.
                if walk.is_on() { walk.retreat() } else { walk.last() }
            }
            let reached = walk.spell();
            let mut sum = Counted::default();
            for step in &children {
                sum.add_header(step.blob(), step.base);
                let is_leaf = step.blob().is_leaf();
                if step.validate().is_err() {
                    return Ok(());
                }
                if !is_leaf {
                    parent.validate()?;
                    return Err(Stop::Corrupt(step.guard.id(), "level or base does not fit its parent"));
                }
            }
            if parent.validate().is_err() {
                return Ok(());
            }
            counted.add(sum.keys, sum.key_bytes, sum.value_bytes);
            *next = Some(reached);
        }
        Ok(())
    }
}

impl LockedLeaf<'_> {
    /// As [`Limb::count_part`], in this blob, whose range holds `low`.
    pub(crate) fn count_part(&self, fences: &Fences, low: &[u8], high: Option<&[u8]>) -> Part {
        count_leaf(self.blob(), self.base(), fences, low, high)
    }
}

fn count_leaf(blob: Blob<'_>, base: usize, fences: &Fences, low: &[u8], high: Option<&[u8]>) -> Part {
    let mut counted = Counted::default();
    let begins = fences.low.as_deref().unwrap_or(&[]) == low;
    let ends = high.is_none_or(|high| fences.high.as_deref().is_some_and(|end| end <= high));
    let mut next = fences.high.clone();
    if begins && ends && !blob.below().mounts() {
        counted.add_header(blob, base);
    } else {
        let mut edge = high.map(Edge::new);
        let mut walk = Walk::new(blob, low.get(..base).unwrap_or(&[]), WalkMemory::default());
        walk.seek(low);
        // A torn read may lead in a circle; no blob has as many entries.
        while let Some(leaf) = walk.leaf().filter(|_| counted.keys < BLOB_BYTES as u64 / 8) {
            let kept = walk.kept();
            if edge.as_mut().is_some_and(|edge| !edge.is_below(blob.w, &walk, leaf, kept)) {
                next = None;
                break;
            }
            if walk.mount().is_some() {
                next = Some(walk.spell());
                break;
            }
            counted.add(1, (walk.above().len() + leaf.suffix_len()) as u64, leaf.value_len() as u64);
            walk.advance();
        }
    }
    (counted, next.filter(|next| high.is_none_or(|high| next.as_slice() < high)))
}
