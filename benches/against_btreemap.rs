//! Ramus against std's `BTreeMap`, interleaved: in each round both do the same operations on the same random keys, one
//! after the other in changing order, so that what else the machine does hits both alike. Prints the time of an operation
//! and the median over the rounds of the ratio: after both were loaded in random order, after `compact`, and after the map
//! was built anew from its sorted entries, which packs it likewise.
//!
//! Time is the thread's processor time where the system tells it (Linux), else that on the clock. Every answer is checked.
//! Paths come from the list that `RAMUS_PATHS` names (one a line), else they are made up. `RAMUS_BENCH_KEYS` says how many.

mod common;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use common::{Random, in_random_order, listed_paths, median, processor_time};
use ramus::{Db, Durability, Options, Tree};
use tempfile::TempDir;

const KEYS: usize = 2_000_000;
const ROUNDS: usize = 15;
/// Operations of each engine in a round.
const OPERATIONS: usize = 100_000;
const VALUE_BYTES: usize = 96;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A value that says of which key, and of which round of puts, it is.
fn value(stamp: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&stamp.to_le_bytes()));
    value
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    let before = processor_time(start);
    work();
    (processor_time(start) - before).as_secs_f64()
}

/// The keys of a round, in memory of their own: to find them costs neither engine anything.
struct Probes {
    bytes: Vec<u8>,
    /// End of the key, its number, and the stamp of its value.
    keys: Vec<(usize, usize, u64)>,
}

impl Probes {
    fn draw(rig: &Rig, random: &mut Random) -> Self {
        let mut probes = Self { bytes: Vec::new(), keys: Vec::with_capacity(OPERATIONS) };
        for _ in 0..OPERATIONS {
            let number = random.next() % rig.keys.len();
            probes.bytes.extend_from_slice(&rig.keys[number]);
            probes.keys.push((probes.bytes.len(), number, rig.stamps[number]));
        }
        probes
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let mut start = 0;
        self.keys.iter().map(move |&(end, _, stamp)| {
            let key = &self.bytes[start..end];
            start = end;
            (key, stamp)
        })
    }
}

struct Rig {
    db: Db,
    tree: Tree,
    map: Map,
    keys: Vec<Vec<u8>>,
    /// The stamp of each key's value.
    stamps: Vec<u64>,
    _dir: TempDir,
}

/// Paths with the fan-out of a file system, deep ones and shallow ones.
fn made_up_paths(count: usize) -> Vec<Vec<u8>> {
    println!("RAMUS_PATHS is not set: made-up paths stand in");
    let mut random = Random(7);
    let names = ["share", "lib", "doc", "python3", "include", "locale", "modules", "icons"];
    let made_up = |number: usize| {
        let mut path = String::from("usr");
        for level in 0..2 + random.next() % 5 {
            let name = names[random.next() % names.len()];
            path += &format!("/{name}-{}", random.next() % (3 << level));
        }
        format!("{path}/file-{number}.txt").into_bytes()
    };
    (0..count).map(made_up).collect()
}

impl Rig {
    fn load(count: usize) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let durability = Durability::Batched { bytes: 64 << 10, interval: None };
        let options = Options::new().durability(durability).cache_bytes(2 << 30).journal_bytes(2 << 30);
        let db = options.flush_on_drop(false).open(dir.path().join("db")).expect("the database opens");
        let tree = db.default_tree();
        let keys = in_random_order(listed_paths(count).unwrap_or_else(|| made_up_paths(count)), count);
        let mut map = Map::new();
        for (number, key) in keys.iter().enumerate() {
            let value = value(number as u64);
            tree.put(key, value).expect("put");
            map.insert(key.clone(), value.to_vec());
        }
        let stamps = (0..keys.len() as u64).collect();
        Self { db, tree, map, keys, stamps, _dir: dir }
    }
}

/// Seconds of the two engines in one round.
#[derive(Clone, Copy)]
struct Pair {
    ramus: f64,
    map: f64,
}

impl Pair {
    fn of(round: usize, ramus: impl FnOnce(), map: impl FnOnce()) -> Self {
        if round.is_multiple_of(2) {
            let ramus = timed(ramus);
            Self { ramus, map: timed(map) }
        } else {
            let map = timed(map);
            Self { ramus: timed(ramus), map }
        }
    }
}

