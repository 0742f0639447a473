//! Listings.

use std::ops::RangeBounds;

use super::bounds::bounds;
use super::{Entry, EntryRef, Tree};
use crate::engine::Listing;
use crate::error::{Error, Result};
use crate::tree::{Page, PageRequest, successor};

/// Entries asked for in the first page, unless the limit is a smaller page; each further one asks for twice as many.
const PAGE_ENTRIES_MIN: usize = 128;
const PAGE_ENTRIES_MAX: usize = 1024;

/// A listing: first its options are set, then it is an iterator of `Result<Entry>`, or lends its items one by one by
/// [`next_entry`](Self::next_entry), which spares two allocations for each.
///
/// It is consistent step by step: each item was there when its blob was read, in order, none twice; changes made
/// while it runs may or may not show, those of one batch or rename also in part. Items are read ahead in pages of 128 to 1,024, in one
/// page where the limit is at most that: one descent of the tree each, a step to the side for each further blob of 64 KiB, and the
/// items. A common prefix costs as much as an item, and a step to the side if it goes on beyond its blob, whatever is below it;
/// in reverse each blob costs a descent.
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
    listing: Listing,
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

/// The options of a listing.
macro_rules! options {
    () => {
        /// Lists only what comes after `key` in the direction of the listing. With a delimiter, common prefixes count as
        /// items: give the last key or common prefix of one listing to go on with the next.
        pub fn start_after(mut self, key: impl AsRef<[u8]>) -> Self {
            self.listing().start_after = Some(key.as_ref().to_vec());
            self
        }

        /// Rolls keys up: all that share what follows the listed prefix up to and with the first `byte` are one
        /// [`Entry::CommonPrefix`]. A rolled-up subtree is skipped without being visited.
        pub fn delimiter(mut self, byte: u8) -> Self {
            self.listing().delimiter = Some(byte);
            self
        }

        /// Lists from the high end to the low end.
        pub fn reverse(mut self) -> Self {
            self.listing().reverse = true;
            self
        }

        /// Ends after `entries` items, common prefixes included.
        pub fn limit(mut self, entries: usize) -> Self {
            self.listing().left = entries;
            self
        }

        /// Leaves the values out (they are empty), which spares copying them.
        pub fn keys_only(mut self) -> Self {
            self.listing().keys_only = true;
            self
        }
    };
}
pub(super) use options;

impl Scan {
    fn new(tree: Tree, listing: Listing) -> Self {
        Self {
            tree,
            listing,
            page: Page::default(),
            next: 0,
            page_entries: PAGE_ENTRIES_MIN,
            state: State::Fresh,
        }
    }

    pub(super) fn prefix(tree: Tree, prefix: &[u8]) -> Self {
        Self::new(tree, Listing::new(prefix.to_vec(), successor(prefix), prefix.len()))
    }

    pub(super) fn range<K: AsRef<[u8]>>(tree: Tree, range: impl RangeBounds<K>) -> Self {
        match bounds(range) {
            Ok((low, high)) => Self::new(tree, Listing::new(low, high, 0)),
            Err(error) => {
                Self { state: State::Failed(error), ..Self::new(tree, Listing::new(Vec::new(), None, 0)) }
            }
        }
    }

    fn listing(&mut self) -> &mut Listing {
        &mut self.listing
    }

    options!();

    fn fill(&mut self) -> Result<()> {
        let listing = &mut self.listing;
        let request = PageRequest {
            low: &listing.low,
            high: listing.high.as_deref(),
            reverse: listing.reverse,
            keys_only: listing.keys_only,
            delimiter: listing.delimiter.map(|byte| (byte, listing.prefix_len)),
            // One page, where that is known to be enough.
            entries_max: if listing.left <= PAGE_ENTRIES_MAX { listing.left } else { self.page_entries },
        };
        self.next = 0;
        let page = &mut self.page;
        self.tree.read(|limb| limb.fill(&request, page))?;
        self.page_entries = (self.page_entries * 2).min(PAGE_ENTRIES_MAX);
        match self.page.resume.take() {
            None => self.state = State::Last,
            Some(bound) if listing.reverse => listing.high = Some(bound),
            Some(bound) => listing.low = bound,
        }
        Ok(())
    }
}

impl Scan {
    /// The next item without copies of its own: key and value are lent until the next step. None: the listing is over.
    ///
    /// ```
    /// # fn main() -> ramus::Result<()> {
    /// # let db = ramus::Db::in_memory()?;
    /// # let tree = db.default_tree();
    /// # tree.put("src/lib.rs", "")?;
    /// let mut scan = tree.prefix("src/").limit(100);
    /// let mut bytes = 0;
    /// while let Some(entry) = scan.next_entry()? {
    ///     bytes += entry.key().len();
    /// }
    /// # assert_eq!(bytes, 10);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the listing, which is over then.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<EntryRef<'_>>> {
        if !self.has_more()? {
            return Ok(None);
        }
        let entry = self.page.entry(self.next);
        self.next += 1;
        self.listing.left -= 1;
        Ok(Some(match entry.rolled {
            true => EntryRef::CommonPrefix(entry.key),
            false => EntryRef::Record { key: entry.key, value: entry.value, version: entry.version },
        }))
    }

    /// Whether the page has another item, after it was filled if need be.
    #[inline]
    fn has_more(&mut self) -> Result<bool> {
        if self.next < self.page.len() && self.listing.left > 0 {
            return Ok(true);
        }
        self.turn_page()
    }

    #[cold]
    #[inline(never)]
    fn turn_page(&mut self) -> Result<bool> {
        if matches!(self.state, State::Fresh) {
            self.state = if self.listing.begin() { State::Running } else { State::Over };
        }
        loop {
            if self.listing.left == 0 {
                self.state = State::Over;
            }
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(false),
                State::Failed(error) => return Err(error),
                state => self.state = state,
            }
            if self.next < self.page.len() {
                return Ok(true);
            }
            match self.state {
                State::Last => self.state = State::Over,
                _ => {
                    if let Err(error) = self.fill() {
                        self.state = State::Failed(error);
                    }
                }
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().map(|entry| entry.map(|entry| entry.to_entry())).transpose()
    }
}

impl std::iter::FusedIterator for Scan {}
