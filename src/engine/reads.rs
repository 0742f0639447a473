//! What a transaction has read, in terms of the database, and whether it still reads the same.
//!
//! What is compared is what was answered: versions alone would not do, since a directory that moves keeps those of its
//! records and the records of one commit share theirs. So a key can come to have the version that was read, and another value.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::TreeState;
use super::plan::show;
use crate::error::{Error, ErrorKind};
use crate::tree::{Counted, Page, PageRequest, Part};

/// What a point read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// No record.
    Absent,
    /// Some record; nobody asked which.
    Present,
    /// This one: its version, and the hash of its value.
    Record(u64, u128),
}

impl Seen {
    pub(crate) fn record(version: u64, value: &[u8]) -> Self {
        Self::Record(version, xxh3_128(value))
    }

    /// What two reads of the same key saw together. None: different records.
    pub(crate) fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Present, Self::Record(..)) => Some(other),
            (Self::Record(..), Self::Present) => Some(self),
            (one, other) => (one == other).then_some(one),
        }
    }
}

/// Items of a listing, whatever the order they came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Items {
    sum: u128,
    count: u64,
}

impl Items {
    /// Adds the items of a page from one index to below another.
    pub(crate) fn add(&mut self, page: &Page, from: usize, to: usize) {
        for index in from..to {
            self.sum = self.sum.wrapping_add(page.digest(index));
            self.count += 1;
        }
    }
}

/// The keys of a tree from `low` to below `high` (None: to the end).
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) tree: Arc<TreeState>,
    pub(crate) low: Vec<u8>,
    pub(crate) high: Option<Vec<u8>>,
}

/// One thing that was read.
#[derive(Debug, Clone)]
pub(crate) enum Read {
    Point {
        tree: Arc<TreeState>,
        key: Vec<u8>,
        seen: Seen,
    },
    /// A listing gave these items.
    Items {
        range: Range,
        keys_only: bool,
        delimiter: Option<(u8, usize)>,
        items: Items,
    },
    /// Whether there was any record.
    Any {
        range: Range,
        found: bool,
    },
    Count {
        range: Range,
        counted: Counted,
    },
}

/// A way to look at the database while what was read is compared.
pub(super) trait Look {
    type Halt: From<Error>;

    /// The version of a record, and its value.
    fn point(
        &mut self,
        tree: &TreeState,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> std::result::Result<Option<u64>, Self::Halt>;

    fn page(
        &mut self,
        tree: &TreeState,
        request: &PageRequest<'_>,
        page: &mut Page,
    ) -> std::result::Result<(), Self::Halt>;

    fn count(
        &mut self,
        tree: &TreeState,
        low: &[u8],
        high: Option<&[u8]>,
    ) -> std::result::Result<Part, Self::Halt>;
}

impl Read {
    pub(super) fn tree(&self) -> &Arc<TreeState> {
        match self {
            Self::Point { tree, .. } => tree,
            Self::Items { range, .. } | Self::Any { range, .. } | Self::Count { range, .. } => &range.tree,
        }
    }

    /// Conflict if it reads otherwise now.
    pub(super) fn check<L: Look>(&self, look: &mut L) -> std::result::Result<(), L::Halt> {
        let is_same = match self {
            Self::Point { tree, key, seen } => {
                let mut value = Vec::new();
                let now = match look.point(tree, key, &mut value)? {
                    Some(version) => Seen::record(version, &value),
                    None => Seen::Absent,
                };
                seen.join(now).is_some()
            }
            Self::Items { range, keys_only, delimiter, items } => {
                let mut now = Items::default();
                let how = How { keys_only: *keys_only, delimiter: *delimiter, entries_max: usize::MAX };
                each_page(range, how, look, |page| {
                    now.add(page, 0, page.len());
                    now.count <= items.count
                })?;
                now == *items
            }
            Self::Any { range, found } => {
                let mut now = false;
                let how = How { keys_only: true, delimiter: None, entries_max: 1 };
                each_page(range, how, look, |page| {
                    now |= page.len() > 0;
                    !now
                })?;
                now == *found
            }
            Self::Count { range, counted } => {
                let mut now = Counted::default();
                let mut low = Some(range.low.clone());
                while let Some(from) = low {
                    let (part, next) = look.count(&range.tree, &from, range.high.as_deref())?;
                    now.add(part.keys, part.key_bytes, part.value_bytes);
                    low = next;
                }
                now == *counted
            }
        };
        if is_same { Ok(()) } else { Err(self.conflict().into()) }
    }

    /// The error that names what changed.
    pub(super) fn conflict(&self) -> Error {
        let what = match self {
            Self::Point { tree, key, .. } => {
                format!("key {:?} of tree {:?} is not as the transaction read it", show(key), tree.name)
            }
            Self::Items { range, .. } | Self::Any { range, .. } | Self::Count { range, .. } => format!(
                "the range from {:?} to {} of tree {:?} is not as the transaction read it",
                show(&range.low),
                range.high.as_ref().map_or("the end".to_owned(), |high| format!("{:?}", show(high))),
                range.tree.name
            ),
        };
        Error::new(ErrorKind::Conflict, what)
    }
}

/// How a range is listed.
struct How {
    keys_only: bool,
    delimiter: Option<(u8, usize)>,
    entries_max: usize,
}

/// Lists the range in pages, in order, until `more` says no.
fn each_page<L: Look>(
    range: &Range,
    how: How,
    look: &mut L,
    mut more: impl FnMut(&Page) -> bool,
) -> std::result::Result<(), L::Halt> {
    let mut page = Page::default();
    let mut low = Some(range.low.clone());
    while let Some(from) = low.filter(|low| range.high.as_ref().is_none_or(|high| low < high)) {
        let request = PageRequest {
            low: &from,
            high: range.high.as_deref(),
            reverse: false,
            keys_only: how.keys_only,
            delimiter: how.delimiter,
            entries_max: how.entries_max,
        };
        look.page(&range.tree, &request, &mut page)?;
        if !more(&page) {
            break;
        }
        low = page.resume.take();
    }
    Ok(())
}
