//! The adaptive radix tree inside one blob: layout and algorithms, no I/O, no locks, no globals.
//!
//! Called by `tree` alone, on a slot's memory. Searches and cursors may run on bytes that another thread is changing:
//! they end, never fault, and what they say counts only after the caller validated its latch. Changes need the
//! exclusive latch and a blob that passed [`Blob::verify`] when it was read.

mod build;
mod bytes;
mod cursor;
mod header;
mod inner;
mod insert;
mod leaf;
mod node;
mod order;
mod pack;
mod pen;
mod prune;
mod ptr;
mod remove;
mod search;
mod simd;
mod sketch;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod weights;
mod words;

pub(crate) use build::build;
pub(crate) use bytes::{Bytes, position};
pub(crate) use cursor::Cursor;
pub(crate) use header::{Blob, HEADER_BYTES, Kind};
pub(crate) use inner::{Below, CHILD_BYTES, Child, Slot};
pub(crate) use insert::room_needed;
pub(crate) use leaf::Leaf;
pub(crate) use pack::Rebase;
pub(crate) use prune::Keep;
pub(crate) use search::LookUp;
pub(crate) use sketch::{Place, Sketch};
pub(crate) use walk::{Walk, WalkMemory};
pub(crate) use words::{Scratch, Words};
