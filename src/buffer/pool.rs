//! The buffer: who is in memory, and what it costs.
//!
//! Invariants:
//! - A slot whose latch admits readers holds the blob's current state; what the store calls current may be
//!   older only if the slot is dirty or writing (`ledger.rs`), and such a slot does not leave memory before
//!   its image is written.
//! - Every slot in memory is in the ring, once.
//! - Committed pages, shadows and charged bytes stay within the budget, but for what operations under way
//!   add; table and state words come on top (`state_bytes`).

use super::arena::{Arena, SLOTS};
use super::cut::Cut;
use super::evict::Ring;
use super::images::Images;
use super::latch::{Latch, Place, Refusal};
use super::ledger::Ledger;
use super::load::{Loading, Scratch};
use super::state::StateWords;
use super::waits::{Meter, Waits};
use super::{Exclusive, Fault, ImageFormat, Optimistic, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BLOB_BYTES, BLOBS_MAX, CACHE_BYTES_MIN};
use crate::store::{BlobId, Store};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, SlotWords};
use std::sync::Arc;

/// The buffer manager of one database.
pub(crate) struct Buffer {
    pub(super) store: Arc<dyn Images>,
    pub(super) format: Box<dyn ImageFormat>,
    pub(super) arena: Arena,
    latches: StateWords,
    pub(super) ledger: Ledger,
    pub(super) budget_bytes: u64,
    /// Memory outside slots and shadows that counts against the budget.
    charged_bytes: AtomicU64,
    pub(super) cut: Cut,
    pub(super) ring: Mutex<Ring>,
    /// Held by the one thread that evicts.
    pub(super) evicting: Mutex<()>,
    /// Held from packing images until their write is settled.
    pub(super) disk: Mutex<()>,
    /// Held by the one thread that lets the data file grow for a claim.
    pub(super) growing: Mutex<()>,
    /// The file could not be made longer ahead of need.
    pub(super) ahead_failed: AtomicBool,
    pub(super) replaying: AtomicBool,
    pub(super) loading: Loading,
    pub(super) scratch: Scratch,
    /// Ids above were never in memory.
    id_high: AtomicU32,
    pub(super) counts: Counts,
}

/// Events and residents.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) resident: AtomicU64,
    pub(super) evictions: AtomicU64,
    pub(super) loads: AtomicU64,
    pub(super) latch_waits: Meter,
}

/// What the buffer holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BufferStats {
    /// Memory of resident blobs.
    pub(crate) committed_bytes: u64,
    /// Copies of blobs made for the cut in progress.
    pub(crate) shadow_bytes: u64,
    /// Memory of blobs that have changes the store does not have.
    pub(crate) dirty_bytes: u64,
    /// Blobs in memory.
    pub(crate) resident_blobs: u64,
    /// Blobs taken out of memory so far.
    pub(crate) evictions: u64,
    /// Blobs read from the store so far.
    pub(crate) loads: u64,
    /// How long was waited for latches.
    pub(crate) latch_waits: Waits,
    /// State and bookkeeping words touched so far; not part of the budget.
    pub(crate) state_bytes: u64,
}

impl Buffer {
    /// A buffer that keeps its memory within `cache_bytes`.
    pub(crate) fn new(store: Arc<Store>, cache_bytes: u64, format: Box<dyn ImageFormat>) -> Result<Self> {
        if cache_bytes < CACHE_BYTES_MIN {
            let message = format!("cache of {cache_bytes} bytes is under the minimum of {CACHE_BYTES_MIN}");
            return Err(Error::invalid(message));
        }
        let slots_min = (cache_bytes.saturating_mul(4) / BLOB_BYTES as u64).min(BLOBS_MAX as u64);
        let arena = Arena::new(SLOTS, slots_min as usize);
        Ok(Self::over(store, cache_bytes, format, arena))
    }

