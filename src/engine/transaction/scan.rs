//! Listings as a transaction sees them: pages of the database, piece by piece, with its own writes among them.
//!
//! What is remembered as read is what the items given so far depended on: it grows with every step, and a listing that is left
//! off, or ends with its limit, does not depend on what lies behind.

use std::sync::Arc;

use super::view::{Origin, Piece};
use super::{Items, Read, Transaction, there};
use crate::engine::TreeState;
use crate::engine::listing::Listing;
use crate::error::Result;
use crate::tree::{Page, PageRequest, successor};

/// Entries asked for in the first page; each further one asks for twice as many.
const PAGE_ENTRIES_MIN: usize = 64;
const PAGE_ENTRIES_MAX: usize = 1024;

/// One item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// 0: the transaction's own.
    pub(crate) version: u64,
    /// The key stands for all keys that start with it.
    pub(crate) rolled: bool,
}

/// The part of a piece that the page in memory covers.
struct Stretch {
    /// From here to here, as the transaction names keys.
    low: Vec<u8>,
    high: Option<Vec<u8>>,
    origin: Option<Origin>,
    /// The page's first entry that has not come up yet, and the first that is not remembered yet.
    next: usize,
    remembered: usize,
    /// Where what was read of it is remembered.
    read: Option<usize>,
}

/// A listing; see the module.
pub(crate) struct ViewScan<'t> {
    transaction: &'t Transaction,
    tree: Arc<TreeState>,
    /// The range is what is left.
    listing: Listing,
    has_begun: bool,
    is_over: bool,
    stretch: Option<Stretch>,
    page: Page,
    page_entries: usize,
}

/// What comes up next in a stretch.
enum Candidate {
    /// The page's next entry.
    Entry { key: Vec<u8>, rolled: bool },
    /// A write of the transaction, over the page's next entry or not.
    Own { key: Vec<u8>, value: Option<Vec<u8>> },
}

impl<'t> ViewScan<'t> {
    pub(super) fn new(transaction: &'t Transaction, tree: &Arc<TreeState>, listing: Listing) -> Self {
        Self {
            transaction,
            tree: Arc::clone(tree),
            listing,
            has_begun: false,
            is_over: false,
            stretch: None,
            page: Page::default(),
            page_entries: PAGE_ENTRIES_MIN,
        }
    }

    /// The options, which may be changed before the first step.
    pub(crate) fn listing(&mut self) -> &mut Listing {
        &mut self.listing
    }

    /// The next item.
    pub(crate) fn step(&mut self) -> Result<Option<Item>> {
        if !self.has_begun {
            self.has_begun = true;
            self.is_over = !self.listing.begin();
        }
        loop {
            let Listing { low, high, left, .. } = &self.listing;
            if self.is_over || *left == 0 || high.as_ref().is_some_and(|high| high <= low) {
                return Ok(None);
            }
            let item = match self.candidate() {
                Some(Candidate::Entry { key, rolled: false }) => self.record(key, None)?,
                Some(Candidate::Entry { key, rolled: true }) => self.roll_up(key)?,
                Some(Candidate::Own { key, value }) => match self.listing.rolled(&key) {
                    Some(prefix) => self.roll_up(prefix)?,
                    None => self.record(key, Some(value))?,
                },
                None => self.go_on()?,
            };
            if item.is_some() {
                self.listing.left -= 1;
                return Ok(item);
            }
        }
    }

