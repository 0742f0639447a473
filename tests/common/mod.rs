//! What the integration tests share: seeds, dice, a watchdog, and reading a database whole.
#![allow(dead_code, reason = "every test file is a crate of its own and uses its part of this")]

pub(crate) mod held;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use ramus::io::{FaultStorage, Storage};
use ramus::{Db, Entry, Options, Result, Tree, Version};

/// All records of a tree.
pub(crate) type Records = BTreeMap<Vec<u8>, (Vec<u8>, Version)>;
/// All records of all trees, without versions.
pub(crate) type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// A fresh seed, or the one in `RAMUS_TEST_SEED`. It is printed, so a failed test shows it.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("RAMUS_TEST_SEED") {
        Ok(text) => text.trim().parse().expect("RAMUS_TEST_SEED is a number"),
        Err(_) => fresh(),
    };
    println!("seed: RAMUS_TEST_SEED={seed}");
    seed
}

#[allow(clippy::disallowed_types, reason = "tests draw fresh seeds")]
fn fresh() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// `usual`, scaled by `RAMUS_TEST_CASES` percent.
pub(crate) fn cases(usual: u64) -> u64 {
    let percent = std::env::var("RAMUS_TEST_CASES").ok().and_then(|text| text.trim().parse::<u64>().ok());
    (usual * percent.unwrap_or(100) / 100).max(1)
}

/// The splitmix64 generator.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }
}

/// Ends the process when `body` hangs: nothing else can be done about a test that never returns.
pub(crate) fn watched<T>(what: &str, body: impl FnOnce() -> T) -> T {
    let (done, waiting) = channel::<()>();
    let what = what.to_owned();
    #[allow(clippy::disallowed_methods, reason = "the watchdog outlives what it watches")]
    let dog = std::thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(900)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{what}: no end in 900 seconds");
            std::process::abort();
        }
    });
    let outcome = body();
    drop(done);
    dog.join().expect("the watchdog ends");
    outcome
}

/// Options on a fault storage, without a background thread, with the smallest cache and journal.
pub(crate) fn small(storage: &FaultStorage) -> Options {
    Options::new()
        .storage(Arc::new(storage.clone()) as Arc<dyn Storage>)
        .cache_bytes(ramus::limits::CACHE_BYTES_MIN)
        .journal_bytes(ramus::limits::JOURNAL_BYTES_MIN)
        .background(false)
        .flush_on_drop(false)
}

/// All records of a tree by one listing.
pub(crate) fn records(tree: &Tree) -> Result<Records> {
    let mut all = Records::new();
    for entry in tree.iter() {
        match entry? {
            Entry::Record { key, value, version } => {
                if let Some((last, _)) = all.last_key_value() {
                    assert!(*last < key, "the listing went back or stood still");
                }
                all.insert(key, (value, version));
            }
            Entry::CommonPrefix(_) => panic!("a common prefix in a listing without a delimiter"),
        }
    }
    Ok(all)
}

/// All records of all trees, without versions.
pub(crate) fn contents(db: &Db) -> Result<Contents> {
    let mut all = Contents::new();
    for name in db.tree_names() {
        let tree = db.existing_tree(&name)?;
        all.insert(name, records(&tree)?.into_iter().map(|(key, (value, _))| (key, value)).collect());
    }
    Ok(all)
}

/// Panics unless the check finds nothing.
#[track_caller]
pub(crate) fn assert_sound(db: &Db) {
    let report = db.check().expect("the check runs");
    assert!(report.is_sound(), "the check found: {:#?}", report.problems);
}
