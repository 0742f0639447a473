//! The storage trait under journal and store alike: a directory of files with positioned reads and writes.
//!
//! Contract that every implementation keeps and every caller relies on:
//! - Data is durable only after [`StorageFile::sync`] returned; a name (created, renamed or removed) only after
//!   [`Storage::sync_dir`]. Between syncs writes may reach the device in any order, in part, or not at all.
//! - A rename replaces the target atomically.
//! - A failed sync leaves it unknown what is durable: the caller must not retry it as if it could succeed.

mod fault;
mod file;
mod memory;
#[cfg(test)]
mod tests;

pub use fault::FaultStorage;
pub use file::FileStorage;
pub use memory::MemoryStorage;

use std::fmt;
use std::io;
use std::sync::Arc;

/// How [`Storage::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new empty file for reading and writing; an existing one of that name is truncated.
    Create,
}

/// How [`Storage::lock`] locks the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// The one writer.
    Exclusive,
    /// One of any number of readers.
    Shared,
}

/// A lock on a storage directory, released when dropped.
pub trait StorageLock: Send + Sync {}

/// A directory that holds one database. File names are plain names without separators.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>>;
    /// The names of all that is in the directory, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Renames a file; an existing target is replaced atomically.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals so far durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Locks the directory without waiting; [`io::ErrorKind::WouldBlock`] when another holder is in the way.
    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn StorageLock>>;
    /// The full name of `name` for error messages.
    fn describe(&self, name: &str) -> String;
}

/// Most zeros that are written at once, in bytes.
const ZEROS_BYTES: u64 = 1 << 20;

/// An open file.
#[allow(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait StorageFile: fmt::Debug + Send + Sync {
    /// Fills `buf` from `offset`; [`io::ErrorKind::UnexpectedEof`] when the file ends before it is full.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes sure that writes to `bytes` from `offset` on find space. They read as zeros where nothing was written, and the file is at
    /// least that long then. When it fails part of it may be there.
    ///
    /// This one writes zeros, so the file must end at `offset`; cheaper ways leave alone what is there already.
    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.write_zeros(offset, bytes)
    }
    /// Writes zeros, in pieces of 1 MiB: unlike [`allocate`](Self::allocate) it leaves the file system nothing to
    /// note about these blocks when they are written again.
    fn write_zeros(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let zeros = vec![0; bytes.min(ZEROS_BYTES) as usize];
        let end = offset.checked_add(bytes).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut at = offset;
        while at < end {
            let piece = ZEROS_BYTES.min(end - at);
            self.write_at(at, &zeros[..piece as usize])?;
            at += piece;
        }
        Ok(())
    }
    /// Makes all that was written so far, and the length, durable.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
}
