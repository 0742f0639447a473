//! Listings against std's `BTreeMap`, interleaved: in each round both list the same places, in changing order. Prints the time
//! of a call of each, the items that a call gives, and the median over the rounds of the ratio.
//!
//! - *list100*: up to 100 records of the directory of a random key, lent or owned. The map lends; owned, it clones.
//! - *list_dir*: up to 100 items of a random ancestor of a random key, by delimiter; the map seeks behind each common prefix.
//! - *longest prefix* of a key and some more; *count* of prefixes of about 10⁵ keys. The map is not asked.
//!
//! Time is the thread's processor time where the system tells it (Linux), else that on the clock. Each pair of answers is
//! compared by a sum over keys and values. Paths come from the list that `RAMUS_PATHS` names (one a line), else the bench ends.
//! `RAMUS_BENCH_KEYS` says how many, `RAMUS_ROUNDS` how many rounds, `RAMUS_ONLY` which rows.

mod common;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use common::{Random, in_random_order, listed_paths, median, number};
use ramus::{Durability, Entry, EntryRef, Options, Tree};

const CALLS: usize = 4_000;
const LIMIT: usize = 100;
/// Keys under a prefix that is counted.
const COUNTED: usize = 100_000;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The processor time of this thread, or the time since `start`.
fn now(start: Instant) -> Duration {
    // The system brings the number up to date when it switches threads.
    std::thread::yield_now();
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = read.and_then(|text| text.split(' ').next()?.parse().ok()).filter(|nanos| *nanos > 0);
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// What the calls of a round gave: items, and a sum over them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    items: u64,
    sum: u64,
}

impl Seen {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let ends = |bytes: &[u8]| bytes.first().map_or(0, |&byte| u64::from(byte)) + bytes.len() as u64;
        self.items += 1;
        self.sum = self.sum.wrapping_mul(31).wrapping_add(ends(key) << 16 | ends(value));
    }
}

/// Runs `call` on all places: nanoseconds a call, and what it saw.
fn timed(places: &[Vec<u8>], mut call: impl FnMut(&[u8], &mut Seen)) -> (f64, Seen) {
    let (start, mut seen) = (Instant::now(), Seen::default());
    let before = now(start);
    for place in places {
        call(place, &mut seen);
    }
    ((now(start) - before).as_nanos() as f64 / places.len() as f64, seen)
}

/// The first byte that is not in `prefix`'s range; `prefix` ends in a delimiter.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut bound = prefix.to_vec();
    *bound.last_mut().expect("a delimiter at least") += 1;
    bound
}

fn map_list<'m>(map: &'m Map, dir: &[u8]) -> impl Iterator<Item = (&'m Vec<u8>, &'m Vec<u8>)> {
    map.range::<[u8], _>((Bound::Included(dir), Bound::Excluded(&behind(dir)[..]))).take(LIMIT)
}

/// Seeks behind each common prefix.
fn map_list_dir(map: &Map, dir: &[u8], mut item: impl FnMut(&[u8], &[u8])) {
    let end = behind(dir);
    let mut low = dir.to_vec();
    let mut left = LIMIT;
    'seek: loop {
        for (key, value) in map.range::<[u8], _>((Bound::Included(&low[..]), Bound::Excluded(&end[..]))) {
            if left == 0 {
                return;
            }
            left -= 1;
            match key[dir.len()..].iter().position(|&byte| byte == b'/') {
                None => item(key, value),
                Some(at) => {
                    item(&key[..=dir.len() + at], &[]);
                    low = behind(&key[..=dir.len() + at]);
                    continue 'seek;
                }
            }
        }
        return;
    }
}

/// The directory that the path is in, or one above it.
fn ancestors(path: &[u8]) -> Vec<usize> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1).collect()
}

struct Rig<'a> {
    tree: &'a Tree,
    map: &'a Map,
    keys: &'a [Vec<u8>],
}

type Row = (&'static str, fn(&Rig<'_>, &[Vec<u8>], bool) -> (f64, Seen), fn(&mut Random, &[u8]) -> Vec<u8>);

fn parent(_: &mut Random, key: &[u8]) -> Vec<u8> {
    key[..ancestors(key).last().copied().unwrap_or(0)].to_vec()
}

fn ancestor(random: &mut Random, key: &[u8]) -> Vec<u8> {
    let ends = ancestors(key);
    key[..ends.get(random.next() % ends.len().max(1)).copied().unwrap_or(0)].to_vec()
}

