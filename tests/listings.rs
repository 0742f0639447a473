//! Listings, lent and owned, of trees and of transactions: all give what a sorted map gives, in both directions, with all options,
//! over blobs, mounts and moves; and beside writers each key that nobody touches comes up once.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Dice, cases, seed, watched};
use ramus::io::{MemoryStorage, Storage};
use ramus::{Db, Entry, EntryRef, IfExists, Options, Result, Scan, TransactionScan};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn database() -> Db {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    Options::new().storage(storage).background(false).open("").unwrap()
}

/// A path of up to six levels; some directories are large.
fn path(dice: &mut Dice) -> Vec<u8> {
    let mut path = format!("top{}", dice.below(3));
    for level in 0..dice.below(6) {
        path += &format!("/d{}", dice.below([4, 40, 3, 2, 5, 2][level]));
    }
    format!("{path}/file{:04}", dice.below(3000)).into_bytes()
}

/// A directory with its slash.
fn directory(dice: &mut Dice) -> Vec<u8> {
    let path = path(dice);
    let ends: Vec<usize> =
        path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1).collect();
    path[..ends[dice.below(ends.len())]].to_vec()
}

/// The options of one listing.
#[derive(Debug, Default, Clone)]
struct Asked {
    prefix: Option<Vec<u8>>,
    range: (Vec<u8>, Vec<u8>),
    after: Option<Vec<u8>>,
    delimiter: Option<u8>,
    reverse: bool,
    limit: Option<usize>,
    keys_only: bool,
}

macro_rules! ask {
    ($asked:expr, $scan:expr) => {{
        let (asked, mut scan): (&Asked, _) = ($asked, $scan);
        if let Some(after) = &asked.after {
            scan = scan.start_after(after);
        }
        if let Some(byte) = asked.delimiter {
            scan = scan.delimiter(byte);
        }
        if asked.reverse {
            scan = scan.reverse();
        }
        if let Some(limit) = asked.limit {
            scan = scan.limit(limit);
        }
        if asked.keys_only { scan.keys_only() } else { scan }
    }};
}

impl Asked {
    fn draw(dice: &mut Dice) -> Self {
        let some = |dice: &mut Dice, of: usize| dice.below(of) == 0;
        let (one, other) = (path(dice), path(dice));
        Self {
            prefix: (!some(dice, 4)).then(|| directory(dice)),
            range: if one < other { (one, other) } else { (other, one) },
            after: some(dice, 4).then(|| if some(dice, 2) { path(dice) } else { directory(dice) }),
            delimiter: (!some(dice, 3)).then(|| if some(dice, 5) { b'1' } else { b'/' }),
            reverse: some(dice, 2),
            limit: some(dice, 2).then(|| dice.below(300)),
            keys_only: some(dice, 3),
        }
    }

    fn of_map(&self, map: &Map) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let behind = self.prefix.as_ref().map_or(0, Vec::len);
        let mut items: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        for (key, value) in map {
            let is_inside = match &self.prefix {
                Some(prefix) => key.starts_with(prefix),
                None => (&self.range.0..&self.range.1).contains(&key),
            };
            if !is_inside {
                continue;
            }
            let at = self.delimiter.and_then(|byte| key[behind..].iter().position(|&other| other == byte));
            let item = match at {
                Some(at) => (key[..=behind + at].to_vec(), None),
                None => (key.clone(), Some(if self.keys_only { Vec::new() } else { value.clone() })),
            };
            let is_past = self.after.as_ref().is_some_and(|after| match self.reverse {
                false => item.0 <= *after,
                true => item.0 >= *after,
            });
            if !is_past && items.last() != Some(&item) {
                items.push(item);
            }
        }
        if self.reverse {
            items.reverse();
        }
        items.truncate(self.limit.unwrap_or(usize::MAX));
        items
    }
}

fn lent(mut scan: Scan) -> Result<Vec<Entry>> {
    let mut items = Vec::new();
    while let Some(entry) = scan.next_entry()? {
        items.push(entry.to_entry());
    }
    assert_eq!(scan.next_entry()?, None);
    Ok(items)
}

fn lent_by_transaction(mut scan: TransactionScan<'_>) -> Result<Vec<Entry>> {
    let mut items = Vec::new();
    while let Some(entry) = scan.next_entry()? {
        items.push(entry.to_entry());
    }
    assert_eq!(scan.next_entry()?, None);
    Ok(items)
}

fn plain(entries: &[Entry]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let plain = |entry: &Entry| match entry {
        Entry::Record { key, value, version } => {
            assert!(*version > 0);
            (key.clone(), Some(value.clone()))
        }
        Entry::CommonPrefix(prefix) => (prefix.clone(), None),
    };
    entries.iter().map(plain).collect()
}

