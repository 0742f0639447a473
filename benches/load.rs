//! Loading sorted records: by single puts, by batches, and by `bulk_load`, each into a new database on disk, interleaved.
//!
//! Prints nanoseconds a record, medians over the rounds: processor time of the calling thread, that of all threads (the journal
//! is written by another), and time on the clock until all is with the operating system; and how full the blobs are. Paths
//! come from the list that `RAMUS_PATHS` names (one a line), else they are made up. `RAMUS_BENCH_KEYS` says how many.

mod common;

use std::time::{Duration, Instant};

use common::{listed_paths, median, number, processor_time};
use ramus::{Db, Durability, Options};
use tempfile::TempDir;

const KEYS: usize = 2_000_000;
const ROUNDS: usize = 5;
const VALUE: [u8; 96] = [7; 96];
/// Puts in a batch: about as many as a leaf blob holds.
const BATCH: usize = 500;

type Way = fn(&Db, &[Vec<u8>]);

const WAYS: [(&str, Way); 3] = [("put", put), ("batch of 500", batch), ("bulk_load", bulk_load)];

fn put(db: &Db, keys: &[Vec<u8>]) {
    let tree = db.default_tree();
    for key in keys {
        tree.put(key, VALUE).expect("put");
    }
}

fn batch(db: &Db, keys: &[Vec<u8>]) {
    let tree = db.default_tree();
    for keys in keys.chunks(BATCH) {
        db.batch(|batch| keys.iter().for_each(|key| batch.put(&tree, key, VALUE))).expect("batch");
    }
}

fn bulk_load(db: &Db, keys: &[Vec<u8>]) {
    let loaded = db.default_tree().bulk_load(keys.iter().map(|key| (key, VALUE))).expect("bulk_load");
    assert_eq!(loaded, keys.len() as u64);
}

/// The processor time of all threads that there are.
fn all_threads_time() -> Option<Duration> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let nanos = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(nanos.sum()))
}

/// Nanoseconds a record: of this thread, of all threads, on the clock; and the mean fill in percent.
fn measure(way: Way, keys: &[Vec<u8>]) -> [f64; 4] {
    let dir = TempDir::new().expect("a temporary directory");
    let durability = Durability::Batched { bytes: 64 << 10, interval: None };
    let options = Options::new().durability(durability).cache_bytes(2 << 30).journal_bytes(4 << 30);
    let db = options.flush_on_drop(false).open(dir.path().join("db")).expect("the database opens");
    let start = Instant::now();
    let (own, all) = (processor_time(start), all_threads_time());
    way(&db, keys);
    let own = processor_time(start) - own;
    let clock = start.elapsed();
    let all = all_threads_time().zip(all).map_or(clock, |(now, before)| now - before);
    let survey = db.survey().expect("survey").survey.expect("a survey");
    assert_eq!(survey.entries, keys.len() as u64);
    let blobs = survey.leaf_blobs + survey.inner_blobs;
    let fill = (survey.live_bytes as f64) * 100.0 / (blobs * 65_536) as f64;
    let per_record = |time: Duration| time.as_nanos() as f64 / keys.len() as f64;
    [per_record(own), per_record(all), per_record(clock), fill]
}

fn main() {
    let count = number("RAMUS_BENCH_KEYS", KEYS);
    let mut keys = listed_paths(count).unwrap_or_else(|| {
        println!("RAMUS_PATHS is not set: made-up paths stand in");
        (0..count)
            .map(|n| format!("srv/share-{}/part-{:03}/file-{n:07}.dat", n % 7, n / 7 % 997).into_bytes())
            .collect()
    });
    keys.sort();
    keys.dedup();
    keys.truncate(count);
    println!(
        "{} records; nanoseconds a record: this thread, all threads, clock; fill in percent",
        keys.len()
    );
    let mut figures = vec![[const { Vec::new() }; 4]; WAYS.len()];
    for round in 0..ROUNDS {
        for turn in 0..WAYS.len() {
            let at = (round + turn) % WAYS.len();
            for (all, figure) in figures[at].iter_mut().zip(measure(WAYS[at].1, &keys)) {
                all.push(figure);
            }
        }
    }
    for ((name, _), figures) in WAYS.iter().zip(figures) {
        let [own, all, clock, fill] = figures.map(median);
        println!("{name:<14} {own:>8.0} {all:>8.0} {clock:>8.0} {fill:>6.1}");
    }
}
