//! Counting what starts with a prefix, mostly from the headers of leaf blobs.

use crate::error::Result;

use super::scan::is_below;
use super::{Fences, Limb, LockedLeaf, Stop};
use crate::art::{Blob, Cursor};

/// What a count found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) keys: u64,
    /// Sum of the lengths of the full keys.
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
}

/// How often a count starts again because a directory moved meanwhile.
const WHOLE_TRIES: u32 = 4;

impl Counted {
    pub(crate) fn add(&mut self, keys: u64, key_bytes: u64, value_bytes: u64) {
        self.keys += keys;
        self.key_bytes += key_bytes;
        self.value_bytes += value_bytes;
    }
}

/// What a count found in one leaf blob, and where it goes on.
pub(crate) type Part = (Counted, Option<Vec<u8>>);

impl<'a> Limb<'a> {
    /// Counts the records with keys from `low` to below `high` (None: to the end). Costs a descent for each leaf blob and each
    /// mount in the range; only the leaf blobs at its two ends and those with mounts are read through.
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

    /// Counts from `low` to the end of its leaf blob, or to a mount in it; returns where to go on. One try: directory moves
    /// are not heeded.
    pub(crate) fn count_part(&self, low: &[u8], high: Option<&[u8]>) -> Result<Part, Stop> {
        let (fenced, mount) = self.land_at(low)?;
        let fences = Fences { low: fenced.low, high: fenced.high, mount };
        let part = count_leaf(fenced.leaf.blob(), fenced.leaf.base, &fences, low, high);
        fenced.leaf.validate()?;
        Ok(part)
    }
}

impl LockedLeaf<'_> {
    /// As [`Limb::count_part`], in this blob, whose range holds `low`.
    pub(crate) fn count_part(&self, fences: &Fences, low: &[u8], high: Option<&[u8]>) -> Part {
        count_leaf(self.blob(), self.base(), fences, low, high)
    }
}

fn count_leaf(blob: Blob<'_>, base: usize, fences: &Fences, low: &[u8], high: Option<&[u8]>) -> Part {
    let absolute = &low[..base];
    let mut counted = Counted::default();
    let begins = fences.low.as_deref().unwrap_or(&[]) == low;
    let ends = high.is_none_or(|high| fences.high.as_deref().is_some_and(|end| end <= high));
    let mut next = fences.high.clone();
    if begins && ends && !blob.below().mounts() {
        let keys = u64::from(blob.entries());
        let key_bytes = u64::from(blob.key_bytes()) + base as u64 * keys;
        counted.add(keys, key_bytes, u64::from(blob.value_bytes()));
    } else {
        let mut cursor = Cursor::new(blob);
        cursor.seek(&low[base..]);
        while let Some(leaf) = cursor.leaf() {
            if high.is_some_and(|high| !is_below(absolute, cursor.key(), high)) {
                next = None;
                break;
            }
            if cursor.mount().is_some() {
                next = Some([absolute, cursor.key()].concat());
                break;
            }
            counted.add(1, (base + cursor.key().len()) as u64, leaf.value_len() as u64);
            cursor.advance();
        }
    }
    (counted, next.filter(|next| high.is_none_or(|high| next.as_slice() < high)))
}
