//! What is counted: each operation some hundred or thousand times, on the same records in the same order, from one thread.
//!
//! The database lies in memory, checkpoints are made outside the counted sections only, there are no background threads: so
//! nothing depends on the disk or on time. Every answer is verified, as wrong ones may be cheap.

use std::collections::{BTreeMap, HashSet};
use std::hint::black_box;
use std::sync::Arc;

use ramus::io::MemoryStorage;
use ramus::{Db, Durability, IfExists, Options, Tree};

use super::common::{Random, shuffle};
use super::paths::{directory, made_up};

const VALUE: [u8; 96] = [7; 96];
/// Keys that are put anew, and deleted.
const EXTRA: usize = 5_000;
/// How often what touches one record is done, and what touches many.
const MANY: usize = 5_000;
const SOME: usize = 500;
/// Directories that move, and how many entries are below each.
const MOVES: usize = 60;
const MOVED_ENTRIES: std::ops::Range<usize> = 50..2_000;

/// The one function whose instructions are counted: callgrind is told its name. It hides what it calls, so that nothing
/// of it is done outside, and does not end with the call, as the compiler would make a jump of that.
#[inline(never)]
fn counted_section(work: &mut dyn FnMut()) {
    let work = black_box(work);
    work();
    black_box(work);
}

/// Counts `act` on each of the items, and says so on standard output: name and number.
fn count<T>(name: &str, items: &[T], mut act: impl FnMut(&T)) {
    count_each(name, items.len(), || items.iter().for_each(&mut act));
}

/// Counts `work`, which does so many operations.
fn count_each(name: &str, operations: usize, mut work: impl FnMut()) {
    assert!(operations > 0, "{name}: nothing to count");
    println!("{name}\t{operations}");
    counted_section(&mut work);
}

struct Rig {
    db: Db,
    tree: Tree,
    /// In random order, and not that in which they were put.
    keys: Vec<Vec<u8>>,
    extra: Vec<Vec<u8>>,
    /// All directories and how many keys are below.
    directories: Vec<(Vec<u8>, usize)>,
}

fn rig() -> Rig {
    let options = Options::new().storage(Arc::new(MemoryStorage::new())).background(false);
    let options = options.durability(Durability::Batched { bytes: 64 << 10, interval: None });
    let db = options.flush_on_drop(false).open("").expect("a database in memory");
    let tree = db.default_tree();
    let mut keys = made_up();
    let mut below: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    shuffle(&mut keys, 1);
    let extra = keys.split_off(keys.len() - EXTRA);
    for key in &keys {
        tree.put(key, VALUE).expect("put");
        for (at, _) in key.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            *below.entry(key[..=at].to_vec()).or_default() += 1;
        }
    }
    db.checkpoint().expect("checkpoint");
    shuffle(&mut keys, 2);
    let mut directories: Vec<_> = below.into_iter().collect();
    shuffle(&mut directories, 3);
    Rig { db, tree, keys, extra, directories }
}

/// Runs the workload.
pub(crate) fn run() {
    let rig = rig();
    reads(&rig);
    listings(&rig);
    changes(&rig);
    directory_moves(&rig);
    loads(&rig);
    rig.db.check().expect("check");
}

fn reads(rig: &Rig) {
    let tree = &rig.tree;
    let hits = &rig.keys[..MANY];
    count("get", hits, |key| assert_eq!(tree.get_with(key, <[u8]>::len).expect("get"), Some(VALUE.len())));
    count("get_miss", &rig.extra, |key| assert_eq!(tree.get_with(key, <[u8]>::len).expect("get"), None));
    let beyond: Vec<Vec<u8>> = hits.iter().map(|key| [key, &b"/a/b"[..]].concat()).collect();
    count("longest_prefix", &beyond, |key| {
        let (found, _) = tree.longest_prefix(key).expect("longest prefix").expect("a prefix");
        assert_eq!(found.len() + 4, key.len());
    });
    // Of few of these there is a prefix.
    let stored: HashSet<&[u8]> = rig.keys.iter().map(Vec::as_slice).collect();
    let prefix = |key: &Vec<u8>| (1..key.len()).rev().find(|len| stored.contains(&key[..*len]));
    let asked: Vec<(&Vec<u8>, Option<usize>)> = rig.extra.iter().map(|key| (key, prefix(key))).collect();
    count("no_prefix", &asked, |(key, len)| {
        let found = tree.longest_prefix(key).expect("longest prefix");
        assert_eq!(found.map(|(prefix, _)| prefix.len()), *len);
    });
}

