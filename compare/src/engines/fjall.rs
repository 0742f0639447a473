//! fjall with its defaults, which its documentation recommends for most (Bloom filters, LZ4, memtables of 64 MiB), and the cache of all.
//! Batched commits stay in the journal's buffer until it is full, as Ramus's do; sorted loads are ingested. It has no deletion of ranges.

use std::path::PathBuf;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{check_rename, list_by_seeks, longest_by_seeks, moved};
use crate::clock::wait_until;
use crate::engine::{Class, Engine, Records, See, Session, Setup, Value, end_of};

pub struct Fjall {
    db: Database,
    paths: Keyspace,
    class: Class,
}

impl Fjall {
    pub fn open(setup: &Setup) -> Result<Self> {
        let db = Database::builder(&setup.dir)
            .cache_size(setup.cache_bytes)
            .manual_journal_persist(true)
            .open()?;
        let paths = db.keyspace("paths", || KeyspaceCreateOptions::default().manual_journal_persist(true))?;
        Ok(Self { db, paths, class: setup.class })
    }
}

impl Engine for Fjall {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(FjallSession { engine: self }))
    }

    fn load(&self, records: Records<'_, '_>, sorted: bool) -> Result<()> {
        if sorted {
            let mut ingestion = self.paths.start_ingestion()?;
            for (key, value) in records {
                ingestion.write(key, &value[..])?;
            }
            return Ok(ingestion.finish()?);
        }
        for (key, value) in records {
            self.paths.insert(key, &value[..])?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.paths.rotate_memtable_and_wait()?;
        self.quiet()
    }

    fn quiet(&self) -> Result<()> {
        let mut done = self.db.compactions_completed();
        let mut still = 0;
        wait_until("fjall", || {
            let idle = self.db.outstanding_flushes() == 0
                && self.db.active_compactions() == 0
                && self.db.compactions_completed() == done;
            done = self.db.compactions_completed();
            still = if idle { still + 1 } else { 0 };
            Ok(still > 3)
        })
    }

    fn hand_over(&self) -> Result<()> {
        Ok(self.db.persist(PersistMode::Buffer)?)
    }

    fn compact(&mut self) -> Result<Option<PathBuf>> {
        self.settle()?;
        self.paths.major_compact()?;
        self.quiet()?;
        Ok(None)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}

struct FjallSession<'e> {
    engine: &'e Fjall,
}

impl FjallSession<'_> {
    fn committed(&self) -> Result<()> {
        match self.engine.class {
            Class::Batched => Ok(()),
            Class::Durable => Ok(self.engine.db.persist(PersistMode::SyncData)?),
        }
    }
}

impl Session for FjallSession<'_> {
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let found = self.engine.paths.get(key)?;
        if let Some(value) = &found {
            see(value);
        }
        Ok(found.is_some())
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        let from = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        for record in self.engine.paths.range::<&[u8], _>(from).take(limit) {
            let (key, value) = record.into_inner()?;
            if !key.starts_with(prefix) {
                break;
            }
            see(&key, &value);
        }
        Ok(())
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        list_by_seeks(prefix, limit, see, |bound, see| {
            for record in self.engine.paths.range(bound..) {
                if !see(&record.key()?) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        longest_by_seeks(key, see, |bound, see| {
            if let Some(record) = self.engine.paths.range(..=bound).next_back() {
                let (key, value) = record.into_inner()?;
                see(&key, &value);
            }
            Ok(())
        })
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        let mut counted = 0;
        for record in self.engine.paths.prefix(prefix) {
            record.key()?;
            counted += 1;
        }
        Ok(counted)
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        self.engine.paths.insert(key, &value[..])?;
        self.committed()
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.engine.paths.remove(key)?;
        self.committed()
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let paths = &self.engine.paths;
        let value = paths.get(src)?;
        check_rename(src, value.is_some(), paths.contains_key(dst)?)?;
        let mut batch = self.engine.db.batch();
        if let Some(value) = value {
            batch.insert(paths, dst, value);
        }
        batch.remove(paths, src);
        batch.commit()?;
        self.committed()
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let paths = &self.engine.paths;
        let mut batch = self.engine.db.batch();
        for record in paths.range(src..&end_of(src)[..]) {
            let (key, value) = record.into_inner()?;
            batch.insert(paths, moved(&key, src, dst), value);
            batch.remove(paths, key);
        }
        batch.commit()?;
        self.committed()
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        let paths = &self.engine.paths;
        let mut batch = self.engine.db.batch();
        for record in paths.range(prefix..&end_of(prefix)[..]) {
            batch.remove(paths, record.key()?);
        }
        batch.commit()?;
        self.committed()
    }
}
