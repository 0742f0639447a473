//! What very many directory moves leave behind: fill of the blobs, mounts, and the time of a get, before, right after, when the
//! background thread has put back what has come to rest, and after `compact`. The names get longer by the moves, so each get is
//! measured beside one in a database into which the same names were put.
//!
//! Paths come from the list that `RAMUS_PATHS` names (one a line), `RAMUS_BENCH_KEYS` of them (two million without it);
//! `RAMUS_BENCH_MOVES` is the number of moves (100,000 without it).

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Random, in_random_order, listed_paths, loaded, median, number, timed};
use ramus::{Db, Durability, Entry, ErrorKind, IfExists, Options, Tree};

const VALUE: [u8; 96] = [7; 96];
/// Gets in one measurement.
const GETS: usize = 300_000;
/// Parts it is done in.
const ROUNDS: usize = 15;
/// Keys whose names are followed through the moves.
const NAMES: usize = 5_000;
/// None of them gets longer than this: names would soon be at the limit of keys.
const PATH_MAX: usize = 300;

/// Levels that stay where they are: else all would soon be inside one directory.
const LEVELS_KEPT: usize = 3;

/// One of the directories that a key is in, with the slash at its end.
fn some_ancestor<'k>(random: &mut Random, key: &'k [u8]) -> Option<&'k [u8]> {
    let ends: Vec<usize> = (0..key.len()).filter(|at| key[*at] == b'/').skip(LEVELS_KEPT).collect();
    (!ends.is_empty()).then(|| &key[..=ends[random.next() % ends.len()]])
}

/// The keys that are there, in order.
fn keys_of(tree: &Tree) -> Vec<Vec<u8>> {
    let keys = tree.iter().keys_only().map(|entry| match entry.expect("an entry") {
        Entry::Record { key, .. } => key,
        Entry::CommonPrefix(_) => unreachable!("no delimiter was asked for"),
    });
    keys.collect()
}

/// Median nanoseconds of a get, in processor time, over rounds of keys in random order, with the trees taking turns.
fn get_nanos<const TREES: usize>(
    trees: [&Tree; TREES],
    random: &mut Random,
    keys: &[Vec<u8>],
) -> [f64; TREES] {
    let mut rounds: [Vec<f64>; TREES] = [(); TREES].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        let probes: Vec<&[u8]> = (0..GETS / ROUNDS).map(|_| &*keys[random.next() % keys.len()]).collect();
        for (tree, rounds) in trees.iter().zip(&mut rounds) {
            let seconds = timed(|| {
                for key in &probes {
                    black_box(tree.get(key).expect("get").expect("a record"));
                }
            });
            rounds.push(seconds * 1e9 / probes.len() as f64);
        }
    }
    rounds.map(median)
}

/// Fill, mounts, and a get beside one in a database into which the same keys were put in random order.
fn report(what: &str, db: &Db, random: &mut Random, options: &Options) {
    let stats = db.survey().expect("survey");
    let survey = stats.survey.as_ref().expect("a survey was asked for");
    let blobs = survey.leaf_blobs + survey.inner_blobs;
    let keys = keys_of(&db.default_tree());
    let bytes: usize = keys.iter().map(Vec::len).sum();
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let anew = loaded(options.clone(), dir.path(), &in_random_order(keys.clone(), keys.len()), &VALUE);
    let [own, other] = get_nanos([&db.default_tree(), &anew.default_tree()], random, &keys);
    println!(
        "{what:<22} {:>6.1} % full {:>7} blobs {:>6} mounts {:>3} limbs deep, keys of {:>4.0} bytes: {own:>6.0} ns a get, {:.2} of one put anew",
        survey.live_bytes as f64 * 100.0 / (blobs * 65_536) as f64,
        blobs,
        survey.mounts,
        survey.limb_depth,
        bytes as f64 / keys.len() as f64,
        own / other,
    );
}

fn main() {
    let (count, moves) = (number("RAMUS_BENCH_KEYS", 2_000_000), number("RAMUS_BENCH_MOVES", 100_000));
    let Some(paths) = listed_paths(count) else {
        println!("skipped: RAMUS_PATHS names no list of paths");
        return;
    };
    let keys = in_random_order(paths, count);
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let batched = Durability::Batched { bytes: 64 << 10, interval: None };
    let options =
        Options::new().durability(batched).cache_bytes(4 << 30).journal_bytes(2 << 30).flush_on_drop(false);
    let db = options.open(dir.path().join("db")).expect("the database opens");
    let tree = db.default_tree();
    for key in &keys {
        tree.put(key, VALUE).expect("put");
    }
    let mut random = Random(7);
    println!("{} keys, {moves} moves", keys.len());
    report("before", &db, &mut random, &options);

    // The names that some of the keys have by now: directories of all sizes are above them.
    let mut names: Vec<Vec<u8>> = keys.iter().take(NAMES).cloned().collect();
    let (mut times, mut refused) = (Vec::with_capacity(moves), 0);
    while times.len() < moves {
        let [from, to] = [(); 2].map(|()| names[random.next() % names.len()].clone());
        let (Some(src), Some(parent)) = (some_ancestor(&mut random, &from), some_ancestor(&mut random, &to))
        else {
            continue;
        };
        let dst = [parent, format!("m{}/", times.len()).as_bytes()].concat();
        let is_long = |name: &Vec<u8>| name.starts_with(src) && name.len() - src.len() + dst.len() > PATH_MAX;
        if names.iter().any(is_long) {
            continue;
        }
        let started = Instant::now();
        match tree.rename_prefix(src, &dst, IfExists::Fail) {
            Ok(_) => times.push(started.elapsed()),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                refused += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        for name in names.iter_mut().filter(|name| name.starts_with(src)) {
            name.splice(..src.len(), dst.iter().copied());
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "a move: p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, max {:.1?}; {refused} into themselves refused",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    db.pause_background();
    report("right after", &db, &mut random, &options);
    db.resume_background();

    let mut mounts = u64::MAX;
    loop {
        std::thread::sleep(Duration::from_secs(5));
        let now = db.survey().expect("survey").survey.map_or(0, |survey| survey.mounts);
        if now == mounts {
            break;
        }
        mounts = now;
    }
    report("after background work", &db, &mut random, &options);
    db.compact().expect("compact");
    report("after compact", &db, &mut random, &options);
    assert!(db.check().expect("check").is_sound());
}