fn longer(_: &mut Random, key: &[u8]) -> Vec<u8> {
    [key, b"/and/more"].concat()
}

fn lend(entry: EntryRef<'_>, seen: &mut Seen) {
    match entry {
        EntryRef::Record { key, value, .. } => seen.add(key, value),
        EntryRef::CommonPrefix(prefix) => seen.add(prefix, &[]),
    }
}

fn lent(rig: &Rig<'_>, places: &[Vec<u8>], map: bool) -> (f64, Seen) {
    match map {
        true => timed(places, |dir, seen| {
            map_list(rig.map, dir).for_each(|(key, value)| seen.add(key, value));
        }),
        false => timed(places, |dir, seen| {
            let mut scan = rig.tree.prefix(dir).limit(LIMIT);
            while let Some(entry) = scan.next_entry().expect("a listing") {
                lend(entry, seen);
            }
        }),
    }
}

fn owned(rig: &Rig<'_>, places: &[Vec<u8>], map: bool) -> (f64, Seen) {
    match map {
        true => timed(places, |dir, seen| {
            for (key, value) in map_list(rig.map, dir).map(|(key, value)| (key.clone(), value.clone())) {
                seen.add(&key, &value);
            }
        }),
        false => timed(places, |dir, seen| {
            for entry in rig.tree.prefix(dir).limit(LIMIT) {
                match entry.expect("a listing") {
                    Entry::Record { key, value, .. } => seen.add(&key, &value),
                    Entry::CommonPrefix(_) => unreachable!("no delimiter was given"),
                }
            }
        }),
    }
}

fn keys_only(rig: &Rig<'_>, places: &[Vec<u8>], map: bool) -> (f64, Seen) {
    match map {
        true => timed(places, |dir, seen| {
            map_list(rig.map, dir).for_each(|(key, _)| seen.add(key, &[]));
        }),
        false => timed(places, |dir, seen| {
            let mut scan = rig.tree.prefix(dir).limit(LIMIT).keys_only();
            while let Some(entry) = scan.next_entry().expect("a listing") {
                lend(entry, seen);
            }
        }),
    }
}

fn reverse(rig: &Rig<'_>, places: &[Vec<u8>], map: bool) -> (f64, Seen) {
    match map {
        true => timed(places, |dir, seen| {
            let range = (Bound::Included(dir), Bound::Excluded(&behind(dir)[..]));
            rig.map.range::<[u8], _>(range).rev().take(LIMIT).for_each(|(key, value)| seen.add(key, value));
        }),
        false => timed(places, |dir, seen| {
            let mut scan = rig.tree.prefix(dir).limit(LIMIT).reverse();
            while let Some(entry) = scan.next_entry().expect("a listing") {
                lend(entry, seen);
            }
        }),
    }
}

fn dir_lent(rig: &Rig<'_>, places: &[Vec<u8>], map: bool) -> (f64, Seen) {
    match map {
        true => timed(places, |dir, seen| map_list_dir(rig.map, dir, |key, value| seen.add(key, value))),
        false => timed(places, |dir, seen| {
            let mut scan = rig.tree.prefix(dir).delimiter(b'/').limit(LIMIT);
            while let Some(entry) = scan.next_entry().expect("a listing") {
                lend(entry, seen);
            }
        }),
    }
}

fn dir_owned(rig: &Rig<'_>, places: &[Vec<u8>], map: bool) -> (f64, Seen) {
    match map {
        true => timed(places, |dir, seen| {
            map_list_dir(rig.map, dir, |key, value| {
                let (key, value) = (key.to_vec(), value.to_vec());
                seen.add(&key, &value);
            });
        }),
        false => timed(places, |dir, seen| {
            for entry in rig.tree.prefix(dir).delimiter(b'/').limit(LIMIT) {
                match entry.expect("a listing") {
                    Entry::Record { key, value, .. } => seen.add(&key, &value),
                    Entry::CommonPrefix(prefix) => seen.add(&prefix, &[]),
                }
            }
        }),
    }
}

fn longest(rig: &Rig<'_>, places: &[Vec<u8>], map: bool) -> (f64, Seen) {
    match map {
        true => timed(places, |path, seen| {
            let ends = (1..=path.len()).rev();
            let found = ends.map(|end| &path[..end]).find_map(|start| rig.map.get_key_value(start));
            found.into_iter().for_each(|(key, value)| seen.add(key, value));
        }),
        false => timed(places, |path, seen| {
            let found = rig.tree.longest_prefix(path).expect("longest_prefix");
            found.into_iter().for_each(|(key, record)| seen.add(&key, &record.value));
        }),
    }
}

