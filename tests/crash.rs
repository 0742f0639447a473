//! A small workload is stopped at every single storage operation, and the power is cut there in several ways: what is
//! left opens, is sound, holds everything acknowledged and nothing but a prefix of the commits. The same for a recovery
//! that is itself stopped, and for single operations that fail while the power stays on.

mod common;

use std::io::ErrorKind as IoKind;

use common::{Contents, Dice, assert_sound, cases, contents, small};
use ramus::io::FaultStorage;
use ramus::{Db, Durability, ErrorKind, IfExists, Options, Result};

type Run = Box<dyn Fn(&Db) -> Result<()>>;
type Model = Box<dyn Fn(&mut Contents)>;

/// One step of the workload: what it does to the database, and what to the model if it is a commit.
struct Step {
    name: &'static str,
    run: Run,
    model: Option<Model>,
}

fn commit(
    name: &'static str,
    run: impl Fn(&Db) -> Result<()> + 'static,
    model: impl Fn(&mut Contents) + 'static,
) -> Step {
    Step { name, run: Box::new(run), model: Some(Box::new(model)) }
}

fn upkeep(name: &'static str, run: impl Fn(&Db) -> Result<()> + 'static) -> Step {
    Step { name, run: Box::new(run), model: None }
}

fn key(i: usize) -> Vec<u8> {
    format!("dir{}/file{i:05}", i % 3).into_bytes()
}

fn value(i: usize, len: usize) -> Vec<u8> {
    vec![i as u8; len]
}

fn put(tree: &'static str, i: usize, len: usize) -> Step {
    commit(
        "put",
        move |db| db.existing_tree(tree)?.put(key(i), value(i, len)).map(drop),
        move |model| drop(model.get_mut(tree).unwrap().insert(key(i), value(i, len))),
    )
}

fn delete(tree: &'static str, i: usize) -> Step {
    commit(
        "delete",
        move |db| db.existing_tree(tree)?.delete(key(i)).map(|there| assert!(there)),
        move |model| drop(model.get_mut(tree).unwrap().remove(&key(i)).unwrap()),
    )
}

fn rename(tree: &'static str, src: usize, dst: usize) -> Step {
    commit(
        "rename",
        move |db| db.existing_tree(tree)?.rename(key(src), key(dst), IfExists::Replace).map(drop),
        move |model| {
            let tree = model.get_mut(tree).unwrap();
            let value = tree.remove(&key(src)).unwrap();
            tree.insert(key(dst), value);
        },
    )
}

/// Moves all keys that start with `src`, there must be some; those at `dst` go.
fn move_in_model(model: &mut Contents, from: &str, src: &str, to: &str, dst: &str) {
    let tree = model.get_mut(from).unwrap();
    let keys: Vec<_> = tree.keys().filter(|key| key.starts_with(src.as_bytes())).cloned().collect();
    let moved: Vec<_> = keys.into_iter().filter_map(|key| tree.remove_entry(&key)).collect();
    assert!(!moved.is_empty(), "nothing starts with {src}");
    let target = model.get_mut(to).unwrap();
    target.retain(|key, _| !key.starts_with(dst.as_bytes()));
    for (key, value) in moved {
        target.insert([dst.as_bytes(), &key[src.len()..]].concat(), value);
    }
}

fn rename_prefix(
    from: &'static str,
    src: &'static str,
    to: &'static str,
    dst: &'static str,
    if_exists: IfExists,
) -> Step {
    commit(
        "rename prefix",
        move |db| {
            let (a, b) = (db.existing_tree(from)?, db.existing_tree(to)?);
            a.rename_prefix_to(&b, src, dst, if_exists).map(drop)
        },
        move |model| move_in_model(model, from, src, to, dst),
    )
}

fn delete_prefix(tree: &'static str, prefix: &'static str) -> Step {
    commit(
        "delete prefix",
        move |db| db.existing_tree(tree)?.delete_prefix(prefix).map(drop),
        move |model| {
            let tree = model.get_mut(tree).unwrap();
            let before = tree.len();
            tree.retain(|key, _| !key.starts_with(prefix.as_bytes()));
            assert!(tree.len() < before, "nothing starts with {prefix}");
        },
    )
}

