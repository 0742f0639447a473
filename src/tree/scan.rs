//! Listing: fills pages of entries, one leaf blob at a time.
//!
//! What a page has of a leaf blob is exact for the moment at which that was come to. Forward a page goes on from leaf blob to leaf
//! blob, by way of the inner blobs that it came through, if they are as they were; else, and in reverse after each leaf blob, the
//! next page starts from where this one ended, by key. So nothing needs to stay latched between two steps.
//!
//! A page that comes to a mount ends before it, and the next one begins in the mounted limb; one that comes to the end of a
//! mounted limb ends there, and the next one begins beside the mount's range. Each such step moves the bound.

use crate::art::{Blob, Leaf, Walk, Words};
use crate::error::Result;

use super::bounds::{common_prefix, succeed};
use super::page::{Page, PageRequest};
use super::{Limb, LockedLeaf, Stop};

/// How a page came to its end.
enum End {
    /// All of the range was listed.
    Over,
    /// The scan goes on at this bound.
    At(Vec<u8>),
    /// With the leaf blob.
    Blob,
}

/// One end of the range, and what is known of the keys that have come up so far.
pub(super) struct Edge<'k> {
    bound: &'k [u8],
    /// The last key parts from the bound here, and is below it or not. At first the next key is compared in any case.
    parts: usize,
    is_below: bool,
}

impl<'k> Edge<'k> {
    pub(super) fn new(bound: &'k [u8]) -> Self {
        Self { bound, parts: usize::MAX, is_below: false }
    }

    /// Whether the key under the walk is below the bound; it starts as the last one did for `kept` bytes.
    #[inline(always)]
    pub(super) fn is_below(&mut self, w: Words<'_>, walk: &Walk<'_>, leaf: Leaf, kept: usize) -> bool {
        if kept <= self.parts {
            self.compare(w, walk, leaf);
        }
        self.is_below
    }

    /// Whether all keys that start with `prefix` are below the bound, as far as that can be told by the prefix. It starts as the
    /// last key did for `kept` bytes.
    #[inline(always)]
    fn is_all_below(&mut self, prefix: &[u8], kept: usize) -> bool {
        if kept <= self.parts {
            self.parts = common_prefix(prefix, self.bound);
            self.is_below = match (prefix.get(self.parts), self.bound.get(self.parts)) {
                (Some(ours), Some(theirs)) => ours < theirs,
                _ => false,
            };
        }
        self.is_below
    }

    fn compare(&mut self, w: Words<'_>, walk: &Walk<'_>, leaf: Leaf) {
        let (above, bound) = (walk.above(), self.bound);
        let same = common_prefix(above, bound);
        self.parts = same;
        if same == bound.len() || same < above.len() {
            self.is_below = same < bound.len() && above[same] < bound[same];
            return;
        }
        let (at, len) = (leaf.suffix_at(), leaf.suffix_len());
        let more = w.common_prefix(at, len, &bound[same..]);
        self.parts += more;
        self.is_below = self.parts < bound.len() && (more == len || w.u8_at(at + more) < bound[self.parts]);
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

    fn fill_forward(&self, request: &PageRequest<'_>, page: &mut Page) -> Result<(), Stop> {
        let mut landing = self.land(request.low)?;
        let mut hopped_to: Option<Vec<u8>> = None;
        // Memory for the next bound.
        let mut spare = Vec::new();
        loop {
            let at = hopped_to.as_deref().unwrap_or(request.low);
            let before = page.mark();
            let end = page.fill_from(landing.leaf.blob(), landing.leaf.base, at, request);
            if let Err(stop) = landing.leaf.validate() {
                // What other leaf blobs gave still counts.
                page.cut(before);
                page.resume = hopped_to;
                return if page.resume.is_some() { Ok(()) } else { Err(stop) };
            }
            let is_over = |bound: &[u8]| request.high.is_some_and(|high| bound >= high);
            let rest = match end {
                End::Over => None,
                End::At(bound) => {
                    page.resume = Some(bound);
                    None
                }
                End::Blob => page.rest(at, std::mem::take(&mut spare)).filter(|rest| !is_over(rest)),
            };
            let Some(mut bound) = rest else { return Ok(()) };
            if page.is_full(request) {
                page.resume = Some(bound);
                return Ok(());
            }
            match landing.hop(self, at, &mut bound, page.walk_memory()) {
                Ok(true) if is_over(&bound) => return Ok(()),
                Ok(true) if landing.leaf.mounted(&bound).is_none() => {
                    spare = hopped_to.replace(bound).unwrap_or_default();
                }
                Ok(false) => {
                    page.resume = page.behind(landing.end(at), at, request);
                    return Ok(());
                }
                Err(stop) if page.len() == 0 => return Err(stop),
                // The next page begins inside a mount, or waits for what is missing.
                Ok(true) | Err(_) => {
                    page.resume = Some(bound);
                    return Ok(());
                }
            }
        }
    }

    fn fill_reverse(&self, request: &PageRequest<'_>, page: &mut Page) -> Result<(), Stop> {
        let mut path = None;
        let (fenced, mut walk) = self.land_below(request.high, &mut path, page.walk_memory())?;
        let end = page.fill_back(&mut walk, fenced.leaf.blob(), request);
        *page.walk_memory() = walk.into_memory();
        fenced.leaf.validate()?;
        page.resume = match end {
            End::Over => None,
            End::At(bound) => Some(bound),
            // The leaf blob before may end with more of what was rolled up.
            End::Blob => fenced.low.map(|low| match page.last() {
                Some(last) if last.rolled => low.min(last.key.to_vec()),
                _ => low,
            }),
        };
        if page.resume.as_deref().is_some_and(|next| next <= request.low) {
            page.resume = None;
        }
        Ok(())
    }
}

impl LockedLeaf<'_> {
    /// As [`Limb::fill`], forward, from this blob, whose range holds the low end of the request and ends at `fence`.
    pub(crate) fn fill(&self, fence: Option<&[u8]>, request: &PageRequest<'_>, page: &mut Page) {
        page.clear();
        if request.high.is_none_or(|high| request.low < high) {
            page.resume = match page.fill_from(self.blob(), self.base(), request.low, request) {
                End::Over => None,
                End::At(bound) => Some(bound),
                End::Blob => page.behind(fence.map(<[u8]>::to_vec), request.low, request),
            };
        }
    }
}

