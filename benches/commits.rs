//! Commits with `Durability::Sync`: one, eight and sixty-four threads beside a bare loop that writes as many bytes into a
//! preallocated file of the same directory and syncs them. All take turns within one run; the figures are medians of rounds.
//!
//! A second table has a device in memory whose syncs take a millisecond: there the bytes and the processor cost nothing, and what
//! shows is how many commits share a sync. `RAMUS_BENCH_MILLIS` is the length of a round (100 without it), `RAMUS_BENCH_ROUNDS`
//! their number (41), `RAMUS_BENCH_DIR` where the files lie (the system's temporary directory).

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::device::Device;
use common::{Random, median, number};
use ramus::io::{FileStorage, MemoryStorage, OpenMode, Storage, StorageFile};
use ramus::{Db, Options, Tree};

const VALUE: [u8; 96] = [7; 96];
const THREADS: [usize; 3] = [1, 8, 64];
/// Length of the file of the bare loop, in bytes.
const RAW_BYTES: u64 = 8 << 20;
const KEYS: usize = 100_000;

fn key(random: &mut Random) -> [u8; 16] {
    let mut key = *b"home/user/000000";
    let mut at = random.next() % KEYS;
    for digit in key[10..].iter_mut().rev() {
        *digit = b'0' + (at % 10) as u8;
        at /= 10;
    }
    key
}

/// A database that was written to, and the bare file beside it.
struct Rig {
    device: Device,
    db: Db,
    raw: std::sync::Arc<dyn StorageFile>,
    raw_at: u64,
    /// What one commit alone writes.
    commit_bytes: usize,
}

/// What one round of one kind came to.
struct Round {
    per_second: f64,
    per_sync: f64,
}

impl Rig {
    fn new(device: Device) -> Self {
        let db = Options::new()
            .storage(std::sync::Arc::new(device.clone()))
            .journal_bytes(4 << 30)
            .open("")
            .expect("a new database");
        let raw = device.open("raw", OpenMode::Create).expect("a file");
        raw.write_at(0, &vec![0; RAW_BYTES as usize]).and_then(|()| raw.sync()).expect("zeros");
        db.batch(|batch| {
            let tree = db.default_tree();
            (0..KEYS).for_each(|at| batch.put(&tree, format!("home/user/{at:06}"), VALUE));
        })
        .expect("a batch");
        let mut rig = Self { device, db, raw, raw_at: 0, commit_bytes: 0 };
        let mut random = Random(3);
        let written = (0..100).map(|_| {
            let before = rig.device.counts.written_bytes.load(Ordering::Relaxed);
            rig.db.default_tree().put(key(&mut random), VALUE).expect("put");
            rig.device.counts.written_bytes.load(Ordering::Relaxed) - before
        });
        // Now and then the journal grows too.
        rig.commit_bytes = written.min().unwrap_or(0) as usize;
        rig
    }

    fn raw(&mut self, lasts: Duration) -> Round {
        let bytes = vec![7; self.commit_bytes];
        let started = Instant::now();
        let mut done = 0;
        while started.elapsed() < lasts {
            if self.raw_at + bytes.len() as u64 > RAW_BYTES {
                self.raw_at = 0;
            }
            self.raw.write_at(self.raw_at, &bytes).and_then(|()| self.raw.sync()).expect("a write");
            self.raw_at += bytes.len() as u64;
            done += 1;
        }
        Round { per_second: f64::from(done) / started.elapsed().as_secs_f64(), per_sync: 1.0 }
    }

    fn threads(&self, threads: usize, lasts: Duration) -> Round {
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let tree = self.db.default_tree();
        let put = |tree: &Tree, seed: u64| {
            let mut random = Random(seed);
            let mut mine = 0;
            while !stop.load(Ordering::Relaxed) {
                tree.put(key(&mut random), VALUE).expect("put");
                mine += 1;
            }
            done.fetch_add(mine, Ordering::Relaxed);
        };
        let syncs = self.device.counts.syncs.load(Ordering::Relaxed);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for seed in 0..threads {
                let (put, tree) = (&put, &tree);
                scope.spawn(move || put(tree, seed as u64));
            }
            std::thread::sleep(lasts);
            stop.store(true, Ordering::Relaxed);
        });
        let seconds = started.elapsed().as_secs_f64();
        let done = done.into_inner() as f64;
        let syncs = self.device.counts.syncs.load(Ordering::Relaxed) - syncs;
        Round { per_second: done / seconds, per_sync: done / syncs.max(1) as f64 }
    }
}

fn measure(what: &str, mut rig: Rig, rounds: usize, lasts: Duration) {
    println!("{what}; {} bytes a commit; {rounds} rounds of {lasts:?}", rig.commit_bytes);
    let mut all: Vec<(String, Vec<Round>)> = vec![("bare loop".to_owned(), Vec::new())];
    all.extend(THREADS.map(|threads| (format!("{threads} threads"), Vec::new())));
    for round in 0..rounds {
        // Each comes after each other one: what a round leaves behind must not always meet the same.
        let order = if round % 2 == 0 { [0, 1, 2, 3] } else { [1, 0, 3, 2] };
        for turn in 0..order.len() {
            let at = order[(turn + round / 2) % order.len()];
            let result = match at {
                0 => rig.raw(lasts),
                _ => rig.threads(THREADS[at - 1], lasts),
            };
            all[at].1.push(result);
        }
    }
    println!("{:>12} {:>12} {:>12} {:>12} {:>14}", "", "commits/s", "of bare", "of 1 thread", "commits/sync");
    let over = |at: usize, base: usize| {
        let ratio = |(one, other): (&Round, &Round)| one.per_second / other.per_second;
        median(all[at].1.iter().zip(&all[base].1).map(ratio).collect())
    };
    for (at, (name, rounds)) in all.iter().enumerate() {
        println!(
            "{name:>12} {:>12.0} {:>12.2} {:>12.2} {:>14.1}",
            median(rounds.iter().map(|round| round.per_second).collect()),
            over(at, 0),
            over(at, 1),
            median(rounds.iter().map(|round| round.per_sync).collect()),
        );
    }
    rig.db.close().expect("a close");
}

fn main() {
    let (rounds, lasts) = (number("RAMUS_BENCH_ROUNDS", 41), number("RAMUS_BENCH_MILLIS", 100));
    let lasts = Duration::from_millis(lasts as u64);
    let dir = match std::env::var_os("RAMUS_BENCH_DIR") {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    let dir = dir.expect("a temporary directory");
    let files = FileStorage::open_dir(dir.path(), false).expect("the directory");
    let disk = Device::new(files, Duration::ZERO);
    measure("files", Rig::new(disk), rounds, lasts);
    let memory = Device::new(MemoryStorage::new(), Duration::from_millis(1));
    measure("\nmemory, a sync takes 1 ms", Rig::new(memory), rounds, lasts);
}
