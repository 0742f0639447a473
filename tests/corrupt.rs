//! Files that are not what was written: bytes flipped, files cut, blocks swapped or zeroed, newer formats, missing files.
//! An open, a read or a check gives an error or what was put; never something else, and it never panics or hangs.

mod common;

use common::{Dice, Records, cases, records, small, watched};
use ramus::io::FaultStorage;
use ramus::{Durability, Entry, Error, ErrorKind, IfExists, Options, Recovery};

const BLOCK: usize = 4096;
const FILES: [&str; 2] = ["data.ramus", "journal.wal"];

/// A database as it lies on the device, and what it holds after each commit that its journal has.
struct Sample {
    storage: FaultStorage,
    states: Vec<Records>,
}

fn key(i: usize) -> Vec<u8> {
    format!("usr/share/doc/package-{:03}/file{i:05}", i % 40).into_bytes()
}

fn value(i: usize) -> Vec<u8> {
    format!("{i}-").repeat(i % 25).into_bytes()
}

fn options(storage: &FaultStorage) -> Options {
    small(storage).durability(Durability::Sync)
}

/// Some thousand keys in two checkpoints; then `commits` more that only the journal has.
fn sample(commits: usize) -> Sample {
    let storage = FaultStorage::new();
    let batched = Durability::Batched { bytes: 1 << 16, interval: None };
    let db = options(&storage).durability(batched).open("").unwrap();
    let tree = db.default_tree();
    for i in 0..4000 {
        tree.put(key(i), value(i)).unwrap();
        if i == 2500 {
            db.checkpoint().unwrap();
        }
    }
    for i in (0..4000).step_by(9) {
        tree.delete(key(i)).unwrap();
    }
    db.close().unwrap();
    drop((tree, db));
    let db = options(&storage).open("").unwrap();
    let tree = db.default_tree();
    let mut states = vec![records(&tree).unwrap()];
    for i in 0..commits {
        match i % 5 {
            0 => {
                tree.put(key(i), b"new").unwrap();
            }
            1 => {
                tree.put(key(5000 + i), value(i)).unwrap();
            }
            2 => {
                tree.delete(key(3000 + i)).unwrap();
            }
            3 => {
                tree.rename(key(i * 9 + 4), key(9000 + i), IfExists::Replace).unwrap();
            }
            _ => {
                db.batch(|b| (0..20).for_each(|j| b.put(&tree, key(6000 + 20 * i + j), value(j)))).unwrap();
            }
        }
        states.push(records(&tree).unwrap());
    }
    drop((tree, db));
    Sample { storage: storage.crash_keep_all(), states }
}

impl Sample {
    fn file(&self, name: &str) -> Vec<u8> {
        self.storage.contents(name).expect("the file is there")
    }

    /// The same database with another content of one file.
    fn with(&self, name: &str, bytes: Vec<u8>) -> FaultStorage {
        let storage = self.storage.crash_keep_all();
        storage.replace(name, bytes);
        storage
    }

    /// How much of the journal ends before the zeros that it was filled with.
    fn journal_used(&self) -> usize {
        self.file("journal.wal").iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
    }
}

fn assert_named(error: &Error, what: &str) {
    let kind = error.kind();
    assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported), "{what}: {kind:?}: {error}");
    let message = error.to_string();
    assert!(
        FILES.iter().any(|name| message.contains(name)) || message.contains("blob"),
        "{what}: no file in: {message}"
    );
}

/// What a damaged database still gave.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Given {
    opened: bool,
    right: usize,
    failed: usize,
    sound: bool,
}

