//! The way down: optimistic, shared, and to a level for structure changes.

use crate::art::{Below, Blob, Child, Cursor, LookUp, Words};
use crate::buffer::{Optimistic, Shared};
use crate::store::BlobId;

use super::{Limb, Stop};

/// A blob on the way down, read optimistically, and how long its base is.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(super) guard: Optimistic<'a>,
    pub(super) base: usize,
}

impl<'a> Step<'a> {
    #[inline]
    pub(super) fn blob(&self) -> Blob<'a> {
        Blob::new(Words::new(self.guard.words()))
    }

    #[inline]
    pub(super) fn validate(&self) -> Result<(), Stop> {
        if self.guard.validate() { Ok(()) } else { Err(Stop::Restart) }
    }
}

/// A blob with the fences of its range: keys from `low` (None: no bound) to below `high` (None: no bound).
pub(crate) struct Fenced<'a> {
    pub(super) leaf: Step<'a>,
    pub(super) low: Option<Vec<u8>>,
    pub(super) high: Option<Vec<u8>>,
    /// What the blob above says that it holds; None: it is a root.
    pub(super) bound: Option<Below>,
}

/// A leaf blob, the limb that it is in, and how many bytes of the key lead to that.
pub(super) struct Deep<'a> {
    pub(super) leaf: Step<'a>,
    pub(super) limb: Limb<'a>,
    pub(super) offset: usize,
}

