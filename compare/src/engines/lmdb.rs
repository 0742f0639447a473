//! LMDB through heed. `lmdb.h` recommends long transactions for loads and `MDB_APPEND` for sorted ones, read transactions that are
//! used again, and no readahead where data exceeds memory. Batched commits take `MDB_NOSYNC`: a crash of the system loses the last ones, and
//! nothing else where the file system writes in order. With `MDB_WRITEMAP` they would be faster, but such a crash could take the file, which no other
//! engine here risks. Its cache is the system's.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;

use anyhow::{Context, Result};
use heed::types::Bytes;
use heed::{
    CommitOrAbort, CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, WithTls,
};

use super::{LOAD_COMMIT, check_rename, list_by_seeks, longest_by_seeks, moved};
use crate::engine::{Class, Engine, Records, See, Session, Setup, Value, end_of};

/// Address space, not memory.
const MAP_BYTES: usize = 64 << 30;

type Table = Database<'static, Bytes, Bytes>;

pub struct Lmdb {
    env: Env<WithTls>,
    table: Table,
    dir: PathBuf,
}

impl Lmdb {
    pub fn open(setup: &Setup) -> Result<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES);
        let mut flags = EnvFlags::empty();
        if setup.class == Class::Batched {
            flags |= EnvFlags::NO_SYNC;
        }
        if setup.beyond_memory {
            flags |= EnvFlags::NO_READ_AHEAD;
        }
        // SAFETY: nobody else changes the file while it is mapped; what the flags risk is the file's content in a crash of the
        // system, and the databases are made anew in each run.
        let env = unsafe { options.flags(flags).open(&setup.dir) }?;
        let create = env.write_txn()?;
        let table = env.create_databases_and_commit(create, |opener, txn| {
            opener.create_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
        })?;
        let table = table.commit().context("the table was not made")?;
        Ok(Self { env, table, dir: setup.dir.clone() })
    }
}

impl Engine for Lmdb {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(LmdbSession { engine: self, read: None }))
    }

    fn load(&self, records: Records<'_, '_>, sorted: bool) -> Result<()> {
        let flags = if sorted { PutFlags::APPEND } else { PutFlags::empty() };
        let mut records = records.peekable();
        while records.peek().is_some() {
            let mut txn = self.env.write_txn()?;
            for (key, value) in records.by_ref().take(LOAD_COMMIT) {
                self.table.put_with_flags(&mut txn, flags, key, &value)?;
            }
            txn.commit()?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn hand_over(&self) -> Result<()> {
        Ok(())
    }

    fn compact(&mut self) -> Result<Option<PathBuf>> {
        let dir = self.dir.with_extension("compact");
        std::fs::create_dir_all(&dir)?;
        self.env.copy_to_path(dir.join("data.mdb"), CompactionOption::Enabled)?;
        Ok(Some(dir))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.force_sync()?;
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

struct LmdbSession<'e> {
    engine: &'e Lmdb,
    /// A thread has one at a time.
    read: Option<RoTxn<'e, WithTls>>,
}

impl<'e> LmdbSession<'e> {
    fn read(&mut self) -> Result<(&RoTxn<'e, WithTls>, Table)> {
        if self.read.is_none() {
            self.read = Some(self.engine.env.read_txn()?);
        }
        let txn = self.read.as_ref().context("a transaction")?;
        Ok((txn, self.engine.table))
    }

    fn write(&mut self, change: impl FnOnce(&mut heed::RwTxn<'e>, Table) -> Result<()>) -> Result<()> {
        self.read = None;
        let mut txn = self.engine.env.write_txn()?;
        change(&mut txn, self.engine.table)?;
        Ok(txn.commit()?)
    }
}

impl Session for LmdbSession<'_> {
    fn refresh(&mut self) -> Result<()> {
        self.read = None;
        Ok(())
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let (txn, table) = self.read()?;
        let found = table.get(txn, key)?;
        found.inspect(|value| see(value));
        Ok(found.is_some())
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        let (txn, table) = self.read()?;
        // It has no empty keys, not even to ask with.
        let after = (if after.is_empty() { Unbounded } else { Excluded(after) }, Unbounded);
        for record in table.range(txn, &after)?.take(limit) {
            let (key, value) = record?;
            if !key.starts_with(prefix) {
                break;
            }
            see(key, value);
        }
        Ok(())
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let (txn, table) = self.read()?;
        list_by_seeks(prefix, limit, see, |bound, see| {
            let from = (Included(bound), Unbounded);
            for record in table.range(txn, &from)? {
                if !see(record?.0) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        let (txn, table) = self.read()?;
        longest_by_seeks(key, see, |bound, see| {
            let last = table.get_lower_than_or_equal_to(txn, bound)?;
            last.inspect(|(key, value)| see(key, value));
            Ok(())
        })
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        let (txn, table) = self.read()?;
        let mut counted = 0;
        if prefix.is_empty() {
            return Ok(table.len(txn)?);
        }
        for record in table.prefix_iter(txn, prefix)? {
            record?;
            counted += 1;
        }
        Ok(counted)
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        self.write(|txn, table| Ok(table.put(txn, key, value)?))
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.write(|txn, table| {
            table.delete(txn, key)?;
            Ok(())
        })
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        self.write(|txn, table| {
            let value = table.get(txn, src)?.map(<[u8]>::to_vec);
            check_rename(src, value.is_some(), table.get(txn, dst)?.is_some())?;
            table.delete(txn, src)?;
            table.put(txn, dst, &value.unwrap_or_default())?;
            Ok(())
        })
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        self.write(|txn, table| {
            let mut taken = Vec::new();
            for record in table.prefix_iter(txn, src)? {
                let (key, value) = record?;
                taken.push((moved(key, src, dst), value.to_vec()));
            }
            table.delete_range(txn, &(Included(src), Excluded(&end_of(src)[..])))?;
            for (key, value) in taken {
                table.put(txn, &key, &value)?;
            }
            Ok(())
        })
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        self.write(|txn, table| {
            table.delete_range(txn, &(Included(prefix), Excluded(&end_of(prefix)[..])))?;
            Ok(())
        })
    }
}
