//! Loads of sorted records: into empty trees, gaps, mounted directories and among other records; what is refused; what is there
//! after errors, power cuts and on full devices; beside writers. The model test has loads among all other operations.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Dice, assert_sound, cases, records, small, watched};
use ramus::io::FaultStorage;
use ramus::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use ramus::{Db, Durability, ErrorKind, IfExists, Options, Tree, WriteOptions};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Records below a directory.
fn below(directory: &str, numbers: impl Iterator<Item = usize>, len: usize) -> Model {
    numbers
        .map(|n| {
            (format!("{directory}dir-{:03}/file-{n:06}", n / 40).into_bytes(), vec![n as u8; len + n % 7])
        })
        .collect()
}

fn load(tree: &Tree, model: &Model) -> u64 {
    tree.bulk_load(model).expect("the load")
}

fn all(tree: &Tree) -> Model {
    records(tree).unwrap().into_iter().map(|(key, (value, _))| (key, value)).collect()
}

#[track_caller]
fn expect(tree: &Tree, model: &Model) {
    let found = all(tree);
    assert!(found == *model, "{} records, not the {} that were put", found.len(), model.len());
    for (key, value) in model.iter().step_by(17) {
        assert_eq!(tree.get(key).unwrap().as_ref(), Some(value));
    }
}

#[test]
fn an_empty_tree_gets_full_blobs_and_replay_makes_the_same_records() {
    let storage = FaultStorage::new();
    let options = small(&storage).cache_bytes(64 << 20).journal_bytes(64 << 20);
    let db = options.open("").unwrap();
    let tree = db.default_tree();
    let model = below("srv/", 0..40_000, 90);
    assert_eq!(load(&tree, &model), 40_000);
    expect(&tree, &model);
    let before = records(&tree).unwrap();
    // A blob's records are one commit.
    let versions: BTreeSet<u64> = before.values().map(|(_, version)| *version).collect();
    let survey = db.survey().unwrap().survey.unwrap();
    assert!(
        (versions.len() as u64).abs_diff(survey.leaf_blobs) <= 1,
        "{} commits, {survey:?}",
        versions.len()
    );
    let fill = survey.live_bytes as f64 / ((survey.leaf_blobs + survey.inner_blobs) * 65_536) as f64;
    assert!(fill > 0.9, "{survey:?}");
    assert_eq!(survey.sparse_leaf_blobs, 0, "{survey:?}");

    drop((tree, db));
    let db = options.open("").unwrap();
    // Opening and closing leave records of their own.
    assert!(db.stats().recovered_records >= versions.len() as u64, "{:?}", db.stats());
    assert_eq!(records(&db.default_tree()).unwrap(), before);
    assert_sound(&db);
}

#[test]
fn loads_go_beside_among_and_over_what_is_there() {
    let db = small(&FaultStorage::new()).cache_bytes(32 << 20).open("").unwrap();
    let tree = db.default_tree();
    let mut model = Model::new();
    for n in (0..6_000).step_by(3) {
        let key = format!("m/{n:06}").into_bytes();
        tree.put(&key, b"put").unwrap();
        model.insert(key, b"put".to_vec());
    }
    let loads = [
        below("a/", 0..5_000, 50),
        below("z/", 0..5_000, 50),
        // In a gap between two records, and in the one behind that, twice.
        below("m/000300/", 0..5_000, 50),
        below("m/000303/", 0..3, 50),
        below("m/000303/", 0..3_000, 50),
        // Over all of it.
        (0..6_000).map(|n| (format!("m/{n:06}").into_bytes(), b"loaded".to_vec())).collect(),
        // Its end lies behind what is there.
        below("z/", 4_990..9_000, 20),
        Model::from([(b"single".to_vec(), Vec::new())]),
        Model::new(),
    ];
    for records in loads {
        assert_eq!(load(&tree, &records), records.len() as u64);
        model.extend(records);
        expect(&tree, &model);
        assert_sound(&db);
    }
}

