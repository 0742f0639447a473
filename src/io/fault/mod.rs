//! A storage that loses power and fails on command: the device under every crash test.
//!
//! It models a device with a volatile cache. Reads see every write at once; a crash keeps what was synced and any part
//! of the rest. Invariants: the visible content of a file is its durable content with all its changes applied in
//! order; a change leaves the list of changes only when it and all before it are durable.

mod device;
#[cfg(test)]
mod tests;

use super::memory::{Locks, missing, read_from};
use super::{LockMode, OpenMode, Storage, StorageFile, StorageLock};
use crate::sync::Mutex;
use device::{Device, FileId, NameChange};
use std::io;
use std::sync::Arc;

/// A directory in memory with faults to order. Clones share the directory.
#[derive(Debug, Clone, Default)]
pub struct FaultStorage {
    device: Arc<Mutex<Device>>,
    locks: Locks,
}

impl FaultStorage {
    /// An empty directory without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a power cut at this moment may leave, as an independent storage without faults. Of each file the synced
    /// content stays; every unsynced change is lost, kept or torn at 512-byte sectors, drawn from `seed`, and those
    /// that survive apply in the order they were made. Of unsynced creations, renames and removals a prefix survives.
    pub fn crash(&self, seed: u64) -> Self {
        self.after(self.device.lock().crash(seed))
    }

    /// A power cut that loses nothing.
    pub fn crash_keep_all(&self) -> Self {
        self.after(self.device.lock().crash_keep_all())
    }

    /// A power cut that loses everything not synced.
    pub fn crash_lose_all(&self) -> Self {
        self.after(self.device.lock().crash_lose_all())
    }

    /// Lets `operations` more operations through; every later one fails, as if the power were gone. Operations are
    /// writes, syncs, length changes, creations, renames, removals and directory syncs. A write that fails has left
    /// its first half; a sync that fails leaves unknown which changes are durable.
    pub fn fail_after(&self, operations: u64) {
        let mut device = self.device.lock();
        device.power_ends = Some(device.operations.saturating_add(operations));
    }

    /// Lets `operations` more operations through; the one after them fails with `kind`, later ones work again.
    pub fn fail_once(&self, operations: u64, kind: io::ErrorKind) {
        let mut device = self.device.lock();
        device.fault = Some((device.operations.saturating_add(operations), kind));
    }

    /// Sets the space for all files together, in bytes; growth beyond it fails and changes nothing. None is no limit.
    pub fn set_full(&self, bytes: Option<u64>) {
        self.device.lock().space = bytes;
    }

    /// Number of operations so far, failed ones included.
    pub fn operations(&self) -> u64 {
        self.device.lock().operations
    }

    /// Flips the bits of `xor` in one byte that lies durable. Without such a file or byte nothing happens.
    pub fn corrupt(&self, name: &str, offset: u64, xor: u8) {
        self.device.lock().corrupt(name, offset, xor);
    }

    /// The visible content of a file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let device = self.device.lock();
        Some(device.file(device.find(name)?).visible.clone())
    }

    /// Gives a file a new content, durable at once; makes the file if there is none.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        self.device.lock().replace(name, bytes);
    }

    fn after(&self, device: Device) -> Self {
        Self { device: Arc::new(Mutex::new(device)), locks: Locks::default() }
    }
}

impl Storage for FaultStorage {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut device = self.device.lock();
        let id = match (mode, device.find(name)) {
            (OpenMode::Create, found) => {
                device.operate()?;
                match found {
                    Some(id) => {
                        device.file_mut(id).set_len(0)?;
                        id
                    }
                    None => device.create(name),
                }
            }
            (_, Some(id)) => id,
            (_, None) => return Err(missing(name)),
        };
        Ok(Arc::new(FaultFile { device: Arc::clone(&self.device), id }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.device.lock().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut device = self.device.lock();
        device.operate()?;
        device.find(from).ok_or_else(|| missing(from))?;
        device.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut device = self.device.lock();
        device.operate()?;
        device.find(name).ok_or_else(|| missing(name))?;
        device.change_name(NameChange::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut device = self.device.lock();
        device.operate()?;
        device.sync_names();
        Ok(())
    }

    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn StorageLock>> {
        self.locks.lock(mode)
    }

    fn describe(&self, name: &str) -> String {
        format!("fault:{name}")
    }
}

#[derive(Debug)]
struct FaultFile {
    device: Arc<Mutex<Device>>,
    id: FileId,
}

impl StorageFile for FaultFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        read_from(&self.device.lock().file(self.id).visible, offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut device = self.device.lock();
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        match device.operate().and_then(|()| device.check_space(self.id, end)) {
            Ok(()) => device.file_mut(self.id).write(offset, bytes),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
            Err(error) => device.file_mut(self.id).write(offset, &bytes[..bytes.len() / 2]).and(Err(error)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut device = self.device.lock();
        let outcome = device.operate();
        let file = device.file_mut(self.id);
        match outcome {
            Ok(()) => file.sync(),
            Err(_) => file.sync_failed(),
        }
        outcome
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut device = self.device.lock();
        device.operate()?;
        device.check_space(self.id, bytes)?;
        device.file_mut(self.id).set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.device.lock().file(self.id).visible.len() as u64)
    }
}
