//! Point reads.

use crate::art::{Blob, Leaf, LookUp, Words};

use super::{Limb, Stop};
use crate::error::Result;

/// What a read found: the version; the value is in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The sequence of the commit that wrote the record.
    pub(crate) version: u64,
}

pub(super) fn copy_out(blob: Blob<'_>, leaf: Leaf, value: &mut Vec<u8>) -> Found {
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
}