/// Reads everything in every way: right or an error. `states`: what it may hold, oldest first.
fn probe(storage: &FaultStorage, states: &[Records], what: &str) -> Given {
    let mut given = Given::default();
    let db = match options(storage).open("") {
        Ok(db) => db,
        Err(error) => {
            assert_named(&error, what);
            return given;
        }
    };
    given.opened = true;
    let tree = db.default_tree();
    let newest = states.last().expect("some state");
    let mut possible: Vec<&Records> = states.iter().collect();
    let agree = |possible: &mut Vec<&Records>, key: &[u8], got: Option<(Vec<u8>, u64)>| {
        possible.retain(|state| state.get(key) == got.as_ref());
        assert!(
            !possible.is_empty(),
            "{what}: a wrong value of {:?}: {got:?}",
            key.escape_ascii().to_string()
        );
    };
    for key in newest.keys() {
        match tree.get_record(key) {
            Ok(got) => {
                agree(&mut possible, key, got.map(|r| (r.value, r.version)));
                given.right += 1;
            }
            Err(error) => {
                assert_named(&error, what);
                given.failed += 1;
            }
        }
    }
    for reverse in [false, true] {
        let scan = if reverse { tree.iter().reverse() } else { tree.iter() };
        let mut listed = Records::new();
        let mut whole = true;
        for entry in scan {
            match entry {
                Ok(Entry::Record { key, value, version }) => {
                    agree(&mut possible, &key, Some((value.clone(), version)));
                    listed.insert(key, (value, version));
                }
                Ok(other) => panic!("{what}: {other:?} in a listing"),
                Err(error) => {
                    assert_named(&error, what);
                    whole = false;
                }
            }
        }
        assert!(!whole || possible.contains(&&listed), "{what}: a listing that is whole lacks records");
        assert!(whole || given.failed > 0 || listed.len() < newest.len(), "{what}: an error without damage");
    }
    match db.check() {
        Ok(report) => given.sound = report.is_sound(),
        Err(error) => assert!(error.kind() != ErrorKind::InvalidInput, "{what}: {error}"),
    }
    given
}

/// Damage that a read did not notice is only where nothing reads; damage that it noticed the check must report.
fn probe_and_judge(storage: &FaultStorage, states: &[Records], what: &str) -> Given {
    let given = probe(storage, states, what);
    assert!(given.failed == 0 || !given.sound, "{what}: reads fail and the check finds nothing: {given:?}");
    given
}

#[test]
fn a_flipped_byte_of_the_data_file_is_never_data() {
    watched("flips of the data file", || {
        let mut dice = Dice(common::seed());
        let sample = sample(0);
        let data = sample.file("data.ramus");
        assert_eq!(probe(&sample.storage.crash_keep_all(), &sample.states, "no damage").failed, 0);
        let (mut damaged, mut partly, mut refused) = (0, 0, 0);
        for round in 0..cases(400) {
            // The superblocks' fields, then anywhere.
            let at =
                if round < 96 { round as usize % 96 + BLOCK * dice.below(2) } else { dice.below(data.len()) };
            let mut bytes = data.clone();
            bytes[at] ^= 1 << dice.below(8);
            let given = probe_and_judge(
                &sample.with("data.ramus", bytes),
                &sample.states,
                &format!("byte {at} flipped"),
            );
            refused += u64::from(!given.opened);
            damaged += u64::from(given.failed > 0);
            partly += u64::from(given.failed > 0 && given.right > 0);
        }
        println!("{refused} opens refused, {damaged} with damage, {partly} partly readable");
        assert!(damaged > 0 && partly > 0, "the damage hit nothing: {refused} {damaged} {partly}");
    });
}

#[test]
fn a_flipped_byte_of_the_journal_loses_no_more_than_the_torn_tail() {
    watched("flips of the journal", || {
        let mut dice = Dice(common::seed());
        let sample = sample(40);
        let journal = sample.file("journal.wal");
        let used = sample.journal_used();
        // The last group may be torn by rights: nothing says that it was synced.
        let allowed = &sample.states[sample.states.len() - 2..];
        let mut refused = 0;
        for round in 0..cases(400) {
            let at = if round < 32 { round as usize % 32 } else { dice.below(used) };
            let mut bytes = journal.clone();
            bytes[at] ^= 1 << dice.below(8);
            let given =
                probe_and_judge(&sample.with("journal.wal", bytes), allowed, &format!("byte {at} flipped"));
            refused += u64::from(!given.opened);
            assert_eq!(given.failed, 0);
        }
        assert!(refused > 0, "no flip was noticed");
    });
}

#[test]
fn every_flipped_byte_of_the_journal_header_is_noticed() {
    let sample = sample(3);
    for at in 0..32 {
        for bit in 0..8 {
            let mut bytes = sample.file("journal.wal");
            bytes[at] ^= 1 << bit;
            let error = options(&sample.with("journal.wal", bytes)).open("").unwrap_err();
            assert_named(&error, &format!("bit {bit} of byte {at}"));
            assert!(error.to_string().contains("journal.wal"), "{error}");
        }
    }
}

