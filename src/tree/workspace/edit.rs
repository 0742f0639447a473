//! Single records, and room for them: blobs are cut, and roots grow, inside the workspace.

use crate::art::{Below, Blob, CHILD_BYTES, Child, Cursor, Keep, Kind, Rebase, Scratch, room_needed};
use crate::store::BlobId;

use super::path::{Place, Step, route};
use super::{Change, Workspace};
use crate::limits::VALUE_BYTES_MAX;
use crate::tree::Stop;
use crate::tree::grow::packed;
use crate::tree::split::choose_cut;

/// Up to one entry in so many is taken out by itself: beyond that it is cheaper to count anew what stays.
const ONE_BY_ONE_SHARE: usize = 16;

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
        let leaf = self.end(limb, rest)?;
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
            let path = self.way(limb, &key[offset..])?;
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
        self.change(leaf, Change::Below(bound))?;
        while let Some((above, above_base)) = ways.pop() {
            self.change(above, Change::Raise(key[above_base..].to_vec(), bound))?;
            bound = bound.under(base - above_base);
            base = above_base;
        }
        Ok(())
    }

    /// Makes room in the blob of `level` on the way to `key`, as much as `need` says for the length of its base, and
    /// returns it. The root of the limb is at that level or above.
    pub(super) fn with_room(
        &mut self,
        limb: BlobId,
        key: &[u8],
        level: u8,
        need: &dyn Fn(usize) -> usize,
    ) -> Result<Step, Stop> {
        loop {
            let path = self.way(limb, key)?;
            let Some(at) = path.iter().position(|hop| hop.level == level) else {
                return Err(Stop::Corrupt(limb, "a limb is lower than its parts"));
            };
            let hop = path[at];
            let need_here = need(hop.base);
            if self.peek(hop.id, |blob| blob.room())? >= need_here {
                return Ok(hop);
            }
            let blob = self.edit(hop.id)?;
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
            match at.checked_sub(1).map(|above| path[above]) {
                None => self.grow_root(hop.id)?,
                Some(above) => {
                    let separator = [&key[above.base..hop.base], &cut].concat();
                    let bytes = room_needed(separator.len(), CHILD_BYTES);
                    let has_room = self.peek(above.id, |blob| blob.room())? >= bytes;
                    if !has_room {
                        self.with_room(limb, key, above.level, &|_| bytes)?;
                        // The parent may be another one now.
                        continue;
                    }
                    let delta = hop.base - above.base;
                    let (left, right) =
                        self.split(hop.id, hop.base, &[&key[..hop.base], &cut].concat(), [0, 0])?;
                    let parent = self.edit(above.id)?;
                    parent.set_child_for(&key[above.base..], Child { delta: delta as u16, ..left });
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

    /// Cuts a blob, and what is below it, at `key` (relative to the limb, strictly inside the blob's range). The half with more entries
    /// keeps its place and id. The bases of the two are made as long as `bases` says if they are shorter: all keys start with the same bytes up
    /// to there. Their deltas are left to the caller.
    pub(super) fn split(
        &mut self,
        id: BlobId,
        base: usize,
        key: &[u8],
        bases: [usize; 2],
    ) -> Result<(Child, Child), Stop> {
        let cut = under(id, key, base)?;
        let strips = bases.map(|least| least.saturating_sub(base));
        // The child that the cut goes through is cut too; where it is one's separator, that moves up, and its child becomes the right
        // half's leftmost.
        let (mut from, mut last, mut first) = (cut.to_vec(), None, None);
        let (level, is_early) = self.peek(id, |blob| (blob.level(), is_early(blob, cut)))?;
        let is_leaf = level == 0;
        if !is_leaf {
            let (child, separator, _) = self.peek(id, |blob| route(blob, cut))?;
            self.check_level(BlobId(child.id), level)?;
            if separator.as_deref() == Some(cut) {
                from.push(0);
                first = Some(child);
            } else {
                let under = base + usize::from(child.delta);
                let (left, right) = self.split(BlobId(child.id), under, key, bases)?;
                let delta = |least: usize| (under.max(least) - base) as u16;
                last = Some((separator, Child { delta: delta(bases[0]), ..left }));
                first = Some(Child { delta: delta(bases[1]), ..right });
            }
        }
        let set_last = |blob: Blob<'_>, strip: usize| match &last {
            Some((Some(separator), child)) => blob.set_child(Some(&separator[strip..]), *child),
            Some((None, child)) => blob.set_child(None, *child),
            None => true,
        };
        let set_first = |blob: Blob<'_>| first.is_none_or(|child| blob.set_child(None, child));
        let (moved, is_whole) = match is_early {
            true => {
                let part = self.part(id, &[], Some(cut), strips[0])?;
                let is_whole = set_last(Blob::new(part.words()), strips[0]);
                (part, is_whole)
            }
            false => {
                let part = self.part(id, &from, None, strips[1])?;
                let is_whole = set_first(Blob::new(part.words()));
                (part, is_whole)
            }
        };
        // What keeps its place need not be packed.
        let blob = self.edit(id)?;
        let is_kept = match is_early {
            true => {
                blob.prune(&from, Keep::From);
                set_first(blob)
            }
            false => {
                blob.prune(cut, Keep::Below);
                set_last(blob, 0)
            }
        };
        if !is_whole || !is_kept || !blob.recount() {
            return Err(Stop::Corrupt(id, "its halves cannot be counted"));
        }
        let (moved_strip, kept_strip) =
            if is_early { (strips[0], strips[1]) } else { (strips[1], strips[0]) };
        if !is_leaf && moved_strip > 0 {
            self.follow(Blob::new(moved.words()), moved_strip)?;
        }
        let kept = self.strip(id, kept_strip)?;
        let new = self.create_with(moved)?;
        let new = self.peek(new, |blob| blob.as_child(0))?;
        Ok(if is_early { (new, kept) } else { (kept, new) })
    }

    /// Packs what a blob has from `from` to below `to` aside, under a base that is so many bytes longer; its children do not follow.
    pub(super) fn part(
        &mut self,
        id: BlobId,
        from: &[u8],
        to: Option<&[u8]>,
        strip: usize,
    ) -> Result<Scratch, Stop> {
        let target = Scratch::new();
        match self.edit(id)?.pack_part(from, to, target.words(), Rebase { lead: &[], strip }) {
            Ok(()) => Ok(target),
            Err(_) => Err(Stop::Corrupt(id, "a part of it cannot be packed")),
        }
    }

    /// Takes what a blob has from `from` to below `to`, some `entries`, out of it.
    pub(super) fn clear_part(
        &mut self,
        id: BlobId,
        from: &[u8],
        to: Option<&[u8]>,
        entries: usize,
    ) -> Result<(), Stop> {
        let blob = self.edit(id)?;
        if entries * ONE_BY_ONE_SHARE < blob.entries() as usize {
            let mut keys = Vec::with_capacity(entries);
            let mut cursor = Cursor::new(blob);
            cursor.seek(from);
            while cursor.leaf().is_some() && to.is_none_or(|to| cursor.key() < to) {
                keys.push(cursor.key().to_vec());
                cursor.advance();
            }
            return match keys.iter().all(|key| blob.remove(key)) {
                true => Ok(()),
                false => Err(Stop::Corrupt(id, "an entry was lost")),
            };
        }
        blob.prune_range(from, to);
        match blob.recount() {
            true => Ok(()),
            false => Err(Stop::Corrupt(id, "what is left of it cannot be counted")),
        }
    }
}

/// What is left of a key below a base.
pub(super) fn under(id: BlobId, key: &[u8], base: usize) -> Result<&[u8], Stop> {
    key.get(base..).ok_or(Stop::Corrupt(id, "its base is longer than a key that leads to it"))
}

/// Whether fewer than half of a blob's entries are below `cut`.
fn is_early(blob: Blob<'_>, cut: &[u8]) -> bool {
    let mut cursor = Cursor::new(blob);
    cursor.first();
    let half = blob.entries() / 2;
    for _ in 0..half {
        if cursor.leaf().is_none() || cursor.key() >= cut {
            return true;
        }
        cursor.advance();
    }
    false
}