    /// What comes up next in the stretch; of an entry and a write of the same key, the write.
    fn candidate(&self) -> Option<Candidate> {
        let stretch = self.stretch.as_ref()?;
        let entry = (stretch.next < self.page.len()).then(|| {
            let entry = self.page.entry(stretch.next);
            (stretch.origin.as_ref().map_or_else(Vec::new, |origin| origin.to_here(entry.key)), entry.rolled)
        });
        let Listing { low, high, reverse, .. } = &self.listing;
        let own = self.transaction.views.get(&self.tree.id).and_then(|view| {
            let low = low.max(&stretch.low);
            let high = match (high, &stretch.high) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.as_ref().or(other.as_ref()),
            };
            let mut writes = view.writes(low, high.map(Vec::as_slice));
            if *reverse { writes.next_back() } else { writes.next() }
        });
        let is_own_first = match (&own, &entry) {
            (None, _) => false,
            (Some(_), None) => true,
            // A common prefix stands for the record of that key too.
            (Some((key, _)), Some((entry, rolled))) if *key == entry.as_slice() => !rolled,
            (Some((key, _)), Some((entry, _))) => (*key < entry.as_slice()) != *reverse,
        };
        match (own, entry) {
            (Some((key, value)), _) if is_own_first => {
                Some(Candidate::Own { key: key.to_vec(), value: value.map(<[u8]>::to_vec) })
            }
            (_, Some((key, rolled))) => Some(Candidate::Entry { key, rolled }),
            _ => None,
        }
    }

    /// Gives a record: that of the page, or the transaction's own write.
    fn record(&mut self, key: Vec<u8>, own: Option<Option<Vec<u8>>>) -> Result<Option<Item>> {
        let value = match own {
            None => {
                let at = self.stretch.as_ref().map_or(0, |stretch| stretch.next);
                let entry = self.page.entry(at);
                Some((entry.value.to_vec(), entry.version))
            }
            Some(own) => own.map(|value| (if self.listing.keys_only { Vec::new() } else { value }, 0)),
        };
        let past = if self.listing.reverse { key.clone() } else { [&key[..], &[0]].concat() };
        self.pass(Some(past));
        Ok(value.map(|(value, version)| Item { key, value, version, rolled: false }))
    }

    /// Gives a common prefix, if anything in what is left of its range is still there.
    fn roll_up(&mut self, prefix: Vec<u8>) -> Result<Option<Item>> {
        let end = successor(&prefix);
        let low = self.listing.low.clone().max(prefix.clone());
        let high = match (&self.listing.high, &end) {
            (Some(one), Some(other)) => Some(one.min(other).clone()),
            (one, other) => one.clone().or(other.clone()),
        };
        let is_there = self.has_untouched_entry(&low, high.as_deref())
            || self.transaction.any(&self.tree, &low, high.as_deref())?;
        self.pass(if self.listing.reverse { Some(prefix.clone()) } else { end });
        Ok(is_there.then(|| Item { key: prefix, value: Vec::new(), version: 0, rolled: true }))
    }

    /// Whether the page's next entry is the common prefix of a range in which the transaction has written nothing.
    fn has_untouched_entry(&self, low: &[u8], high: Option<&[u8]>) -> bool {
        let rolled = |stretch: &Stretch| {
            let is_in = |entry: &[u8]| {
                let Some(origin) = &stretch.origin else { return false };
                let key = origin.to_here(entry);
                high.is_none_or(|high| key.as_slice() < high) && low.starts_with(&key)
            };
            stretch.next < self.page.len()
                && self.page.entry(stretch.next).rolled
                && is_in(self.page.entry(stretch.next).key)
        };
        let view = self.transaction.views.get(&self.tree.id);
        self.stretch.as_ref().is_some_and(rolled)
            && view.is_none_or(|view| view.writes(low, high).next().is_none())
    }

    /// Takes the listing past a key, or a common prefix: forward, to go on at `bound` (None: it is over); in reverse, below it.
    fn pass(&mut self, bound: Option<Vec<u8>>) {
        let Some(stretch) = &mut self.stretch else { return self.narrow(bound) };
        let reverse = self.listing.reverse;
        // What is left of the stretch begins, or ends, here.
        let stop = match (bound.as_deref(), stretch.high.as_deref()) {
            (Some(bound), _) if reverse => Some(bound.max(&stretch.low)),
            (Some(bound), Some(high)) => Some(bound.min(high)),
            (bound, high) => bound.or(high),
        };
        let is_done = match (bound.as_deref(), stretch.high.as_deref()) {
            (Some(bound), _) if reverse => bound <= stretch.low.as_slice(),
            (Some(bound), Some(high)) => bound >= high,
            (None, _) => true,
            (Some(_), None) => false,
        };
        if let Some(origin) = &stretch.origin {
            // A common prefix may begin before the stretch does.
            let is_past = |entry: &[u8]| match &bound {
                Some(bound) => origin.is_below(entry, bound) != reverse,
                None => true,
            };
            while stretch.next < self.page.len() && is_past(self.page.entry(stretch.next).key) {
                stretch.next += 1;
            }
            let at = *stretch.read.get_or_insert_with(|| {
                let range = there(origin, &stretch.low, stretch.high.as_deref());
                self.transaction.remember_range(Read::Items {
                    range,
                    keys_only: self.listing.keys_only,
                    delimiter: behind(&self.listing, origin),
                    items: Items::default(),
                })
            });
            // The entries that came up, and that there are no others up to where it stops.
            let ranges = &mut self.transaction.reads.borrow_mut().ranges;
            if let Some(Read::Items { range, items, .. }) = ranges.get_mut(at) {
                match (reverse, stop) {
                    (true, stop) => range.low = origin.to_there(stop.unwrap_or(&[])),
                    (false, stop) => range.high = origin.end_there(stop),
                }
                items.add(&self.page, stretch.remembered, stretch.next);
                stretch.remembered = stretch.next;
            }
        }
        if is_done {
            self.stretch = None;
        }
        self.narrow(bound);
    }

    fn narrow(&mut self, bound: Option<Vec<u8>>) {
        match bound {
            None => self.is_over = true,
            Some(bound) if self.listing.reverse => self.listing.high = Some(bound),
            Some(bound) => self.listing.low = bound,
        }
    }

    /// Ends the stretch and reads the next one.
    fn go_on(&mut self) -> Result<Option<Item>> {
        if let Some(stretch) = &self.stretch {
            let end = if self.listing.reverse { Some(stretch.low.clone()) } else { stretch.high.clone() };
            self.pass(end);
            return Ok(None);
        }
        let Listing { low, high, reverse, .. } = &self.listing;
        let piece = self.transaction.piece(&self.tree, low, high.as_deref(), *reverse);
        let Piece { mut low, mut high, origin } = piece;
        self.page.clear();
        if let Some(origin) = &origin {
            if let Some(prefix) = self.listing.rolled(&origin.here) {
                // The whole piece has one common prefix.
                return self.roll_up(prefix);
            }
            let (low_there, high_there) = (origin.to_there(&low), origin.end_there(high.as_deref()));
            let request = PageRequest {
                low: &low_there,
                high: high_there.as_deref(),
                reverse: self.listing.reverse,
                keys_only: self.listing.keys_only,
                delimiter: behind(&self.listing, origin),
                entries_max: self.page_entries.min(self.listing.left),
            };
            let page = &mut self.page;
            self.transaction.engine.read(&origin.tree, |limb| limb.fill(&request, page))?;
            self.page_entries = (self.page_entries * 2).min(PAGE_ENTRIES_MAX);
            match self.page.resume.take() {
                None => {}
                Some(bound) if self.listing.reverse => low = origin.to_here(&bound),
                Some(bound) => high = Some(origin.to_here(&bound)),
            }
        }
        self.stretch = Some(Stretch { low, high, origin, next: 0, remembered: 0, read: None });
        Ok(None)
    }
}

/// The delimiter for a piece as it is read: what it has instead of its own prefix may be of another length.
fn behind(listing: &Listing, origin: &Origin) -> Option<(u8, usize)> {
    let behind = listing.prefix_len.saturating_sub(origin.here.len());
    listing.delimiter.map(|byte| (byte, origin.there.len() + behind))
}