#[test]
fn a_truncated_file_is_an_error_or_reads_right() {
    watched("truncation", || {
        let mut dice = Dice(common::seed());
        let sample = sample(20);
        for name in FILES {
            let bytes = sample.file(name);
            let used = if name == "journal.wal" { sample.journal_used() } else { bytes.len() };
            let mut lengths = vec![0, 1, 8, 31, 32, 33, 4095, 4096, 4097, 8191, 8192, 8193, used - 1, used];
            lengths.extend((0..cases(80)).map(|_| dice.below(used)));
            for len in lengths.into_iter().filter(|len| *len <= bytes.len()) {
                let what = format!("{name} cut to {len} bytes");
                let cut = sample.with(name, bytes[..len].to_vec());
                let given = probe_and_judge(&cut, &sample.states, &what);
                if name == "data.ramus" && len < 4096 {
                    assert!(!given.opened, "{what}: opened");
                }
                if name == "journal.wal" && len < 32 {
                    assert!(!given.opened, "{what}: opened");
                }
            }
        }
    });
}

#[test]
fn swapped_and_zeroed_blocks_are_an_error_or_read_right() {
    watched("blocks", || {
        let mut dice = Dice(common::seed());
        let sample = sample(20);
        for name in FILES {
            let bytes = sample.file(name);
            let blocks = bytes.len().div_ceil(BLOCK);
            for _ in 0..cases(120) {
                let mut changed = bytes.clone();
                changed.resize(blocks * BLOCK, 0);
                let (a, b) = (dice.below(blocks), dice.below(blocks));
                let what = match dice.below(3) {
                    0 => {
                        changed[a * BLOCK..(a + 1) * BLOCK].fill(0);
                        format!("{name}: block {a} zeroed")
                    }
                    1 => {
                        changed.copy_within(a * BLOCK..(a + 1) * BLOCK, b * BLOCK);
                        format!("{name}: block {a} copied over {b}")
                    }
                    _ => {
                        let (x, y) = (a.min(b), a.max(b));
                        if x != y {
                            let (left, right) = changed.split_at_mut(y * BLOCK);
                            left[x * BLOCK..(x + 1) * BLOCK].swap_with_slice(&mut right[..BLOCK]);
                        }
                        format!("{name}: blocks {x} and {y} swapped")
                    }
                };
                changed.truncate(bytes.len());
                probe_and_judge(&sample.with(name, changed), &sample.states, &what);
            }
        }
    });
}

#[test]
fn noise_instead_of_a_file_is_an_error() {
    let mut dice = Dice(common::seed());
    let sample = sample(5);
    for name in FILES {
        for len in [1, 100, 4096, 10_000, 100_000] {
            let noise = (0..len).map(|_| dice.roll() as u8).collect();
            let error = options(&sample.with(name, noise)).open("").unwrap_err();
            assert_named(&error, &format!("{name}: {len} bytes of noise"));
        }
    }
}

