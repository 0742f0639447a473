//! Benchmarks on real paths: every operation at 20 thousand and at 2 million keys with 96-byte values, and std's
//! `BTreeMap` beside the look-ups as a yardstick from the same run.
//!
//! Paths come from the list that `RAMUS_PATHS` names (one a line), else from the file tree of this machine.
//! `RAMUS_BENCH_KEYS` (a number) replaces both sizes.

mod common;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{in_random_order, listed_paths, shuffle};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ramus::{Db, Durability, IfExists, Options, Tree};
use tempfile::TempDir;

const VALUE: [u8; 96] = [7; 96];
const BATCHED: Durability = Durability::Batched { bytes: 64 << 10, interval: None };
/// Keys kept aside, to be put and deleted.
const EXTRA: usize = 100_000;

fn walk(dir: &Path, paths: &mut Vec<Vec<u8>>, most: usize) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if paths.len() >= most {
            return;
        }
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && !path.starts_with("/proc")
            && !path.starts_with("/sys")
        {
            walk(&path, paths, most);
        }
        paths.push(path.into_os_string().into_encoded_bytes());
    }
}

/// `count` paths in random order.
fn real_paths(count: usize) -> Vec<Vec<u8>> {
    let paths = listed_paths(count).unwrap_or_else(|| {
        println!("RAMUS_PATHS is not set: the file tree of this machine stands in");
        let mut paths = Vec::new();
        walk(Path::new("/"), &mut paths, count);
        paths
    });
    in_random_order(paths, count)
}

struct Rig {
    _dir: TempDir,
    db: Db,
    tree: Tree,
    /// In another order than they were put in.
    keys: Vec<Vec<u8>>,
    extra: Vec<Vec<u8>>,
    dirs: Vec<Vec<u8>>,
}

fn open(dir: &Path, durability: Durability) -> Db {
    let options = Options::new().durability(durability).cache_bytes(2 << 30).journal_bytes(1 << 30);
    options.flush_on_drop(false).open(dir).expect("the database opens")
}

fn rig(count: usize) -> Rig {
    let dir = TempDir::new().expect("a temporary directory");
    let db = open(&dir.path().join("db"), BATCHED);
    let tree = db.default_tree();
    let mut keys = real_paths(count + EXTRA.min(count / 2));
    for key in &keys {
        tree.put(key, VALUE).expect("put");
    }
    let extra = keys.split_off(keys.len() - EXTRA.min(keys.len() / 3));
    for key in &extra {
        tree.delete(key).expect("delete");
    }
    shuffle(&mut keys, 2);
    let dirs = keys
        .iter()
        .take(10_000)
        .filter_map(|key| key.iter().rposition(|&byte| byte == b'/').map(|at| key[..=at].to_vec()))
        .collect();
    Rig { _dir: dir, db, tree, keys, extra, dirs }
}

/// Times `work` on `iterations` items of `items`, a chunk at a time; `undo` is not timed.
fn timed(iterations: u64, items: &[Vec<u8>], work: impl Fn(&[u8]), undo: impl Fn(&[u8])) -> Duration {
    let (mut left, mut sum) = (iterations as usize, Duration::ZERO);
    while left > 0 {
        let chunk = &items[..left.min(items.len())];
        let start = Instant::now();
        chunk.iter().for_each(|key| work(key));
        sum += start.elapsed();
        chunk.iter().for_each(|key| undo(key));
        left -= chunk.len();
    }
    sum
}

fn sizes() -> Vec<usize> {
    match std::env::var("RAMUS_BENCH_KEYS").ok().and_then(|keys| keys.parse().ok()) {
        Some(keys) => vec![keys],
        None => vec![20_000, 2_000_000],
    }
}