#[test]
fn loads_go_into_and_around_directories_that_moved() {
    let db = small(&FaultStorage::new()).cache_bytes(32 << 20).open("").unwrap();
    let tree = db.default_tree();
    let mut model = below("d/", 0..6_000, 50);
    model.extend(below("x/", 0..2_000, 50));
    load(&tree, &model);
    tree.rename_prefix("d/", "e/moved/", IfExists::Fail).unwrap();
    let moved: Vec<Vec<u8>> = model.keys().filter(|key| key.starts_with(b"d/")).cloned().collect();
    for key in moved {
        let value = model.remove(&key).unwrap();
        model.insert([b"e/moved/", &key[2..]].concat(), value);
    }
    expect(&tree, &model);
    for directory in
        ["e/", "e/moved/dir-003/", "e/moved/a/", "e/moved/z/", "e/z/", "d/", "e/moved", "e/moved0/"]
    {
        let records = below(directory, 0..3_000, 40);
        load(&tree, &records);
        model.extend(records);
        expect(&tree, &model);
        assert_sound(&db);
    }
    // From before the mount to behind it.
    let mut across = below("e/m", 0..10, 5);
    across.extend(below("e/moved/", 0..6_000, 60));
    across.extend(below("e/n", 0..3_000, 5));
    load(&tree, &across);
    model.extend(across);
    expect(&tree, &model);
    tree.rename_prefix("e/", "f/", IfExists::Fail).unwrap();
    db.compact().unwrap();
    assert_sound(&db);
    assert_eq!(all(&tree).len(), model.len());
}

#[test]
fn what_is_wrong_is_refused_by_number_and_the_load_can_go_on() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    let mut load = tree.bulk_loader(WriteOptions::new());
    load.push("b", "1").unwrap();
    let refused = |outcome: ramus::Result<()>, parts: &[&str]| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        parts.iter().for_each(|part| assert!(error.to_string().contains(part), "{error}: no {part:?}"));
    };
    refused(load.push("b", "2"), &["record 2", "\"b\" is not above \"b\""]);
    refused(load.push("a/long", "2"), &["record 2", "\"a/long\" is not above \"b\""]);
    refused(load.push("", "2"), &["record 2", "empty"]);
    refused(load.push(vec![b'c'; KEY_BYTES_MAX + 1], "2"), &["record 2", "8193 bytes", "8192"]);
    refused(load.push("c", [0; VALUE_BYTES_MAX + 1]), &["record 2", "4097 bytes", "4096"]);
    assert_eq!(load.committed(), 0);
    load.push("b\0", "3").unwrap();
    load.push(vec![b'c'; KEY_BYTES_MAX], [7; VALUE_BYTES_MAX]).unwrap();
    assert_eq!(load.finish().unwrap(), 3);
    assert_eq!(load.committed(), 3);
    // After the end it may begin anew.
    load.push("a", "4").unwrap();
    assert_eq!(load.finish().unwrap(), 4);
    assert_eq!(load.finish().unwrap(), 4);
    assert_eq!(tree.iter().count(), 4);
    // What was taken before the error, and no commit made whole, is not there.
    assert!(tree.bulk_load([("x", ""), ("y", ""), ("x", "")]).is_err());
    assert_eq!(tree.iter().count(), 4);
    load.push("dropped", "").unwrap();
    drop(load);
    assert_eq!(tree.get("dropped").unwrap(), None);
}

