//! Listing: fills pages of entries, one leaf blob at a time.
//!
//! A page is exact for the moment at which its leaf blob was validated; the next page starts from where this one
//! ended by key, so nothing needs to stay latched between two steps.
//!
//! A page that comes to a mount ends before it, and the next one begins in the mounted limb; one that comes to the end of a
//! mounted limb ends there, and the next one begins beside the mount's range. Each such step moves the bound.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::art::{Blob, Cursor};
use crate::error::Result;

use super::bounds::successor;
use super::descend::{Aim, Fenced};
use super::{Limb, LockedLeaf, Stop};

/// Where and how a page is filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest<'k> {
    /// Least key, inclusive.
    pub(crate) low: &'k [u8],
    /// First key above the range; None: no bound.
    pub(crate) high: Option<&'k [u8]>,
    /// From high to low.
    pub(crate) reverse: bool,
    /// Leave values out.
    pub(crate) keys_only: bool,
    /// Roll keys up to this byte, looked for behind so many bytes of the key.
    pub(crate) delimiter: Option<(u8, usize)>,
    /// Stop after so many entries.
    pub(crate) entries_max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    key_end: usize,
    value_end: usize,
    version: u64,
    rolled: bool,
}

/// Entries in the order of the scan, in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// Where the scan goes on: the new low bound (forward) or high bound (reverse). None: the scan is over.
    pub(crate) resume: Option<Vec<u8>>,
}

/// One entry of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageEntry<'p> {
    pub(crate) key: &'p [u8],
    pub(crate) value: &'p [u8],
    pub(crate) version: u64,
    /// The key stands for all keys that start with it.
    pub(crate) rolled: bool,
}

/// A page stops growing at about this size.
const PAGE_BYTES: usize = 64 * 1024;

impl Page {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn entry(&self, index: usize) -> PageEntry<'_> {
        let start = index.checked_sub(1).map_or(0, |before| self.items[before].value_end);
        let Item { key_end, value_end, version, rolled } = self.items[index];
        PageEntry {
            key: &self.bytes[start..key_end],
            value: &self.bytes[key_end..value_end],
            version,
            rolled,
        }
    }

    /// A hash of all that an entry says: its key, version and value, and whether it was rolled up.
    pub(crate) fn digest(&self, index: usize) -> u128 {
        let start = index.checked_sub(1).map_or(0, |before| self.items[before].value_end);
        let Item { key_end, value_end, version, rolled } = self.items[index];
        // The seed tells where the key ends; versions are well below 2^48.
        let seed = version ^ ((key_end - start) as u64) << 48 ^ u64::from(rolled) << 63;
        xxh3_128_with_seed(&self.bytes[start..value_end], seed)
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.resume = None;
    }

    fn is_full(&self, request: &PageRequest<'_>) -> bool {
        self.items.len() >= request.entries_max || self.bytes.len() >= PAGE_BYTES
    }
}

impl<'a> Limb<'a> {
    /// Fills `page` with what comes first in the requested range. A page may be empty although the scan is not over.
    pub(crate) fn fill(&self, request: &PageRequest<'_>, page: &mut Page) -> Result<()> {
        self.read(|_| self.fill_once(request, page))
    }

    /// One try of [`fill`](Self::fill). Directory moves are not heeded: for whoever keeps them away.
    pub(crate) fn fill_once(&self, request: &PageRequest<'_>, page: &mut Page) -> Result<(), Stop> {
        page.clear();
        if request.high.is_some_and(|high| high <= request.low) {
            return Ok(());
        }
        if request.reverse { self.fill_reverse(request, page) } else { self.fill_forward(request, page) }
    }

