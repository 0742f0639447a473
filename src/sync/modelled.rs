//! Loom: models run through all executions within the bounds of the model.
//!
//! What loom cannot show: it takes SeqCst accesses for acquiring and releasing ones, so here a SeqCst store brings a SeqCst fence
//! with it, which loom does know; it keeps only the last few stores to a word; it lets a relaxed load read
//! old values but never ones from the future.

#![allow(dead_code, reason = "a door for each thing, whatever the models make of it")]

pub(crate) use loom::hint::spin_loop;
pub(crate) use loom::sync::atomic::fence;
pub(crate) use loom::thread::{JoinHandle, current, yield_now};

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

/// Runs a model through all executions with at most `preemptions` switches away from a thread that could have gone on.
#[cfg(test)]
pub(crate) fn check(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&runs);
    let began = std::time::Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let runs = runs.load(Ordering::Relaxed);
    println!("{name}: {runs} executions, at most {preemptions} preemptions, {:.1?}", began.elapsed());
}

/// Shows that a model fails where it goes without `site`.
#[cfg(test)]
pub(crate) fn fails_without(
    site: &'static str,
    name: &str,
    preemptions: usize,
    model: impl Fn() + Send + Sync + std::panic::UnwindSafe + 'static,
) {
    WEAKENED.set(site);
    let outcome = std::panic::catch_unwind(|| check(name, preemptions, model));
    WEAKENED.set("");
    assert!(outcome.is_err(), "the model of the {name} does not notice that {site} is missing");
    println!("{name} without {site}: fails");
}

/// Whether the model goes without this.
pub(crate) fn is_left_out(site: &str) -> bool {
    WEAKENED.get() == site
}

/// The ordering, or none where the model goes without it.
pub(crate) fn order(site: &'static str, order: Ordering) -> Ordering {
    if is_left_out(site) { Ordering::Relaxed } else { order }
}

/// The fence, unless the model goes without it.
pub(crate) fn fence_at(site: &'static str, order: Ordering) {
    if !is_left_out(site) {
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

/// Loom's, with a fence after stores that are SeqCst, and a turn before every access.
///
/// The turn is a word that every access changes, relaxed, so that it orders nothing. Loom looks for another order of two accesses
/// only where one is the last before the other, and a load and a load need no other order; so it misses that of a load by one
/// thread and a store by another that has loaded the word before. All turns need all orders.
macro_rules! watched {
    ($name:ident, $value:ty) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            word: loom::sync::atomic::$name,
            turn: loom::sync::atomic::AtomicUsize,
        }

        impl $name {
            #[track_caller]
            pub(crate) fn new(value: $value) -> Self {
                Self {
                    word: loom::sync::atomic::$name::new(value),
                    turn: loom::sync::atomic::AtomicUsize::new(0),
                }
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.turn.fetch_add(0, Ordering::Relaxed);
                self.word.load(order)
            }

            watched!(stores $value:
                store(value: $value) -> (),
                swap(value: $value) -> $value
            );

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.turn.fetch_add(0, Ordering::Relaxed);
                let outcome = self.word.compare_exchange(from, to, success, failure);
                fence_if_seq_cst(success);
                outcome
            }
        }
    };
    (stores $value:ty: $($method:ident(value: $argument:ty) -> $result:ty),+) => {
        $(
            #[track_caller]
            pub(crate) fn $method(&self, value: $argument, order: Ordering) -> $result {
                self.turn.fetch_add(0, Ordering::Relaxed);
                let result = self.word.$method(value, order);
                fence_if_seq_cst(order);
                result
            }
        )+
    };
}

macro_rules! watched_number {
    ($name:ident, $value:ty) => {
        watched!($name, $value);

        impl $name {
            watched!(stores $value:
                fetch_add(value: $value) -> $value,
                fetch_sub(value: $value) -> $value,
                fetch_and(value: $value) -> $value,
                fetch_or(value: $value) -> $value,
                fetch_max(value: $value) -> $value
            );
        }
    };
}

watched!(AtomicBool, bool);
watched_number!(AtomicU32, u32);
watched_number!(AtomicU64, u64);
watched_number!(AtomicUsize, usize);