impl Page {
    /// The least key, from `at` on, that a scan has not listed, forward, after the last one of the page, in `memory`. None: there
    /// can be none.
    fn rest(&self, at: &[u8], mut memory: Vec<u8>) -> Option<Vec<u8>> {
        memory.clear();
        if let Some(last) = self.last() {
            memory.extend_from_slice(last.key);
            if !last.rolled {
                memory.push(0);
            } else if !succeed(&mut memory) {
                // All keys to the end start with it.
                return None;
            }
        }
        if memory.as_slice() < at {
            memory.clear();
            memory.extend_from_slice(at);
        }
        Some(memory)
    }

    /// Where a scan goes on, forward, that came to `fence` from `at`.
    fn behind(&self, fence: Option<Vec<u8>>, at: &[u8], request: &PageRequest<'_>) -> Option<Vec<u8>> {
        // Behind the fence there may be more of what was rolled up.
        let next = fence?.max(self.rest(at, Vec::new())?);
        request.high.is_none_or(|high| next.as_slice() < high).then_some(next)
    }

    /// Adds to the page, forward, from the leaf blob that holds `at`.
    fn fill_from(&mut self, blob: Blob<'_>, base: usize, at: &[u8], request: &PageRequest<'_>) -> End {
        let memory = std::mem::take(self.walk_memory());
        let mut walk = Walk::new(blob, at.get(..base).unwrap_or(&[]), memory);
        if let Some((byte, behind)) = request.delimiter
            && !blob.below().mounts()
        {
            // Without mounts each node has records below it. What the bound leads to is rolled up too: no leaf is fetched for it.
            walk.roll_up(byte, behind);
        }
        walk.seek(at);
        let end = self.fill_on(&mut walk, blob, request);
        *self.walk_memory() = walk.into_memory();
        end
    }

    fn fill_on(&mut self, walk: &mut Walk<'_>, blob: Blob<'_>, request: &PageRequest<'_>) -> End {
        let mut high = request.high.map(Edge::new);
        loop {
            let mut kept = walk.kept();
            if let Some(rolled) = walk.rolled() {
                if high.as_mut().is_none_or(|high| high.is_all_below(rolled, kept)) {
                    if self.is_full(request) {
                        return End::At(rolled.to_vec());
                    }
                    self.push_rolled(rolled);
                    walk.skip(rolled.len());
                    continue;
                }
                walk.unroll();
                kept = kept.min(walk.kept());
            }
            let Some(leaf) = walk.leaf() else { return End::Blob };
            if high.as_mut().is_some_and(|high| !high.is_below(blob.w, walk, leaf, kept)) {
                return End::Over;
            }
            if walk.is_on_mount() || self.is_full(request) {
                return End::At(walk.spell());
            }
            match self.push(blob, walk, leaf, kept, request) {
                None => walk.advance(),
                Some(rolled) => walk.skip(rolled),
            }
        }
    }

    fn fill_back(&mut self, walk: &mut Walk<'_>, blob: Blob<'_>, request: &PageRequest<'_>) -> End {
        let mut low = Edge::new(request.low);
        while let Some(leaf) = walk.leaf() {
            let kept = walk.kept();
            let is_mount = walk.is_on_mount();
            if !is_mount && low.is_below(blob.w, walk, leaf, kept) {
                return End::Over;
            }
            if is_mount || self.is_full(request) {
                // Not the first of the page: a mount there was entered.
                return self.last().map_or(End::Over, |last| End::At(last.key.to_vec()));
            }
            match self.push(blob, walk, leaf, kept, request) {
                None => walk.retreat(),
                Some(rolled) => walk.skip_back(rolled),
            }
        }
        End::Blob
    }
}