/// Which leaf a fenced descent looks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim<'k> {
    /// The one whose range holds the key.
    At(&'k [u8]),
    /// The one that holds the greatest keys below the bound.
    Below(&'k [u8]),
    /// The last of the limb that this path leads to.
    End(&'k [u8]),
}

impl<'k> Aim<'k> {
    /// What the base of every blob on the way is the start of.
    pub(super) fn key(self) -> &'k [u8] {
        match self {
            Self::At(key) | Self::Below(key) | Self::End(key) => key,
        }
    }
}

impl<'a> Limb<'a> {
    #[inline]
    pub(super) fn root_step(&self) -> Result<Step<'a>, Stop> {
        Ok(Step { guard: self.buffer.read(self.root)?, base: 0 })
    }

    /// From a parent to a child that was read from it.
    #[inline]
    pub(super) fn child_step(
        &self,
        parent: &Step<'a>,
        child: Child,
        key_len: usize,
    ) -> Result<Step<'a>, Stop> {
        let level = parent.blob().level();
        let guard = match self.buffer.read(BlobId(child.id)) {
            Ok(guard) => guard,
            // The id means something only if the parent was read as it is.
            Err(fault) => {
                parent.validate()?;
                return Err(fault.into());
            }
        };
        let step = Step { guard, base: parent.base + usize::from(child.delta) };
        step.blob().prefetch();
        // The parent must still name the child after the child's version was taken.
        parent.validate()?;
        if step.blob().level().wrapping_add(1) != level || step.base > key_len {
            step.validate()?;
            return Err(Stop::Corrupt(BlobId(child.id), "level or base does not fit its parent"));
        }
        Ok(step)
    }

    /// From a leaf blob to the root of a limb whose mount was read in it; `base` is where the mount's path ends.
    pub(super) fn enter(&self, host: &Step<'a>, limb: Child, base: usize) -> Result<Step<'a>, Stop> {
        let guard = match self.buffer.read(BlobId(limb.id)) {
            Ok(guard) => guard,
            // The id means something only if the host was read as it is.
            Err(fault) => {
                host.validate()?;
                return Err(fault.into());
            }
        };
        let root = Step { guard, base };
        root.blob().prefetch();
        // The host must still have the mount after the root's version was taken.
        host.validate()?;
        Ok(root)
    }

    /// The leaf blob of one limb whose range holds `key`.
    #[inline]
    pub(super) fn descend_from(&self, mut step: Step<'a>, key: &[u8]) -> Result<Step<'a>, Stop> {
        while !step.blob().is_leaf() {
            let child = step.blob().child_for(key.get(step.base..).unwrap_or(&[]));
            step = self.child_step(&step, child, key.len())?;
        }
        Ok(step)
    }

    /// The leaf blob that holds `key` or would, whatever mounts are on the way, and what it has for the key: no mount.
    #[inline]
    pub(super) fn descend(&self, key: &[u8]) -> Result<(Step<'a>, LookUp), Stop> {
        let mut step = self.descend_from(self.root_step()?, key)?;
        loop {
            match step.blob().look_up(key.get(step.base..).unwrap_or(&[])) {
                LookUp::Mount { path, limb } if path > 0 => {
                    let root = self.enter(&step, limb, step.base + path)?;
                    step = self.descend_from(root, key)?;
                }
                found => return Ok((step, found)),
            }
        }
    }

    /// The leaf blob that holds `key` or would, the limb that it is in, and how many bytes of the key lead there.
    pub(super) fn descend_deep(&self, key: &[u8]) -> Result<Deep<'a>, Stop> {
        let (mut limb, mut offset) = (*self, 0);
        let mut leaf = self.descend_from(self.root_step()?, key)?;
        while let Some((path, child)) = leaf.blob().mount_on(key.get(leaf.base..).unwrap_or(&[])) {
            offset = leaf.base + path;
            let root = self.enter(&leaf, child, offset)?;
            limb = Self { root: BlobId(child.id), ..*self };
            leaf = self.descend_from(root, key)?;
        }
        Ok(Deep { leaf, limb, offset })
    }

    /// The limb that `key` is in, and how many bytes of the key lead there. Called inside the gate: no limb ends meanwhile.
    pub(super) fn innermost(&self, key: &[u8]) -> Result<(Self, usize), Stop> {
        let deep = self.descend_deep(key)?;
        deep.leaf.validate()?;
        Ok((deep.limb, deep.offset))
    }

    /// The blob of `level` whose range holds `key`, and its parent. None: the root is not above that level.
    pub(super) fn descend_to(&self, key: &[u8], level: u8) -> Result<Option<(Step<'a>, Step<'a>)>, Stop> {
        let mut parent = self.root_step()?;
        let root_level = parent.blob().level();
        parent.validate()?;
        if root_level <= level {
            return Ok(None);
        }
        loop {
            let child = parent.blob().child_for(key.get(parent.base..).unwrap_or(&[]));
            let step = self.child_step(&parent, child, key.len())?;
            let reached = step.blob().level() == level;
            step.validate()?;
            if reached {
                return Ok(Some((parent, step)));
            }
            parent = step;
        }
    }

    /// A blob of `level` with its fences; the root where it is not above that level.
    pub(super) fn descend_fenced(&self, aim: Aim<'_>, level: u8) -> Result<Fenced<'a>, Stop> {
        self.fenced_from(self.root_step()?, aim, level)
    }

    /// The same from a root that mounts led to: aim and fences are then those of the outermost limb.
    pub(super) fn fenced_from(
        &self,
        mut step: Step<'a>,
        aim: Aim<'_>,
        level: u8,
    ) -> Result<Fenced<'a>, Stop> {
        let (mut low, mut high, mut bound) = (None, None, None);
        let key = aim.key();
        while step.blob().level() > level {
            let blob = step.blob();
            let rest = key.get(step.base..).unwrap_or(&[]);
            let mut cursor = Cursor::new(blob);
            match aim {
                // The separator just above `rest`, then back to the one at most `rest`.
                Aim::At(_) => cursor.seek(&[rest, &[0]].concat()),
                Aim::Below(_) => cursor.seek(rest),
                Aim::End(_) => {}
            }
            let spell = |cursor: &Cursor<'_>| [&key[..step.base.min(key.len())], cursor.key()].concat();
            if cursor.leaf().is_some() {
                high = Some(spell(&cursor));
            }
            if cursor.leaf().is_some() {
                cursor.retreat()
            } else {
                cursor.last()
            }
            let child = match cursor.leaf() {
                Some(leaf) => {
                    low = Some(spell(&cursor));
                    blob.child_of(leaf)
                }
                None => blob.leftmost_child(),
            };
            bound = Some(child.below);
            step = self.child_step(&step, child, key.len())?;
        }
        Ok(Fenced { leaf: step, low, high, bound })
    }

    /// The root of the limb that is mounted at this path, and what its mount says that it holds. None: there is none. An empty
    /// path is that of this limb itself.
    pub(super) fn mounted_at(&self, path: &[u8]) -> Result<Option<(Step<'a>, Option<Below>)>, Stop> {
        let (mut root, mut bound) = (self.root_step()?, None);
        while root.base < path.len() {
            let leaf = self.descend_from(root, path)?;
            let Some((to, limb)) = leaf.blob().mount_on(&path[leaf.base..]) else {
                leaf.validate()?;
                return Ok(None);
            };
            root = self.enter(&leaf, limb, leaf.base + to)?;
            bound = Some(limb.below);
        }
        Ok(Some((root, bound)))
    }

    /// As [`descend`](Self::descend), under shared latches: for a reader that lost too many races.
    pub(super) fn descend_shared(&self, key: &[u8]) -> Result<(Shared<'a>, usize), Stop> {
        let mut guard = self.buffer.share(self.root)?;
        let mut base = 0;
        loop {
            let blob = Blob::new(Words::new(guard.words()));
            let rest = key.get(base..).unwrap_or(&[]);
            if blob.is_leaf() {
                let Some((path, limb)) = blob.mount_on(rest) else { return Ok((guard, base)) };
                guard = self.buffer.share(BlobId(limb.id))?;
                base += path;
                continue;
            }
            let child = blob.child_for(rest);
            let below = self.buffer.share(BlobId(child.id))?;
            base += usize::from(child.delta);
            let level = Blob::new(Words::new(below.words())).level();
            if level.wrapping_add(1) != blob.level() || base > key.len() {
                return Err(Stop::Corrupt(BlobId(child.id), "level or base does not fit its parent"));
            }
            guard = below;
        }
    }
}
