//! Numbers about a database.

use crate::engine::{EngineStats, Waits};
use crate::tree::LimbStats;

/// Numbers about a database. All sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Version of the last commit.
    pub last_version: u64,
    /// Memory that counts against the cache: blobs, copies for a checkpoint, journal buffers.
    pub cache_used_bytes: u64,
    /// The budget for that.
    pub cache_bytes: u64,
    /// Memory of blobs that the data file does not have yet.
    pub dirty_bytes: u64,
    /// Memory on top of the cache: page table and state words.
    pub overhead_bytes: u64,
    /// Blobs in memory.
    pub resident_blobs: u64,
    /// Blobs read from the data file since open.
    pub blob_reads: u64,
    /// Blobs written to the data file since open.
    pub blob_writes: u64,
    /// Blobs taken out of memory since open.
    pub evictions: u64,
    /// Length of the data file.
    pub data_file_bytes: u64,
    /// Space in it that can be written.
    pub free_bytes: u64,
    /// Records in the journal since the last cut; 0 when opened read-only.
    pub journal_bytes: u64,
    /// Checkpoints since open.
    pub checkpoints: u64,
    /// Blobs of dropped trees and directories freed since open.
    pub reclaimed_blobs: u64,
    /// Journal records that the open replayed.
    pub recovered_records: u64,
    /// Journal bytes that the open passed over: a torn tail, or damage that the recovery policy allowed.
    pub recovered_discarded_bytes: u64,
    /// How long commits waited at the gate, since open. It is closed for the cut of a checkpoint, for moves and deletes of directories,
    /// and for batches that lost too many races.
    pub gate_waits: Waits,
    /// How long the gate was closed, each time.
    pub gate_closures: Waits,
    /// How long was waited for latches of blobs, since open; only those that were not had at once.
    pub latch_waits: Waits,
    /// Sums over all blobs; only from [`Db::survey`](crate::Db::survey).
    pub survey: Option<Survey>,
}

/// Sums over all blobs of all trees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Records.
    pub entries: u64,
    /// Sum of the lengths of all keys.
    pub key_bytes: u64,
    /// Sum of the lengths of all values.
    pub value_bytes: u64,
    /// Blobs that hold records.
    pub leaf_blobs: u64,
    /// Blobs above them.
    pub inner_blobs: u64,
    /// Levels of the highest tree, or of the highest directory that moved.
    pub height: u64,
    /// Bytes in use in all blobs.
    pub live_bytes: u64,
    /// Bytes in them that a compaction would free.
    pub garbage_bytes: u64,
    /// Leaf blobs less than 35 % full, roots not counted.
    pub sparse_leaf_blobs: u64,
    /// Directories that hang where a move put them, with blobs of their own.
    pub mounts: u64,
    /// The longest chain of such directories inside each other, the tree itself included.
    pub limb_depth: u64,
}

impl Stats {
    pub(crate) fn new(from: EngineStats) -> Self {
        let EngineStats {
            buffer,
            gate,
            store,
            journal_bytes,
            checkpoints,
            reclaimed,
            recovered,
            last_version,
            cache_bytes,
            charged,
        } = from;
        let unit = crate::limits::BLOCK_BYTES as u64;
        Self {
            last_version,
            cache_used_bytes: buffer.committed_bytes + buffer.shadow_bytes + charged,
            cache_bytes,
            dirty_bytes: buffer.dirty_bytes,
            overhead_bytes: buffer.state_bytes + store.table_memory_bytes,
            resident_blobs: buffer.resident_blobs,
            blob_reads: store.blob_reads,
            blob_writes: store.blob_writes,
            evictions: buffer.evictions,
            data_file_bytes: store.file_units * unit,
            free_bytes: store.free_units * unit,
            journal_bytes,
            checkpoints,
            reclaimed_blobs: reclaimed,
            recovered_records: recovered.records,
            recovered_discarded_bytes: recovered.discarded_bytes,
            gate_waits: gate.waits,
            gate_closures: gate.closures,
            latch_waits: buffer.latch_waits,
            survey: None,
        }
    }

    pub(crate) fn add_survey(&mut self, sums: &LimbStats) {
        self.survey = Some(Survey {
            entries: sums.entries,
            key_bytes: sums.key_bytes,
            value_bytes: sums.value_bytes,
            leaf_blobs: sums.leaf_blobs,
            inner_blobs: sums.inner_blobs,
            height: sums.height,
            live_bytes: sums.live_bytes,
            garbage_bytes: sums.garbage_bytes,
            sparse_leaf_blobs: sums.sparse_leaf_blobs,
            mounts: sums.mounts,
            limb_depth: sums.limb_depth,
        });
    }
}