fn operations(criterion: &mut Criterion) {
    for count in sizes() {
        let rig = rig(count);
        let Rig { tree, keys, extra, dirs, .. } = &rig;
        let map: BTreeMap<Vec<u8>, Vec<u8>> = keys.iter().map(|key| (key.clone(), VALUE.to_vec())).collect();
        let mut probes = keys.clone();
        shuffle(&mut probes, 3);
        let mut group = criterion.benchmark_group("paths");
        group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(3));
        let mut at = 0;
        let mut next = |n: usize| {
            at = (at + 1) % n;
            at
        };
        group.bench_function(BenchmarkId::new("get_hit", count), |bench| {
            bench.iter(|| tree.get(&probes[next(probes.len())]).expect("get"));
        });
        group.bench_function(BenchmarkId::new("btreemap_get_hit", count), |bench| {
            bench.iter(|| map.get(black_box(&probes[next(probes.len())])).cloned());
        });
        group.bench_function(BenchmarkId::new("get_with_hit", count), |bench| {
            bench.iter(|| tree.get_with(&probes[next(probes.len())], <[u8]>::len).expect("get"));
        });
        group.bench_function(BenchmarkId::new("get_miss", count), |bench| {
            bench.iter(|| tree.get(&extra[next(extra.len())]).expect("get"));
        });
        group.bench_function(BenchmarkId::new("put_overwrite", count), |bench| {
            bench.iter(|| tree.put(&probes[next(probes.len())], VALUE).expect("put"));
        });
        let put = |key: &[u8]| {
            tree.put(key, VALUE).expect("put");
        };
        let delete = |key: &[u8]| {
            tree.delete(key).expect("delete");
        };
        group.bench_function(BenchmarkId::new("put_new", count), |bench| {
            bench.iter_custom(|n| timed(n, extra, put, delete));
        });
        extra.iter().for_each(|key| put(key));
        group.bench_function(BenchmarkId::new("delete", count), |bench| {
            bench.iter_custom(|n| timed(n, extra, delete, put));
        });
        extra.iter().for_each(|key| delete(key));
        group.bench_function(BenchmarkId::new("list100", count), |bench| {
            bench.iter(|| tree.range(&probes[next(probes.len())][..]..).limit(100).count());
        });
        group.bench_function(BenchmarkId::new("list_dir", count), |bench| {
            bench.iter(|| tree.prefix(&dirs[next(dirs.len())]).delimiter(b'/').limit(100).count());
        });
        group.bench_function(BenchmarkId::new("rename", count), |bench| {
            let moved = |key: &[u8]| [key, b".moved"].concat();
            bench.iter_custom(|n| {
                let there = |key: &[u8]| {
                    tree.rename(key, moved(key), IfExists::Fail).expect("rename");
                };
                let back = |key: &[u8]| {
                    tree.rename(moved(key), key, IfExists::Fail).expect("rename");
                };
                timed(n, &probes[..probes.len().min(EXTRA)], there, back)
            });
        });
        group.finish();
        drop(rig.db);
    }
}

/// Commits that wait for stable storage, from one thread and from eight.
fn durable(criterion: &mut Criterion) {
    let dir = TempDir::new().expect("a temporary directory");
    let db = open(&dir.path().join("db"), Durability::Sync);
    let tree = db.default_tree();
    let keys = real_paths(20_000);
    let mut group = criterion.benchmark_group("durable_commit");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    for threads in [1, 8] {
        group.bench_function(BenchmarkId::new("threads", threads), |bench| {
            bench.iter_custom(|n| {
                let start = Instant::now();
                std::thread::scope(|scope| {
                    for thread in 0..threads {
                        let (tree, keys) = (&tree, &keys);
                        scope.spawn(move || {
                            for i in (thread..n as usize).step_by(threads) {
                                tree.put(&keys[i % keys.len()], VALUE).expect("put");
                            }
                        });
                    }
                });
                start.elapsed()
            });
        });
    }
    group.finish();
}

/// Replay of a journal of puts in random order, beside making those puts.
fn recovery(criterion: &mut Criterion) {
    for count in sizes() {
        let dir = TempDir::new().expect("a temporary directory");
        let source = dir.path().join("source");
        let keys = real_paths(count.min(1_000_000));
        let mut group = criterion.benchmark_group("recovery");
        group.throughput(Throughput::Elements(keys.len() as u64)).sample_size(10);
        group.bench_function(BenchmarkId::new("batched_puts", keys.len()), |bench| {
            bench.iter_custom(|n| {
                (0..n)
                    .map(|_| {
                        let _ = std::fs::remove_dir_all(&source);
                        let db = open(&source, BATCHED);
                        let tree = db.default_tree();
                        let start = Instant::now();
                        for key in &keys {
                            tree.put(key, VALUE).expect("put");
                        }
                        db.sync().expect("sync");
                        start.elapsed()
                    })
                    .sum()
            });
        });
        group.bench_function(BenchmarkId::new("open_and_replay", keys.len()), |bench| {
            bench.iter_custom(|n| {
                (0..n)
                    .map(|_| {
                        let copy = dir.path().join("copy");
                        let _ = std::fs::remove_dir_all(&copy);
                        std::fs::create_dir(&copy).expect("a directory");
                        for name in ["data.ramus", "journal.wal"] {
                            std::fs::copy(source.join(name), copy.join(name)).expect("a copy");
                        }
                        let start = Instant::now();
                        let db = open(&copy, BATCHED);
                        let taken = start.elapsed();
                        assert!(db.stats().recovered_records >= keys.len() as u64);
                        taken
                    })
                    .sum()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, operations, durable, recovery);
criterion_main!(benches);
