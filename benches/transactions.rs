//! What a transaction costs beside the single calls that it stands in for, by what it reads, and beside another thread.
//!
//! In memory, batched durability, a million records of 40 bytes unless `RAMUS_BENCH_KEYS` says otherwise.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use ramus::io::MemoryStorage;
use ramus::{Db, Durability, IfExists, Options, Tree};

const VALUE: [u8; 40] = [7; 40];

fn open() -> (Db, Tree) {
    let batched = Durability::Batched { bytes: 1 << 20, interval: None };
    let db = Options::new().storage(Arc::new(MemoryStorage::new())).durability(batched).open("").unwrap();
    let tree = db.default_tree();
    (db, tree)
}

fn key(n: usize) -> String {
    format!("srv/share-{:02}/part-{:03}/file-{n:07}", n % 50, n / 50 % 200)
}

/// Numbers below the end, far apart, in an order without pattern.
fn walk(at: &mut usize, end: usize) -> usize {
    *at = (*at + 611_953) % end;
    *at
}

fn single(criterion: &mut Criterion) {
    let count =
        std::env::var("RAMUS_BENCH_KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let (db, tree) = open();
    for n in 0..count {
        tree.put(key(n), VALUE).unwrap();
    }
    let mut at = 0;
    let mut group = criterion.benchmark_group("put");
    group.bench_function("put", |b| b.iter(|| tree.put(key(walk(&mut at, count)), VALUE).unwrap()));
    group.bench_function("batch of one", |b| {
        b.iter(|| db.batch(|batch| batch.put(&tree, key(walk(&mut at, count)), VALUE)).unwrap());
    });
    group.bench_function("transaction", |b| {
        b.iter(|| db.transact(|tx| tx.put(&tree, key(at), VALUE)).map(|()| walk(&mut at, count)).unwrap());
    });
    group.finish();
    let mut group = criterion.benchmark_group("read and put");
    group.bench_function("get_record, compare_and_put", |b| {
        b.iter(|| {
            let key = key(walk(&mut at, count));
            let record = tree.get_record(&key).unwrap().unwrap();
            tree.compare_and_put(&key, record.version, &record.value).unwrap()
        });
    });
    group.bench_function("transaction", |b| {
        b.iter(|| {
            let key = key(walk(&mut at, count));
            db.transact(|tx| {
                let value = tx.get(&tree, &key)?.unwrap();
                tx.put(&tree, &key, value)
            })
            .unwrap();
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("reads");
    for reads in [10, 100, 1000] {
        group.bench_function(format!("{reads} gets"), |b| {
            b.iter(|| (0..reads).for_each(|_| drop(black_box(tree.get(key(walk(&mut at, count))).unwrap()))));
        });
        group.bench_function(format!("{reads} gets in a transaction"), |b| {
            b.iter(|| {
                let tx = db.transaction();
                for _ in 0..reads {
                    black_box(tx.get(&tree, key(walk(&mut at, count))).unwrap());
                }
                tx.commit().unwrap()
            });
        });
        // In the first half of the shares: enough comes behind.
        let from = |at: &mut usize| key(walk(at, count / 50) * 50 + *at % 25).into_bytes()..;
        group.bench_function(format!("a listing of {reads}"), |b| {
            b.iter(|| assert_eq!(tree.range(from(&mut at)).limit(reads).count(), reads));
        });
        group.bench_function(format!("a listing of {reads} in a transaction"), |b| {
            b.iter(|| {
                let tx = db.transaction();
                assert_eq!(tx.range(&tree, from(&mut at)).limit(reads).count(), reads);
                tx.commit().unwrap()
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("move");
    group.sample_size(10);
    let mut places = ["srv/share-00/", "srv/moved-00/"];
    group.bench_function("rename_prefix", |b| {
        b.iter(|| {
            tree.rename_prefix(places[0], places[1], IfExists::Fail).unwrap();
            places.reverse();
        });
    });
    group.bench_function("rename_prefix in a transaction", |b| {
        b.iter(|| {
            db.transact(|tx| tx.rename_prefix(&tree, places[0], places[1], IfExists::Fail)).unwrap();
            places.reverse();
        });
    });
    group.finish();
}

/// One counter of several, read and put, while another thread does the same: how many runs a commit takes.
fn contended(criterion: &mut Criterion) {
    for counters in [1, 16, 10_000] {
        let (db, tree) = open();
        for n in 0..counters {
            tree.put(key(n), 0u64.to_le_bytes()).unwrap();
        }
        let (runs, commits) = (AtomicU64::new(0), AtomicU64::new(0));
        let add = |n: usize| {
            db.transact(|tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                let value = u64::from_le_bytes(tx.get(&tree, key(n))?.unwrap().try_into().unwrap());
                tx.put(&tree, key(n), (value + 1).to_le_bytes())
            })
            .unwrap();
            commits.fetch_add(1, Ordering::Relaxed);
        };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut at = 1;
                while !stop.load(Ordering::Relaxed) {
                    add(walk(&mut at, counters));
                }
            });
            let mut at = 0;
            criterion.bench_function(
                &format!("add to one of {counters} counters beside another thread"),
                |b| {
                    b.iter(|| add(walk(&mut at, counters)));
                },
            );
            stop.store(true, Ordering::Relaxed);
        });
        let [runs, commits] = [runs, commits].map(AtomicU64::into_inner);
        println!("{counters} counters: {:.3} runs a commit", runs as f64 / commits as f64);
        let sum: u64 = (0..counters)
            .map(|n| u64::from_le_bytes(tree.get(key(n)).unwrap().unwrap().try_into().unwrap()))
            .sum();
        assert_eq!(sum, commits, "no update was lost");
    }
}

criterion_group!(benches, single, contended);
criterion_main!(benches);
