//! redb with its defaults and the cache of all. Batched commits have `Durability::None`, which its documentation recommends for what a
//! later durable commit makes good; loads are transactions of many records.

use std::path::PathBuf;

use anyhow::{Context, Result};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::{LOAD_COMMIT, check_rename, list_by_seeks, longest_by_seeks, moved};
use crate::engine::{Class, Engine, Records, See, Session, Setup, Value, end_of};

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("paths");

type Writable<'t> = Table<'t, &'static [u8], &'static [u8]>;

pub struct Redb {
    db: Database,
    class: Class,
}

impl Redb {
    pub fn open(setup: &Setup) -> Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(setup.cache_bytes as usize);
        let redb = Self { db: builder.create(setup.dir.join("data.redb"))?, class: setup.class };
        redb.write(Durability::Immediate, |_| Ok(()))?;
        Ok(redb)
    }

    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Writable<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(durability)?;
        change(&mut txn.open_table(TABLE)?)?;
        Ok(txn.commit()?)
    }
}

impl Engine for Redb {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(RedbSession { engine: self, read: None }))
    }

    fn load(&self, records: Records<'_, '_>, _sorted: bool) -> Result<()> {
        let mut records = records.peekable();
        while records.peek().is_some() {
            self.write(Durability::None, |table| {
                for (key, value) in records.by_ref().take(LOAD_COMMIT) {
                    table.insert(key, &value[..])?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.write(Durability::Immediate, |_| Ok(()))
    }

    fn hand_over(&self) -> Result<()> {
        self.settle()
    }

    fn compact(&mut self) -> Result<Option<PathBuf>> {
        while self.db.compact()? {}
        Ok(None)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}

struct RedbSession<'e> {
    engine: &'e Redb,
    /// Of a snapshot.
    read: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

impl RedbSession<'_> {
    fn read(&mut self) -> Result<&ReadOnlyTable<&'static [u8], &'static [u8]>> {
        if self.read.is_none() {
            self.read = Some(self.engine.db.begin_read()?.open_table(TABLE)?);
        }
        self.read.as_ref().context("a table")
    }

    fn write(&mut self, change: impl FnOnce(&mut Writable<'_>) -> Result<()>) -> Result<()> {
        self.read = None;
        let durability = match self.engine.class {
            Class::Batched => Durability::None,
            Class::Durable => Durability::Immediate,
        };
        self.engine.write(durability, change)
    }
}

impl Session for RedbSession<'_> {
    fn refresh(&mut self) -> Result<()> {
        self.read = None;
        Ok(())
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let found = self.read()?.get(key)?;
        if let Some(value) = &found {
            see(value.value());
        }
        Ok(found.is_some())
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        let from = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        for record in self.read()?.range::<&[u8]>(from)?.take(limit) {
            let (key, value) = record?;
            if !key.value().starts_with(prefix) {
                break;
            }
            see(key.value(), value.value());
        }
        Ok(())
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let table = self.read()?;
        list_by_seeks(prefix, limit, see, |bound, see| {
            for record in table.range::<&[u8]>(bound..)? {
                if !see(record?.0.value()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        let table = self.read()?;
        longest_by_seeks(key, see, |bound, see| {
            if let Some(record) = table.range::<&[u8]>(..=bound)?.next_back() {
                let (key, value) = record?;
                see(key.value(), value.value());
            }
            Ok(())
        })
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        let end = end_of(prefix);
        let mut counted = 0;
        for record in self.read()?.range::<&[u8]>(prefix..&end[..])? {
            record?;
            counted += 1;
        }
        Ok(counted)
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        self.write(|table| {
            table.insert(key, &value[..])?;
            Ok(())
        })
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.write(|table| {
            table.remove(key)?;
            Ok(())
        })
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        self.write(|table| {
            let taken = table.get(dst)?.is_some();
            let value = table.remove(src)?.map(|value| value.value().to_vec());
            check_rename(src, value.is_some(), taken)?;
            table.insert(dst, &value.unwrap_or_default()[..])?;
            Ok(())
        })
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let end = end_of(src);
        self.write(|table| {
            let mut taken = Vec::new();
            for record in table.range::<&[u8]>(src..&end[..])? {
                let (key, value) = record?;
                taken.push((moved(key.value(), src, dst), value.value().to_vec()));
            }
            table.retain_in::<&[u8], _>(src..&end[..], |_, _| false)?;
            for (key, value) in &taken {
                table.insert(&key[..], &value[..])?;
            }
            Ok(())
        })
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        let end = end_of(prefix);
        self.write(|table| Ok(table.retain_in::<&[u8], _>(prefix..&end[..], |_, _| false)?))
    }
}
