//! Directory moves and deletes against the number of entries below, and gets and puts beside them.
//!
//! Paths come from the list that `RAMUS_PATHS` names (one a line), `RAMUS_BENCH_KEYS` of them (all without it); without a
//! list a tree of made-up paths stands in. The first move of a directory and its delete cannot be repeated at will, so they are
//! printed as a table of medians over several directories of about the same size; the rest is criterion's.

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{in_random_order, listed_paths};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ramus::{Db, Durability, IfExists, Options, Tree};
use tempfile::TempDir;

const VALUE: [u8; 96] = [7; 96];
/// Directories of one size that are timed.
const SAMPLES: usize = 15;
/// Deletes of one size at the least.
const DELETES: usize = 7;

/// A directory and how many paths are below it.
#[derive(Debug, Clone)]
struct Directory {
    path: Vec<u8>,
    entries: usize,
}

struct Rig {
    _dir: TempDir,
    db: Db,
    tree: Tree,
    keys: Vec<Vec<u8>>,
    /// By size: about 10², 10³ and so on; no two overlap within a size.
    sizes: Vec<(usize, Vec<Directory>)>,
}

fn made_up(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| {
            let (a, b, c) = (n % 7, n / 7 % 11, n / 77 % 97);
            format!("srv/share-{a}/project-{b}/part-{c:02}/file-{n:07}.dat").into_bytes()
        })
        .collect()
}

/// All directories of sorted paths.
fn directories(paths: &[Vec<u8>]) -> Vec<Directory> {
    let (mut open, mut found): (Vec<Directory>, Vec<Directory>) = (Vec::new(), Vec::new());
    for path in paths {
        while open.last().is_some_and(|last| !path.starts_with(&last.path)) {
            found.extend(open.pop());
        }
        let known = open.last().map_or(0, |last| last.path.len());
        let ends = (known..path.len()).filter(|at| path[*at] == b'/');
        open.extend(ends.map(|at| Directory { path: path[..=at].to_vec(), entries: 0 }));
        open.iter_mut().for_each(|directory| directory.entries += 1);
    }
    found.append(&mut open);
    found
}

/// Some directories of about every power of ten, and the largest.
fn by_size(all: &[Directory]) -> Vec<(usize, Vec<Directory>)> {
    let largest = all.iter().map(|directory| directory.entries).max().unwrap_or(0);
    let mut sizes = Vec::new();
    for size in (2..7).map(|power| 10usize.pow(power)).filter(|size| *size < largest).chain([largest]) {
        let near = |directory: &&Directory| (size * 2 / 3..=size * 3 / 2).contains(&directory.entries);
        let mut picked: Vec<Directory> = Vec::new();
        let mut candidates: Vec<&Directory> = all.iter().filter(near).collect();
        candidates.sort_by_key(|directory| directory.entries.abs_diff(size));
        for directory in candidates {
            let overlaps = |other: &Directory| {
                other.path.starts_with(&directory.path) || directory.path.starts_with(&other.path)
            };
            if picked.len() < SAMPLES && !picked.iter().any(overlaps) {
                picked.push(directory.clone());
            }
        }
        if !picked.is_empty() {
            sizes.push((size, picked));
        }
    }
    sizes
}

