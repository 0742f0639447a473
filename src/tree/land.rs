//! Where a scan begins: the leaf blob for a bound, through mounts, and the fences of its range for whoever asks.

use smallvec::SmallVec;

use crate::art::{Child, Walk, WalkMemory};

use super::bounds::successor;
use super::descend::{Aim, Fenced, Step};
use super::{Limb, Stop};

/// A leaf blob, in the innermost limb that a key leads into, and how it was come to.
pub(super) struct Landing<'a> {
    pub(super) leaf: Step<'a>,
    /// The inner blobs on the way through that limb, from its root on.
    pub(super) path: SmallVec<[Step<'a>; 4]>,
    /// How many bytes of the key lead to the limb.
    pub(super) offset: usize,
    /// The last entry of the inner blob at this depth of the path, once it was asked for.
    last: Option<(usize, u16)>,
}

/// A walk over an inner blob's separators, spelled out from the first byte of the key on.
pub(super) fn separators<'a>(step: &Step<'a>, key: &[u8]) -> Walk<'a> {
    Walk::new(step.blob(), &key[..step.base.min(key.len())], WalkMemory::default())
}

impl Step<'_> {
    /// The length of the path of the mount that `key` leads into, from a leaf blob.
    pub(super) fn mounted(&self, key: &[u8]) -> Option<usize> {
        self.blob().mount_on(key.get(self.base..).unwrap_or(&[])).map(|(len, _)| self.base + len)
    }
}

impl Landing<'_> {
    /// Where the leaf blob's range begins and ends, None: no bound; that of a mounted limb ends where the mount's does. As it was
    /// when the leaf blob was come to, `key` being where.
    pub(super) fn fences(&self, key: &[u8]) -> Result<[Option<Vec<u8>>; 2], Stop> {
        let above = [key, &[0]].concat();
        let ([mut low, mut high], mut memory) = ([None, None], WalkMemory::default());
        for step in self.path.iter().rev() {
            let mut walk = Walk::new(step.blob(), &key[..step.base.min(key.len())], memory);
            walk.seek(&above);
            if walk.is_on() {
                high = high.or_else(|| Some(walk.spell()));
                walk.retreat();
            } else {
                walk.last();
            }
            if low.is_none() && walk.is_on() {
                low = Some(walk.spell());
            }
            memory = walk.into_memory();
            step.validate()?;
            if low.is_some() && high.is_some() {
                break;
            }
        }
        let low = low.or_else(|| (self.offset > 0).then(|| key[..self.offset].to_vec()));
        Ok([low, high.or_else(|| self.end(key))])
    }
}

impl<'a> Landing<'a> {
    /// Goes on, in the same limb, to the leaf blob that holds `bound` or would; if that is this one, to the next, and `bound`
    /// becomes the least key that may be there. `at` is where this one was come to, `bound` at least that. False: the limb
    /// ends here, or before the bound. After an error the landing is of no use, and the bound as it was.
    pub(super) fn hop(
        &mut self,
        limb: &Limb<'a>,
        at: &[u8],
        bound: &mut Vec<u8>,
        memory: &mut WalkMemory,
    ) -> Result<bool, Stop> {
        let mut through = self.leaf.guard.id().0;
        // Whether the bound, if it is in the range of `through` at all, is in this leaf blob's, which has been listed.
        let mut is_done = true;
        for depth in (0..self.path.len()).rev() {
            let parent = self.path[depth];
            let (blob, base) = (parent.blob(), parent.base);
            // A bound behind the blob's range need not start with its base.
            let is_near = at.get(..base) == bound.get(..base);
            let inside = is_near.then(|| &bound[base.min(bound.len())..]);
            // With a separator above it the bound is in the blob's range. Most are past what was rolled up, far from the end.
            let inside = inside.and_then(|rest| blob.child_inside(rest, self.last_entry(depth)));
            if let Some(child) = inside.filter(|child| !is_done || child.id != through) {
                self.down(limb, depth, child, bound)?;
                return Ok(true);
            }
            let mut walk = Walk::new(blob, at.get(..base).unwrap_or(&[]), std::mem::take(memory));
            if is_near {
                bound.push(0);
                walk.seek(bound);
                bound.pop();
            }
            // Where it is known to be inside what has been listed, the walk stands on the next blob's separator.
            if inside.is_none() {
                // With a separator above it the bound is in the blob's range; without one in a root's, or behind.
                let has_above = walk.is_on();
                if has_above {
                    walk.retreat()
                } else {
                    walk.last()
                }
                let floor = walk.leaf().map_or_else(|| blob.leftmost_child(), |leaf| blob.child_of(leaf));
                let is_here = is_done && floor.id == through;
                if !has_above && (is_here || !is_near || depth > 0) {
                    *memory = walk.into_memory();
                    parent.validate()?;
                    (through, is_done) = (parent.guard.id().0, is_here && is_near);
                    continue;
                }
                if !is_here {
                    *memory = walk.into_memory();
                    self.down(limb, depth, floor, bound)?;
                    return Ok(true);
                }
                if walk.is_on() { walk.advance() } else { walk.first() }
            }
            let (next, key) = (blob.child_of(walk.leaf().ok_or(Stop::Restart)?), walk.spell());
            *memory = walk.into_memory();
            self.down(limb, depth, next, &key)?;
            *bound = key;
            return Ok(true);
        }
        Ok(false)
    }