/// Directories and single records over two trees.
fn batch_of_moves() -> Step {
    commit(
        "batch of moves",
        |db| {
            let (a, b) = (db.default_tree(), db.existing_tree("other")?);
            db.batch(|batch| {
                batch.put(&a, "dir0/last", "put before");
                batch.rename_prefix_to(&a, &b, "dir0/", "dir2/", IfExists::Replace);
                batch.put(&a, key(0), value(0, 9));
                batch.rename(&b, "dir2/last", "first", IfExists::Fail);
                batch.delete_range(&a, "dir2/file0002".."dir2/file0004");
            })
            .map(drop)
        },
        |model| {
            model.get_mut("default").unwrap().insert(b"dir0/last".to_vec(), b"put before".to_vec());
            move_in_model(model, "default", "dir0/", "other", "dir2/");
            let tree = model.get_mut("default").unwrap();
            tree.insert(key(0), value(0, 9));
            let range = b"dir2/file0002".to_vec()..b"dir2/file0004".to_vec();
            tree.retain(|key, _| !range.contains(key));
            let tree = model.get_mut("other").unwrap();
            let value = tree.remove(&b"dir2/last"[..]).unwrap();
            tree.insert(b"first".to_vec(), value);
        },
    )
}

/// Reads, and changes that depend on them, over two trees; with a directory move, or without.
fn transaction(moves: bool) -> Step {
    commit(
        "transaction",
        move |db| {
            let (a, b) = (db.default_tree(), db.existing_tree("other")?);
            db.transact(|tx| {
                let count = tx.count_prefix(&b, "")?.keys as usize;
                tx.put(&a, "counted", value(count, count))?;
                if let Some(first) = tx.prefix(&b, "").next().transpose()? {
                    tx.delete(&b, first.key())?;
                }
                if moves {
                    tx.rename_prefix_to(&b, &a, "dir2/", "dir9/", IfExists::Replace)?;
                }
                tx.rename(&a, "counted", "count", IfExists::Replace)
            })
        },
        move |model| {
            let count = model["other"].len();
            model.get_mut("other").unwrap().pop_first();
            if moves {
                move_in_model(model, "other", "dir2/", "default", "dir9/");
            }
            model.get_mut("default").unwrap().insert(b"count".to_vec(), value(count, count));
        },
    )
}

/// Large enough to cut blobs, and over two trees.
fn batch(from: usize, count: usize, len: usize) -> Step {
    commit(
        "batch",
        move |db| {
            let (a, b) = (db.default_tree(), db.existing_tree("other")?);
            db.batch(|batch| {
                for i in from..from + count {
                    batch.put(if i % 2 == 0 { &a } else { &b }, key(i), value(i, len));
                }
                batch.delete(&a, key(0));
            })
            .map(drop)
        },
        move |model| {
            for i in from..from + count {
                let tree = if i % 2 == 0 { "default" } else { "other" };
                model.get_mut(tree).unwrap().insert(key(i), value(i, len));
            }
            model.get_mut("default").unwrap().remove(&key(0));
        },
    )
}

fn make(tree: &'static str) -> Step {
    commit(
        "make tree",
        move |db| db.tree(tree).map(drop),
        move |model| drop(model.insert(tree.into(), Default::default())),
    )
}

fn workload() -> Vec<Step> {
    let mut steps = vec![make("other"), put("default", 0, 10), put("other", 1, 4000)];
    steps.push(upkeep("checkpoint", Db::checkpoint));
    steps.push(batch(10, 40, 3000));
    steps.extend([put("default", 0, 100), rename("default", 10, 500), rename("other", 11, 13)]);
    steps.push(upkeep("checkpoint", Db::checkpoint));
    steps.extend([make("doomed"), put("doomed", 3, 4096), put("doomed", 4, 0)]);
    steps.extend((0..6).map(|i| delete("default", 12 + 2 * i)));
    steps.push(upkeep("sync", Db::sync));
    steps.push(commit(
        "drop tree",
        |db| db.drop_tree("doomed"),
        |model| drop(model.remove("doomed").unwrap()),
    ));
    steps.push(batch(100, 30, 1000));
    steps.extend((0..8).map(|i| delete("default", 100 + 2 * i)));
    steps.push(upkeep("compact", Db::compact));
    steps.extend([put("other", 1, 1), delete("other", 1), make("doomed"), put("doomed", 9, 9)]);
    let fail = IfExists::Fail;
    steps.push(rename_prefix("default", "dir1/", "default", "kept/one/", fail));
    steps.extend([put("default", 1, 50), put("default", 4, 50)]);
    steps.push(upkeep("checkpoint", Db::checkpoint));
    steps.push(rename_prefix("default", "kept/", "other", "from/default/", fail));
    steps.extend([transaction(false), batch_of_moves(), transaction(true)]);
    steps.push(upkeep("checkpoint", Db::checkpoint));
    steps.push(rename_prefix("other", "from/", "default", "dir1/", IfExists::Replace));
    steps.push(delete_prefix("default", "dir1/default/one/file000"));
    steps.push(rename_prefix("default", "dir1/default/", "doomed", "a/", fail));
    steps.push(commit(
        "drop tree",
        |db| db.drop_tree("doomed"),
        |model| drop(model.remove("doomed").unwrap()),
    ));
    steps
}

