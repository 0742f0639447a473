//! holt with its default configuration and the cache of all, in the 512 KiB frames that it counts in. Its log syncs in the background (batched) or
//! before each acknowledgement (durable). Directories are listed by its own delimiter; it copies all values it gives out.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use holt::{Durability, KeyRangeEntry, KeyRangeEntryRef, RangeEntry, Tree, TreeBuilder};

use crate::engine::{Class, Engine, Records, See, Session, Setup, Value};

const FRAME_BYTES: u64 = 512 << 10;
/// A batch is one record of its log, which takes up to 16 MiB; what is over that goes in pieces and is not atomic.
const BATCH_BYTES: usize = 12 << 20;

/// Records of a batch while a load goes on. Single puts are gathered by it and applied later, up to 262,144 at a time, in time that
/// grows with the square of their number where they come in random order; neighbours in a batch are put together.
const LOAD_BATCH: usize = 1000;

pub struct Holt {
    tree: Tree,
}

impl Holt {
    pub fn open(setup: &Setup) -> Result<Self> {
        let durability = Durability::Wal { sync: setup.class == Class::Durable };
        let frames = (setup.cache_bytes / FRAME_BYTES).max(1) as usize;
        let builder = TreeBuilder::new(&setup.dir).buffer_pool_size(frames).durability(durability);
        Ok(Self { tree: builder.open()? })
    }
}

impl Engine for Holt {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(HoltSession { tree: &self.tree }))
    }

    fn load(&self, records: Records<'_, '_>, _sorted: bool) -> Result<()> {
        let mut records = records.peekable();
        while records.peek().is_some() {
            let mut batch: Vec<(&[u8], Value)> = records.by_ref().take(LOAD_BATCH).collect();
            batch.sort_unstable_by_key(|(key, _)| *key);
            self.tree.atomic(|commit| batch.iter().for_each(|(key, value)| commit.put(key, value)))?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.tree.checkpoint()?)
    }

    /// Has it apply the puts that it has gathered, which would else fall into the next listing's time.
    fn quiet(&self) -> Result<()> {
        self.tree.is_prefix_empty(b"\xff")?;
        Ok(())
    }

    fn hand_over(&self) -> Result<()> {
        // Its journal's thread writes what it has within milliseconds; there is no call for that.
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    fn compact(&mut self) -> Result<Option<PathBuf>> {
        for _ in 0..4 {
            self.tree.compact()?;
        }
        self.tree.checkpoint()?;
        self.tree.vacuum()?;
        Ok(None)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.tree.checkpoint()?)
    }
}

struct HoltSession<'e> {
    tree: &'e Tree,
}

impl HoltSession<'_> {
    /// Changes all keys that start with `prefix`, in as few batches as there can be.
    fn in_batches(&mut self, prefix: &[u8], change: impl Fn(&mut holt::AtomicBatch, &[u8])) -> Result<()> {
        let mut keys = Vec::new();
        for entry in self.tree.scan_keys(prefix) {
            if let KeyRangeEntry::Key { key, .. } = entry? {
                keys.push(key);
            }
        }
        let mut rest = &keys[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let taken = rest.iter().take_while(|key| {
                bytes += 2 * key.len() + 64;
                bytes <= BATCH_BYTES
            });
            let (now, later) = rest.split_at(taken.count().max(1));
            self.tree.atomic(|batch| now.iter().for_each(|key| change(batch, key)))?;
            rest = later;
        }
        Ok(())
    }
}

impl Session for HoltSession<'_> {
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let found = self.tree.get(key)?;
        found.as_deref().inspect(|value| see(value));
        Ok(found.is_some())
    }

    fn get_owned(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.tree.get(key)?)
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        for entry in self.tree.scan(prefix).start_after(after).into_iter().take(limit) {
            if let RangeEntry::Key { key, value, .. } = entry? {
                see(&key, &value);
            }
        }
        Ok(())
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.tree.scan_keys(prefix).delimiter(b'/').visit(limit, |entry| {
            match entry {
                KeyRangeEntryRef::Key { key, .. } | KeyRangeEntryRef::CommonPrefix(key) => see(key),
                _ => {}
            }
            Ok(())
        })?;
        Ok(())
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        let found = self.tree.longest_prefix_record(key)?;
        if let Some(record) = &found {
            see(&record.key, &record.value);
        }
        Ok(found.is_some())
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        Ok(self.tree.prefix_count(prefix, 0)?.count)
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        Ok(self.tree.put(key, value)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.tree.delete(key)?;
        Ok(())
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        Ok(self.tree.rename(src, dst, false)?)
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        self.in_batches(src, |batch, key| batch.rename(key, &super::moved(key, src, dst), false))
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        self.in_batches(prefix, |batch, key| batch.delete(key))
    }
}