fn rig() -> Rig {
    let count = std::env::var("RAMUS_BENCH_KEYS").ok().and_then(|text| text.parse().ok());
    let mut keys =
        listed_paths(count.unwrap_or(usize::MAX / 2)).unwrap_or_else(|| made_up(count.unwrap_or(300_000)));
    keys.sort();
    keys.dedup();
    let sizes = by_size(&directories(&keys));
    let dir = TempDir::new().expect("a temporary directory");
    let batched = Durability::Batched { bytes: 64 << 10, interval: None };
    let options = Options::new().durability(batched).cache_bytes(4 << 30).journal_bytes(2 << 30);
    let db = options.flush_on_drop(false).open(dir.path().join("db")).expect("the database opens");
    let tree = db.default_tree();
    let count = keys.len();
    let keys = in_random_order(keys, count);
    for key in &keys {
        tree.put(key, VALUE).expect("put");
    }
    Rig { _dir: dir, db, tree, keys, sizes }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn timed(call: impl FnOnce()) -> Duration {
    let started = Instant::now();
    call();
    started.elapsed()
}

/// Waits until the background thread has put back what moved, and reclaimed what was deleted.
fn wait_until_settled(db: &Db) {
    let mut reclaimed = db.stats().reclaimed_blobs;
    loop {
        std::thread::sleep(Duration::from_millis(600));
        let now = db.survey().expect("survey");
        let is_quiet = now.reclaimed_blobs == reclaimed;
        if is_quiet && now.survey.is_none_or(|survey| survey.mounts == 0) {
            return;
        }
        reclaimed = now.reclaimed_blobs;
    }
}

/// First moves: each directory goes away and comes back. Where there are few of a size, they do so again when the background
/// thread has spliced them back, so that each move has to cut.
fn first_moves(rig: &Rig) {
    println!("{:>9} {:>9} {:>9} {:>12} {:>12}", "entries", "of about", "samples", "first move", "move back");
    for (size, picked) in &rig.sizes {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while there.len() < SAMPLES {
            for directory in picked {
                let moved = |from: &[u8], to: &[u8]| {
                    timed(|| rig.tree.rename_prefix(from, to, IfExists::Fail).map(drop).expect("moved"))
                };
                there.push(moved(&directory.path, b"moved/away/"));
                back.push(moved(b"moved/away/", &directory.path));
            }
            wait_until_settled(&rig.db);
        }
        let entries = picked.iter().map(|directory| directory.entries).sum::<usize>() / picked.len();
        println!(
            "{entries:>9} {size:>9} {:>9} {:>12.1?} {:>12.1?}",
            there.len(),
            median(there),
            median(back)
        );
    }
}

/// Deletes of whole directories, smallest first: some are below others. Where there are few of a size, some more in trees into
/// which their keys are put anew.
fn deletes(rig: &Rig) {
    println!("{:>9} {:>9} {:>12}", "entries", "samples", "delete");
    for (size, picked) in &rig.sizes {
        let mut times = Vec::new();
        let mut delete = |tree: &Tree, directory: &Directory| {
            times.push(timed(|| tree.delete_prefix(&directory.path).map(drop).expect("deleted")));
        };
        for directory in picked {
            delete(&rig.tree, directory);
        }
        for n in picked.len()..DELETES {
            let directory = &picked[n % picked.len()];
            let copy = rig.db.tree(&format!("copy-{n}")).expect("a tree");
            for key in rig.keys.iter().filter(|key| key.starts_with(&directory.path)) {
                copy.put(key, VALUE).expect("put");
            }
            // Or the delete pays for what the puts still owe: it would wait for the checkpoint that they made due.
            rig.db.checkpoint().expect("a checkpoint");
            wait_until_settled(&rig.db);
            delete(&copy, directory);
            rig.db.drop_tree(copy.name()).expect("dropped");
        }
        println!("{size:>9} {:>9} {:>12.1?}", times.len(), median(times));
    }
}

fn moves(criterion: &mut Criterion) {
    let rig = rig();
    println!("{} keys", rig.keys.len());
    first_moves(&rig);

    let mut group = criterion.benchmark_group("move of a mounted directory");
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    for (size, picked) in &rig.sizes {
        let home = &picked[0].path;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            rig.tree.rename_prefix(home, "moved/0/", IfExists::Fail).map(drop).expect("moved");
            let mut at = 0u64;
            bencher.iter(|| {
                let names = [at, at + 1].map(|n| format!("moved/{n}/"));
                rig.tree.rename_prefix(&names[0], &names[1], IfExists::Fail).map(drop).expect("moved");
                at += 1;
            });
            rig.tree.rename_prefix(format!("moved/{at}/"), home, IfExists::Fail).map(drop).expect("moved");
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("count");
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    for (size, picked) in &rig.sizes {
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| black_box(rig.tree.count_prefix(&picked[0].path).expect("counted")));
        });
    }
    group.finish();

    beside(criterion, &rig);
    deletes(&rig);
}

/// Gets and puts, alone and while another thread moves a directory to and fro.
fn beside(criterion: &mut Criterion, rig: &Rig) {
    let mut group = criterion.benchmark_group("beside moves");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let Some((_, picked)) = rig.sizes.get(rig.sizes.len().saturating_sub(2)) else { return };
    let home = picked[0].path.clone();
    let keys: Vec<&Vec<u8>> = rig.keys.iter().filter(|key| !key.starts_with(&home)).take(100_000).collect();
    for moving in [false, true] {
        let stop = AtomicBool::new(!moving);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    rig.tree.rename_prefix(&home, "moved/beside/", IfExists::Fail).map(drop).expect("moved");
                    rig.tree.rename_prefix("moved/beside/", &home, IfExists::Fail).map(drop).expect("moved");
                }
            });
            let name = if moving { "while a directory moves" } else { "alone" };
            let mut at = 0;
            group.bench_function(BenchmarkId::new("get", name), |bencher| {
                bencher.iter(|| {
                    at = (at + 1) % keys.len();
                    black_box(rig.tree.get(keys[at]).expect("get"))
                });
            });
            group.bench_function(BenchmarkId::new("put", name), |bencher| {
                bencher.iter(|| {
                    at = (at + 1) % keys.len();
                    rig.tree.put(keys[at], VALUE).expect("put")
                });
            });
            stop.store(true, Ordering::Relaxed);
        });
    }
    group.finish();
}

criterion_group!(benches, moves);
criterion_main!(benches);
