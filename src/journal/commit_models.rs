//! Group commit in all executions: the real journal on a device of which loom sees what is written and what is durable. A commit
//! that nobody wakes is a deadlock, which loom reports.

use super::record::Kind;
use super::{Durability, Journal};
use crate::error::{ErrorKind, Result};
use crate::io::{LockMode, OpenMode, Storage, StorageFile, StorageLock};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicBool, AtomicU64, check, fails_without};
use std::io;
use std::sync::Arc;

/// What the payload of the `n`th committer is made of.
fn mark_of(n: u64) -> [u8; 16] {
    [0xA0 + n as u8; 16]
}

/// A device with one file. Of its contents it keeps which marks were written, a bit each, and which of those are durable.
#[derive(Debug)]
struct Disk {
    written: AtomicU64,
    durable: AtomicU64,
    /// The next sync fails, and says nothing about what is durable.
    fails: AtomicBool,
}

impl StorageFile for Disk {
    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_at(&self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        let is_there = |n: &u64| bytes.windows(16).any(|window| window == mark_of(*n));
        // Space ahead of use is zeros.
        if bytes.len() < 4096 {
            let marks = (0..3).filter(is_there).fold(0, |marks, n| marks | 1 << n);
            if marks != 0 {
                self.written.fetch_or(marks, Relaxed);
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let begun = self.written.load(Relaxed);
        if begun == 0 {
            return Ok(());
        }
        if self.fails.swap(false, Relaxed) {
            return Err(io::Error::other("the device failed"));
        }
        // What is written from here on is not covered.
        self.durable.fetch_or(begun, Relaxed);
        Ok(())
    }

    fn set_len(&self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
}

/// The directory of that device.
#[derive(Debug)]
struct Directory(Arc<Disk>);

impl Storage for Directory {
    fn open(&self, _name: &str, _mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::clone(&self.0) as Arc<dyn StorageFile>)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _mode: LockMode) -> io::Result<Box<dyn StorageLock>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

/// A journal with space for all, and the device under it.
fn journal(fails: bool) -> (Arc<Journal>, Arc<Disk>) {
    let disk = Arc::new(Disk {
        written: AtomicU64::new(0),
        durable: AtomicU64::new(0),
        fails: AtomicBool::new(fails),
    });
    let storage = Arc::new(Directory(Arc::clone(&disk)));
    let journal = Journal::create(storage, 0, 1 << 20, Durability::Sync).unwrap();
    drop(journal.reserve(64).unwrap());
    (Arc::new(journal), disk)
}

/// Commits with the mark of `n`. Whoever is told that it is durable looks at the device.
fn commit(journal: &Journal, disk: &Disk, n: u64, durability: Durability) -> Result<()> {
    let reservation = journal.reserve(16)?;
    let position = journal.append(reservation, Kind::Put, &mark_of(n));
    journal.commit(position, durability)?;
    if durability == Durability::Sync {
        assert_ne!(disk.durable.load(Relaxed) & 1 << n, 0, "a commit acknowledged before it was durable");
    }
    Ok(())
}

fn spawn(
    journal: &Arc<Journal>,
    disk: &Arc<Disk>,
    body: impl FnOnce(&Journal, &Disk) + 'static,
) -> loom::thread::JoinHandle<()> {
    let (journal, disk) = (Arc::clone(journal), Arc::clone(disk));
    loom::thread::spawn(move || body(&journal, &disk))
}

/// Commits beside each other: one leads, the others wait for it or lead after it.
fn group_commit(others: u64) {
    let (journal, disk) = journal(false);
    let commit_as =
        |n| move |journal: &Journal, disk: &Disk| commit(journal, disk, n, Durability::Sync).unwrap();
    let threads: Vec<_> = (1..=others).map(|n| spawn(&journal, &disk, commit_as(n))).collect();
    commit(&journal, &disk, 0, Durability::Sync).unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(journal.durable_sequence(), others + 1);
}

/// One that writes what is there and syncs nothing, beside one that waits for a sync.
fn batched_beside_sync() {
    let (journal, disk) = journal(false);
    let batched = Durability::Batched { bytes: 0, interval: None };
    let thread = spawn(&journal, &disk, move |journal, disk| commit(journal, disk, 1, batched).unwrap());
    commit(&journal, &disk, 0, Durability::Sync).unwrap();
    thread.join().unwrap();
    journal.sync().unwrap();
    assert_eq!(disk.durable.load(Relaxed), 0b11, "a sync that left something out");
}

/// The first sync fails: nobody whose commit is not durable is told that it is, and everybody is told something.
fn a_failed_sync() {
    let (journal, disk) = journal(true);
    let attempt = |n| {
        move |journal: &Journal, disk: &Disk| {
            if let Err(error) = commit(journal, disk, n, Durability::Sync) {
                assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned), "{error}");
            }
        }
    };
    let threads = [spawn(&journal, &disk, attempt(1)), spawn(&journal, &disk, attempt(2))];
    attempt(0)(&journal, &disk);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(journal.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(disk.durable.load(Relaxed), 0, "a write after a failed sync");
}

#[test]
fn nobody_is_told_before_the_sync_that_covers_it() {
    check("group commit, two", 3, || group_commit(1));
    check("group commit, three", 2, || group_commit(2));
    check("group commit, batched beside sync", 3, batched_beside_sync);
}

#[test]
fn a_failed_sync_reaches_all_who_wait() {
    check("group commit, a failed sync", 2, a_failed_sync);
}

#[test]
fn group_commit_fails_without_what_it_rests_on() {
    fails_without("notify", "group commit, three", 2, || group_commit(2));
    fails_without("notify", "group commit, a failed sync", 2, a_failed_sync);
    for site in ["journal durable", "journal durable seen"] {
        fails_without(site, "group commit, three", 2, || group_commit(2));
    }
}
