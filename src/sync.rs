//! The doors to atomics, threads and randomness: everything below uses these, so a test can hold the door.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use crate::limits::BLOB_WORDS;

/// The memory of one blob. Shared between threads, so it is read and written through relaxed atomic words only.
pub(crate) type SlotWords = [AtomicU64; BLOB_WORDS];

/// A random number for salts and database ids, from the seed that the standard library takes from the system.
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    #[allow(clippy::disallowed_types, reason = "the one door to randomness")]
    let state = std::collections::hash_map::RandomState::new();
    let mut hasher = state.build_hasher();
    hasher.write_u64(0);
    hasher.finish()
}

/// Starts a named background thread.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    #[allow(clippy::disallowed_methods, reason = "the one door to threads")]
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}
