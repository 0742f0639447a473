//! Ramus: defaults but for the cache; the journal makes a checkpoint due at its default of 256 MiB.

use std::path::PathBuf;

use anyhow::Result;
use ramus::{Db, Durability, EntryRef, IfExists, Options, Tree};

use crate::engine::{Class, Engine, Records, See, Session, Setup, Value};

pub struct Ramus {
    db: Db,
    tree: Tree,
}

impl Ramus {
    pub fn open(setup: &Setup) -> Result<Self> {
        let durability = match setup.class {
            Class::Batched => Durability::Batched { bytes: 64 << 10, interval: None },
            Class::Durable => Durability::Sync,
        };
        let db = Options::new().cache_bytes(setup.cache_bytes).durability(durability).open(&setup.dir)?;
        Ok(Self { tree: db.default_tree(), db })
    }
}

impl Engine for Ramus {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(RamusSession { tree: &self.tree }))
    }

    fn load(&self, records: Records<'_, '_>, sorted: bool) -> Result<()> {
        if sorted {
            self.tree.bulk_load(records)?;
            return Ok(());
        }
        for (key, value) in records {
            self.tree.put(key, value)?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.checkpoint()?)
    }

    fn hand_over(&self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn compact(&mut self) -> Result<Option<PathBuf>> {
        self.db.compact()?;
        Ok(None)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}

struct RamusSession<'e> {
    tree: &'e Tree,
}

impl Session for RamusSession<'_> {
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.tree.get_with(key, see)?.is_some())
    }

    fn get_owned(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.tree.get(key)?)
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        let mut scan = self.tree.prefix(prefix).start_after(after).limit(limit);
        while let Some(entry) = scan.next_entry()? {
            if let EntryRef::Record { key, value, .. } = entry {
                see(key, value);
            }
        }
        Ok(())
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut scan = self.tree.prefix(prefix).delimiter(b'/').keys_only().limit(limit);
        while let Some(entry) = scan.next_entry()? {
            see(entry.key());
        }
        Ok(())
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        let found = self.tree.longest_prefix(key)?;
        if let Some((key, record)) = &found {
            see(key, &record.value);
        }
        Ok(found.is_some())
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        Ok(self.tree.count_prefix(prefix)?.keys)
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        self.tree.put(key, value)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.tree.delete(key)?;
        Ok(())
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        self.tree.rename(src, dst, IfExists::Fail)?;
        Ok(())
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        self.tree.rename_prefix(src, dst, IfExists::Fail)?;
        Ok(())
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        self.tree.delete_prefix(prefix)?;
        Ok(())
    }
}
