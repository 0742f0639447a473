//! A storage that counts what is done to it, and whose syncs take as long as it is told.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ramus::io::{LockMode, OpenMode, Storage, StorageFile, StorageLock};

/// Counts of one storage, all files together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
}

/// A storage over another one.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    inner: Arc<dyn Storage>,
    sync_takes: Duration,
    pub(crate) counts: Arc<Counts>,
}

impl Device {
    /// Every sync of a file takes `sync_takes` longer than `inner` takes for it.
    pub(crate) fn new(inner: impl Storage + 'static, sync_takes: Duration) -> Self {
        Self { inner: Arc::new(inner), sync_takes, counts: Arc::default() }
    }
}

impl Storage for Device {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let inner = self.inner.open(name, mode)?;
        Ok(Arc::new(DeviceFile { inner, sync_takes: self.sync_takes, counts: Arc::clone(&self.counts) }))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn StorageLock>> {
        self.inner.lock(mode)
    }
    fn describe(&self, name: &str) -> String {
        self.inner.describe(name)
    }
}

#[derive(Debug)]
struct DeviceFile {
    inner: Arc<dyn StorageFile>,
    sync_takes: Duration,
    counts: Arc<Counts>,
}

impl StorageFile for DeviceFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
        self.counts.written_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.inner.write_at(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        if !self.sync_takes.is_zero() {
            std::thread::sleep(self.sync_takes);
        }
        self.inner.sync()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_len(bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