fn start() -> Contents {
    Contents::from([("default".to_owned(), Default::default())])
}

/// The contents after each number of commits.
fn states(steps: &[Step]) -> Vec<Contents> {
    let mut all = vec![start()];
    for model in steps.iter().filter_map(|step| step.model.as_ref()) {
        let mut next = all[all.len() - 1].clone();
        model(&mut next);
        all.push(next);
    }
    all
}

/// How a run ended: commits acknowledged, commits that must survive, whether it got to the end, highest version seen.
#[derive(Debug, Default)]
struct Ran {
    acknowledged: usize,
    durable: usize,
    complete: bool,
}

fn run(options: &Options, steps: &[Step], sync: bool) -> Ran {
    let mut ran = Ran::default();
    let Ok(db) = options.open("") else { return ran };
    for step in steps {
        if (step.run)(&db).is_err() {
            return ran;
        }
        ran.acknowledged += usize::from(step.model.is_some());
        if sync || step.model.is_none() {
            ran.durable = ran.acknowledged;
        }
    }
    ran.complete = true;
    ran
}

/// Opens what a crash left and checks it: a prefix of the commits, with all that must be there, and sound.
fn verify(storage: &FaultStorage, options: &Options, states: &[Contents], ran: &Ran, what: &str) {
    let db = match options.open("") {
        Ok(db) => db,
        Err(error) => panic!("{what}: the open after the crash failed: {error}"),
    };
    let left = contents(&db).expect("the contents can be read");
    let most = (ran.acknowledged + usize::from(!ran.complete)).min(states.len() - 1);
    let kept = (ran.durable..=most).any(|k| states[k] == left);
    assert!(
        kept,
        "{what}: {ran:?}: the contents are those after {:?} commits",
        states.iter().position(|state| *state == left)
    );
    assert_sound(&db);
    db.default_tree().put(b"after", b"").unwrap_or_else(|error| panic!("{what}: a put failed: {error}"));
    drop(db);
    assert!(storage.contents("journal.next").is_none(), "{what}: a second journal stayed");
}

fn options(storage: &FaultStorage, sync: bool) -> Options {
    let durability = match sync {
        true => Durability::Sync,
        false => Durability::Batched { bytes: 2000, interval: None },
    };
    small(storage).durability(durability)
}

fn crashes(storage: &FaultStorage, dice: &mut Dice, seeds: u64) -> Vec<(String, FaultStorage)> {
    let mut all = vec![
        ("keeping all".to_owned(), storage.crash_keep_all()),
        ("losing all".to_owned(), storage.crash_lose_all()),
    ];
    for _ in 0..seeds {
        let seed = dice.roll();
        all.push((format!("crash seed {seed}"), storage.crash(seed)));
    }
    all
}

fn operations(steps: &[Step], sync: bool) -> u64 {
    let storage = FaultStorage::new();
    assert!(run(&options(&storage, sync), steps, sync).complete);
    storage.operations()
}

fn power_cut_everywhere(sync: bool) {
    let mut dice = Dice(common::seed());
    let steps = workload();
    let states = states(&steps);
    for n in 0..=operations(&steps, sync) {
        let storage = FaultStorage::new();
        storage.fail_after(n);
        let ran = run(&options(&storage, sync), &steps, sync);
        for (how, left) in crashes(&storage, &mut dice, cases(5)) {
            verify(&left, &options(&left, sync), &states, &ran, &format!("operation {n}, {how}"));
        }
    }
}

#[test]
fn a_power_cut_at_any_operation_loses_no_acknowledged_commit() {
    power_cut_everywhere(true);
}

#[test]
fn a_power_cut_at_any_operation_leaves_a_prefix_of_batched_commits() {
    power_cut_everywhere(false);
}