    /// The leaf blob that holds `low` or would, in the innermost limb that `low` leads into, and how many bytes of it lead
    /// there. The fences at the limb's own ends are those of its mount's range.
    pub(super) fn land_at(&self, low: &[u8]) -> Result<(Fenced<'a>, usize), Stop> {
        let mut fenced = self.descend_fenced(Aim::At(low), 0)?;
        let mut offset = 0;
        while let Some((path, limb)) = fenced.leaf.blob().mount_on(&low[fenced.leaf.base..]) {
            offset = fenced.leaf.base + path;
            let root = self.enter(&fenced.leaf, limb, offset)?;
            fenced = self.fenced_from(root, Aim::At(low), 0)?;
        }
        if offset > 0 {
            fenced.low = fenced.low.or_else(|| Some(low[..offset].to_vec()));
            fenced.high = fenced.high.or_else(|| successor(&low[..offset]));
        }
        Ok((fenced, offset))
    }

    /// The leaf blob, in whatever limb, that holds the greatest keys below `high` (None: of all), and a cursor on the last of
    /// them. `path` becomes that of the limb if all in it is below `high`.
    fn land_below(
        &self,
        high: Option<&[u8]>,
        path: &mut Option<Vec<u8>>,
    ) -> Result<(Fenced<'a>, Cursor<'a>), Stop> {
        let mut root = self.root_step()?;
        let mut offset = 0;
        loop {
            let aim = match (path.as_deref(), high) {
                (Some(path), _) => Aim::End(path),
                (None, Some(high)) => Aim::Below(high),
                (None, None) => Aim::End(&[]),
            };
            let mut fenced = self.fenced_from(root, aim, 0)?;
            let (blob, base) = (fenced.leaf.blob(), fenced.leaf.base);
            let mut cursor = Cursor::new(blob);
            match aim {
                Aim::Below(high) => cursor.seek_below(&high[base..]),
                _ => cursor.last(),
            }
            let Some(limb) = cursor.mount() else {
                if offset > 0 {
                    fenced.low = fenced.low.or_else(|| Some(aim.key()[..offset].to_vec()));
                }
                return Ok((fenced, cursor));
            };
            let mount = [&aim.key()[..base], cursor.key()].concat();
            offset = mount.len();
            root = self.enter(&fenced.leaf, limb, offset)?;
            // A bound inside the mount's range is one for the limb too; else all in it is below.
            if !high.is_some_and(|high| high.starts_with(&mount)) {
                *path = Some(mount);
            }
        }
    }

    fn fill_forward(&self, request: &PageRequest<'_>, page: &mut Page) -> Result<(), Stop> {
        let fenced = self.land_at(request.low)?.0;
        page.fill_from(fenced.leaf.blob(), fenced.leaf.base, fenced.high, request);
        fenced.leaf.validate()
    }

    fn fill_reverse(&self, request: &PageRequest<'_>, page: &mut Page) -> Result<(), Stop> {
        let mut path = None;
        let (fenced, mut cursor) = self.land_below(request.high, &mut path)?;
        let (blob, base) = (fenced.leaf.blob(), fenced.leaf.base);
        let absolute = &path.as_deref().or(request.high).unwrap_or(&[])[..base];
        let mut over = false;
        let mut resume = None;
        while cursor.leaf().is_some() {
            if cursor.mount().is_some() {
                // Not the first of the page: that one was entered.
                resume = page.last_key();
                break;
            }
            if is_below(absolute, cursor.key(), request.low) {
                over = true;
                break;
            }
            if page.is_full(request) {
                resume = page.last_key();
                break;
            }
            match page.push(blob, absolute, &cursor, request) {
                None => cursor.retreat(),
                Some(rolled) => match rolled.strip_prefix(absolute) {
                    Some(rest) if rolled.len() > base => {
                        cursor.seek_below(rest);
                        // The leaf blob before may end with more of what was rolled up.
                        if cursor.leaf().is_none() && fenced.low.as_ref().is_some_and(|low| *low > rolled) {
                            resume = Some(rolled);
                        }
                    }
                    _ => {
                        resume = Some(rolled);
                        break;
                    }
                },
            }
        }
        if !over {
            page.resume = resume.or(fenced.low);
        }
        if page.resume.as_deref().is_some_and(|next| next <= request.low) {
            page.resume = None;
        }
        fenced.leaf.validate()
    }
}

