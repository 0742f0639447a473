//! Loom: models run through all executions within the bounds of the model.
//!
//! What loom cannot show: it takes SeqCst accesses for acquiring and releasing ones, so here a SeqCst access to a flag or a count
//! brings a SeqCst fence with it, which loom does know; it keeps only the last few stores to a word; it lets a relaxed load read
//! old values but never ones from the future.

pub(crate) use loom::hint::spin_loop;
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
pub(crate) use loom::thread::{JoinHandle, yield_now};

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Loom's, which knows of no constant beginnings.
macro_rules! local {
    ($(static $name:ident: $type:ty = const { $init:expr };)+) => {
        loom::thread_local! { $(static $name: $type = $init;)+ }
    };
}
pub(crate) use local as thread_local;

std::thread_local! {
    /// What the model that this thread runs goes without.
    static WEAKENED: Cell<&'static str> = const { Cell::new("") };
}

/// Runs a model without one of the orderings that its proof rests on.
#[cfg(test)]
pub(crate) fn without(site: &'static str, model: impl FnOnce()) {
    WEAKENED.set(site);
    model();
    WEAKENED.set("");
}

/// The ordering, or none where the model goes without it.
pub(crate) fn order(site: &'static str, order: Ordering) -> Ordering {
    if WEAKENED.get() == site { Ordering::Relaxed } else { order }
}

/// The fence, unless the model goes without it.
pub(crate) fn fence_at(site: &'static str, order: Ordering) {
    if WEAKENED.get() != site {
        fence(order);
    }
}

/// Any will do: there are no files in models.
pub(crate) fn random_u64() -> u64 {
    0x9E37_79B9_7F4A_7C15
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    loom::thread::Builder::new().name(name.to_owned()).spawn(body)
}

pub(crate) fn sleep(_time: Duration) {
    yield_now();
}

/// The number of this thread in this execution: loom shows it as `ThreadId(n)`, and has no other way to ask.
pub(crate) fn thread_number() -> usize {
    let shown = format!("{:?}", loom::thread::current().id());
    shown.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("loom numbers its threads")
}

fn fence_if_seq_cst(order: Ordering) {
    if order == Ordering::SeqCst {
        fence(order);
    }
}

macro_rules! seq_cst_by_fences {
    ($name:ident, $value:ty) => {
        /// Loom's, with a fence before loads and after stores that are SeqCst.
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            #[track_caller]
            pub(crate) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                fence_if_seq_cst(order);
                self.0.load(order)
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, order);
                fence_if_seq_cst(order);
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                let before = self.0.swap(value, order);
                fence_if_seq_cst(order);
                before
            }
        }
    };
}

seq_cst_by_fences!(AtomicBool, bool);
seq_cst_by_fences!(AtomicUsize, usize);

impl AtomicUsize {
    #[track_caller]
    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        let before = self.0.fetch_add(value, order);
        fence_if_seq_cst(order);
        before
    }

    #[track_caller]
    pub(crate) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        let before = self.0.fetch_sub(value, order);
        fence_if_seq_cst(order);
        before
    }
}