    /// The pointer of the last entry of the inner blob at this depth of the path, 0 for none.
    fn last_entry(&mut self, depth: usize) -> u16 {
        match self.last {
            Some((at, last)) if at == depth => last,
            _ => {
                let last = self.path[depth].blob().last_entry();
                self.last = Some((depth, last));
                last
            }
        }
    }

    /// Goes from a child of the inner blob at this depth of the path down to the leaf blob for `key`.
    fn down(&mut self, limb: &Limb<'a>, depth: usize, child: Child, key: &[u8]) -> Result<(), Stop> {
        self.path.truncate(depth + 1);
        self.last = self.last.filter(|(at, _)| *at <= depth);
        let mut step = limb.child_step(&self.path[depth], child, key.len())?;
        while !step.blob().is_leaf() {
            let child = step.blob().child_for(key.get(step.base..).unwrap_or(&[]));
            let next = limb.child_step(&step, child, key.len())?;
            self.path.push(step);
            step = next;
        }
        self.leaf = step;
        Ok(())
    }

    /// The end of the limb, None: no bound.
    pub(super) fn end(&self, key: &[u8]) -> Option<Vec<u8>> {
        if self.offset > 0 { successor(&key[..self.offset]) } else { None }
    }
}

impl<'a> Limb<'a> {
    /// The leaf blob that holds `key` or would, in the innermost limb that `key` leads into.
    pub(super) fn land(&self, key: &[u8]) -> Result<Landing<'a>, Stop> {
        let mut step = self.root_step()?;
        let (mut path, mut offset) = (SmallVec::new(), 0);
        loop {
            while !step.blob().is_leaf() {
                let child = step.blob().child_for(key.get(step.base..).unwrap_or(&[]));
                let next = self.child_step(&step, child, key.len())?;
                path.push(step);
                step = next;
            }
            let rest = key.get(step.base..).unwrap_or(&[]);
            let Some((len, limb)) = step.blob().mount_on(rest) else {
                return Ok(Landing { leaf: step, path, offset, last: None });
            };
            offset = step.base + len;
            step = self.enter(&step, limb, offset)?;
            path.clear();
        }
    }

    /// The same with both fences, and how many bytes of the key lead to the limb.
    pub(super) fn land_at(&self, key: &[u8]) -> Result<(Fenced<'a>, usize), Stop> {
        let landing = self.land(key)?;
        let [low, high] = landing.fences(key)?;
        Ok((Fenced { leaf: landing.leaf, low, high, bound: None }, landing.offset))
    }

    /// The leaf blob, in whatever limb, that holds the greatest keys below `high` (None: of all), and a walk that stands on the
    /// last of them. `path` becomes that of the limb if all in it is below `high`.
    pub(super) fn land_below(
        &self,
        high: Option<&[u8]>,
        path: &mut Option<Vec<u8>>,
        memory: &mut WalkMemory,
    ) -> Result<(Fenced<'a>, Walk<'a>), Stop> {
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
            let mut walk = Walk::new(blob, &aim.key()[..base], std::mem::take(memory));
            match aim {
                Aim::Below(high) => walk.seek_below(high),
                _ => walk.last(),
            }
            let Some(limb) = walk.mount() else {
                if offset > 0 {
                    fenced.low = fenced.low.or_else(|| Some(aim.key()[..offset].to_vec()));
                }
                return Ok((fenced, walk));
            };
            let mount = walk.spell();
            *memory = walk.into_memory();
            offset = mount.len();
            root = self.enter(&fenced.leaf, limb, offset)?;
            // A bound inside the mount's range is one for the limb too; else all in it is below.
            if !high.is_some_and(|high| high.starts_with(&mount)) {
                *path = Some(mount);
            }
        }
    }
}