fn listings(rig: &Rig) {
    let tree = &rig.tree;
    let starts = &rig.keys[MANY..MANY + SOME];
    count("list100", starts, |key| {
        let listed = tree.range(&key[..]..).limit(100).map(|entry| entry.expect("entry").key().len());
        assert!(black_box(listed.sum::<usize>()) > 0);
    });
    let listed: Vec<&[u8]> = starts.iter().map(|key| directory(key)).collect();
    count("list_dir", &listed, |prefix| {
        let scan = tree.prefix(prefix).delimiter(b'/').limit(100);
        assert!(black_box(scan.map(|entry| entry.expect("entry").key().len()).sum::<usize>()) > 0);
    });
    let large: Vec<&(Vec<u8>, usize)> = rig.directories.iter().filter(|(_, keys)| *keys > 1_000).collect();
    count("count_prefix", &large, |(prefix, keys)| {
        assert_eq!(tree.count_prefix(prefix).expect("count").keys, *keys as u64);
    });
}

fn changes(rig: &Rig) {
    let tree = &rig.tree;
    count("put_overwrite", &rig.keys[..MANY], |key| {
        tree.put(key, VALUE).expect("put");
    });
    count("put_new", &rig.extra, |key| {
        tree.put(key, VALUE).expect("put");
    });
    count("delete", &rig.extra, |key| assert!(tree.delete(key).expect("delete")));
    let batches: Vec<&[Vec<u8>]> = rig.extra.chunks(50).collect();
    count("batch_of_50", &batches, |keys| {
        let filled = rig.db.batch(|batch| keys.iter().for_each(|key| batch.put(tree, key, VALUE)));
        filled.expect("batch");
    });
    // Every other file goes to another directory.
    let mut random = Random(5);
    let renames: Vec<(&Vec<u8>, Vec<u8>)> = rig.extra[..SOME * 4]
        .iter()
        .map(|key| {
            let at = directory(key).len();
            let target = match random.below(2) {
                0 => directory(key),
                _ => directory(&rig.keys[random.below(rig.keys.len())]),
            };
            (key, [target, &key[at..], b".moved"].concat())
        })
        .collect();
    count("rename", &renames, |(src, dst)| {
        tree.rename(src, dst, IfExists::Fail).expect("rename");
    });
    renames.iter().for_each(|(_, moved)| assert!(tree.contains(moved).expect("contains")));
    let across: Vec<(&Vec<u8>, Vec<u8>)> = renames
        .iter()
        .map(|(src, moved)| {
            let target = directory(&rig.keys[random.below(rig.keys.len())]);
            (moved, [target, &src[directory(src).len()..], b".across"].concat())
        })
        .collect();
    count("rename_across", &across, |(src, dst)| {
        tree.rename(src, dst, IfExists::Fail).expect("rename");
    });
    across.iter().for_each(|(_, moved)| assert!(tree.contains(moved).expect("contains")));
}

/// The first move of a directory cuts it out of its tree; then it is a limb of its own, and moves as such.
fn directory_moves(rig: &Rig) {
    let tree = &rig.tree;
    let mut moves: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for (path, keys) in &rig.directories {
        let overlaps = |(other, _): &(&[u8], _)| path.starts_with(other) || other.starts_with(path);
        if MOVED_ENTRIES.contains(keys) && moves.len() < MOVES && !moves.iter().any(overlaps) {
            moves.push((path, [b"moved/", &path[..]].concat()));
        }
    }
    assert_eq!(moves.len(), MOVES);
    count("move_dir_first", &moves, |(src, dst)| {
        tree.rename_prefix(src, dst, IfExists::Fail).expect("a first move");
    });
    let again: Vec<(&[u8], Vec<u8>)> =
        moves.iter().map(|(path, dst)| (&dst[..], [b"again/", *path].concat())).collect();
    count("move_dir_again", &again, |(src, dst)| {
        tree.rename_prefix(src, dst, IfExists::Fail).expect("a move");
    });
    for ((_, dst), (path, _)) in again.iter().zip(&moves) {
        assert!(tree.count_prefix(dst).expect("count").keys >= MOVED_ENTRIES.start as u64);
        assert_eq!(tree.count_prefix(path).expect("count").keys, 0);
    }
}

/// A load is one call; what is counted is a record.
fn loads(rig: &Rig) {
    let tree = rig.db.tree("loaded").expect("a tree");
    let mut keys = rig.keys.clone();
    keys.sort();
    count_each("bulk_load", keys.len(), || {
        let loaded = tree.bulk_load(keys.iter().map(|key| (key, VALUE))).expect("bulk_load");
        assert_eq!(loaded, keys.len() as u64);
    });
}
