//! The engines, and what several of them do in the same way.

mod blart;
mod btreemap;
mod fjall;
mod holt;
mod lmdb;
mod ramus;
mod redb;
mod rocksdb;
mod sqlite;

use std::fmt;

use anyhow::{Result, bail};

use crate::engine::{Engine, See, Setup, end_of, name_in, shared};

/// An engine by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    Ramus,
    Holt,
    Rocksdb,
    Lmdb,
    Redb,
    Fjall,
    Sqlite,
    Btreemap,
    Blart,
}

impl fmt::Display for Kind {
    /// As the command line takes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.name().to_lowercase())
    }
}

impl Kind {
    /// As its makers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ramus => "Ramus",
            Self::Holt => "holt",
            Self::Rocksdb => "RocksDB",
            Self::Lmdb => "LMDB",
            Self::Redb => "redb",
            Self::Fjall => "fjall",
            Self::Sqlite => "SQLite",
            Self::Btreemap => "BTreeMap",
            Self::Blart => "blart",
        }
    }

    pub const ALL: [Self; 9] = [
        Self::Ramus,
        Self::Holt,
        Self::Rocksdb,
        Self::Lmdb,
        Self::Redb,
        Self::Fjall,
        Self::Sqlite,
        Self::Btreemap,
        Self::Blart,
    ];

    /// Only in memory, for one thread, and gone with the process: a limit, not a rival.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::Btreemap | Self::Blart)
    }

    /// Whether it shows copies made for each answer in a row where others show values, or keys and values, where they lie or in a
    /// buffer that is used again.
    pub fn copies(self, row: &str) -> bool {
        self == Self::Holt && matches!(row, "get-uniform" | "get-zipf" | "list100")
    }

    /// What the names of its own threads begin with.
    pub fn threads(self) -> &'static [&'static str] {
        match self {
            // The system keeps 15 bytes of a name.
            Self::Ramus => &["ramus-backgroun", "ramus-journal"],
            // Those that the system starts for its rings too.
            Self::Holt => &["holt-", "iou-"],
            Self::Rocksdb => &["rocksdb:"],
            Self::Fjall => &["fjall:"],
            Self::Lmdb | Self::Redb | Self::Sqlite | Self::Btreemap | Self::Blart => &[],
        }
    }

    pub fn open(self, setup: &Setup) -> Result<Box<dyn Engine>> {
        std::fs::create_dir_all(&setup.dir)?;
        Ok(match self {
            Self::Ramus => Box::new(ramus::Ramus::open(setup)?),
            Self::Holt => Box::new(holt::Holt::open(setup)?),
            Self::Rocksdb => Box::new(rocksdb::Rocksdb::open(setup)?),
            Self::Lmdb => Box::new(lmdb::Lmdb::open(setup)?),
            Self::Redb => Box::new(redb::Redb::open(setup)?),
            Self::Fjall => Box::new(fjall::Fjall::open(setup)?),
            Self::Sqlite => Box::new(sqlite::Sqlite::open(setup)?),
            Self::Btreemap => Box::new(btreemap::InMemory::default()),
            Self::Blart => Box::new(blart::Blart::default()),
        })
    }
}

/// Records put in one commit while a load in random order goes on, where an engine's documentation recommends large ones.
const LOAD_COMMIT: usize = 10_000;

/// Lists a directory by seeking past what lies below each of its subdirectories. `scan` shows keys from a bound on until it is
/// told to stop.
fn list_by_seeks(
    prefix: &[u8],
    limit: usize,
    see: &mut dyn FnMut(&[u8]),
    mut scan: impl FnMut(&[u8], &mut dyn FnMut(&[u8]) -> bool) -> Result<()>,
) -> Result<()> {
    let (mut bound, mut left) = (prefix.to_vec(), limit);
    while left > 0 {
        let mut next = None;
        scan(&bound, &mut |key| {
            if !key.starts_with(prefix) {
                return false;
            }
            let (name, rolled) = name_in(prefix, key);
            see(name);
            left -= 1;
            if rolled {
                next = Some(end_of(name));
            }
            !rolled && left > 0
        })?;
        match next {
            Some(end) => bound = end,
            None => break,
        }
    }
    Ok(())
}

/// Finds the longest key that `key` starts with: what the greatest key up to it shares with it is as long as the answer can be.
/// `last` shows the greatest record up to a bound, if there is one.
fn longest_by_seeks(
    key: &[u8],
    see: See<'_>,
    mut last: impl FnMut(&[u8], See<'_>) -> Result<()>,
) -> Result<bool> {
    let mut len = key.len();
    loop {
        let (mut found, mut shares) = (false, None);
        last(&key[..len], &mut |candidate, value| {
            found = key[..len].starts_with(candidate);
            if found {
                see(candidate, value);
            }
            shares = Some(shared(candidate, &key[..len]));
        })?;
        match shares {
            _ if found => return Ok(true),
            None | Some(0) => return Ok(false),
            Some(shares) => len = shares,
        }
    }
}

/// The key under its new name.
fn moved(key: &[u8], src: &[u8], dst: &[u8]) -> Vec<u8> {
    [dst, &key[src.len()..]].concat()
}

/// Refuses a rename as its contract says.
fn check_rename(src: &[u8], found: bool, taken: bool) -> Result<()> {
    if !found || taken {
        let what = if found { "the target is taken" } else { "there is no such record" };
        bail!("renaming {:?}: {what}", String::from_utf8_lossy(src));
    }
    Ok(())
}