#[test]
fn a_power_cut_in_the_recovery_loses_nothing_either() {
    let mut dice = Dice(common::seed());
    let steps = workload();
    let states = states(&steps);
    let total = operations(&steps, true);
    let mut n = dice.below(5) as u64;
    while n <= total {
        let storage = FaultStorage::new();
        storage.fail_after(n);
        let ran = run(&options(&storage, true), &steps, true);
        let seed = dice.roll();
        for k in 0.. {
            let left = storage.crash(seed);
            left.fail_after(k);
            let opened = options(&left, true).open("").is_ok();
            for (how, left) in crashes(&left, &mut dice, 2) {
                let what = format!("operation {n}, crash seed {seed}, recovery operation {k}, {how}");
                verify(&left, &options(&left, true), &states, &ran, &what);
            }
            if opened {
                break;
            }
        }
        n += (total / cases(30)).max(1);
    }
}

/// What a life after a crash does, on top of whatever the one before left.
fn later_life(life: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = (0..3).map(|i| put("default", 700 + i, 30 * life)).collect();
    steps.push(upkeep("sync", Db::sync));
    steps.push(commit(
        "batch",
        move |db| {
            let tree = db.default_tree();
            db.batch(|batch| (0..20).for_each(|i| batch.put(&tree, key(800 + i * life), value(i, 3000))))
                .map(drop)
        },
        move |model| {
            let tree = model.get_mut("default").unwrap();
            (0..20).for_each(|i| drop(tree.insert(key(800 + i * life), value(i, 3000))));
        },
    ));
    if life.is_multiple_of(2) {
        steps.push(upkeep("checkpoint", Db::checkpoint));
    }
    let names: [&str; 3] = ["dir0/", "dir1/", "dir2/"];
    let (src, dst) = (names[life % 3], names[(life + 1) % 3]);
    steps.push(rename_prefix("default", src, "default", dst, IfExists::Replace));
    steps.extend((0..2).map(|i| put("default", 900 + 3 * i + life % 3, 50)));
    steps
}

/// Opens what a crash left, which holds one of the `allowed` contents, and goes on from there until it is stopped; what the
/// next crash may leave, and whether it got to the end.
fn live(options: &Options, allowed: &[Contents], life: usize, what: &str) -> (Vec<Contents>, bool) {
    let Ok(db) = options.open("") else { return (allowed.to_vec(), false) };
    let left = contents(&db).expect("the contents can be read");
    assert!(allowed.contains(&left), "{what}: life {life} began with something else");
    let mut states = vec![left];
    let mut durable = 0;
    for step in later_life(life) {
        if let Some(model) = &step.model {
            let mut next = states[states.len() - 1].clone();
            model(&mut next);
            states.push(next);
        }
        if (step.run)(&db).is_err() {
            return (states.split_off(durable), false);
        }
        durable = states.len() - 1;
    }
    (states.split_off(durable), true)
}

/// An open goes on with the journal that it has replayed, and a crash finds that before any checkpoint; and again.
#[test]
fn crashes_in_a_row_without_a_checkpoint_lose_nothing() {
    let mut dice = Dice(common::seed());
    let steps = workload();
    let states = states(&steps);
    let total = operations(&steps, true);
    for _ in 0..cases(12) {
        let storage = FaultStorage::new();
        let n = dice.below(total as usize + 1) as u64;
        storage.fail_after(n);
        let ran = run(&options(&storage, true), &steps, true);
        let most = (ran.acknowledged + usize::from(!ran.complete)).min(states.len() - 1);
        let allowed = &states[ran.durable..=most];
        let first = storage.crash(dice.roll());
        for k in 0.. {
            let second = first.crash_keep_all();
            second.fail_after(k);
            let (left, complete) = live(&options(&second, true), allowed, 1, &format!("{n}, {k}"));
            for (how, mut storage) in crashes(&second, &mut dice, 1) {
                let mut allowed = left.clone();
                let mut what = format!("operation {n}, then {k}, {how}");
                for life in 2..5 {
                    let stop = dice.below(120) as u64;
                    storage.fail_after(stop);
                    allowed = live(&options(&storage, true), &allowed, life, &what).0;
                    let seed = dice.roll();
                    storage = storage.crash(seed);
                    what += &format!(", then {stop}, seed {seed}");
                }
                let db = options(&storage, true).open("").unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(allowed.contains(&contents(&db).unwrap()), "{what}: the end");
                assert_sound(&db);
            }
            if complete {
                break;
            }
        }
    }
}

