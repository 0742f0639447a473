//! The whole engine through many schedules (`--cfg shuttle`): threads run one at a time and are switched at every access to a lock,
//! an atomic or the device, at random or by priorities (PCT, Burckhardt et al., ASPLOS 2010). All accesses are sequentially
//! consistent here: orderings are for the loom models.
//!
//! `RAMUS_SCHEDULES` is the number of schedules of each test and scheduler; a failed one is printed and can be run again by
//! `shuttle::replay`, or with the printed seed.
#![cfg(shuttle)]

mod disk;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use disk::{Disk, Image};
use ramus::io::Storage;
use ramus::limits::VALUE_BYTES_MAX;
use ramus::{Db, Entry, ErrorKind, IfExists, Options, Version};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Runs a test through schedules of both kinds.
fn check(name: &str, test: fn()) {
    let number =
        |variable: &str| std::env::var(variable).ok().map(|text| text.trim().parse::<u64>().unwrap());
    let schedules = number("RAMUS_SCHEDULES").unwrap_or(2000) as usize;
    let seed = number("RAMUS_TEST_SEED").unwrap_or_else(|| {
        std::time::SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_nanos() as u64
    });
    println!("seed: RAMUS_TEST_SEED={seed}");
    run(name, "random", RandomScheduler::new_from_seed(seed, schedules), test);
    run(name, "PCT of depth 3", PctScheduler::new_from_seed(seed, 3, schedules), test);
}

fn run(name: &str, kind: &str, scheduler: impl Scheduler + 'static, test: fn()) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::FailAfter(1_000_000);
    config.failure_persistence = FailurePersistence::Print;
    config.silence_warnings = true;
    let began = std::time::Instant::now();
    let schedules = Runner::new(scheduler, config).run(test);
    let each = began.elapsed() / schedules.max(1) as u32;
    println!("{name}, {kind}: {schedules} schedules clean, {each:.1?} each");
}

fn open(disk: &Disk) -> Db {
    Options::new()
        .storage(Arc::new(disk.clone()) as Arc<dyn Storage>)
        .cache_bytes(ramus::limits::CACHE_BYTES_MIN)
        .background(false)
        .flush_on_drop(false)
        .open("")
        .unwrap()
}

/// A database that was closed, made by the first schedule.
fn prepared<'a>(made: &'a OnceLock<Image>, fill: impl FnOnce(&Db)) -> &'a Image {
    if made.get().is_none() {
        let disk = Disk::default();
        let db = open(&disk);
        fill(&db);
        db.close().unwrap();
        drop(db);
        // Whichever schedule comes first.
        let _ = made.set(disk.cut(0));
    }
    made.get().unwrap()
}

fn spawn(body: impl FnOnce() + Send + 'static) -> shuttle::thread::JoinHandle<()> {
    shuttle::thread::spawn(body)
}

/// Lets the others go on for a while: often a short one.
fn go_on() {
    let most = 1 << (draw() % 10);
    (0..draw() % most).for_each(|_| shuttle::thread::yield_now());
}

fn draw() -> u64 {
    use shuttle::rand::RngCore;
    shuttle::rand::thread_rng().next_u64()
}

#[track_caller]
fn assert_sound(db: &Db) {
    let report = db.check().unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
}

const WRITERS: usize = 2;
const COMMITS: u64 = 3;

fn key(writer: usize, n: u64) -> String {
    format!("w{writer}/{n}")
}

