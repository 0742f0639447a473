//! How long single puts take while the background thread makes one checkpoint after the other: random puts over real paths,
//! without waiting for syncs, at a steady rate. Prints the distribution, and the waits of the engine that it comes from.
//!
//! Paths come from the list that `RAMUS_PATHS` names (one a line), `RAMUS_BENCH_KEYS` of them (a million without it).
//! `RAMUS_BENCH_SECONDS` (60), `RAMUS_BENCH_RATE` puts a second (50,000; 0 is as fast as it goes), `RAMUS_BENCH_JOURNAL` MiB
//! of journal a checkpoint (32), `RAMUS_BENCH_CACHE` MiB of cache (1024), `RAMUS_BENCH_DIR` where the files lie.
//!
//! Other processes take the processor away now and then. Where the system tells how long a thread stood ready without one
//! (Linux), a second column leaves that out.

mod common;

use std::time::{Duration, Instant};

use common::{Random, in_random_order, listed_paths, loaded, number};
use hdrhistogram::Histogram;
use ramus::{Db, Durability, Options};

const VALUE: [u8; 96] = [7; 96];
/// From here on it is looked up how long the thread had no processor, in nanoseconds.
const SLOW_NANOS: u64 = 30_000;

/// How long this thread has stood ready without a processor, in nanoseconds.
fn unscheduled() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("a histogram up to a minute")
}

fn open(keys: &[Vec<u8>], dir: &std::path::Path) -> Db {
    let options = Options::new()
        .durability(Durability::Batched { bytes: 64 << 10, interval: Some(Duration::from_secs(1)) })
        .journal_bytes((number("RAMUS_BENCH_JOURNAL", 32) << 20) as u64)
        .cache_bytes((number("RAMUS_BENCH_CACHE", 1024) << 20) as u64);
    loaded(options, dir, keys, &VALUE)
}

/// Latencies in nanoseconds: as measured, and less what the thread stood without a processor.
fn puts(db: &Db, keys: &[Vec<u8>], lasts: Duration, rate: usize) -> (Histogram<u64>, Histogram<u64>) {
    let (mut all, mut ours) = (histogram(), histogram());
    let tree = db.default_tree();
    let mut random = Random(9);
    let started = Instant::now();
    let mut done = 0_u64;
    let mut delays = unscheduled();
    let mut slowest: Vec<(u64, u64, Duration)> = Vec::new();
    while started.elapsed() < lasts {
        if rate > 0 {
            // A burst a millisecond: to wait for each put by itself would take a processor.
            let ahead =
                Duration::from_nanos(done * 1_000_000_000 / rate as u64).saturating_sub(started.elapsed());
            if ahead > Duration::from_millis(1) {
                std::thread::sleep(ahead);
            }
        }
        let key = &keys[random.next() % keys.len()];
        let begun = Instant::now();
        tree.put(key, VALUE).expect("put");
        let took = begun.elapsed().as_nanos() as u64;
        done += 1;
        let mut mine = took;
        if took > SLOW_NANOS {
            let now = unscheduled();
            if let (Some(now), Some(before)) = (now, delays) {
                mine = took.saturating_sub(now - before);
            }
            delays = now;
            slowest.push((mine, took, started.elapsed()));
        } else if done.is_multiple_of(256) {
            // Else a slow one would be forgiven the delays of many before it.
            delays = unscheduled();
        }
        all.saturating_record(took.max(1));
        ours.saturating_record(mine.max(1));
    }
    slowest.sort_unstable();
    for (mine, took, at) in slowest.iter().rev().take(8) {
        println!(
            "  slow: {:>9.1} us of {:>9.1} at {:>7.3} s",
            *mine as f64 / 1e3,
            *took as f64 / 1e3,
            at.as_secs_f64()
        );
    }
    (all, ours)
}

fn main() {
    let lasts = Duration::from_secs(number("RAMUS_BENCH_SECONDS", 60) as u64);
    let (count, rate) = (number("RAMUS_BENCH_KEYS", 1_000_000), number("RAMUS_BENCH_RATE", 50_000));
    let paths = listed_paths(count).unwrap_or_else(|| {
        println!("RAMUS_PATHS is not set: made-up paths stand in");
        let path = |at: usize| format!("usr/share/doc/package-{:05}/file-{:03}", at / 40, at % 40);
        (0..count).map(|at| path(at).into_bytes()).collect()
    });
    let keys = in_random_order(paths, count);
    let dir = match std::env::var_os("RAMUS_BENCH_DIR") {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    let dir = dir.expect("a temporary directory");
    let db = open(&keys, &dir.path().join("db"));
    let before = db.stats();
    let (all, ours) = puts(&db, &keys, lasts, rate);
    let after = db.stats();
    println!(
        "{} puts in {lasts:?}, {} checkpoints, {} blobs written, {} evictions",
        all.len(),
        after.checkpoints - before.checkpoints,
        after.blob_writes - before.blob_writes,
        after.evictions - before.evictions,
    );
    println!("{:>10} {:>14} {:>22}", "", "us as measured", "us with a processor");
    for (name, quantile) in
        [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)]
    {
        let micros = |histogram: &Histogram<u64>| histogram.value_at_quantile(quantile) as f64 / 1e3;
        println!("{name:>10} {:>14.1} {:>22.1}", micros(&all), micros(&ours));
    }
    println!("gate closed for:  {}", after.gate_closures);
    println!("waits at the gate:  {}", after.gate_waits);
    println!("waits for latches:  {}", after.latch_waits);
    db.close().expect("a close");
}
