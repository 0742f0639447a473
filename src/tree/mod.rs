//! Operations across blobs. A limb is a B+-tree of blobs over keys relative to the limb; every blob is an ART.
//!
//! Invariants:
//! - T1 A blob's keys are relative to its base. An entry of an inner blob says how many bytes longer the child's base
//!   is than its own, so nothing in a blob tells its absolute path. Every key that can come into the child's range
//!   starts with the child's base.
//! - T2 An inner blob's separators lie strictly inside its range; the child of the greatest separator at most the key,
//!   or the leftmost child, holds the key. Levels fall by one from parent to child, leaf blobs are level 0.
//! - T3 The root keeps its id for life. The bases along the leftmost and the rightmost path are empty.
//! - T4 Structure changes alter no content and are passages of their own: parent before child before sibling is latched.
//!
//! Called by the orchestration layer. Nothing here does I/O but [`Limb::settle`], which is called outside gate and
//! latches.

mod admit;
mod bounds;
mod compact;
mod count;
mod descend;
mod fill;
mod grow;
mod image;
mod land;
mod life;
#[cfg(all(test, loom))]
mod life_models;
mod longest;
mod merge;
mod mounts;
mod page;
mod pair;
mod read;
mod reclaim;
mod scan;
mod shift;
mod split;
#[cfg(test)]
pub(crate) mod tests;
mod walk;
mod workspace;
mod write;

pub(crate) use bounds::{common_prefix, successor};
pub(crate) use compact::Place as CompactPlace;
pub(crate) use count::{Counted, Part};
pub(crate) use fill::{Gap, Place, Sketch};
pub(crate) use image::Format;
pub(crate) use life::Life;
pub(crate) use mounts::Mount;
pub(crate) use page::{Page, PageRequest};
pub(crate) use pair::LockedPair;
pub(crate) use reclaim::Reclaimed;
pub(crate) use walk::LimbStats;
pub(crate) use workspace::{BOUND_ENOUGH, Known, Workspace};
pub(crate) use write::{Fences, LockedLeaf, Next};

use crate::art::{Blob, Kind, Words};
use crate::buffer::{Buffer, Fault, Gate, Reservation};
use crate::error::{Error, ErrorKind, Result};
use crate::store::BlobId;
use crate::sync::yield_now;

/// Why a step across blobs came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A blob is not resident: leave gate and latches, [`Limb::settle`], start again.
    Miss(BlobId),
    /// A race was lost: start again.
    Restart,
    /// A workspace needs more blobs than were reserved: start again with more.
    Frames,
    /// Sound blobs that do not fit together.
    Corrupt(BlobId, &'static str),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Miss(id) => Self::Miss(id),
            Fault::Restart => Self::Restart,
        }
    }
}

/// A limb: the tree of blobs under one root.
#[derive(Clone, Copy)]
pub(crate) struct Limb<'a> {
    buffer: &'a Buffer,
    root: BlobId,
    /// Those of the named tree whose limb this is.
    life: Option<(&'a Life, &'a Gate)>,
}

/// What a retry loop remembers between tries.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    restarts: u32,
    moved: u32,
    failed: Option<BlobId>,
}

/// After so many restarts a reader stops being optimistic.
const OPTIMISTIC_TRIES: u32 = 24;
/// After so many tries that a move made worthless a reader enters the gate.
const MOVED_TRIES: u32 = 8;

impl Tries {
    /// Whether to take shared latches rather than to validate.
    pub(crate) fn is_patient(&self) -> bool {
        self.restarts >= OPTIMISTIC_TRIES
    }

    /// How many races were lost in this operation.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }
}

impl<'a> Limb<'a> {
    pub(crate) fn new(buffer: &'a Buffer, root: BlobId) -> Self {
        Self { buffer, root, life: None }
    }

    /// The same limb as that of a named tree: its tries fail once the tree has ended, and its reads heed moves.
    pub(crate) fn of(self, life: &'a Life, gate: &'a Gate) -> Self {
        Self { life: Some((life, gate)), ..self }
    }

    /// An error once the limb has ended. Asked inside the gate, which is closed when a limb ends: so its blobs stay its own
    /// until the passage is over.
    pub(super) fn check_alive(&self) -> Result<()> {
        self.life.map_or(Ok(()), |(life, _)| life.check("the tree"))
    }

    /// Makes an empty limb; returns its root.
    pub(crate) fn plant(buffer: &'a Buffer, reservation: &mut Reservation<'a>, database: u64) -> BlobId {
        let mut root = buffer.create(reservation);
        let id = root.id();
        let blob = Blob::new(Words::new(root.modify()));
        blob.init(Kind::Leaf, 0, id.0, database);
        id
    }

    /// Deals with what stopped an operation, so that it can be tried again: loads a missing blob, gives way to others.
    /// Called outside gate and latches.
    pub(crate) fn settle(&self, stop: Stop, tries: &mut Tries) -> Result<()> {
        self.check_alive()?;
        match stop {
            Stop::Miss(id) => match self.buffer.load(id) {
                Ok(()) => Ok(()),
                // The blob may have been freed since its parent was read: only a second failure is one.
                Err(_) if tries.failed != Some(id) => {
                    tries.failed = Some(id);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Stop::Restart | Stop::Frames => {
                tries.restarts = tries.restarts.saturating_add(1);
                if tries.restarts > 4 {
                    yield_now();
                }
                Ok(())
            }
            Stop::Corrupt(id, what) => {
                Err(Error::new(ErrorKind::Corrupt, format!("index blob {}: {what}", id.0)))
            }
        }
    }

    /// Runs `body` until it is not stopped. Called outside gate and latches; `body` takes them itself.
    pub(crate) fn retry<T>(&self, mut body: impl FnMut(&Tries) -> Result<T, Stop>) -> Result<T> {
        let mut tries = Tries::default();
        loop {
            match body(&tries) {
                Ok(value) => return Ok(value),
                Err(stop) => self.settle(stop, &mut tries)?,
            }
        }
    }

    /// Runs a read until it is not stopped, and no directory moved under it: a reader below a directory that moves away could
    /// else see what is put there under the new name. Called outside gate and latches.
    #[inline]
    pub(super) fn read<T>(&self, mut body: impl FnMut(&Tries) -> Result<T, Stop>) -> Result<T> {
        let Some((life, gate)) = self.life else { return self.retry(body) };
        let mut tries = Tries::default();
        loop {
            let entry = (tries.moved >= MOVED_TRIES).then(|| gate.enter());
            let (outcome, is_still) = life.read(|| body(&tries));
            drop(entry);
            match outcome {
                Ok(value) if is_still => return Ok(value),
                Err(stop) if is_still => self.settle(stop, &mut tries)?,
                _ => {
                    self.check_alive()?;
                    tries.moved += 1;
                }
            }
        }
    }
}
