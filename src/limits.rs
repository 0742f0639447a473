//! Every limit of the engine, and the relations between them.

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 8192;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Longest tree name, in bytes.
pub const TREE_NAME_BYTES_MAX: usize = 255;
/// Most named trees in one database.
pub const TREES_MAX: usize = 65_536;

/// Size of a blob's slot in memory and the most its image takes in the data file, in bytes.
pub const BLOB_BYTES: usize = 64 * 1024;
/// The same in 64-bit words, the unit of every access to shared blob memory.
pub const BLOB_WORDS: usize = BLOB_BYTES / 8;
/// One more than the most blobs in one database: ids run from 1 to this number less one; 0 is no blob.
pub const BLOBS_MAX: usize = 1 << 24;

/// Unit of space in the data file, of committed memory, and of superblocks and table blocks, in bytes.
pub const BLOCK_BYTES: usize = 4096;

/// Smallest memory budget, in bytes.
pub const CACHE_BYTES_MIN: u64 = 4 << 20;
/// Memory budget unless the options say otherwise, in bytes.
pub const CACHE_BYTES_DEFAULT: u64 = 1 << 30;
/// Smallest journal size that may trigger a checkpoint, in bytes.
pub const JOURNAL_BYTES_MIN: u64 = 1 << 20;
/// Journal size that triggers a checkpoint unless the options say otherwise, in bytes.
pub const JOURNAL_BYTES_DEFAULT: u64 = 256 << 20;
/// Largest encoded journal record (one batch), in bytes.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// How far ahead of the last commit sequence numbers are durably reserved.
pub const SEQUENCE_RESERVE: u64 = 1 << 20;

/// Most leaf blobs that a transaction latches for its reads, beside those of its changes; with more it is carried out alone.
pub const READ_BLOBS_MAX: usize = 64;
/// How often [`Db::transact`](crate::Db::transact) tries before it gives the conflict to its caller.
pub const TRANSACT_TRIES_MAX: u32 = 100;

const _: () = {
    assert!(BLOB_BYTES.is_multiple_of(BLOCK_BYTES));
    // A leaf blob must hold at least four entries of the largest size, so that a cut always leaves both sides room.
    assert!(4 * (KEY_BYTES_MAX + VALUE_BYTES_MAX + 64) < BLOB_BYTES);
    // A node pointer is 14 bits of 4-byte units.
    assert!(BLOB_BYTES / 4 <= 1 << 14);
    // Suffix and value lengths share one 32-bit word with five flag bits.
    assert!(KEY_BYTES_MAX < 1 << 14 && VALUE_BYTES_MAX < 1 << 13);
    assert!(CACHE_BYTES_MIN as usize >= 32 * BLOB_BYTES);
};