#[test]
fn a_newer_format_is_unsupported_and_left_alone() {
    let sample = sample(5);
    // Magic, then the format; a newer one is told apart before its checksum can be known.
    let mut data = sample.file("data.ramus");
    for slot in [0, BLOCK] {
        data[slot + 8..slot + 12].copy_from_slice(&2u32.to_le_bytes());
        data[slot + BLOCK - 8..slot + BLOCK].fill(0);
        let sum = xxhash_rust::xxh3::xxh3_64(&data[slot..slot + BLOCK]);
        data[slot + BLOCK - 8..slot + BLOCK].copy_from_slice(&sum.to_le_bytes());
    }
    let storage = sample.with("data.ramus", data.clone());
    let error = options(&storage).open("").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("data.ramus") && error.to_string().contains('2'), "{error}");
    assert!(storage.contents("data.ramus") == Some(data), "the open changed the file");

    let mut journal = sample.file("journal.wal");
    journal[8..12].copy_from_slice(&2u32.to_le_bytes());
    let sum = {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&journal[..12]);
        hasher.update(&journal[16..32]);
        hasher.finalize()
    };
    journal[12..16].copy_from_slice(&sum.to_le_bytes());
    let storage = sample.with("journal.wal", journal.clone());
    let error = options(&storage).open("").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("journal.wal"), "{error}");
    assert!(storage.contents("journal.wal") == Some(journal), "the open changed the file");
    // Nor is it damage where the data file is missing.
    ramus::io::Storage::remove(&storage, "data.ramus").unwrap();
    assert_eq!(options(&storage).open("").unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_missing_file_is_corrupt_never_an_empty_database() {
    use ramus::io::Storage;
    let sample = sample(5);
    for name in FILES {
        for recovery in [Recovery::Strict, Recovery::TruncateAtFirstError, Recovery::SkipDamaged] {
            if name == "journal.wal" && recovery != Recovery::Strict {
                continue;
            }
            let storage = sample.storage.crash_keep_all();
            storage.remove(name).unwrap();
            let error = options(&storage).recovery(recovery).open("").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
            assert!(error.to_string().contains(name), "{name}: {error}");
        }
    }
}

#[test]
fn an_older_journal_or_data_file_put_back_is_noticed() {
    let early = sample(5);
    let storage = early.storage.crash_keep_all();
    let db = options(&storage).open("").unwrap();
    db.default_tree().put(b"late", b"1").unwrap();
    db.close().unwrap();
    drop(db);
    let old_journal = storage.crash_keep_all();
    old_journal.replace("journal.wal", early.file("journal.wal"));
    match options(&old_journal).open("") {
        // All that the old journal holds is in the checkpoint.
        Ok(db) => assert_eq!(db.default_tree().get(b"late").unwrap().as_deref(), Some(&b"1"[..])),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
    let old_data = storage.crash_keep_all();
    old_data.replace("data.ramus", early.file("data.ramus"));
    let error = options(&old_data).open("").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn a_damaged_journal_opens_as_the_recovery_option_says() {
    let sample = sample(30);
    let mut bytes = sample.file("journal.wal");
    let middle = sample.journal_used() / 2;
    bytes[middle..middle + 4].iter_mut().for_each(|byte| *byte ^= 0x55);
    let storage = || sample.with("journal.wal", bytes.clone());
    let error = options(&storage()).open("").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let damaged = storage();
    let db = options(&damaged).recovery(Recovery::TruncateAtFirstError).open("").unwrap();
    let left = records(&db.default_tree()).unwrap();
    assert!(sample.states[1..sample.states.len() - 1].contains(&left), "not a prefix of the commits");
    assert!(db.stats().recovered_discarded_bytes > 0);
    common::assert_sound(&db);
    drop(db);
    // The damage is gone for good.
    let db = options(&damaged).open("").unwrap();
    assert!(records(&db.default_tree()).unwrap() == left);

    let db = options(&storage()).recovery(Recovery::SkipDamaged).open("").unwrap();
    let newest = sample.states.last().unwrap();
    let left = records(&db.default_tree()).unwrap();
    let right = left.iter().filter(|(key, record)| newest.get(*key) == Some(record)).count();
    assert!(right + 30 > newest.len() && right <= newest.len(), "{right} of {}", newest.len());
    common::assert_sound(&db);
}

#[test]
fn a_check_reports_damaged_blobs_and_the_rest_stays_readable() {
    let sample = sample(0);
    let data = sample.file("data.ramus");
    let mut reported = 0;
    for unit in 2..data.len() / BLOCK {
        let mut bytes = data.clone();
        bytes[unit * BLOCK + 1000] ^= 0x10;
        let storage = sample.with("data.ramus", bytes);
        let Ok(db) = options(&storage).open("") else { continue };
        let tree = db.default_tree();
        let failed = sample.states[0].keys().filter(|key| tree.get(key).is_err()).count();
        if failed == 0 {
            continue;
        }
        assert!(failed < sample.states[0].len(), "one damaged block took everything with it");
        let report = db.check().unwrap();
        assert!(!report.is_sound());
        assert!(report.problems.iter().any(|p| p.contains("data.ramus")), "{:?}", report.problems);
        reported += 1;
        // A put elsewhere still works.
        if let Some(key) = sample.states[0].keys().find(|key| tree.get(key).is_ok()) {
            tree.put(key, b"still works").unwrap();
            assert_eq!(tree.get(key).unwrap().as_deref(), Some(&b"still works"[..]));
        }
    }
    assert!(reported > 0, "no block with records was hit");
}