/// Every commit that was acknowledged when the power went is there afterwards, and nothing but a first part of what each writer
/// committed: whatever checkpoints and changes of journal files lie in between.
fn writers_beside_checkpoints() {
    static PREPARED: OnceLock<Image> = OnceLock::new();
    let disk = Disk::of(prepared(&PREPARED, |db| {
        db.default_tree().put("old", "1").unwrap();
    }));
    let db = open(&disk);
    let acknowledged: Arc<[AtomicU64; WRITERS]> = Arc::default();
    let mut threads = Vec::new();
    for writer in 0..WRITERS {
        let (db, acknowledged) = (db.clone(), Arc::clone(&acknowledged));
        threads.push(spawn(move || {
            let tree = db.default_tree();
            for n in 1..=COMMITS {
                if writer == 0 {
                    tree.put(key(writer, n), n.to_le_bytes()).unwrap();
                } else {
                    db.batch(|b| {
                        b.put(&tree, key(writer, n), n.to_le_bytes());
                        b.delete(&tree, "old");
                    })
                    .unwrap();
                }
                acknowledged[writer].store(n, Ordering::SeqCst);
            }
        }));
    }
    let checkpointer = db.clone();
    threads.push(spawn(move || {
        checkpointer.checkpoint().unwrap();
        checkpointer.checkpoint().unwrap();
    }));
    let cut = shuttle::thread::spawn({
        let (disk, acknowledged) = (disk.clone(), Arc::clone(&acknowledged));
        move || {
            go_on();
            let least: Vec<u64> = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
            (least, disk.cut(draw()))
        }
    });
    let (least, image) = cut.join().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(db);
    assert_first_parts(&open(&Disk::of(&image)), &least);
    // The same at the end, of what was synced.
    assert_first_parts(&open(&Disk::of(&disk.cut(0))), &[COMMITS; WRITERS]);
}

fn assert_first_parts(db: &Db, least: &[u64]) {
    let tree = db.default_tree();
    for (writer, least) in least.iter().enumerate() {
        let there = |n: &u64| tree.get(key(writer, *n)).unwrap().is_some();
        let last = (1..=COMMITS).take_while(there).count() as u64;
        assert!(last >= *least, "writer {writer}: {last} of the {least} acknowledged commits are left");
        assert!((last + 1..=COMMITS).all(|n| !there(&n)), "writer {writer}: a gap behind {last}");
        if writer == 1 {
            assert_eq!(tree.get("old").unwrap().is_none(), last > 0, "half a batch");
        }
    }
    assert_sound(db);
}

/// Files of the directory that moves.
const FILES: u64 = 5;

fn name(directory: &str, n: u64) -> String {
    format!("{directory}/{n}")
}

/// The files that a listing of the directory names, by the digit that is their name, in one number.
fn listed(db: &Db, directory: &str) -> u64 {
    let mut found = 0;
    for entry in db.default_tree().prefix(format!("{directory}/")).keys_only() {
        let Entry::Record { key, .. } = entry.unwrap() else { panic!("a common prefix without a delimiter") };
        if let digit @ b'1'..=b'9' = key[directory.len() + 1] {
            found = found * 10 + u64::from(digit - b'0');
        }
    }
    found
}

/// What a listing of the whole directory gives.
const ALL: u64 = 12345;

