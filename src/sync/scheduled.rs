//! Shuttle: the whole engine on one thread of the system, switched at every access to what stands here.

pub(crate) use shuttle::hint::spin_loop;
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
pub(crate) use shuttle::thread::{JoinHandle, current, sleep, yield_now};
pub(crate) use shuttle::thread_local;

use shuttle::rand::{RngCore, thread_rng};

/// From the schedule's seed, so that a failed one can be run again.
pub(crate) fn random_u64() -> u64 {
    thread_rng().next_u64()
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    shuttle::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// The number of this thread in this schedule.
pub(crate) fn thread_number() -> usize {
    shuttle::thread::current().id().into()
}