#[test]
fn lent_and_owned_listings_agree_with_a_sorted_map() {
    let mut dice = Dice(seed());
    let db = database();
    let tree = db.default_tree();
    let mut map = Map::new();
    for _ in 0..12_000 {
        let (key, value) = (path(&mut dice), vec![dice.below(256) as u8; dice.below(400)]);
        tree.put(&key, &value).unwrap();
        map.insert(key, value);
    }
    for round in 0..cases(700) {
        if round % 10 == 0 {
            // Moves leave mounts behind, and empty directories; a compaction takes them out.
            let (from, to) = (directory(&mut dice), [b"moved/", &directory(&mut dice)[..]].concat());
            let (from, to) = if round % 20 == 0 { (from, to) } else { (to, from) };
            if tree.rename_prefix(&from, &to, IfExists::Replace).is_ok() {
                map.retain(|key, _| !key.starts_with(&to));
                let moved: Vec<_> =
                    map.range(from.clone()..).take_while(|(key, _)| key.starts_with(&from)).collect();
                let moved: Map = moved
                    .into_iter()
                    .map(|(key, value)| ([&to, &key[from.len()..]].concat(), value.clone()))
                    .collect();
                map.retain(|key, _| !key.starts_with(&from));
                map.extend(moved);
            }
        }
        if round % 200 == 199 {
            db.compact().unwrap();
        }
        let mut asked = Asked::draw(&mut dice);
        if dice.below(3) == 0 {
            asked.prefix = asked.prefix.map(|prefix| [b"moved/", &prefix[..]].concat());
        }
        let scan = || match &asked.prefix {
            Some(prefix) => tree.prefix(prefix),
            None => tree.range::<&[u8]>(&asked.range.0[..]..&asked.range.1[..]),
        };
        let owned: Vec<Entry> = ask!(&asked, scan()).collect::<Result<_>>().unwrap();
        assert!(plain(&owned) == asked.of_map(&map), "{asked:?}");
        assert!(lent(ask!(&asked, scan())).unwrap() == owned, "{asked:?}");
        let transaction = db.transaction();
        let scan = match &asked.prefix {
            Some(prefix) => transaction.prefix(&tree, prefix),
            None => transaction.range::<&[u8]>(&tree, &asked.range.0[..]..&asked.range.1[..]),
        };
        assert!(lent_by_transaction(ask!(&asked, scan)).unwrap() == owned, "{asked:?}");
        transaction.commit().unwrap();
        let prefix = asked.prefix.unwrap_or_default();
        let below: Vec<_> = map.iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        let counted = tree.count_prefix(&prefix).unwrap();
        assert_eq!(counted.keys, below.len() as u64);
        assert_eq!(counted.key_bytes, below.iter().map(|(key, _)| key.len() as u64).sum::<u64>());
        assert_eq!(counted.value_bytes, below.iter().map(|(_, value)| value.len() as u64).sum::<u64>());
    }
}

#[test]
fn an_entry_lent_is_the_entry_owned() {
    let db = database();
    let tree = db.default_tree();
    let version = tree.put("a/b", "1").unwrap();
    tree.put("a/c/d", "2").unwrap();
    let mut scan = tree.prefix("a/").delimiter(b'/');
    let record = EntryRef::Record { key: b"a/b", value: b"1", version };
    assert_eq!(scan.next_entry().unwrap(), Some(record));
    // What is lent and what is owned come from one listing.
    assert_eq!(scan.next().unwrap().unwrap(), Entry::CommonPrefix(b"a/c/".to_vec()));
    assert_eq!(scan.next_entry().unwrap(), None);
    assert_eq!(record.to_entry().as_entry_ref(), record);
    assert_eq!(record.key(), b"a/b");
    let mut inverted = tree.range("b".."a");
    assert!(inverted.next_entry().is_err());
    assert_eq!(inverted.next_entry().unwrap(), None);
}

/// Half the keys stay; writers put, delete and move the others, so that blobs are cut and merged all the time.
#[test]
fn lent_listings_beside_writers_give_each_stable_key_once() {
    watched("listings beside writers", || {
        let db = database();
        let tree = db.default_tree();
        let stable: Vec<Vec<u8>> =
            (0..4000u32).map(|n| format!("d{:02}/s{n:05}", n / 100).into_bytes()).collect();
        for key in &stable {
            tree.put(key, [7; 200]).unwrap();
        }
        tree.put("aside/x", "1").unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (tree, over, stable) = (&tree, &over, &stable);
            scope.spawn(move || {
                let mut dice = Dice(seed());
                while !over.load(Ordering::Relaxed) {
                    let name = |dice: &mut Dice| format!("d{:02}/w{:05}", dice.below(40), dice.below(4000));
                    for _ in 0..300 {
                        tree.put(name(&mut dice), vec![1; dice.below(600)]).unwrap();
                    }
                    for _ in 0..300 {
                        tree.delete(name(&mut dice)).unwrap();
                    }
                    let there = tree.rename_prefix("aside/", "d07/aside/", IfExists::Replace).is_ok();
                    assert!(there && tree.rename_prefix("d07/aside/", "aside/", IfExists::Replace).is_ok());
                }
            });
            let mut dice = Dice(1);
            for round in 0..cases(300) {
                let (from, reverse) = (dice.below(40), round % 2 == 0);
                let low = format!("d{from:02}/").into_bytes();
                let scan = tree.range(&low[..]..&b"e"[..]);
                let mut scan = if reverse { scan.reverse() } else { scan };
                let mut found = Vec::new();
                let mut last: Option<Vec<u8>> = None;
                while let Some(entry) = scan.next_entry().unwrap() {
                    let key = entry.key();
                    let in_order =
                        last.as_deref().is_none_or(|last| if reverse { key < last } else { key > last });
                    assert!(in_order, "{last:?} and then {key:?}");
                    if key[4] == b's' {
                        assert!(matches!(entry, EntryRef::Record { value, .. } if value == [7; 200]));
                        found.push(key.to_vec());
                    }
                    last = Some(key.to_vec());
                }
                if reverse {
                    found.reverse();
                }
                assert!(found == stable[from * 100..], "from {from}, reverse {reverse}");
                let mut directories = Vec::new();
                let mut scan = tree.range(&low[..]..&b"e"[..]).delimiter(b'/');
                while let Some(entry) = scan.next_entry().unwrap() {
                    directories.push(entry.key().to_vec());
                }
                let wanted: Vec<_> = (from..40).map(|n| format!("d{n:02}/").into_bytes()).collect();
                assert!(directories == wanted, "{directories:?}");
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}
