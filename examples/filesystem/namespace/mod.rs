//! The calls. Each reads what it needs to know, decides by the rules of POSIX, and commits one batch that expects what it has
//! read, or a transaction; if another thread was faster, it reads again. So a call is one commit, at one instant, and a refused call none.

mod change;
mod errno;
mod exchange;
mod fsck;
mod inodes;
mod path;
mod read;
mod record;

use ramus::{Batch, Db, ErrorKind, Tree, Version};

pub use errno::{Errno, Error, Result};
pub use read::{DirEntry, Kind, Stat};

use inodes::InodeNumbers;
use path::{Path, ROOT};
use record::{Inode, Name};

/// A call that lost so many races gives up with the database's Conflict. Each lost race is a call of another thread that was done.
const TRIES_MAX: u32 = 10_000;

/// A tree of directories and files in a database.
pub struct Namespace {
    db: Db,
    /// A record for each name.
    names: Tree,
    /// A record for each file that has, or had, several names.
    inodes: Tree,
    numbers: InodeNumbers,
}

/// What a path leads to, with the version of the record read.
#[derive(Debug, Clone, Copy)]
struct Found {
    name: Name,
    version: Version,
}

impl Found {
    fn is_directory(&self) -> bool {
        matches!(self.name, Name::Directory { .. })
    }
}

impl Namespace {
    /// Opens the namespace of a database, making its root if it does not exist.
    pub fn open(db: &Db) -> Result<Self> {
        let names = db.tree("names")?;
        let numbers = InodeNumbers::new(db.tree("counters")?);
        if !names.contains(ROOT)? {
            // If another thread was faster, its root is as good.
            names.put_if_absent(ROOT, Name::Directory { inode: numbers.next()? }.encode())?;
        }
        Ok(Self { db: db.clone(), names, inodes: db.tree("inodes")?, numbers })
    }

    /// Runs `attempt` until no other thread comes between its reads and its commit.
    fn retry<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            match attempt() {
                Err(Error::Database(error)) if tries < TRIES_MAX && lost_race(&error) => {
                    tries += 1;
                    std::thread::yield_now();
                }
                outcome => return outcome,
            }
        }
    }

    fn commit(&self, fill: impl FnOnce(&mut Batch)) -> Result<()> {
        self.db.batch(fill)?;
        Ok(())
    }

    /// What has this name, if anything.
    ///
    /// The two keys are read one after the other. A name is never a file and a directory, and never goes from one to
    /// the other in one commit: if both keys were seen absent, there was an instant at which both were.
    fn look(&self, path: &Path) -> Result<Option<Found>> {
        let file = match path.is_root() {
            true => None,
            false => self.names.get_record(path.file_key())?,
        };
        let record = match file {
            Some(record) => Some(record),
            None => self.names.get_record(path.directory_key())?,
        };
        record.map(|r| Ok(Found { name: Name::decode(&r.value)?, version: r.version })).transpose()
    }

    /// What has this name; an error number if nothing, or if it is a file where only a directory may be. One or two look-ups
    /// whatever the depth: a name that is there has its parents.
    fn existing(&self, path: &Path) -> Result<Found> {
        match self.look(path)? {
            Some(found) if path.directory_only && !found.is_directory() => Err(Errno::NotDirectory.into()),
            Some(found) => Ok(found),
            None => {
                self.parent(path)?;
                Err(Errno::NoEntry.into())
            }
        }
    }

    /// The version of a directory's record; an error number if it is none.
    fn directory(&self, path: &Path) -> Result<Version> {
        let found = self.existing(path)?;
        if !found.is_directory() {
            return Err(Errno::NotDirectory.into());
        }
        Ok(found.version)
    }

    /// The version of the record of the directory that `path` is an entry of. Whoever makes an entry expects it: the
    /// directory is then still there, and with it all above.
    fn parent(&self, path: &Path) -> Result<Version> {
        if let Some(record) = self.names.get_record(path.parent().directory_key())? {
            return Ok(record.version);
        }
        // Only now does it matter which part of the path is wrong.
        for above in path.ancestors() {
            match self.look(&above)? {
                None => return Err(Errno::NoEntry.into()),
                Some(found) if !found.is_directory() => return Err(Errno::NotDirectory.into()),
                Some(_) => {}
            }
        }
        Err(race("a directory came back while its path was walked"))
    }

    /// The record of an inode that a name has just led to.
    fn shared_inode(&self, inode: u64) -> Result<(Inode, Version)> {
        match self.inodes.get_record(Inode::key(inode))? {
            Some(record) => Ok((Inode::decode(&record.value)?, record.version)),
            None => Err(race("the last name of an inode went away")),
        }
    }
}

/// What was read does not hold together: the call starts again.
fn race(what: &str) -> Error {
    Error::Database(ramus::Error::new(ErrorKind::Conflict, what))
}

/// An expectation failed, or what a rename needs changed: both mean that another thread was faster.
fn lost_race(error: &ramus::Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Exists)
}
