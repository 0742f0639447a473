//! The doors to atomics, locks, threads and randomness: everything takes them from here, so a test can hold the door.
//!
//! There are three sets. `native` is the real one. Under `cfg(loom)` and `cfg(shuttle)` two model checkers stand behind the same
//! names: loom runs small models through the executions that the memory model allows, within bounds; shuttle runs the whole
//! engine through many schedules, all of them sequentially consistent. Neither costs anything in a normal build.

#[cfg(loom)]
mod modelled;
#[cfg(not(any(loom, shuttle)))]
mod native;
#[cfg(any(loom, shuttle))]
mod parking;
#[cfg(shuttle)]
mod scheduled;
#[cfg(any(loom, shuttle))]
mod still;

#[cfg(loom)]
pub(crate) use modelled::*;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use native::*;
#[cfg(any(loom, shuttle))]
pub(crate) use parking::*;
#[cfg(shuttle)]
pub(crate) use scheduled::*;
pub(crate) use std::sync::atomic::Ordering;
#[cfg(any(loom, shuttle))]
pub(crate) use still::*;

use crate::limits::BLOB_WORDS;

/// An ordering that a proof rests on: a model shows that something breaks without it.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn order(_site: &'static str, order: Ordering) -> Ordering {
    order
}

/// A fence that a proof rests on: a model shows that something breaks without it.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn fence_at(_site: &'static str, order: Ordering) {
    fence(order);
}

/// A word of a blob. No checker sees it: that it is only used as it should is for the latches to say, which they do see.
pub(crate) type SlotWord = std::sync::atomic::AtomicU64;

/// A count for people to read, no part of any protocol. No checker sees it.
pub(crate) type Tally = std::sync::atomic::AtomicU64;

/// The memory of one blob. Shared between threads, so it is read and written through relaxed atomic words only.
pub(crate) type SlotWords = [SlotWord; BLOB_WORDS];
