//! What a process that was killed leaves in the journal is there again after the open, with its versions, whatever the cache and
//! with threads or without.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Dice, Records, assert_sound, cases, records};
use ramus::io::{FaultStorage, Storage};
use ramus::{Db, Durability, IfExists, Options, Tree};

fn options(storage: &FaultStorage, cache_bytes: u64, background: bool) -> Options {
    Options::new()
        .storage(Arc::new(storage.clone()) as Arc<dyn Storage>)
        .cache_bytes(cache_bytes)
        .journal_bytes(64 << 20)
        .durability(Durability::Batched { bytes: 1 << 20, interval: None })
        .background(background)
        .flush_on_drop(false)
}

/// A few directories with a few thousand files, so that keys come again; some are long.
fn key(dice: &mut Dice) -> String {
    let long = if dice.below(50) == 0 { 1 + dice.below(3000) } else { 0 };
    format!("dir{}/sub{:02}/{:04}{}", dice.below(6), dice.below(20), dice.below(60), "x".repeat(long))
}

fn change(db: &Db, trees: &[Tree], dice: &mut Dice) {
    let tree = &trees[dice.below(trees.len())];
    match dice.below(1000) {
        0..=599 => drop(tree.put(key(dice), vec![dice.roll() as u8; dice.below(200)]).unwrap()),
        600..=619 => drop(tree.put(key(dice), vec![dice.roll() as u8; 4096]).unwrap()),
        620..=919 => drop(tree.delete(key(dice)).unwrap()),
        920..=979 => {
            let batch = (0..dice.below(30)).map(|_| (key(dice), dice.below(3))).collect::<Vec<_>>();
            db.batch(|b| {
                for (key, what) in &batch {
                    match what {
                        0 => b.delete(tree, key),
                        len => b.put(&trees[0], key, vec![7; len * 40]),
                    };
                }
            })
            .map(drop)
            .unwrap();
        }
        980..=989 => drop(tree.rename(key(dice), key(dice), IfExists::Replace)),
        990..=993 => drop(tree.delete_prefix(format!("dir{}/sub{:02}/", dice.below(6), dice.below(20)))),
        994..=995 => drop(tree.delete_range(key(dice)..format!("dir{}/t", dice.below(6)))),
        _ => {
            let dir = |dice: &mut Dice| format!("dir{}/", dice.below(6));
            let (src, dst) = (dir(dice), dir(dice));
            drop(tree.rename_prefix_to(&trees[dice.below(trees.len())], src, dst, IfExists::Replace));
        }
    }
}

fn all(db: &Db) -> BTreeMap<String, Records> {
    let names = db.tree_names();
    names
        .into_iter()
        .map(|name| (name.clone(), records(&db.existing_tree(&name).unwrap()).unwrap()))
        .collect()
}

#[test]
fn a_journal_is_replayed_to_what_was_there() {
    let mut dice = Dice(common::seed());
    for _ in 0..cases(6) {
        let storage = FaultStorage::new();
        let db = options(&storage, 64 << 20, false).open("").unwrap();
        let trees = [db.default_tree(), db.tree("other").unwrap()];
        for step in 0..12_000 {
            change(&db, &trees, &mut dice);
            if step == 4000 {
                db.checkpoint().unwrap();
            }
            if step % 5000 == 4999 {
                db.drop_tree("dropped").or_else(|_| db.tree("dropped").map(drop)).unwrap();
            }
        }
        db.sync().unwrap();
        let there = all(&db);
        for (cache_bytes, background) in
            [(64 << 20, true), (64 << 20, false), (4 << 20, true), (4 << 20, false)]
        {
            let left = storage.crash_keep_all();
            let db = options(&left, cache_bytes, background).open("").unwrap();
            assert!(db.stats().recovered_records >= 3000);
            assert!(all(&db) == there, "cache of {cache_bytes} bytes, threads: {background}");
            assert_sound(&db);
        }
    }
}
