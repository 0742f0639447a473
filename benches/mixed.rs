//! 80 % get, 15 % put, 5 % listings of 100 on real paths, without waiting for syncs: one thread and two, in turns within one
//! run, and the ratio of what they get done.
//!
//! Paths come from the list that `RAMUS_PATHS` names (one a line), `RAMUS_BENCH_KEYS` of them (a million without it).
//! `RAMUS_BENCH_MILLIS` is the length of a round (1000), `RAMUS_BENCH_ROUNDS` their number (15). Beside it stands what the
//! machine gives two threads that share nothing: the same mix on a database for each.

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Random, in_random_order, listed_paths, loaded, median, number};
use ramus::{Db, Durability, Options, Tree};

const VALUE: [u8; 96] = [7; 96];
const LISTED: usize = 100;

fn open(dir: &std::path::Path, keys: &[Vec<u8>]) -> Db {
    let batched = Durability::Batched { bytes: 64 << 10, interval: None };
    loaded(Options::new().durability(batched), dir, keys, &VALUE)
}

/// One operation of the mix.
fn operate(tree: &Tree, random: &mut Random, keys: &[Vec<u8>]) {
    let (die, key) = (random.next() % 100, &keys[random.next() % keys.len()]);
    match die {
        0..80 => drop(black_box(tree.get(key).expect("get"))),
        80..95 => drop(black_box(tree.put(key, VALUE).expect("put"))),
        _ => {
            for entry in tree.range::<&[u8]>(&key[..]..).limit(LISTED) {
                black_box(entry.expect("an entry"));
            }
        }
    }
}

/// Processor time of this thread so far, where the system tells (Linux).
fn busy_nanos() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// What one round came to.
struct Rate {
    /// Operations a second, all threads together.
    per_second: f64,
    /// Operations in a second of one thread's processor time, times threads: what there would be on a machine with nothing else
    /// to do, if nobody slept.
    per_busy_second: f64,
}

/// One thread a tree.
fn measure(trees: &[&Tree], keys: &[Vec<u8>], lasts: Duration, seed: u64) -> Rate {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let busy = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for (at, tree) in trees.iter().enumerate() {
            let (stop, done, busy) = (&stop, &done, &busy);
            scope.spawn(move || {
                let before = busy_nanos();
                let mut random = Random(seed * 2 + at as u64 + 1);
                let mut mine = 0;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..16 {
                        operate(tree, &mut random, keys);
                    }
                    mine += 16;
                }
                done.fetch_add(mine, Ordering::Relaxed);
                let nanos = busy_nanos().zip(before).map_or(0, |(now, before)| now - before);
                busy.fetch_add(nanos, Ordering::Relaxed);
            });
        }
        std::thread::sleep(lasts);
        stop.store(true, Ordering::Relaxed);
    });
    let done = done.into_inner() as f64;
    let per_second = done / started.elapsed().as_secs_f64();
    let busy_seconds = busy.into_inner() as f64 / 1e9 / trees.len() as f64;
    Rate { per_second, per_busy_second: done / busy_seconds }
}

fn main() {
    let (rounds, lasts) = (number("RAMUS_BENCH_ROUNDS", 15), number("RAMUS_BENCH_MILLIS", 1000));
    let lasts = Duration::from_millis(lasts as u64);
    let count = number("RAMUS_BENCH_KEYS", 1_000_000);
    let paths = listed_paths(count).unwrap_or_else(|| {
        println!("RAMUS_PATHS is not set: made-up paths stand in");
        let path = |at: usize| format!("usr/share/doc/package-{:05}/file-{:03}", at / 40, at % 40);
        (0..count).map(|at| path(at).into_bytes()).collect()
    });
    let keys = in_random_order(paths, count);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dbs = ["one", "other"].map(|name| open(&dir.path().join(name), &keys));
    let trees = [dbs[0].default_tree(), dbs[1].default_tree()];
    let (mut ones, mut twos, mut aparts) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds as u64 {
        ones.push(measure(&[&trees[0]], &keys, lasts, 3 * round));
        twos.push(measure(&[&trees[0], &trees[0]], &keys, lasts, 3 * round + 1));
        aparts.push(measure(&[&trees[0], &trees[1]], &keys, lasts, 3 * round + 2));
    }
    println!("{} keys; {rounds} rounds of {lasts:?}", keys.len());
    println!(
        "{:<28} {:>12} {:>12} {:>18} {:>12}",
        "", "ops/s", "of 1 thread", "by processor time", "of 1 thread"
    );
    for (what, rates) in [("1 thread", &ones), ("2 threads", &twos), ("2 threads, a database each", &aparts)]
    {
        let of = |figure: fn(&Rate) -> f64| {
            let over = rates.iter().zip(&ones).map(|(rate, one)| figure(rate) / figure(one));
            (median(rates.iter().map(figure).collect()), median(over.collect()))
        };
        let (wall, busy) = (of(|rate| rate.per_second), of(|rate| rate.per_busy_second));
        println!("{what:<28} {:>12.0} {:>12.2} {:>18.0} {:>12.2}", wall.0, wall.1, busy.0, busy.1);
    }
    println!("waits for latches in the shared one:  {}", dbs[0].stats().latch_waits);
    for db in dbs {
        db.close().expect("a close");
    }
}