fn rows(when: &str, rig: &Rig<'_>, random: &mut Random) {
    let all: [Row; 8] = [
        ("list100", lent, parent),
        ("list100 owned", owned, parent),
        ("list100 keys", keys_only, parent),
        ("list100 reverse", reverse, parent),
        ("list_dir", dir_lent, ancestor),
        ("list_dir owned", dir_owned, ancestor),
        ("list_dir parent", dir_lent, parent),
        ("longest prefix", longest, longer),
    ];
    let only = std::env::var("RAMUS_ONLY").unwrap_or_default();
    for (name, row, place) in all.into_iter().filter(|(name, ..)| name.starts_with(&only)) {
        let (mut ours, mut theirs, mut items) = (Vec::new(), Vec::new(), 0.0);
        for round in 0..number("RAMUS_ROUNDS", 15) {
            let places: Vec<Vec<u8>> = (0..CALLS)
                .map(|_| {
                    let key = &rig.keys[random.next() % rig.keys.len()];
                    place(random, key)
                })
                .filter(|place| !place.is_empty())
                .collect();
            let first = row(rig, &places, round % 2 == 0);
            let second = row(rig, &places, round % 2 != 0);
            assert_eq!(first.1, second.1, "{name}: the answers differ");
            items = first.1.items as f64 / places.len() as f64;
            let (map, ramus) = if round % 2 == 0 { (first, second) } else { (second, first) };
            theirs.push(map.0);
            ours.push(ramus.0);
        }
        let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
        let (ours, theirs) = (median(ours), median(theirs));
        println!("{when:<14} {name:<16} {ours:>9.0} ns  {theirs:>9.0} ns  {ratio:>6.2}  {items:>6.1} items");
    }
}

/// Prefixes that about `COUNTED` keys start with.
fn large_directories(map: &Map) -> Vec<(Vec<u8>, u64)> {
    let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
    for key in map.keys() {
        ancestors(key).into_iter().for_each(|end| *counts.entry(&key[..end]).or_default() += 1);
    }
    let near = |count: u64| (COUNTED as u64 / 2..=COUNTED as u64 * 2).contains(&count);
    counts.into_iter().filter(|&(_, count)| near(count)).map(|(dir, count)| (dir.to_vec(), count)).collect()
}

fn count(when: &str, rig: &Rig<'_>) {
    let dirs = large_directories(rig.map);
    let mut nanos = Vec::new();
    let mut keys = Vec::new();
    for (dir, count) in &dirs {
        let (taken, seen) = timed(&vec![dir.clone(); 20], |dir, seen| {
            seen.items += rig.tree.count_prefix(dir).expect("a count").keys;
        });
        assert_eq!(seen.items, count * 20);
        nanos.push(taken / *count as f64);
        keys.push(*count as f64);
    }
    if nanos.is_empty() {
        return println!("{when:<14} no directory has about {COUNTED} keys");
    }
    let (of, each) = (nanos.len(), median(nanos));
    println!("{when:<14} count of 10^5    {:>9.0} ns  (median of {of} directories)", each * COUNTED as f64);
}

fn main() {
    let count_keys = number("RAMUS_BENCH_KEYS", 2_000_000);
    let Some(paths) = listed_paths(count_keys) else {
        return println!("RAMUS_PATHS is not set: listings are measured on real paths");
    };
    let keys = in_random_order(paths, count_keys);
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let durability = Durability::Batched { bytes: 64 << 10, interval: None };
    let options = Options::new().durability(durability).cache_bytes(2 << 30).journal_bytes(2 << 30);
    let db = options.flush_on_drop(false).open(dir.path().join("db")).expect("the database opens");
    let tree = db.default_tree();
    let mut map = Map::new();
    for (number, key) in keys.iter().enumerate() {
        let value = [number as u8; 96];
        tree.put(key, value).expect("put");
        map.insert(key.clone(), value.to_vec());
    }
    println!("{} keys", keys.len());
    println!("{:<31} {:>12}  {:>12}  {:>6}", "", "Ramus", "BTreeMap", "ratio");
    let mut random = Random(3);
    for when in ["after load", "after compact"] {
        let rig = Rig { tree: &tree, map: &map, keys: &keys };
        rows(when, &rig, &mut random);
        count(when, &rig);
        db.compact().expect("compact");
        if std::env::var_os("RAMUS_LOAD_ONLY").is_some() {
            break;
        }
    }
}
