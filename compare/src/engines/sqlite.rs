//! SQLite in one table without row ids. Its documentation recommends the write-ahead log, with `synchronous` at NORMAL, which syncs at
//! checkpoints only (batched), or at FULL, which syncs each commit (durable); cached statements; a memory map as large as the cache, and
//! transactions around many reads. A session takes a connection of a pool.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::{Connection, params};

use super::{LOAD_COMMIT, check_rename, list_by_seeks, longest_by_seeks};
use crate::engine::{Class, Engine, Records, See, Session, Setup, Value, end_of};

pub struct Sqlite {
    setup: Setup,
    idle: Mutex<Vec<Connection>>,
}

const PUT: &str = "INSERT INTO paths VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";

impl Sqlite {
    pub fn open(setup: &Setup) -> Result<Self> {
        let sqlite = Self { setup: setup.clone(), idle: Mutex::default() };
        let connection = sqlite.connect()?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS paths (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        )?;
        sqlite.idle().push(connection);
        Ok(sqlite)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().expect("no thread panicked")
    }

    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(self.setup.dir.join("data.sqlite"))?;
        connection.busy_timeout(Duration::from_secs(60))?;
        let synchronous = match self.setup.class {
            Class::Batched => "NORMAL",
            Class::Durable => "FULL",
        };
        let cache = self.setup.cache_bytes;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -{}; PRAGMA mmap_size = {cache}",
            cache >> 10,
        ))?;
        Ok(connection)
    }

    fn take(&self) -> Result<Connection> {
        let idle = self.idle().pop();
        idle.map_or_else(|| self.connect(), Ok)
    }
}

impl Engine for Sqlite {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(SqliteSession { engine: self, connection: Some(self.take()?), reading: false }))
    }

    fn load(&self, records: Records<'_, '_>, _sorted: bool) -> Result<()> {
        let mut connection = self.take()?;
        let mut records = records.peekable();
        while records.peek().is_some() {
            let txn = connection.transaction()?;
            let mut put = txn.prepare_cached(PUT)?;
            for (key, value) in records.by_ref().take(LOAD_COMMIT) {
                put.execute(params![key, &value[..]])?;
            }
            drop(put);
            txn.commit()?;
        }
        self.idle().push(connection);
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let connection = self.take()?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.idle().push(connection);
        Ok(())
    }

    fn hand_over(&self) -> Result<()> {
        Ok(())
    }

    fn compact(&mut self) -> Result<Option<PathBuf>> {
        let connection = self.take()?;
        connection.execute_batch("VACUUM")?;
        self.idle().push(connection);
        self.settle()?;
        Ok(None)
    }

    fn close(self: Box<Self>) -> Result<()> {
        for connection in self.idle().drain(..) {
            connection.close().map_err(|(_, error)| error)?;
        }
        Ok(())
    }
}

struct SqliteSession<'e> {
    engine: &'e Sqlite,
    /// There until the session ends.
    connection: Option<Connection>,
    /// Whether a transaction of reads is open.
    reading: bool,
}

impl Drop for SqliteSession<'_> {
    fn drop(&mut self) {
        let ended = self.end_reads().is_ok();
        if let (true, Some(connection)) = (ended, self.connection.take()) {
            self.engine.idle().push(connection);
        }
    }
}

impl SqliteSession<'_> {
    fn connection(&self) -> Result<&Connection> {
        self.connection.as_ref().context("the session has ended")
    }

    fn end_reads(&mut self) -> Result<()> {
        if std::mem::take(&mut self.reading) {
            self.connection()?.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<&Connection> {
        if !self.reading {
            self.connection()?.prepare_cached("BEGIN")?.execute([])?;
            self.reading = true;
        }
        self.connection()
    }

    fn write(&mut self) -> Result<&Connection> {
        self.end_reads()?;
        self.connection()
    }
}

impl Session for SqliteSession<'_> {
    fn refresh(&mut self) -> Result<()> {
        self.end_reads()
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let mut select = self.read()?.prepare_cached("SELECT value FROM paths WHERE key = ?1")?;
        let mut rows = select.query([key])?;
        let found = rows.next()?;
        if let Some(row) = found {
            see(row.get_ref(0)?.as_blob()?);
        }
        Ok(found.is_some())
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        let range = "SELECT key, value FROM paths WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT ?3";
        let mut select = self.read()?.prepare_cached(range)?;
        let mut rows = select.query(params![after, end_of(prefix), limit as i64])?;
        while let Some(row) = rows.next()? {
            see(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let connection = self.read()?;
        list_by_seeks(prefix, limit, see, |bound, see| {
            let mut select =
                connection.prepare_cached("SELECT key FROM paths WHERE key >= ?1 ORDER BY key")?;
            let mut rows = select.query([bound])?;
            while let Some(row) = rows.next()? {
                if !see(row.get_ref(0)?.as_blob()?) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        let connection = self.read()?;
        longest_by_seeks(key, see, |bound, see| {
            let last = "SELECT key, value FROM paths WHERE key <= ?1 ORDER BY key DESC LIMIT 1";
            let mut select = connection.prepare_cached(last)?;
            let mut rows = select.query([bound])?;
            if let Some(row) = rows.next()? {
                see(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            }
            Ok(())
        })
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        let count = "SELECT count(*) FROM paths WHERE key >= ?1 AND key < ?2";
        let mut select = self.read()?.prepare_cached(count)?;
        let counted: i64 = select.query_row(params![prefix, end_of(prefix)], |row| row.get(0))?;
        Ok(counted.unsigned_abs())
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        self.write()?.prepare_cached(PUT)?.execute(params![key, &value[..]])?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.write()?.prepare_cached("DELETE FROM paths WHERE key = ?1")?.execute([key])?;
        Ok(())
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let mut update = self.write()?.prepare_cached("UPDATE paths SET key = ?2 WHERE key = ?1")?;
        // That the target is free is the primary key's to say: the statement fails.
        let changed = update.execute(params![src, dst])?;
        check_rename(src, changed == 1, false)
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let update =
            "UPDATE paths SET key = CAST(?3 || substr(key, ?4) AS BLOB) WHERE key >= ?1 AND key < ?2";
        let mut update = self.write()?.prepare_cached(update)?;
        update.execute(params![src, end_of(src), dst, src.len() as i64 + 1])?;
        Ok(())
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        let delete = "DELETE FROM paths WHERE key >= ?1 AND key < ?2";
        self.write()?.prepare_cached(delete)?.execute(params![prefix, end_of(prefix)])?;
        Ok(())
    }
}
