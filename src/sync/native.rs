//! What a normal build uses.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
pub(crate) use std::thread::{JoinHandle, current, sleep, yield_now};
pub(crate) use std::thread_local;
pub(crate) use std::time::Instant;

use std::cell::Cell;
use std::sync::atomic::Ordering;

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

/// The number of this thread among those that asked for theirs.
#[inline]
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

/// Runs `work` in up to `threads` threads at once, this one included, and returns when all are through. It shares out what there
/// is to do by itself, as there may be fewer.
pub(crate) fn in_threads(threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            #[allow(clippy::disallowed_methods, reason = "the one door to threads")]
            let started = std::thread::Builder::new().spawn_scoped(scope, &work);
            if started.is_err() {
                break;
            }
        }
        work();
    });
}

/// How many threads can run at once; 1 if that is not known.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