#[test]
fn loads_end_with_their_tree_and_database() {
    let storage = FaultStorage::new();
    let db = small(&storage).open("").unwrap();
    let tree = db.tree("other").unwrap();
    let mut load = tree.bulk_loader(WriteOptions::new());
    load.push("a", "1").unwrap();
    db.drop_tree("other").unwrap();
    assert_eq!(load.finish().unwrap_err().kind(), ErrorKind::NotFound);
    let mut load = db.default_tree().bulk_loader(WriteOptions::new());
    load.push("a", "1").unwrap();
    db.close().unwrap();
    assert_eq!(load.finish().unwrap_err().kind(), ErrorKind::InvalidInput);
    drop((load, tree, db));
    let db = small(&storage).read_only(true).open("").unwrap();
    assert_eq!(db.default_tree().bulk_load([("a", "1")]).unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn keys_of_any_length_and_kind() {
    let db = small(&FaultStorage::new()).cache_bytes(32 << 20).open("").unwrap();
    let tree = db.default_tree();
    let mut dice = Dice(common::seed());
    let mut model = Model::new();
    for _ in 0..cases(400) {
        // Long ones with nothing and with much in common, short ones, steps of a stair.
        let mut key = match dice.below(4) {
            0 => vec![b'k'; 1 + dice.below(KEY_BYTES_MAX)],
            1 => (0..1 + dice.below(600)).map(|_| dice.roll() as u8).collect(),
            2 => [&[b'p'; 4000][..], &dice.roll().to_be_bytes()].concat(),
            _ => (0..1 + dice.below(5)).map(|_| b"ab\0\xFF"[dice.below(4)]).collect(),
        };
        key.truncate(KEY_BYTES_MAX);
        let len = if dice.below(8) == 0 { VALUE_BYTES_MAX } else { dice.below(200) };
        model.insert(key, vec![dice.roll() as u8; len]);
    }
    load(&tree, &model);
    expect(&tree, &model);
    assert_sound(&db);
    // Far more text than fits a record in the journal, in one blob.
    let tree = db.tree("stair").unwrap();
    let stair: Model = (1..=KEY_BYTES_MAX).map(|len| (vec![b's'; len], Vec::new())).collect();
    load(&tree, &stair);
    expect(&tree, &stair);
    assert_sound(&db);
}

/// Whether `found` is the first so many records of the model, at least `least`.
fn is_first_part(found: &Model, model: &Model, least: u64) -> bool {
    found.len() as u64 >= least && model.iter().take(found.len()).eq(found.iter())
}

fn crash_options(storage: &FaultStorage, sync: bool) -> Options {
    let durability = match sync {
        true => Durability::Sync,
        false => Durability::Batched { bytes: 100_000, interval: None },
    };
    small(storage).durability(durability)
}

/// Loads until something fails. What is durable for certain, and what is committed.
fn load_until_cut(storage: &FaultStorage, sync: bool, model: &Model) -> (u64, u64) {
    let Ok(db) = crash_options(storage, sync).open("") else { return (0, 0) };
    let mut load = db.default_tree().bulk_loader(WriteOptions::new());
    let outcome = model.iter().try_for_each(|(key, value)| load.push(key, value));
    match outcome.and_then(|()| load.finish()) {
        Ok(loaded) if sync => (loaded, loaded),
        _ => (0, load.committed()),
    }
}

#[test]
fn a_power_cut_at_any_operation_leaves_a_first_part() {
    let mut dice = Dice(common::seed());
    let model = below("srv/", 0..6_000, 200);
    for sync in [true, false] {
        let storage = FaultStorage::new();
        assert_eq!(load_until_cut(&storage, sync, &model).1, 6_000);
        let total = storage.operations();
        let step = (total / cases(60)).max(1);
        let mut n = dice.below(step as usize) as u64;
        while n <= total + step {
            let storage = FaultStorage::new();
            storage.fail_after(n);
            let (durable, committed) = load_until_cut(&storage, sync, &model);
            let crashed = [storage.crash_keep_all(), storage.crash_lose_all(), storage.crash(dice.roll())];
            for (at, left) in crashed.into_iter().enumerate() {
                let db = crash_options(&left, sync).open("").unwrap();
                let found = all(&db.default_tree());
                assert!(
                    is_first_part(&found, &model, durable),
                    "operation {n} of {total}, crash {at}: {} records, {durable} durable, {committed} committed",
                    found.len()
                );
                assert_sound(&db);
                // The same load again completes it.
                load(&db.default_tree(), &model);
                assert!(all(&db.default_tree()) == model);
            }
            n += step;
        }
    }
}

#[test]
fn a_load_larger_than_cache_and_journal() {
    watched("a large load", a_large_load);
}

fn a_large_load() {
    let storage = FaultStorage::new();
    for background in [false, true] {
        let db = small(&storage).background(background).open("").unwrap();
        let tree = db.tree(if background { "b" } else { "a" }).unwrap();
        let model = below("srv/", 0..60_000, 400);
        load(&tree, &model);
        let stats = db.stats();
        assert!(stats.checkpoints > 3 && stats.evictions > 100, "{stats:?}");
        expect(&tree, &model);
        assert_sound(&db);
        // All blobs have bases as long as they can be, so that a directory moves without them.
        let before = db.stats().blob_reads;
        tree.rename_prefix("srv/", "moved/", IfExists::Fail).unwrap();
        let reads = db.stats().blob_reads - before;
        assert!(reads < 30, "{reads} of {} blobs were read", stats.blob_writes);
        assert_eq!(tree.count_prefix("moved/").unwrap().keys, 60_000);
        assert_sound(&db);
        db.close().unwrap();
    }
}

#[test]
fn a_full_device_refuses_and_with_space_the_load_goes_on() {
    for background in [false, true] {
        let storage = FaultStorage::new();
        let db = small(&storage).background(background).open("").unwrap();
        let tree = db.default_tree();
        storage.set_full(Some(12 << 20));
        let model = below("srv/", 0..60_000, 400);
        let mut load = tree.bulk_loader(WriteOptions::new());
        let mut refused = 0;
        for (key, value) in &model {
            while let Err(error) = load.push(key, value) {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                let said = format!("its first {} records", load.committed());
                assert!(error.to_string().contains(&said), "{error}");
                let found = all(&tree);
                assert!(is_first_part(&found, &model, load.committed()), "{} records", found.len());
                assert!(found.len() > 5_000, "{} records fit", found.len());
                refused += 1;
                if refused == 5 {
                    storage.set_full(None);
                }
            }
        }
        assert!(refused >= 5);
        assert_eq!(load.finish().unwrap(), 60_000);
        assert!(all(&tree) == model);
        assert_sound(&db);
    }
}

#[test]
fn others_read_and_write_in_the_range_meanwhile() {
    watched("loads beside writers", || {
        let mut dice = Dice(common::seed());
        for round in 0..cases(4) {
            let db = Options::new()
                .storage(Arc::new(FaultStorage::new()))
                .cache_bytes(64 << 20)
                .durability(Durability::Batched { bytes: 4096, interval: None })
                .open("")
                .unwrap();
            let tree = db.default_tree();
            let model = below("srv/", 0..20_000, 60);
            let keys: Vec<&Vec<u8>> = model.keys().collect();
            let (seed, done) = (dice.roll(), AtomicBool::new(false));
            let extra = std::thread::scope(|scope| {
                let loader = scope.spawn(|| {
                    load(&tree, &model);
                    done.store(true, Ordering::Release);
                });
                let writer = scope.spawn(|| {
                    let (mut dice, mut extra) = (Dice(seed), Model::new());
                    while !done.load(Ordering::Acquire) {
                        let key = [&keys[dice.below(keys.len())][..], b"+"].concat();
                        if dice.below(4) == 0 {
                            assert_eq!(tree.delete(&key).unwrap(), extra.remove(&key).is_some());
                        } else {
                            tree.put(&key, b"put").unwrap();
                            extra.insert(key, b"put".to_vec());
                        }
                    }
                    extra
                });
                let reader = scope.spawn(|| {
                    // What is loaded stays, in order.
                    let mut seen = 0;
                    while !done.load(Ordering::Acquire) {
                        let now = keys.partition_point(|key| tree.contains(key).unwrap());
                        assert!(now >= seen, "{now} records, {seen} before");
                        seen = now;
                    }
                });
                loader.join().unwrap();
                reader.join().unwrap();
                writer.join().unwrap()
            });
            println!("round {round}: {} puts beside", extra.len());
            let mut wanted = model.clone();
            wanted.extend(extra);
            expect(&tree, &wanted);
            assert_sound(&db);
        }
    });
}