/// One thread moves a directory and then changes a file in it, one puts into it under the old name, one reads, one makes a
/// checkpoint. Readers see the directory under one name or the
/// other, whole; what was put before the move is moved, and what was put after it stays. A power cut leaves the same.
fn a_directory_moves(made: &OnceLock<Image>, filling: u64) {
    let disk = Disk::of(prepared(made, |db| {
        let tree = db.default_tree();
        for n in 1..=FILES {
            tree.put(name("z", n), [n as u8]).unwrap();
        }
        for n in 0..filling {
            tree.put(format!("z/filling{n:02}"), [0; VALUE_BYTES_MAX]).unwrap();
        }
        // A large one is a limb from here on: the next move changes nothing in its blobs.
        tree.rename_prefix("z/", "a/", IfExists::Fail).unwrap();
        tree.put("c/1", "beside").unwrap();
    }));
    let db = open(&disk);
    let moved: Arc<OnceLock<Version>> = Arc::default();
    let put: Arc<OnceLock<Version>> = Arc::default();
    let mover = spawn({
        let (db, moved) = (db.clone(), Arc::clone(&moved));
        move || {
            let version = db.default_tree().rename_prefix("a/", "b/", IfExists::Fail).unwrap();
            moved.set(version).unwrap();
            db.default_tree().put(name("b", 1), "changed").unwrap();
        }
    });
    let putter = spawn({
        let (db, put) = (db.clone(), Arc::clone(&put));
        move || put.set(db.default_tree().put("a/new", "new").unwrap()).unwrap()
    });
    let reader = spawn({
        let (db, moved) = (db.clone(), Arc::clone(&moved));
        move || {
            go_on();
            read_beside_a_move(&db, &moved, filling);
        }
    });
    let checkpointer = spawn({
        let db = db.clone();
        move || db.checkpoint().unwrap()
    });
    let cut = shuttle::thread::spawn({
        let (disk, moved, put) = (disk.clone(), Arc::clone(&moved), Arc::clone(&put));
        move || {
            go_on();
            ((moved.get().is_some(), put.get().is_some()), disk.cut(draw()))
        }
    });
    let ((was_moved, was_put), image) = cut.join().unwrap();
    [mover, putter, reader, checkpointer].into_iter().for_each(|thread| thread.join().unwrap());
    let put_first = put.get() < moved.get();
    let is_there = |db: &Db, key: &str| db.default_tree().get(key).unwrap().is_some();
    assert_eq!([listed(&db, "a"), listed(&db, "b")], [0, ALL]);
    assert_eq!([is_there(&db, "a/new"), is_there(&db, "b/new")], [!put_first, put_first]);
    for n in 2..=FILES {
        assert_eq!(db.default_tree().get(name("b", n)).unwrap(), Some(vec![n as u8]));
    }
    assert_eq!(db.default_tree().get(name("b", 1)).unwrap().as_deref(), Some(&b"changed"[..]));
    assert_sound(&db);
    drop(db);
    let db = open(&Disk::of(&image));
    let found = [listed(&db, "a"), listed(&db, "b")];
    assert!(found == [0, ALL] || found == [ALL, 0] && !was_moved, "{found:?}");
    let new = [is_there(&db, "a/new"), is_there(&db, "b/new")];
    assert!(new != [true, true] && (!was_put || new != [false, false]), "{new:?}");
    assert!(!(new[1] && found[0] == ALL), "what was put went ahead of the move");
    assert_sound(&db);
}

/// There is one move only, from `a` to `b`.
fn read_beside_a_move(db: &Db, moved: &OnceLock<Version>, filling: u64) {
    let tree = db.default_tree();
    let is_there = |directory: &str, n: u64| tree.get(name(directory, n)).unwrap().is_some();
    let was_moved = moved.get().is_some();
    if let Some(value) = tree.get(name("a", 3)).unwrap() {
        assert!(value.iter().all(|byte| *byte == 3));
    }
    let old = tree.get(name("a", 1)).unwrap();
    assert!(
        old.as_ref().is_none_or(|old| old[..] != b"changed"[..]),
        "changed under the new name, seen under the old one"
    );
    if old.is_none() {
        assert!(is_there("b", 1), "gone under the old name, and not there under the new one");
    } else {
        assert!(!was_moved, "under the old name after the move");
    }
    if is_there("b", 2) {
        assert!(!is_there("a", 2), "under both names");
    }
    let old = listed(db, "a");
    let new = listed(db, "b");
    assert!([0, ALL].contains(&old) && [0, ALL].contains(&new), "half a directory: {old} {new}");
    assert!(old == ALL || new == ALL, "under neither name");
    let count = tree.count_prefix("a/").unwrap().keys;
    assert!(count <= 1 || [FILES + filling, FILES + filling + 1].contains(&count), "half a count: {count}");
}

const BALL: &[u8] = b"the ball";
/// Their leaf blobs: that of the first, and one of both others.
const PLACES: [&str; 3] = ["a/ball", "z/ball", "z/other"];

