//! A directory in memory that loses what was not synced, runs out of space and fails on request.

use crate::io::{LockMode, OpenMode, Storage, StorageFile, StorageLock};
use crate::sync::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

const SECTOR: usize = 512;

/// A small generator of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, new) => {
                bytes.resize(bytes.len().max(at + new.len()), 0);
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Data {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    files: BTreeMap<usize, Data>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Changes until the power goes.
    changes_left: Option<u64>,
    changes: u64,
    capacity: Option<usize>,
    failing_syncs: bool,
}

impl Contents {
    /// Counts a change; false when the power is gone.
    fn change(&mut self) -> bool {
        self.changes += 1;
        match &mut self.changes_left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Contents>>);

#[derive(Debug)]
struct File(Disk, usize);

struct Unlocked;
impl StorageLock for Unlocked {}

fn power_lost() -> io::Error {
    io::Error::other("power lost")
}

impl Disk {
    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }
    pub(super) fn changes(&self) -> u64 {
        self.0.lock().changes
    }
    pub(super) fn lose_power_after(&self, changes: u64) {
        self.0.lock().changes_left = Some(changes);
    }
    pub(super) fn limit(&self, capacity: Option<usize>) {
        self.0.lock().capacity = capacity;
    }
    pub(super) fn fail_syncs(&self) {
        self.0.lock().failing_syncs = true;
    }
    /// A copy that goes its own way.
    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }
    /// The bytes of a file, to look at or to damage.
    pub(super) fn with<R>(&self, name: &str, body: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut contents = self.0.lock();
        let file = contents.live[name];
        body(&mut contents.files.get_mut(&file).expect("file").live)
    }
    /// What may be found after the power is back: what was synced, and any part of the rest.
    pub(super) fn after_power_loss(&self, random: &mut Random) -> Self {
        let old = self.0.lock();
        let mut new = Contents::default();
        new.live = if random.below(2) == 0 { old.live.clone() } else { old.durable.clone() };
        new.durable = new.live.clone();
        for (&number, data) in &old.files {
            let mut bytes = data.durable.clone();
            for pending in &data.pending {
                match pending {
                    Pending::Write(at, written) if random.below(3) == 0 => {
                        for (sector, part) in written.chunks(SECTOR).enumerate() {
                            if random.below(2) == 0 {
                                Pending::Write(at + sector * SECTOR, part.to_vec()).apply(&mut bytes);
                            }
                        }
                    }
                    other if random.below(2) == 0 => other.apply(&mut bytes),
                    _ => {}
                }
            }
            let data = Data { live: bytes.clone(), durable: bytes, pending: Vec::new() };
            new.files.insert(number, data);
        }
        Self(Arc::new(Mutex::new(new)))
    }
}

impl Storage for Disk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut contents = self.0.lock();
        if mode == OpenMode::Create {
            if !contents.change() {
                return Err(power_lost());
            }
            let number = contents.files.len();
            contents.files.insert(number, Data::default());
            contents.live.insert(name.to_owned(), number);
        }
        let number = *contents.live.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(File(self.clone(), number)))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().live.keys().cloned().collect())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut contents = self.0.lock();
        if !contents.change() {
            return Err(power_lost());
        }
        let number = contents.live.remove(from).ok_or(io::ErrorKind::NotFound)?;
        contents.live.insert(to.to_owned(), number);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut contents = self.0.lock();
        if !contents.change() {
            return Err(power_lost());
        }
        contents.live.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn sync_dir(&self) -> io::Result<()> {
        let mut contents = self.0.lock();
        if !contents.change() {
            return Err(power_lost());
        }
        contents.durable = contents.live.clone();
        Ok(())
    }
    fn lock(&self, _: LockMode) -> io::Result<Box<dyn StorageLock>> {
        Ok(Box::new(Unlocked))
    }
    fn describe(&self, name: &str) -> String {
        format!("memory/{name}")
    }
}

impl File {
    fn pend(&self, pending: Pending) -> io::Result<()> {
        let contents = &mut *self.0.0.lock();
        let powered = contents.change();
        let data = contents.files.get_mut(&self.1).ok_or(io::ErrorKind::NotFound)?;
        let end = if let Pending::Write(at, bytes) = &pending { at + bytes.len() } else { 0 };
        if contents.capacity.is_some_and(|capacity| end > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if powered {
            pending.apply(&mut data.live);
        }
        if powered || contents.changes_left == Some(0) {
            data.pending.push(pending);
        }
        if powered { Ok(()) } else { Err(power_lost()) }
    }
}

impl StorageFile for File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let contents = self.0.0.lock();
        let at = offset as usize;
        let bytes = contents.files[&self.1].live.get(at..at + buf.len());
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.len() <= 1 << 20, "a write over 1 MiB");
        self.pend(Pending::Write(offset as usize, bytes.to_vec()))
    }
    fn sync(&self) -> io::Result<()> {
        let contents = &mut *self.0.0.lock();
        if contents.failing_syncs {
            return Err(io::Error::other("sync failed"));
        }
        if !contents.change() {
            return Err(power_lost());
        }
        let data = contents.files.get_mut(&self.1).ok_or(io::ErrorKind::NotFound)?;
        for pending in std::mem::take(&mut data.pending) {
            pending.apply(&mut data.durable);
        }
        Ok(())
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.pend(Pending::Length(bytes as usize))
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().files[&self.1].live.len() as u64)
    }
}