fn get(rig: &mut Rig, probes: &Probes, round: usize) -> Pair {
    let ramus = || {
        for (key, stamp) in probes.iter() {
            let found = rig.tree.get(key).expect("get");
            assert_eq!(found.as_deref(), Some(&value(stamp)[..]));
        }
    };
    let map = || {
        for (key, stamp) in probes.iter() {
            let found = rig.map.get(black_box(key)).cloned();
            assert_eq!(found.as_deref(), Some(&value(stamp)[..]));
        }
    };
    Pair::of(round, ramus, map)
}

/// Without a copy that outlives the look at it; the map lends its value.
fn get_with(rig: &mut Rig, probes: &Probes, round: usize) -> Pair {
    let ramus = || {
        for (key, stamp) in probes.iter() {
            let is_right = rig.tree.get_with(key, |found| found == value(stamp)).expect("get_with");
            assert_eq!(is_right, Some(true));
        }
    };
    let map = || {
        for (key, stamp) in probes.iter() {
            let is_right = rig.map.get(black_box(key)).map(|found| found[..] == value(stamp));
            assert_eq!(is_right, Some(true));
        }
    };
    Pair::of(round, ramus, map)
}

/// Overwrites. The map takes keys and values that are made outside the time; what it replaces is freed inside.
fn put(rig: &mut Rig, probes: &Probes, round: usize) -> Pair {
    let numbers = || probes.keys.iter().map(|&(_, number, _)| number);
    for number in numbers() {
        rig.stamps[number] += 1 << 32;
    }
    let stamps: Vec<u64> = numbers().map(|number| rig.stamps[number]).collect();
    let keyed = || probes.iter().map(|(key, _)| key).zip(&stamps);
    let owned: Vec<_> = keyed().map(|(key, stamp)| (key.to_vec(), value(*stamp).to_vec())).collect();
    let (tree, map) = (&rig.tree, &mut rig.map);
    let put_ramus = || {
        for (key, stamp) in keyed() {
            tree.put(key, value(*stamp)).expect("put");
        }
    };
    let put_map = || {
        for (key, value) in owned {
            assert!(map.insert(key, value).is_some());
        }
    };
    let pair = Pair::of(round, put_ramus, put_map);
    for (key, stamp) in keyed() {
        assert_eq!(tree.get(key).expect("get").as_deref(), Some(&value(*stamp)[..]));
        assert_eq!(map.get(key).map(Vec::as_slice), Some(&value(*stamp)[..]));
    }
    pair
}

fn compare(when: &str, rig: &mut Rig, random: &mut Random) {
    type Round = fn(&mut Rig, &Probes, usize) -> Pair;
    let operations: [(&str, Round); 3] = [("get", get), ("get_with", get_with), ("put overwrite", put)];
    for (what, operation) in operations {
        let pairs: Vec<Pair> = (0..ROUNDS)
            .map(|round| {
                let probes = Probes::draw(rig, random);
                operation(rig, &probes, round)
            })
            .collect();
        let nanos =
            |seconds: fn(&Pair) -> f64| median(pairs.iter().map(seconds).collect()) * 1e9 / OPERATIONS as f64;
        let ratio = median(pairs.iter().map(|pair| pair.ramus / pair.map).collect());
        let (ramus, map) = (nanos(|pair| pair.ramus), nanos(|pair| pair.map));
        println!("{when:<14} {what:<14} {ramus:>8.0} ns  {map:>8.0} ns  {ratio:>6.2}");
    }
}

fn main() {
    let keys = std::env::var("RAMUS_BENCH_KEYS").ok().map(|keys| keys.parse().expect("a number of keys"));
    let mut rig = Rig::load(keys.unwrap_or(KEYS));
    println!("{} keys; medians of {ROUNDS} rounds of {OPERATIONS} operations", rig.keys.len());
    println!("{:<14} {:<14} {:>11}  {:>11}  {:>6}", "", "", "Ramus", "BTreeMap", "ratio");
    let mut random = Random(3);
    compare("after load", &mut rig, &mut random);
    rig.db.compact().expect("compact");
    compare("after compact", &mut rig, &mut random);
    rig.map = rig.map.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    compare("both packed", &mut rig, &mut random);
}
