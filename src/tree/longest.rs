//! The longest prefix: of all records whose keys a key starts with, that with the longest one.
//!
//! The prefixes of a key lie in order, the longer ones behind, and so do the leaf blobs that would hold them: one for those from the
//! key itself down to the separator in front of that blob, the next one from there on. An inner blob tells all of its children that
//! are concerned in one walk along the key. So the search goes down once, and from leaf blob to leaf blob after that, by the
//! *branches* that it passed, the longest prefixes first, until a leaf blob has one.

use smallvec::SmallVec;

use crate::error::Result;

use super::descend::Step;
use super::read::{Found, copy_out};
use super::{Limb, Stop};

/// What remains to be searched.
struct Branch {
    /// The blob that leads to it, among those visited: an inner blob, or a leaf blob with a mount on the key, itself.
    at: usize,
    /// The pointer of the child's entry; 0: the leftmost.
    child: u16,
    /// The length of the shortest prefix in its range.
    least: usize,
}

#[derive(Default)]
struct Search<'a> {
    /// All blobs that were come to.
    visited: SmallVec<[Step<'a>; 8]>,
    /// The shorter the prefixes, the further in front; no two begin at the same length within one limb.
    branches: SmallVec<[Branch; 16]>,
}

impl<'a> Search<'a> {
    /// Adds the children of an inner blob that may hold prefixes of at least so many bytes of a key, whose `rest` is relative to the
    /// blob.
    fn branch(&mut self, step: Step<'a>, rest: &[u8], least: usize) {
        let (at, first) = (self.visited.len(), self.branches.len());
        self.visited.push(step);
        self.branches.push(Branch { at, child: 0, least });
        step.blob().floors(rest, |child, least| {
            let least = step.base + least;
            // Nothing is between two separators that the same prefixes are behind.
            if self.branches.len() > first && self.branches.last().is_some_and(|last| last.least >= least) {
                self.branches.pop();
            }
            self.branches.push(Branch { at, child, least });
        });
    }
}

/// What a search came to.
enum Searched {
    /// The length of the longest key, and what its record is.
    Found(usize, Found),
    /// There is none longer than this.
    Below(usize),
}

impl<'a> Limb<'a> {
    /// The record with the longest key that is a prefix of `key` (or `key` itself): its length; the value goes to `value`.
    ///
    /// The answer held at one moment, unless the prefixes lie in more blobs than a quarter of the cache holds: then what each so
    /// many say is of a moment of its own, the longer prefixes first.
    pub(crate) fn longest_prefix(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<(usize, Found)>> {
        let mut most = key.len();
        loop {
            match self.read(|_| self.longest_prefix_once(&key[..most], value))? {
                Searched::Found(len, found) => return Ok(Some((len, found))),
                Searched::Below(0) => return Ok(None),
                Searched::Below(len) => most = len,
            }
        }
    }

    /// One try. All that was visited is validated at the end.
    fn longest_prefix_once(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Searched, Stop> {
        let mut search = Search::default();
        let searched = self.search_longest(&mut search, key, value)?;
        search.visited.iter().try_for_each(Step::validate)?;
        Ok(searched)
    }

    fn search_longest(
        &self,
        search: &mut Search<'a>,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Searched, Stop> {
        let visited_max = self.buffer.at_once_max();
        // What is left out because of that has no longer ones than this.
        let mut behind = 0;
        // Prefixes of these lengths are asked for in the blob that was come to.
        let (mut least, mut most) = (1, key.len());
        let mut step = self.root_step()?;
        loop {
            let rest = key.get(step.base..most).unwrap_or(&[]);
            if !step.blob().is_leaf() {
                search.branch(step, rest, least);
            } else {
                search.branches.push(Branch { at: search.visited.len(), child: 0, least });
                search.visited.push(step);
                if let Some((path, limb)) = step.blob().mount_on(rest) {
                    // The host's keys on the way are shorter than those in the limb, of which its own path is the empty one.
                    step = self.enter(&step, limb, step.base + path)?;
                    least = step.base.max(1);
                    if search.visited.len() >= visited_max {
                        (*search, behind) = (Search::default(), least - 1);
                    }
                    continue;
                }
            }
            step = loop {
                let Some(branch) = search.branches.pop() else { return Ok(Searched::Below(behind)) };
                let from = search.visited[branch.at];
                least = branch.least;
                if !from.blob().is_leaf() {
                    break self.child_step(&from, from.blob().child_at(branch.child), most)?;
                }
                if let Some((len, leaf)) = from.blob().longest_of(key.get(from.base..most).unwrap_or(&[])) {
                    return Ok(Searched::Found(from.base + len, copy_out(from.blob(), leaf, value)));
                }
                most = least.saturating_sub(1);
                if search.visited.len() >= visited_max {
                    return Ok(Searched::Below(most));
                }
            };
        }
    }
}