    /// A buffer over any store and arena.
    pub(super) fn over(
        store: Arc<dyn Images>,
        budget_bytes: u64,
        format: Box<dyn ImageFormat>,
        arena: Arena,
    ) -> Self {
        let slots = arena.slots();
        Self {
            store,
            format,
            latches: StateWords::new(slots),
            ledger: Ledger::new(slots),
            arena,
            budget_bytes,
            charged_bytes: AtomicU64::new(0),
            cut: Cut::new(),
            ring: Mutex::default(),
            evicting: Mutex::new(()),
            disk: Mutex::new(()),
            growing: Mutex::new(()),
            ahead_failed: AtomicBool::new(false),
            replaying: AtomicBool::new(false),
            loading: Loading::default(),
            scratch: Scratch::default(),
            id_high: AtomicU32::new(0),
            counts: Counts::default(),
        }
    }

    /// Starts an optimistic read; waits for a writer, and says Restart if that takes long.
    #[inline]
    pub(crate) fn read(&self, id: BlobId) -> Result<Optimistic<'_>, Fault> {
        let latch = self.latch(id).ok_or(Fault::Miss(id))?;
        let version = self
            .patiently(latch.try_sample(), || latch.sample())
            .map_err(|refusal| Self::fault(id, refusal))?;
        Ok(Optimistic::new(self, latch, id, version))
    }

    /// Takes the shared latch; waits while a writer is in.
    pub(crate) fn share(&self, id: BlobId) -> Result<Shared<'_>, Fault> {
        let latch = self.latch(id).ok_or(Fault::Miss(id))?;
        self.patiently(latch.try_share(), || latch.share()).map_err(|refusal| Self::fault(id, refusal))?;
        Ok(Shared::new(self, latch, id))
    }

    /// Takes the exclusive latch; waits while others hold it.
    pub(crate) fn lock(&self, id: BlobId) -> Result<Exclusive<'_>, Fault> {
        let latch = self.latch(id).ok_or(Fault::Miss(id))?;
        self.patiently(latch.try_lock(), || latch.lock()).map_err(|refusal| Self::fault(id, refusal))?;
        Ok(Exclusive::new(self, latch, id))
    }

    /// Takes the exclusive latch if nobody holds it.
    pub(crate) fn try_lock(&self, id: BlobId) -> Result<Exclusive<'_>, Fault> {
        let latch = self.latch(id).ok_or(Fault::Miss(id))?;
        latch.try_lock().map_err(|refusal| Self::fault(id, refusal))?;
        Ok(Exclusive::new(self, latch, id))
    }

    /// Waits for a latch if the first try found it held; that is timed.
    #[inline]
    fn patiently<T>(
        &self,
        first: Result<T, Refusal>,
        wait: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match first {
            Err(Refusal::Busy) => self.counts.latch_waits.time(wait),
            done => done,
        }
    }

    #[inline]
    pub(super) fn latch(&self, id: BlobId) -> Option<Latch<'_>> {
        self.latches.get(id.0 as usize).map(Latch)
    }

    pub(super) fn fault(id: BlobId, refusal: Refusal) -> Fault {
        match refusal {
            Refusal::Absent => Fault::Miss(id),
            Refusal::Gone | Refusal::Busy => Fault::Restart,
        }
    }

    /// The latch of an id that has a slot, or the error that says why it has none.
    pub(super) fn slot(&self, id: BlobId) -> Result<Latch<'_>> {
        if id.0 == 0 || id.0 as usize >= BLOBS_MAX {
            let message = format!("blob {} is named where ids run from 1 to {}", id.0, BLOBS_MAX - 1);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        self.latch(id).ok_or_else(|| {
            let slots = self.arena.slots();
            Error::new(
                ErrorKind::Unsupported,
                format!("blob {}: the system gave address space for blobs below {slots} only", id.0),
            )
        })
    }

    /// A slot has come into memory, exclusively latched by the caller.
    pub(super) fn admit(&self, id: BlobId) {
        self.counts.resident.fetch_add(1, Ordering::Relaxed);
        if self.id_high() < id.0 {
            self.id_high.fetch_max(id.0, Ordering::AcqRel);
        }
        let mut ring = self.ring.lock();
        if !self.ledger.update(id, |entry| entry.with_ring(true)).in_ring() {
            ring.push(id);
        }
    }

    /// Memory for a slot that is to have `bytes` bytes, whose exclusive latch the caller has.
    pub(super) fn populate(&self, id: BlobId, bytes: usize) {
        if self.arena.pages(bytes) >= self.ledger.get(id).pages() + 2 {
            self.arena.populate(id, bytes);
        }
    }

    /// Counts the memory of a changed slot anew, and gives back a tail of two pages or more.
    pub(super) fn account(&self, id: BlobId, words: &SlotWords) {
        let used = self.format.used_bytes(words).min(BLOB_BYTES);
        let (pages, before) = (self.arena.pages(used), self.ledger.get(id).pages());
        if pages + 2 <= before {
            self.arena.release_from(id, used);
        } else if pages <= before {
            return;
        }
        self.ledger.update(id, |entry| entry.with_pages(pages));
    }

    /// Ends a blob whose exclusive latch the caller has, and releases that.
    pub(super) fn retire(&self, id: BlobId, latch: Latch<'_>, words: &SlotWords) {
        self.touch(id, words);
        self.arena.detach(id);
        latch.free();
        self.counts.resident.fetch_sub(1, Ordering::Relaxed);
        self.forget(id);
    }

    /// Ends a blob without reading it into memory. Called inside the gate. If it is in memory it must not be
    /// latched: [`Fault::Restart`] then; [`Fault::Miss`] while it is on its way out.
    pub(crate) fn discard(&self, id: BlobId) -> Result<(), Fault> {
        let latch = self.latch(id).ok_or(Fault::Miss(id))?;
        match latch.place() {
            Place::Evicted(version) if latch.claim(version) => {
                // Out of memory it is clean: the store has it as of any cut.
                latch.free();
                self.forget(id);
                Ok(())
            }
            Place::Evicted(_) | Place::Free => Err(Fault::Restart),
            Place::Leaving | Place::Resident => self.try_lock(id).map(Exclusive::free),
        }
    }

    pub(super) fn id_high(&self) -> u32 {
        self.id_high.load(Ordering::Acquire)
    }

    /// Memory that counts against the budget.
    pub(super) fn used_bytes(&self) -> u64 {
        self.ledger.committed_bytes() + self.cut.shadow_bytes() + self.charged_bytes.load(Ordering::Relaxed)
    }

    /// Counts memory outside the buffer (the journal's) against the budget.
    pub(crate) fn charge(&self, bytes: u64) {
        self.charged_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes back what was charged.
    pub(crate) fn discharge(&self, bytes: u64) {
        self.charged_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Memory of dirty blobs, and of those being written for a cut.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.ledger.dirty_bytes()
    }

    /// Whether dirty blobs and shadows take over half of the budget, so that a checkpoint is due.
    pub(crate) fn over_dirty_limit(&self) -> bool {
        self.dirty_bytes() + self.cut.shadow_bytes() > self.budget_bytes / 2
    }

    /// How far dirty blobs and shadows have come from where a checkpoint is due, 0, to where writers have to write them
    /// themselves, 1. Below 0 before that.
    pub(crate) fn dirty_share(&self) -> f64 {
        let due = self.budget_bytes as f64 / 2.0;
        ((self.dirty_bytes() + self.cut.shadow_bytes()) as f64 - due) / (due * 3.0 / 4.0)
    }

    /// Number of blobs in memory.
    pub(crate) fn resident(&self) -> u64 {
        self.counts.resident.load(Ordering::Relaxed)
    }

    /// What the buffer holds and has done.
    pub(crate) fn stats(&self) -> BufferStats {
        BufferStats {
            committed_bytes: self.ledger.committed_bytes(),
            shadow_bytes: self.cut.shadow_bytes(),
            dirty_bytes: self.dirty_bytes(),
            resident_blobs: self.resident(),
            evictions: self.counts.evictions.load(Ordering::Relaxed),
            loads: self.counts.loads.load(Ordering::Relaxed),
            latch_waits: self.counts.latch_waits.read(),
            state_bytes: u64::from(self.id_high()) * 2 * size_of::<u64>() as u64,
        }
    }
}