/// Two threads send a record to and fro between leaf blobs and inside one, beside puts that cut them, renames of another record, a
/// reader and a checkpoint. Who reads all places at one instant finds it once, as does who opens what a power cut leaves; no
/// acknowledged rename is lost, and none misses a record that nobody else renames.
fn a_record_is_renamed_to_and_fro() {
    static PREPARED: OnceLock<Image> = OnceLock::new();
    let disk = Disk::of(prepared(&PREPARED, |db| {
        let tree = db.default_tree();
        for n in 0..36 {
            tree.put(format!("m/{n:02}"), [0; VALUE_BYTES_MAX]).unwrap();
        }
        tree.put(PLACES[0], BALL).unwrap();
        tree.put("z/own", "its own").unwrap();
    }));
    let db = open(&disk);
    let last: Arc<AtomicU64> = Arc::default();
    let sender = |ways: [[usize; 2]; 3]| {
        let (db, last) = (db.clone(), Arc::clone(&last));
        spawn(move || {
            for [src, dst] in ways {
                match db.default_tree().rename(PLACES[src], PLACES[dst], IfExists::Fail) {
                    Ok(version) => drop(last.fetch_max(version, Ordering::SeqCst)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                }
            }
        })
    };
    let senders = [sender([[0, 1], [1, 2], [2, 0]]), sender([[1, 0], [0, 2], [2, 1]])];
    let putter = spawn({
        let db = db.clone();
        move || {
            for n in 0..5 {
                db.default_tree().put(format!("y/{n}"), [0; VALUE_BYTES_MAX]).unwrap();
            }
        }
    });
    let reader = spawn({
        let db = db.clone();
        move || {
            let tree = db.default_tree();
            // Both in the blob that the puts cut, which takes the first one's place away and leaves the other's.
            for (src, dst) in [("z/own", "m/27own"), ("m/27own", "z/own")] {
                tree.rename(src, dst, IfExists::Fail).unwrap();
            }
            let absent = db.batch(|b| PLACES.into_iter().for_each(|place| b.expect_absent(&tree, place)));
            assert_eq!(absent.unwrap_err().kind(), ErrorKind::Conflict, "the ball was nowhere");
        }
    });
    let checkpointer = spawn({
        let db = db.clone();
        move || db.checkpoint().unwrap()
    });
    let cut = shuttle::thread::spawn({
        let (disk, last) = (disk.clone(), Arc::clone(&last));
        move || {
            go_on();
            (last.load(Ordering::SeqCst), disk.cut(draw()))
        }
    });
    let (acknowledged, image) = cut.join().unwrap();
    senders.into_iter().chain([putter, reader, checkpointer]).for_each(|thread| thread.join().unwrap());
    assert!(version_of_the_ball(&db) >= last.load(Ordering::SeqCst));
    assert_sound(&db);
    drop(db);
    let db = open(&Disk::of(&image));
    assert!(version_of_the_ball(&db) >= acknowledged, "an acknowledged rename is lost");
    assert_sound(&db);
}

/// It is at exactly one of its places.
fn version_of_the_ball(db: &Db) -> Version {
    let tree = db.default_tree();
    let found: Vec<_> = PLACES.iter().filter_map(|place| tree.get_record(place).unwrap()).collect();
    let [ball] = &found[..] else { panic!("the ball is at {} places", found.len()) };
    assert_eq!(ball.value, BALL);
    ball.version
}

fn a_small_directory_moves() {
    static PREPARED: OnceLock<Image> = OnceLock::new();
    a_directory_moves(&PREPARED, 0);
}

/// A limb of its own, of more than one blob: a reader that is past the root of it cannot tell by a latch that it moves.
fn a_large_directory_moves() {
    static PREPARED: OnceLock<Image> = OnceLock::new();
    a_directory_moves(&PREPARED, 24);
}

#[test]
fn acknowledged_commits_survive_checkpoints_and_new_journals() {
    check("writers beside checkpoints", writers_beside_checkpoints);
}

#[test]
fn moves_of_small_directories_are_seen_whole() {
    check("a small directory moves", a_small_directory_moves);
}

#[test]
fn moves_of_large_directories_are_seen_whole() {
    check("a large directory moves", a_large_directory_moves);
}

#[test]
fn a_record_that_is_renamed_is_at_one_place() {
    check("a record is renamed to and fro", a_record_is_renamed_to_and_fro);
}
