//! What every command needs: the global options, databases opened by them, and standard output.

use std::io::{BufWriter, IsTerminal, StdoutLock};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use ramus::{Db, Durability, ErrorKind, Options, Tree};

use crate::args::{Global, When};
use crate::units::{count, time};

/// The file that makes a directory a database.
const DATA_FILE: &str = "data.ramus";
/// Commits that are not synced one by one go to the operating system in pieces of this size.
pub(crate) const BATCHED_BYTES: usize = 256 << 10;

/// The global options, and what follows from them.
pub(crate) struct Context {
    global: Global,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self { global }
    }

    /// Whether output is for programs.
    pub(crate) fn json(&self) -> bool {
        self.global.json
    }

    /// The cache to open with, `default` unless `--cache` says otherwise.
    pub(crate) fn cache_bytes(&self, default: u64) -> u64 {
        self.global.cache.unwrap_or(default)
    }

    /// Prints a line on standard error if `--verbose` asks for it.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if self.global.verbose {
            eprintln!("{}", line());
        }
    }

    /// Buffered standard output. The command flushes it, so that an error there is not lost.
    pub(crate) fn out(&self) -> BufWriter<StdoutLock<'static>> {
        BufWriter::with_capacity(64 << 10, std::io::stdout().lock())
    }

    /// Whether a person reads standard output.
    pub(crate) fn for_people(&self) -> bool {
        !self.global.json && std::io::stdout().is_terminal()
    }

    fn durability(&self, default: When) -> Durability {
        match self.global.durability.unwrap_or(default) {
            When::Sync => Durability::Sync,
            When::Batched => Durability::Batched { bytes: BATCHED_BYTES, interval: None },
        }
    }

    /// Whether `--durability sync` was given.
    pub(crate) fn wants_sync(&self) -> bool {
        self.global.durability == Some(When::Sync)
    }

    /// Options for writing.
    pub(crate) fn options(&self, default: When) -> Options {
        let mut options = Options::new().durability(self.durability(default));
        if let Some(bytes) = self.global.cache {
            options = options.cache_bytes(bytes);
        }
        options
    }

    /// Opens a database for reading. It must exist.
    pub(crate) fn read(&self, dir: &Path) -> Result<Db> {
        must_exist(dir)?;
        self.open(dir, &self.options(When::Sync).read_only(true), true)
    }

    /// Opens a database for writing. It must exist.
    pub(crate) fn change(&self, dir: &Path) -> Result<Db> {
        must_exist(dir)?;
        self.write(dir, When::Sync)
    }

    /// Opens a database for writing, making it if it does not exist.
    pub(crate) fn write(&self, dir: &Path, default: When) -> Result<Db> {
        self.open(dir, &self.options(default), false)
    }

    fn open(&self, dir: &Path, options: &Options, reads: bool) -> Result<Db> {
        let when_busy = match reads {
            true => "close the program that writes to it",
            false => "close all programs that read from it or write to it",
        };
        let start = Instant::now();
        let db = match options.open(dir) {
            Err(error) if error.kind() == ErrorKind::Busy => {
                bail!("{}: the database is in use: {when_busy}, then try again", dir.display())
            }
            Err(error) if error.kind() == ErrorKind::ReadOnly && reads => bail!(
                "{error}: the journal has more changes than the cache holds: give a larger --cache, or let a command \
                 that writes, such as compact, take them over"
            ),
            outcome => outcome?,
        };
        self.note(|| {
            let replayed = count(db.stats().recovered_records);
            format!(
                "opened {} in {}, {replayed} journal records replayed",
                dir.display(),
                time(start.elapsed())
            )
        });
        Ok(db)
    }

    /// The tree to work on, which must exist.
    pub(crate) fn tree(&self, db: &Db) -> Result<Tree> {
        match db.existing_tree(&self.global.tree) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no tree {:?}; there are: {}", self.global.tree, db.tree_names().join(", "))
            }
            tree => Ok(tree?),
        }
    }

    /// The tree to work on, made if it does not exist.
    pub(crate) fn tree_to_fill(&self, db: &Db) -> Result<Tree> {
        db.tree(&self.global.tree).with_context(|| format!("opening the tree {:?}", self.global.tree))
    }
}

fn must_exist(dir: &Path) -> Result<()> {
    match std::fs::metadata(dir) {
        Err(error) => bail!("{}: no database here: {error}", dir.display()),
        Ok(what) if !what.is_dir() => {
            bail!("{}: not a database: a database is a directory", dir.display())
        }
        Ok(_) => {}
    }
    if !dir.join(DATA_FILE).exists() {
        bail!("{}: not a database: it holds no file {DATA_FILE}", dir.display());
    }
    Ok(())
}
