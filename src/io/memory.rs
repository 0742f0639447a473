//! Storage in memory, for databases that need not outlive the process and for tests.
//!
//! Clones share one directory. A file that was removed or replaced stays usable through handles that are open, as on
//! a Unix file system. Syncs do nothing.

use super::{LockMode, OpenMode, Storage, StorageFile, StorageLock};
use crate::sync::{Mutex, RwLock};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// A directory of files in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    files: Arc<RwLock<HashMap<String, Arc<MemoryFile>>>>,
    locks: Locks,
}

impl MemoryStorage {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Storage for MemoryStorage {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        match mode {
            OpenMode::Read | OpenMode::ReadWrite => {
                let files = self.files.read();
                let file = files.get(name).ok_or_else(|| missing(name))?;
                Ok(Arc::clone(file) as Arc<dyn StorageFile>)
            }
            OpenMode::Create => {
                let file = Arc::clone(self.files.write().entry(name.to_owned()).or_default());
                file.bytes.write().clear();
                Ok(file)
            }
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.read().keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.write();
        let file = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.write().remove(name).map(drop).ok_or_else(|| missing(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn StorageLock>> {
        self.locks.lock(mode)
    }

    fn describe(&self, name: &str) -> String {
        format!("memory:{name}")
    }
}

/// The error for a name that the directory does not have.
pub(super) fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

#[derive(Debug, Default)]
struct MemoryFile {
    bytes: RwLock<Vec<u8>>,
}

impl StorageFile for MemoryFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        read_from(&self.bytes.read(), offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_into(&mut self.bytes.write(), size(offset)?, bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.bytes.write().resize(size(bytes)?, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }
}

/// Fills `buf` from `offset` of `content`, or fails like a read past the end of a file.
pub(super) fn read_from(content: &[u8], offset: u64, buf: &mut [u8]) -> io::Result<()> {
    let found = usize::try_from(offset)
        .ok()
        .and_then(|start| content.get(start..)?.get(..buf.len()))
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    buf.copy_from_slice(found);
    Ok(())
}

/// Writes `bytes` at `start` of `content`, filling a gap with zeros.
pub(super) fn write_into(content: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    if content.len() < start {
        content.resize(start, 0);
    }
    let overlap = bytes.len().min(content.len() - start);
    content[start..start + overlap].copy_from_slice(&bytes[..overlap]);
    content.extend_from_slice(&bytes[overlap..]);
}

/// A file size as a size in memory.
pub(super) fn size(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// The directory lock of storages that live in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Locks(Arc<Mutex<Holders>>);

#[derive(Debug, Default)]
struct Holders {
    exclusive: bool,
    shared: usize,
}

impl Locks {
    pub(super) fn lock(&self, mode: LockMode) -> io::Result<Box<dyn StorageLock>> {
        let mut holders = self.0.lock();
        match mode {
            _ if holders.exclusive => return Err(io::ErrorKind::WouldBlock.into()),
            LockMode::Exclusive if holders.shared > 0 => return Err(io::ErrorKind::WouldBlock.into()),
            LockMode::Exclusive => holders.exclusive = true,
            LockMode::Shared => holders.shared += 1,
        }
        Ok(Box::new(Held { locks: self.clone(), mode }))
    }
}

struct Held {
    locks: Locks,
    mode: LockMode,
}

impl StorageLock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = self.locks.0.lock();
        match self.mode {
            LockMode::Exclusive => holders.exclusive = false,
            LockMode::Shared => holders.shared -= 1,
        }
    }
}
