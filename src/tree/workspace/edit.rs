//! Single records, and room for them: blobs are cut, and roots grow, inside the workspace.

use crate::art::{Below, Blob, CHILD_BYTES, Child, Keep, Kind, Rebase, Scratch, room_needed};
use crate::store::BlobId;

use super::Workspace;
use super::path::{Hop, Place, route};
use crate::limits::VALUE_BYTES_MAX;
use crate::tree::Stop;
use crate::tree::grow::packed;
use crate::tree::split::{choose_cut, copy_of};

impl Workspace<'_> {
    /// Puts a record.
    pub(crate) fn put(&mut self, root: BlobId, key: &[u8], version: u64, value: &[u8]) -> Result<(), Stop> {
        debug_assert!(value.len() <= VALUE_BYTES_MAX);
        let (limb, offset) = self.innermost(root, key)?;
        let rest = &key[offset..];
        let leaf = self.with_room(limb, rest, 0, &|base| room_needed(rest.len() - base, value.len()))?;
        let blob = self.edit(leaf.id)?;
        if blob.insert(&rest[leaf.base..], Some(version), value).is_err() {
            return Err(Stop::Corrupt(leaf.id, "no room for a record that fitted"));
        }
        self.raise(root, key, Below::default())
    }

    /// Removes a record; false when there is none.
    pub(crate) fn delete(&mut self, root: BlobId, key: &[u8]) -> Result<bool, Stop> {
        let (limb, offset) = self.innermost(root, key)?;
        let rest = &key[offset..];
        let leaf = self.leaf(limb, rest)?;
        if self.peek(leaf.id, |blob| blob.find(&rest[leaf.base..]).is_none())? {
            return Ok(false);
        }
        Ok(self.edit(leaf.id)?.remove(&rest[leaf.base..]))
    }

    /// The limb that holds `key` or would, and how many of its bytes lead there.
    pub(super) fn innermost(&self, root: BlobId, key: &[u8]) -> Result<(BlobId, usize), Stop> {
        Ok(match self.place(root, key)? {
            Place { exact: Some(limb), .. } => (BlobId(limb.id), key.len()),
            Place { limb, offset, .. } => (limb, offset),
        })
    }

    /// Tells all blobs on the way to `key`, up to the tree's root, of what is there now: `below`, relative to the key.
    pub(super) fn raise(&mut self, root: BlobId, key: &[u8], below: Below) -> Result<(), Stop> {
        let mut ways = Vec::new();
        let (mut limb, mut offset) = (root, 0);
        loop {
            let path = self.path(limb, &key[offset..])?;
            let Some(leaf) = path.last() else { return Err(Stop::Restart) };
            let rest = &key[offset + leaf.base..];
            let mount = self.peek(leaf.id, |blob| blob.mount_on(rest))?.filter(|(to, _)| *to < rest.len());
            let ends = mount.map(|(to, _)| leaf.base + to);
            ways.extend(path.into_iter().map(|hop| (hop.id, offset + hop.base)));
            match (mount, ends) {
                (Some((_, child)), Some(ends)) => (limb, offset) = (BlobId(child.id), offset + ends),
                _ => break,
            }
        }
        // From the leaf blob upwards, each entry to what the blob below says of itself, until one knows.
        let Some((leaf, mut base)) = ways.pop() else { return Err(Stop::Restart) };
        let wanted = below.under(key.len() - base);
        let known = self.peek(leaf, |blob| blob.below())?;
        if known.holds(wanted) {
            return Ok(());
        }
        let mut bound = known.raised(wanted);
        self.edit(leaf)?.set_below(bound);
        while let Some((above, above_base)) = ways.pop() {
            if !self.edit(above)?.raise_child(&key[above_base..], bound) {
                return Err(Stop::Corrupt(above, "a child was lost on the way down"));
            }
            bound = bound.under(base - above_base);
            base = above_base;
        }
        Ok(())
    }

    /// Makes room in the blob of `level` on the way to `key`, as much as `need` says for the length of its base, and
    /// returns it, latched and copied. The root of the limb is at that level or above.
    pub(super) fn with_room(
        &mut self,
        limb: BlobId,
        key: &[u8],
        level: u8,
        need: &dyn Fn(usize) -> usize,
    ) -> Result<Hop, Stop> {
        loop {
            let path = self.path(limb, key)?;
            let Some(at) = path.iter().position(|hop| hop.level == level) else {
                return Err(Stop::Corrupt(limb, "a limb is lower than its parts"));
            };
            let hop = path[at].clone();
            let need_here = need(hop.base);
            let blob = self.edit(hop.id)?;
            if blob.room() >= need_here {
                return Ok(hop);
            }
            if blob.garbage() > 0 {
                let content = packed(blob)?;
                let room = Blob::new(content.words()).room();
                self.replace(hop.id, content)?;
                if room >= need_here {
                    return Ok(hop);
                }
            }
            let blob = self.edit(hop.id)?;
            let Some(cut) = choose_cut(blob, &key[hop.base..]) else {
                return Err(Stop::Corrupt(hop.id, "one entry fills it"));
            };
            match at.checked_sub(1).map(|above| path[above].clone()) {
                None => self.grow_root(hop.id)?,
                Some(above) => {
                    let separator = [&key[above.base..hop.base], &cut].concat();
                    let bytes = room_needed(separator.len(), CHILD_BYTES);
                    let has_room = self.edit(above.id)?.room() >= bytes;
                    if !has_room {
                        self.with_room(limb, key, above.level, &|_| bytes)?;
                        // The parent may be another one now.
                        continue;
                    }
                    let delta = hop.base - above.base;
                    let (left, right) =
                        self.split(hop.id, hop.base, &[&key[..hop.base], &cut].concat(), [0, 0])?;
                    let parent = self.edit(above.id)?;
                    let known = parent.child_for(&key[above.base..]);
                    parent.set_child_for(&key[above.base..], Child { delta: delta as u16, ..left });
                    debug_assert_eq!(known.id, left.id);
                    let right = Child { delta: delta as u16, ..right };
                    if parent.insert(&separator, None, &right.encode()).is_err() {
                        return Err(Stop::Corrupt(above.id, "no room for a separator that fitted"));
                    }
                }
            }
        }
    }

    /// Moves all that a root has into a new child.
    pub(super) fn grow_root(&mut self, root: BlobId) -> Result<(), Stop> {
        let blob = self.edit(root)?;
        let (content, level) = (packed(blob)?, blob.level());
        let child = self.create_with(content)?;
        let only = self.peek(child, |blob| blob.as_child(0))?;
        let top = Scratch::new();
        Blob::new(top.words()).init(Kind::Inner, level + 1, root.0, self.database);
        Blob::new(top.words()).set_leftmost_child(only);
        self.replace(root, top)
    }

    /// Cuts a blob, and what is below it, at `key` (relative to the limb, strictly inside the blob's range). The left one keeps
    /// its id. The bases of the two are made as long as `bases` says if they are shorter: all keys start with the same bytes up
    /// to there. Their deltas are left to the caller.
    pub(super) fn split(
        &mut self,
        id: BlobId,
        base: usize,
        key: &[u8],
        bases: [usize; 2],
    ) -> Result<(Child, Child), Stop> {
        let cut = &key[base..];
        let blob = self.edit(id)?;
        let (left, right) = (copy_of(blob), copy_of(blob));
        let (below, from) = (Blob::new(left.words()), Blob::new(right.words()));
        below.prune(cut, Keep::Below);
        from.prune(cut, Keep::From);
        if !below.is_leaf() {
            let (child, separator, _) = self.peek(id, |blob| route(blob, cut))?;
            if separator.as_deref() == Some(cut) {
                // The cut is a separator: it moves up, its child becomes the right half's leftmost.
                from.set_leftmost_child(child);
                from.remove(cut);
            } else {
                let under = base + usize::from(child.delta);
                let (kept, new) = self.split(BlobId(child.id), under, key, bases)?;
                let delta = |least: usize| (under.max(least) - base) as u16;
                below.set_child(separator.as_deref(), Child { delta: delta(bases[0]), ..kept });
                from.set_leftmost_child(Child { delta: delta(bases[1]), ..new });
            }
        }
        // The left one keeps its place, so it need not be packed where its base stays.
        let left = match bases[0].saturating_sub(base) {
            0 if below.recount() => left,
            strip => self.half(id, below, strip)?,
        };
        let right = self.half(id, from, bases[1].saturating_sub(base))?;
        self.replace(id, left)?;
        let new = self.create_with(right)?;
        Ok((self.peek(id, |blob| blob.as_child(0))?, self.peek(new, |blob| blob.as_child(0))?))
    }

    /// Packs what is left of a blob, under a base that is so many bytes longer.
    fn half(&mut self, id: BlobId, left: Blob<'_>, strip: usize) -> Result<Scratch, Stop> {
        let target = Scratch::new();
        if left.pack(target.words(), Rebase { lead: &[], strip }).is_err() {
            return Err(Stop::Corrupt(id, "it cannot be packed"));
        }
        if strip > 0 && !left.is_leaf() {
            self.follow(Blob::new(target.words()), strip)?;
        }
        Ok(target)
    }
}
