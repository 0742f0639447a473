//! What the benchmarks share: lists of paths, random order from a fixed seed, numbers from the environment, medians.
#![allow(dead_code, reason = "every benchmark is a crate of its own and uses its part of this")]

pub(crate) mod device;

use std::time::{Duration, Instant};

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.next() % bound
    }
}

pub(crate) fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut random = Random(seed);
    for i in (1..items.len()).rev() {
        items.swap(i, random.next() % (i + 1));
    }
}

/// About `count` paths, evenly from the list that `RAMUS_PATHS` names (one a line), if it names one.
pub(crate) fn listed_paths(count: usize) -> Option<Vec<Vec<u8>>> {
    let list = std::env::var_os("RAMUS_PATHS")?;
    let text = std::fs::read(&list).expect("RAMUS_PATHS names a list that can be read");
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    let step = (lines.len() / count).max(1);
    Some(lines.iter().step_by(step).map(|line| line.to_vec()).collect())
}

/// At most `count` of the paths, each once, in random order.
pub(crate) fn in_random_order(mut paths: Vec<Vec<u8>>, count: usize) -> Vec<Vec<u8>> {
    paths.sort();
    paths.dedup();
    if paths.len() < count {
        println!("only {} of {count} paths are to be had", paths.len());
    }
    shuffle(&mut paths, 1);
    paths.truncate(count);
    paths
}

/// A new database with a record of each key, checkpointed.
pub(crate) fn loaded(
    options: ramus::Options,
    dir: &std::path::Path,
    keys: &[Vec<u8>],
    value: &[u8],
) -> ramus::Db {
    let db = options.open(dir).expect("a new database");
    let tree = db.default_tree();
    for key in keys {
        tree.put(key, value).expect("put");
    }
    db.checkpoint().expect("a checkpoint");
    db
}

/// The number in the variable `name` of the environment, or `usual`.
pub(crate) fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The one in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The processor time of this thread, or the time since `start`.
pub(crate) fn processor_time(start: Instant) -> Duration {
    // The system brings the number up to date when it switches threads.
    std::thread::yield_now();
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = read.and_then(|text| text.split(' ').next()?.parse().ok()).filter(|nanos| *nanos > 0);
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// The seconds of this thread's processor time that `work` takes.
pub(crate) fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    let before = processor_time(start);
    work();
    (processor_time(start) - before).as_secs_f64()
}
