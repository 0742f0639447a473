//! What a listing lists, and how: the options of listings of trees and of transactions.

use crate::tree::successor;

/// The range and the options of a listing. While it runs, the range is what is left.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) low: Vec<u8>,
    pub(crate) high: Option<Vec<u8>>,
    /// Delimiters count behind so many bytes.
    pub(crate) prefix_len: usize,
    pub(crate) start_after: Option<Vec<u8>>,
    pub(crate) delimiter: Option<u8>,
    pub(crate) reverse: bool,
    pub(crate) keys_only: bool,
    /// Items that may still be given.
    pub(crate) left: usize,
}

impl Listing {
    /// All from `low` to below `high`.
    pub(crate) fn new(low: Vec<u8>, high: Option<Vec<u8>>, prefix_len: usize) -> Self {
        Self {
            low,
            high,
            prefix_len,
            start_after: None,
            delimiter: None,
            reverse: false,
            keys_only: false,
            left: usize::MAX,
        }
    }

    /// Narrows the range by `start_after`, once all options are known. False: nothing is left.
    pub(crate) fn begin(&mut self) -> bool {
        let Some(after) = self.start_after.take() else { return true };
        // A common prefix stands before every key in it: whoever is past such a key is past the prefix.
        let rolled = self.delimiter.and_then(|byte| {
            let listed = self.low.get(..self.prefix_len)?;
            let at = after.strip_prefix(listed)?.iter().position(|&b| b == byte)?;
            Some(after[..self.prefix_len + at + 1].to_vec())
        });
        if self.reverse {
            let bound = match rolled {
                Some(prefix) if prefix != after => successor(&prefix),
                _ => Some(after),
            };
            self.high = match (self.high.take(), bound) {
                (Some(high), Some(bound)) => Some(high.min(bound)),
                (high, bound) => high.or(bound),
            };
        } else {
            let bound = match rolled {
                Some(prefix) => successor(&prefix),
                None => Some([after.as_slice(), &[0]].concat()),
            };
            match bound {
                Some(bound) => self.low = std::mem::take(&mut self.low).max(bound),
                None => return false,
            }
        }
        true
    }

    /// The common prefix that a key is rolled up to.
    pub(crate) fn rolled(&self, key: &[u8]) -> Option<Vec<u8>> {
        let at = key.get(self.prefix_len..)?.iter().position(|byte| Some(*byte) == self.delimiter)?;
        Some(key[..self.prefix_len + at + 1].to_vec())
    }
}
