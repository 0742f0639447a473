//! Listings.

use std::ops::RangeBounds;

use super::bounds::bounds;
use super::{Entry, Tree};
use crate::error::{Error, Result};
use crate::tree::{Page, PageRequest, successor};

/// Entries asked for in the first page; each further one asks for twice as many.
const PAGE_ENTRIES_MIN: usize = 64;
const PAGE_ENTRIES_MAX: usize = 1024;

/// A listing: first its options are set, then it is an iterator of `Result<Entry>`.
///
/// It is consistent step by step: each item was there when its blob was read, in order, none twice; changes made
/// while it runs may or may not show, those of one batch or rename also in part. A page of up to 1,024 items costs one descent
/// of the tree and its items; a common prefix costs one descent, whatever is below it.
///
/// # Errors
/// InvalidInput: an inverted range, a closed database. NotFound: the tree was dropped. Io, Corrupt, NoSpace: a blob could not
/// be read, or no memory be made for it. After an error the listing ends.
///
/// ```
/// # fn main() -> ramus::Result<()> {
/// let db = ramus::Db::in_memory()?;
/// let tree = db.default_tree();
/// for key in ["src/lib.rs", "src/io/mod.rs", "src/io/file.rs"] {
///     tree.put(key, "")?;
/// }
/// let names: Vec<_> = tree.prefix("src/").delimiter(b'/').map(|entry| entry.map(|e| e.key().to_vec())).collect::<Result<_, _>>()?;
/// assert_eq!(names, [b"src/io/".to_vec(), b"src/lib.rs".to_vec()]);
/// # Ok(())
/// # }
/// ```
pub struct Scan {
    tree: Tree,
    low: Vec<u8>,
    high: Option<Vec<u8>>,
    prefix_len: usize,
    start_after: Option<Vec<u8>>,
    delimiter: Option<u8>,
    reverse: bool,
    keys_only: bool,
    left: usize,
    page: Page,
    next: usize,
    page_entries: usize,
    state: State,
}

enum State {
    /// Options may still be set.
    Fresh,
    Running,
    /// The page is the last.
    Last,
    Over,
    Failed(Error),
}

impl Scan {
    fn new(tree: Tree, low: Vec<u8>, high: Option<Vec<u8>>, prefix_len: usize) -> Self {
        Self {
            tree,
            low,
            high,
            prefix_len,
            start_after: None,
            delimiter: None,
            reverse: false,
            keys_only: false,
            left: usize::MAX,
            page: Page::default(),
            next: 0,
            page_entries: PAGE_ENTRIES_MIN,
            state: State::Fresh,
        }
    }

    pub(super) fn prefix(tree: Tree, prefix: &[u8]) -> Self {
        Self::new(tree, prefix.to_vec(), successor(prefix), prefix.len())
    }

    pub(super) fn range<K: AsRef<[u8]>>(tree: Tree, range: impl RangeBounds<K>) -> Self {
        match bounds(range) {
            Ok((low, high)) => Self::new(tree, low, high, 0),
            Err(error) => Self { state: State::Failed(error), ..Self::new(tree, Vec::new(), None, 0) },
        }
    }

    /// Lists only what comes after `key` in the direction of the listing. With a delimiter, common prefixes count as
    /// items: give the last key or common prefix of one listing to go on with the next.
    pub fn start_after(mut self, key: impl AsRef<[u8]>) -> Self {
        self.start_after = Some(key.as_ref().to_vec());
        self
    }

    /// Rolls keys up: all that share what follows the listed prefix up to and with the first `byte` are one
    /// [`Entry::CommonPrefix`]. A rolled-up subtree is skipped without being visited.
    pub fn delimiter(mut self, byte: u8) -> Self {
        self.delimiter = Some(byte);
        self
    }

    /// Lists from the high end to the low end.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Ends after `entries` items, common prefixes included.
    pub fn limit(mut self, entries: usize) -> Self {
        self.left = entries;
        self
    }

    /// Leaves the values out (they are empty), which spares copying them.
    pub fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Narrows the range by `start_after`, once all options are known.
    fn begin(&mut self) {
        let Some(after) = self.start_after.take() else { return };
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
                None => self.state = State::Over,
            }
        }
    }

    fn fill(&mut self) -> Result<()> {
        let request = PageRequest {
            low: &self.low,
            high: self.high.as_deref(),
            reverse: self.reverse,
            keys_only: self.keys_only,
            delimiter: self.delimiter.map(|byte| (byte, self.prefix_len)),
            entries_max: self.page_entries.min(self.left),
        };
        self.next = 0;
        let page = &mut self.page;
        self.tree.read(|limb| limb.fill(&request, page))?;
        self.page_entries = (self.page_entries * 2).min(PAGE_ENTRIES_MAX);
        match self.page.resume.take() {
            None => self.state = State::Last,
            Some(bound) if self.reverse => self.high = Some(bound),
            Some(bound) => self.low = bound,
        }
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Fresh) {
            self.state = State::Running;
            self.begin();
        }
        loop {
            if self.left == 0 {
                self.state = State::Over;
            }
            match &self.state {
                State::Over => return None,
                State::Failed(_) => {
                    return match std::mem::replace(&mut self.state, State::Over) {
                        State::Failed(error) => Some(Err(error)),
                        _ => None,
                    };
                }
                _ => {}
            }
            if self.next < self.page.len() {
                let entry = self.page.entry(self.next);
                self.next += 1;
                self.left -= 1;
                return Some(Ok(match entry.rolled {
                    true => Entry::CommonPrefix(entry.key.to_vec()),
                    false => Entry::Record {
                        key: entry.key.to_vec(),
                        value: entry.value.to_vec(),
                        version: entry.version,
                    },
                }));
            }
            if matches!(self.state, State::Last) {
                self.state = State::Over;
            } else if let Err(error) = self.fill() {
                self.state = State::Failed(error);
            }
        }
    }
}

impl std::iter::FusedIterator for Scan {}
