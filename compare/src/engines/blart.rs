//! blart's adaptive radix tree in memory. It takes no key that is the beginning of another, so each gets a zero byte at its end,
//! which no path has inside.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Result, anyhow};
use blart::TreeMap;

use super::{check_rename, list_by_seeks, longest_by_seeks, moved};
use crate::engine::{Engine, Records, See, Session, Value, end_of};

type Map = TreeMap<Box<[u8]>, Box<[u8]>>;
type Record = (Box<[u8]>, Box<[u8]>);

#[derive(Default)]
pub struct Blart {
    map: Mutex<Map>,
}

fn terminated(key: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(key.len() + 1);
    copy.extend_from_slice(key);
    copy.push(0);
    copy
}

fn bare(key: &[u8]) -> &[u8] {
    &key[..key.len() - 1]
}

fn insert(map: &mut Map, key: &[u8], value: Box<[u8]>) -> Result<()> {
    let key = terminated(key).into_boxed_slice();
    map.try_insert(key, value).map_err(|_| anyhow!("a key with a zero byte inside"))?;
    Ok(())
}

impl Engine for Blart {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(BlartSession { map: self.map.lock().expect("no thread panicked"), key: Vec::new() }))
    }

    fn load(&self, records: Records<'_, '_>, _sorted: bool) -> Result<()> {
        let mut map = self.map.lock().expect("no thread panicked");
        for (key, value) in records {
            insert(&mut map, key, value.into())?;
        }
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

struct BlartSession<'e> {
    map: MutexGuard<'e, Map>,
    /// The key that is looked for, terminated.
    key: Vec<u8>,
}

impl BlartSession<'_> {
    fn take(&mut self, prefix: &[u8]) -> Vec<Record> {
        let keys: Vec<Box<[u8]>> = self.map.prefix(prefix).map(|(key, _)| key.clone()).collect();
        keys.iter().filter_map(|key| self.map.remove_entry(&key[..])).collect()
    }
}

impl Session for BlartSession<'_> {
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.key.push(0);
        let found = self.map.get(&self.key[..]);
        found.inspect(|value| see(value));
        Ok(found.is_some())
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        let after = terminated(after);
        let after = self.map.range::<[u8], _>((Excluded(&after[..]), Unbounded));
        let below = after.take_while(|(key, _)| key.starts_with(prefix));
        below.take(limit).for_each(|(key, value)| see(bare(key), value));
        Ok(())
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        list_by_seeks(prefix, limit, see, |bound, see| {
            let mut keys = self.map.range::<[u8], _>((Included(bound), Unbounded));
            while keys.next().is_some_and(|(key, _)| see(bare(key))) {}
            Ok(())
        })
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        longest_by_seeks(key, see, |bound, see| {
            let bound = terminated(bound);
            let last = self.map.range::<[u8], _>((Unbounded, Included(&bound[..]))).next_back();
            last.inspect(|(key, value)| see(bare(key), value));
            Ok(())
        })
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        let end = end_of(prefix);
        Ok(self.map.range::<[u8], _>((Included(prefix), Excluded(&end[..]))).count() as u64)
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        insert(&mut self.map, key, (*value).into())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.map.remove(&terminated(key)[..]);
        Ok(())
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let taken = self.map.contains_key(&terminated(dst)[..]);
        let value = if taken { None } else { self.map.remove(&terminated(src)[..]) };
        check_rename(src, taken || value.is_some(), taken)?;
        value.map_or(Ok(()), |value| insert(&mut self.map, dst, value))
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        for (key, value) in self.take(src) {
            insert(&mut self.map, &moved(bare(&key), src, dst), value)?;
        }
        Ok(())
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        self.take(prefix);
        Ok(())
    }
}
