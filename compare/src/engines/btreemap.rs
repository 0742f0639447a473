//! std's `BTreeMap`, with a heap allocation for each key and value, as a program would have it that keeps paths in one.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use anyhow::Result;

use super::{check_rename, list_by_seeks, longest_by_seeks, moved};
use crate::engine::{Engine, Records, See, Session, Value, end_of};

type Map = BTreeMap<Box<[u8]>, Box<[u8]>>;
type Record = (Box<[u8]>, Box<[u8]>);

#[derive(Default)]
pub struct InMemory {
    map: Mutex<Map>,
}

impl Engine for InMemory {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(MapSession { map: self.map.lock().expect("no thread panicked") }))
    }

    fn load(&self, records: Records<'_, '_>, _sorted: bool) -> Result<()> {
        let mut map = self.map.lock().expect("no thread panicked");
        records.for_each(|(key, value)| drop(map.insert(key.into(), value.into())));
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn hand_over(&self) -> Result<()> {
        Ok(())
    }

    fn compact(&mut self) -> Result<Option<PathBuf>> {
        Ok(None)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct MapSession<'e> {
    map: MutexGuard<'e, Map>,
}

impl MapSession<'_> {
    /// Takes the records below `prefix` out, one by one: cutting the map and joining it again costs as much as all its records.
    fn take(&mut self, prefix: &[u8]) -> Vec<Record> {
        let end = end_of(prefix);
        let below = self.map.range::<[u8], _>((Included(prefix), Excluded(&end[..])));
        let keys: Vec<Box<[u8]>> = below.map(|(key, _)| key.clone()).collect();
        keys.iter().filter_map(|key| self.map.remove_entry(key)).collect()
    }
}

impl Session for MapSession<'_> {
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let found = self.map.get(key);
        found.inspect(|value| see(value));
        Ok(found.is_some())
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        let after = self.map.range::<[u8], _>((Excluded(after), Unbounded));
        after
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .for_each(|(key, value)| see(key, value));
        Ok(())
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        list_by_seeks(prefix, limit, see, |bound, see| {
            let mut keys = self.map.range::<[u8], _>((Included(bound), Unbounded));
            while keys.next().is_some_and(|(key, _)| see(key)) {}
            Ok(())
        })
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        longest_by_seeks(key, see, |bound, see| {
            let last = self.map.range::<[u8], _>((Unbounded, Included(bound))).next_back();
            last.inspect(|(key, value)| see(key, value));
            Ok(())
        })
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        let end = end_of(prefix);
        Ok(self.map.range::<[u8], _>((Included(prefix), Excluded(&end[..]))).count() as u64)
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        self.map.insert(key.into(), (*value).into());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.map.remove(key);
        Ok(())
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let taken = self.map.contains_key(dst);
        let value = if taken { None } else { self.map.remove(src) };
        check_rename(src, taken || value.is_some(), taken)?;
        value.map(|value| self.map.insert(dst.into(), value));
        Ok(())
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        for (key, value) in self.take(src) {
            self.map.insert(moved(&key, src, dst).into(), value);
        }
        Ok(())
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        self.take(prefix);
        Ok(())
    }
}
