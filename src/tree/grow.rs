//! Making room: compact, rebalance, cut, and let the root grow a level.

use crate::art::{Blob, CHILD_BYTES, Child, Kind, Rebase, Scratch, Words, room_needed};
use crate::buffer::{Claim, Exclusive, Gate, Reservation};
use crate::error::Result;
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::descend::Aim;
use super::split::{Pair, blob_of, choose_cut, install};
use super::{Limb, Stop, Tries};

/// What one passage came to.
enum Grown {
    /// The blob at this level has the room, or more than before.
    Done,
    /// The parent must first have room for a separator of so many bytes.
    Parent(usize),
}

/// What the room is for.
#[derive(Clone, Copy)]
enum Want<'k> {
    /// So many bytes; `even_out`: a neighbour may take entries over.
    Bytes { need: usize, even_out: bool },
    /// A separator at this key, whatever the room.
    CutAt(&'k [u8]),
}

impl Want<'_> {
    /// The same in a limb that so many bytes of the key lead to.
    fn within(self, offset: usize) -> Self {
        match self {
            Self::CutAt(key) => Self::CutAt(&key[offset..]),
            bytes => bytes,
        }
    }
}

/// Blobs that one passage changes or makes at the most: the one without room, its parent, a neighbour or a new one.
const PASSAGE_BLOBS: usize = 3;

/// A compaction is worth it from this much garbage: it costs a third of a cut, which packs both halves too.
const GARBAGE_WORTH: usize = BLOB_BYTES / 16;

impl<'a> Limb<'a> {
    /// Makes room for `need` bytes in the leaf blob of `key`, or at least more than it had: the caller tries again.
    /// `first`: it is the caller's first try. Only then may entries go to a neighbour: keys grow when they come under a
    /// shorter base, so two neighbours could pass entries to and fro for ever, while a cut always leaves less in each.
    pub(crate) fn make_room(&self, gate: &Gate, key: &[u8], need: usize, first: bool) -> Result<()> {
        self.grow(gate, key, Want::Bytes { need, even_out: first })
    }

    /// Cuts the leaf blob of `key` right at `key`, so that what is put on either side has a blob of its own.
    pub(crate) fn cut_at(&self, gate: &Gate, key: &[u8]) -> Result<()> {
        self.grow(gate, key, Want::CutAt(key))
    }

    fn grow(&self, gate: &Gate, key: &[u8], want: Want<'_>) -> Result<()> {
        let mut tries = Tries::default();
        let (mut level, mut wanted) = (0, want);
        loop {
            self.buffer.claim(PASSAGE_BLOBS, Claim::Adds)?;
            let mut reservation = self.buffer.reserve(1)?;
            let outcome = {
                let _entry = gate.enter();
                self.check_alive()?;
                self.innermost(key).and_then(|(limb, offset)| {
                    limb.grow_once(&key[offset..], level, wanted.within(offset), &mut reservation)
                })
            };
            drop(reservation);
            match outcome {
                Ok(Grown::Done) if level == 0 => return Ok(()),
                Ok(Grown::Done) => (level, wanted) = (0, want),
                Ok(Grown::Parent(separator)) => {
                    level += 1;
                    wanted = Want::Bytes { need: room_needed(separator, CHILD_BYTES), even_out: false };
                }
                Err(stop) => {
                    (level, wanted) = (0, want);
                    self.settle(stop, &mut tries)?;
                }
            }
        }
    }

    /// One passage at one level.
    fn grow_once(
        &self,
        key: &[u8],
        level: u8,
        want: Want<'_>,
        reservation: &mut Reservation<'a>,
    ) -> Result<Grown, Stop> {
        if matches!(want, Want::CutAt([])) {
            // Where the limb begins.
            return Ok(Grown::Done);
        }
        let Some((parent, step)) = self.descend_to(key, level)? else {
            return self.grow_root(level, want, reservation);
        };
        if level == 0 && matches!(want, Want::CutAt(_)) {
            let fenced = self.descend_fenced(Aim::At(key), 0)?;
            step.validate()?;
            // Its version is the one that `step` has, or the upgrade below fails.
            if fenced.low.as_deref() == Some(key) {
                return Ok(Grown::Done);
            }
        }
        let (parent_base, base) = (parent.base, step.base);
        let parent = parent.guard.upgrade()?;
        let target = step.guard.upgrade()?;
        let mut pair = Pair { parent, target, parent_base, delta: base - parent_base };
        let blob = pair.target_blob();
        blob.w.warm(blob.heap_end() as usize);
        let cut = match want {
            Want::Bytes { need, .. } if blob.room() >= need => return Ok(Grown::Done),
            Want::Bytes { need, .. } => {
                if blob.garbage() as usize >= GARBAGE_WORTH {
                    compact(&mut pair.target)?;
                    if blob.room() >= need {
                        return Ok(Grown::Done);
                    }
                }
                match choose_cut(blob, &key[base..]) {
                    Some(cut) => cut,
                    None => {
                        // Nothing to cut: what room there can be is behind the garbage.
                        if blob.garbage() > 0 {
                            compact(&mut pair.target)?;
                        }
                        return Ok(Grown::Done);
                    }
                }
            }
            Want::CutAt(at) => at[base..].to_vec(),
        };
        let separator = pair.spell(key, &cut);
        if !pair.parent_takes(separator.len()) {
            return Ok(Grown::Parent(separator.len()));
        }
        if level == 0
            && matches!(want, Want::Bytes { even_out: true, .. })
            && !pair.is_run(&key[base..])
            && pair.rebalance(self.buffer, key)?
        {
            return Ok(Grown::Done);
        }
        pair.cut(key, &cut, reservation, self.buffer)?;
        Ok(Grown::Done)
    }

    /// Makes room in the root: compacts it, or moves all it has into a new child, so that the child can be cut.
    fn grow_root(&self, level: u8, want: Want<'_>, reservation: &mut Reservation<'a>) -> Result<Grown, Stop> {
        let mut root = self.buffer.lock(self.root)?;
        let blob = blob_of(&root);
        if blob.level() != level {
            return Err(Stop::Restart);
        }
        if let Want::Bytes { need, .. } = want {
            if blob.room() >= need {
                return Ok(Grown::Done);
            }
            if blob.garbage() as usize >= GARBAGE_WORTH {
                compact(&mut root)?;
                if blob.room() >= need {
                    return Ok(Grown::Done);
                }
            }
        }
        let built = packed(blob)?;
        let mut child = self.buffer.create(reservation);
        install(&mut child, &built);
        let (id, database) = (blob.id(), blob.database());
        let blob = Blob::new(Words::new(root.modify()));
        blob.init(Kind::Inner, level + 1, id, database);
        blob.set_leftmost_child(Child { id: child.id().0, ..Blob::new(built.words()).as_child(0) });
        // The child is still to be cut: start again from the leaves.
        Err(Stop::Restart)
    }
}

/// A packed copy of a blob.
pub(super) fn packed(blob: Blob<'_>) -> Result<Scratch, Stop> {
    let scratch = Scratch::new();
    match blob.pack(scratch.words(), Rebase::default()) {
        Ok(()) => Ok(scratch),
        Err(_) => Err(Stop::Corrupt(BlobId(blob.id()), "it cannot be packed")),
    }
}

/// Packs a blob in place.
pub(super) fn compact(guard: &mut Exclusive<'_>) -> Result<(), Stop> {
    let built = packed(blob_of(guard))?;
    install(guard, &built);
    Ok(())
}