/// Whether `base` and `rest` put together are below `bound`.
pub(super) fn is_below(base: &[u8], rest: &[u8], bound: &[u8]) -> bool {
    let shared = base.len().min(bound.len());
    match base[..shared].cmp(&bound[..shared]) {
        std::cmp::Ordering::Equal if base.len() <= bound.len() => rest < &bound[shared..],
        order => order.is_lt(),
    }
}

impl LockedLeaf<'_> {
    /// As [`Limb::fill`], forward, from this blob, whose range holds the low end of the request and ends at `fence`.
    pub(crate) fn fill(&self, fence: Option<&[u8]>, request: &PageRequest<'_>, page: &mut Page) {
        page.clear();
        if request.high.is_none_or(|high| request.low < high) {
            page.fill_from(self.blob(), self.base(), fence.map(<[u8]>::to_vec), request);
        }
    }
}

impl Page {
    /// Fills the page, forward, from the leaf blob that holds the low end of the request; `fence` ends the blob's range.
    fn fill_from(&mut self, blob: Blob<'_>, base: usize, fence: Option<Vec<u8>>, request: &PageRequest<'_>) {
        let absolute = &request.low[..base];
        let mut cursor = Cursor::new(blob);
        cursor.seek(&request.low[base..]);
        let mut over = false;
        let mut resume = None;
        while cursor.leaf().is_some() {
            if request.high.is_some_and(|high| !is_below(absolute, cursor.key(), high)) {
                over = true;
                break;
            }
            if self.is_full(request) || cursor.mount().is_some() {
                resume = Some([absolute, cursor.key()].concat());
                break;
            }
            match self.push(blob, absolute, &cursor, request) {
                None => cursor.advance(),
                Some(rolled) => match successor(&rolled) {
                    // All keys to the end start with it.
                    None => {
                        over = true;
                        break;
                    }
                    Some(next) => match next.strip_prefix(absolute) {
                        Some(rest) if next.len() > base => {
                            cursor.seek(rest);
                            // The next leaf blob may begin with more of what was rolled up.
                            if cursor.leaf().is_none() && fence.as_ref().is_some_and(|high| *high < next) {
                                resume = Some(next);
                            }
                        }
                        _ => {
                            resume = Some(next);
                            break;
                        }
                    },
                },
            }
        }
        if !over {
            self.resume = resume.or(fence);
        }
        if self.resume.as_deref().is_some_and(|next| request.high.is_some_and(|high| next >= high)) {
            self.resume = None;
        }
    }

    /// Adds the entry under the cursor. Some: it was rolled up into this common prefix.
    fn push(
        &mut self,
        blob: Blob<'_>,
        base: &[u8],
        cursor: &Cursor<'_>,
        request: &PageRequest<'_>,
    ) -> Option<Vec<u8>> {
        let leaf = cursor.leaf()?;
        self.bytes.extend_from_slice(base);
        self.bytes.extend_from_slice(cursor.key());
        let key_end = self.bytes.len();
        if let Some((delimiter, behind)) = request.delimiter {
            let start = key_end - base.len() - cursor.key().len();
            let searched = self.bytes.get(start + behind..key_end).unwrap_or(&[]);
            if let Some(at) = searched.iter().position(|&byte| byte == delimiter) {
                let end = start + behind + at + 1;
                self.bytes.truncate(end);
                self.items.push(Item { key_end: end, value_end: end, version: 0, rolled: true });
                return Some(self.bytes[start..end].to_vec());
            }
        }
        if !request.keys_only {
            blob.w.append_to(leaf.value_at(), leaf.value_len(), &mut self.bytes);
        }
        self.items.push(Item {
            key_end,
            value_end: self.bytes.len(),
            version: leaf.version(blob),
            rolled: false,
        });
        None
    }

    fn last_key(&self) -> Option<Vec<u8>> {
        self.len().checked_sub(1).map(|last| self.entry(last).key.to_vec())
    }
}