/// The same beside the checkpoint that the background thread makes after such an open.
#[test]
fn crashes_beside_the_checkpoint_after_an_open_lose_nothing() {
    let mut dice = Dice(common::seed());
    for _ in 0..cases(40) {
        let mut storage = FaultStorage::new();
        let mut allowed = vec![start()];
        let mut what = String::new();
        for life in 1..8 {
            let stop = dice.below(150) as u64;
            storage.fail_after(stop);
            let threads = options(&storage, true).background(true);
            allowed = live(&threads, &allowed, life, &what).0;
            let seed = dice.roll();
            storage = storage.crash(seed);
            what += &format!("operation {stop}, seed {seed}; ");
        }
        let db = options(&storage, true).open("").unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(allowed.contains(&contents(&db).unwrap()), "{what}: the end");
        assert_sound(&db);
    }
}

/// One failing operation while the power stays on.
fn fail_once_everywhere(kind: IoKind) {
    let mut dice = Dice(common::seed());
    let steps = workload();
    for n in 0..operations(&steps, true) {
        let storage = FaultStorage::new();
        storage.fail_once(n, kind);
        let db = match options(&storage, true).open("") {
            Ok(db) => db,
            // What the failed open left must open again.
            Err(_) => options(&storage, true)
                .open("")
                .unwrap_or_else(|error| panic!("operation {n}: no open after a failed one: {error}")),
        };
        let mut model = start();
        let mut other = None;
        let mut poisoned = false;
        for step in &steps {
            let what = format!("{kind:?} at operation {n}, step {}", step.name);
            let mut next = model.clone();
            match (step.run)(&db) {
                Ok(()) => {
                    assert!(!poisoned || step.name == "make tree", "{what}: went through after the poison");
                    if let Some(change) = &step.model
                        && !poisoned
                    {
                        change(&mut next);
                        model = next;
                    }
                }
                Err(_) if poisoned || other.is_some() => {}
                Err(error) => {
                    if let Some(change) = &step.model {
                        change(&mut next);
                    }
                    let now = contents(&db).unwrap_or_else(|error| panic!("{what}: reads stopped: {error}"));
                    let write =
                        db.default_tree().put(b"probe", b"").and_then(|_| db.default_tree().delete(b"probe"));
                    poisoned = match write {
                        Ok(_) => false,
                        Err(after) => {
                            assert_eq!(after.kind(), ErrorKind::Poisoned, "{what}: {error}, then {after}");
                            true
                        }
                    };
                    if poisoned {
                        assert!(now == model || now == next, "{what}: {error}: neither before nor after");
                        other = Some(next);
                    } else {
                        assert!(now == model, "{what}: {error}: not poisoned, yet something changed");
                        // The step was refused: it works now.
                        if let Err(again) = (step.run)(&db) {
                            panic!("{what}: {error}, and again: {again}");
                        }
                        model = next;
                    }
                }
            }
        }
        let now = contents(&db).expect("reads go on");
        assert!(
            now == model || other.as_ref() == Some(&now),
            "{kind:?} at operation {n}: the contents at the end"
        );
        let mut all = crashes(&storage, &mut dice, 2);
        drop(db);
        all.push(("no crash".to_owned(), storage.clone()));
        for (how, left) in all {
            let db = options(&left, true)
                .open("")
                .unwrap_or_else(|error| panic!("{kind:?} at operation {n}, {how}: no open: {error}"));
            let now = contents(&db).expect("the contents can be read");
            assert!(
                now == model || other.as_ref() == Some(&now),
                "{kind:?} at operation {n}, {how}: something acknowledged is gone"
            );
            assert_sound(&db);
        }
    }
}

#[test]
fn an_operation_that_fails_once_changes_nothing_or_poisons() {
    fail_once_everywhere(IoKind::Other);
}

#[test]
fn a_device_that_is_full_once_changes_nothing_or_poisons() {
    fail_once_everywhere(IoKind::StorageFull);
}

#[test]
fn versions_are_not_given_again_after_a_crash() {
    let mut dice = Dice(common::seed());
    let mut storage = FaultStorage::new();
    let mut seen = 0;
    for _ in 0..cases(60) {
        let db = options(&storage, false).open("").unwrap();
        for i in 0..dice.below(40) {
            let version = db.default_tree().put(key(i), value(i, dice.below(200))).unwrap();
            assert!(version > seen, "version {version} after {seen}");
            seen = version;
            if dice.below(20) == 0 {
                db.checkpoint().unwrap();
            }
        }
        if dice.below(4) == 0 {
            db.close().unwrap();
        }
        let left = storage.crash(dice.roll());
        drop(db);
        storage = left;
    }
}
