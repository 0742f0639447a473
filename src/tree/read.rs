//! Point reads.

use smallvec::SmallVec;

use crate::art::{Blob, Cursor, Leaf, LookUp, Words};

use super::bounds::common_prefix;
use super::descend::{Aim, Step};
use super::{Limb, Stop};
use crate::error::Result;

/// What a read found: the version; the value is in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The sequence of the commit that wrote the record.
    pub(crate) version: u64,
}

fn copy_out(blob: Blob<'_>, leaf: Leaf, value: &mut Vec<u8>) -> Found {
    value.clear();
    blob.w.append_to(leaf.value_at(), leaf.value_len(), value);
    Found { version: leaf.version(blob) }
}

impl<'a> Limb<'a> {
    /// Reads the record of `key` into `value`.
    pub(crate) fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Found>> {
        self.point(key, |blob, leaf| copy_out(blob, leaf, value))
    }

    /// One try of [`get`](Self::get). Directory moves are not heeded: for whoever keeps them away.
    pub(crate) fn get_once(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Found>, Stop> {
        let (step, found) = self.descend(key)?;
        let found = match found {
            LookUp::Record(leaf) => Some(copy_out(step.blob(), leaf, value)),
            LookUp::Mount { .. } | LookUp::Nothing => None,
        };
        step.validate()?;
        Ok(found)
    }

    /// The version of the record of `key`, without its value.
    pub(crate) fn version(&self, key: &[u8]) -> Result<Option<u64>> {
        self.point(key, |blob, leaf| leaf.version(blob))
    }

    /// Calls `read` on the leaf of `key`, perhaps several times; only what the last call gave is returned.
    #[inline]
    fn point<T>(&self, key: &[u8], mut read: impl FnMut(Blob<'_>, Leaf) -> T) -> Result<Option<T>> {
        // The end of the key is compared last, in the leaf: fetch it now rather than wait for it then.
        std::hint::black_box(key.last());
        self.read(|tries| {
            if tries.is_patient() {
                let (guard, base) = self.descend_shared(key)?;
                let blob = Blob::new(Words::new(guard.words()));
                return Ok(blob.find(key.get(base..).unwrap_or(&[])).map(|leaf| read(blob, leaf)));
            }
            let (step, found) = self.descend(key)?;
            let found = match found {
                LookUp::Record(leaf) => Some(read(step.blob(), leaf)),
                LookUp::Mount { .. } | LookUp::Nothing => None,
            };
            step.validate()?;
            Ok(found)
        })
    }

    /// The record with the longest key that is a prefix of `key` (or `key` itself): its length; the value goes to `value`.
    pub(crate) fn longest_prefix(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<(usize, Found)>> {
        self.read(|_| self.longest_prefix_once(key, value))
    }

    /// One try. All visited leaf blobs are validated at the end: the answer is one that held at one moment.
    fn longest_prefix_once(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<(usize, Found)>, Stop> {
        let mut visited: SmallVec<[Step<'a>; 4]> = SmallVec::new();
        // The roots of the limbs that the key leads through: what the inner ones hold is longer.
        let mut roots: SmallVec<[Step<'a>; 2]> = SmallVec::new();
        let mut root = self.root_step()?;
        let mut leaf = self.descend_from(root, key)?;
        while let Some((path, limb)) = leaf.blob().mount_on(key.get(leaf.base..).unwrap_or(&[])) {
            visited.push(leaf);
            roots.push(root);
            root = self.enter(&leaf, limb, leaf.base + path)?;
            leaf = self.descend_from(root, key)?;
        }
        let mut answer = self.longest_in(root, leaf, key, &mut visited, value)?;
        while answer.is_none()
            && let Some(host) = roots.pop()
        {
            // The path itself is the empty key of the mounted limb.
            let candidate = &key[..root.base - 1];
            root = host;
            if candidate.len() < root.base || candidate.is_empty() {
                continue;
            }
            let leaf = self.descend_from(root, candidate)?;
            answer = self.longest_in(root, leaf, candidate, &mut visited, value)?;
        }
        for step in &visited {
            step.validate()?;
        }
        Ok(answer)
    }

    /// The same in one limb; `leaf` is where the candidate would be. Any stored prefix of the candidate is also a prefix of
    /// what it shares with the greatest stored key that is at most it, so it gets shorter with every leaf blob visited.
    fn longest_in(
        &self,
        root: Step<'a>,
        mut leaf: Step<'a>,
        mut candidate: &[u8],
        visited: &mut SmallVec<[Step<'a>; 4]>,
        value: &mut Vec<u8>,
    ) -> Result<Option<(usize, Found)>, Stop> {
        loop {
            let blob = leaf.blob();
            let (base, rest) = (leaf.base, candidate.get(leaf.base..).unwrap_or(&[]));
            visited.push(leaf);
            let mut longest = None;
            blob.prefixes_of(rest, |len, leaf| longest = Some((len, leaf)));
            if let Some((len, found)) = longest {
                return Ok(Some((base + len, copy_out(blob, found, value))));
            }
            if candidate.len() <= root.base {
                return Ok(None);
            }
            let fenced = self.fenced_from(root, Aim::Below(candidate), 0)?;
            let mut cursor = Cursor::new(fenced.leaf.blob());
            let base = fenced.leaf.base;
            cursor.seek_below(candidate.get(base..).unwrap_or(&[]));
            let shared = match (cursor.leaf(), &fenced.low) {
                (Some(_), _) => base + common_prefix(candidate.get(base..).unwrap_or(&[]), cursor.key()),
                // Nothing below in this leaf blob: what lies further down is below its fence.
                (None, Some(low)) => common_prefix(candidate, low),
                (None, None) => 0,
            };
            visited.push(fenced.leaf);
            // A stored prefix as long as the candidate would have been found above.
            let shared = shared.min(candidate.len() - 1);
            if shared < root.base || shared == 0 {
                return Ok(None);
            }
            candidate = &candidate[..shared];
            leaf = self.descend_from(root, candidate)?;
        }
    }
}
