//! One test for each row of the decision table in `reader.rs`.

use super::*;
use crate::error::ErrorKind;
use crate::journal::format::{Checksum, FileHeader, GroupHeader};
use crate::limits::SEQUENCE_RESERVE;

const WAL: &str = "journal.wal";
const NEXT: &str = "journal.next";
const ALL: [Recovery; 3] = [Recovery::Strict, Recovery::TruncateAtFirstError, Recovery::SkipDamaged];

/// Sequences 1 to 10, each in a synced group of its own.
fn ten_records() -> FaultStorage {
    let storage = FaultStorage::new();
    commit_many(&create(&storage), 10);
    storage
}

/// Sequences 1 to 10 in the first file, 11 to 15 in the second.
fn two_files() -> FaultStorage {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit_many(&journal, 10);
    journal.prepare_switch(|| ()).unwrap();
    journal.switch();
    commit_many(&journal, 5);
    storage
}

/// Where the groups of a file start.
fn groups(storage: &FaultStorage, name: &str) -> Vec<u64> {
    let bytes = storage.contents(name).unwrap();
    let header = FileHeader::decode(bytes.first_chunk().unwrap()).unwrap();
    let checksum = Checksum::new(header.salt);
    let is_group =
        |at: &usize| bytes[*at..].first_chunk().is_some_and(|b| GroupHeader::decode(b, &checksum).is_some());
    (32..bytes.len()).step_by(8).filter(is_group).map(|at| at as u64).collect()
}

fn kind(storage: &FaultStorage, after: u64, policy: Recovery) -> ErrorKind {
    read_with(storage, after, policy).unwrap_err().kind()
}

fn found(storage: &FaultStorage, after: u64, policy: Recovery) -> Vec<u64> {
    read_with(storage, after, policy).unwrap().0
}

fn zero(storage: &FaultStorage, name: &str, range: std::ops::Range<u64>) {
    let mut bytes = storage.contents(name).unwrap();
    bytes[range.start as usize..range.end as usize].fill(0);
    storage.replace(name, bytes);
}

#[test]
fn row_1_a_missing_journal_fails() {
    let storage = ten_records();
    storage.remove(WAL).unwrap();
    for policy in ALL {
        assert_eq!(kind(&storage, 0, policy), ErrorKind::Corrupt);
    }
}

#[test]
fn row_2_a_bad_header_fails() {
    let storage = ten_records();
    storage.corrupt(WAL, 20, 1);
    for policy in ALL {
        assert_eq!(kind(&storage, 0, policy), ErrorKind::Corrupt);
    }
    storage.replace(WAL, Vec::new());
    assert_eq!(kind(&storage, 0, Recovery::Strict), ErrorKind::Corrupt);
    let mut bytes = FileHeader { salt: 1, start: 0 }.encode();
    bytes[8] = 2;
    let checksum = crc32fast::hash(&[&bytes[..12], &bytes[16..]].concat());
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    storage.replace(WAL, bytes.to_vec());
    assert_eq!(kind(&storage, 0, Recovery::Strict), ErrorKind::Unsupported);
}

#[test]
fn row_3_a_gap_before_the_journal_fails() {
    let storage = FaultStorage::new();
    let journal = Journal::create(Arc::new(storage.clone()), 5, MARK, Durability::Sync).unwrap();
    commit_many(&journal, 3);
    for policy in ALL {
        let error = read_with(&storage, 4, policy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("starts after sequence 5, but the data file is at 4"));
    }
    assert_eq!(found(&storage, 5, Recovery::Strict), sequences(6..=8));
}

#[test]
fn row_4_records_of_the_data_file_are_skipped() {
    let storage = ten_records();
    let (visited, outcome) = read(&storage, 7).unwrap();
    assert_eq!(visited, sequences(8..=10));
    assert_eq!((outcome.records_seen, outcome.records_applied), (10, 3));
    let (visited, outcome) = read(&storage, 12).unwrap();
    assert_eq!((visited, outcome.last_sequence), (vec![], 12));
}

#[test]
fn row_5_a_record_out_of_sequence_is_damage() {
    let storage = ten_records();
    let at = groups(&storage, WAL);
    let mut bytes = storage.contents(WAL).unwrap();
    // The last group again, behind itself: valid, but not the next one.
    let length = at[9] as usize;
    let group: Vec<u8> = bytes[length..length + 400].to_vec();
    let end = length + group.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let again = end.next_multiple_of(8);
    bytes[again..again + 400].copy_from_slice(&group);
    storage.replace(WAL, bytes);
    let error = read(&storage, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&format!("journal.wal: corrupt at offset {again}")), "{error}");
    for policy in [Recovery::TruncateAtFirstError, Recovery::SkipDamaged] {
        assert_eq!(found(&storage, 0, policy), sequences(1..=10));
    }
}

#[test]
fn row_6_a_bad_durable_record_is_damage() {
    let storage = ten_records();
    let at = groups(&storage, WAL);
    storage.corrupt(WAL, at[4] + 60, 1);
    let error = read(&storage, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&format!("journal.wal: corrupt at offset {}", at[4] + 40)), "{error}");
    assert_eq!(found(&storage, 0, Recovery::TruncateAtFirstError), sequences(1..=4));
    let (visited, outcome) = read_with(&storage, 0, Recovery::SkipDamaged).unwrap();
    assert_eq!(visited, [1, 2, 3, 4, 6, 7, 8, 9, 10]);
    assert!(!outcome.clean && outcome.discarded_bytes > 0);
}

#[test]
fn row_6_a_lost_durable_write_is_damage() {
    let storage = ten_records();
    let at = groups(&storage, WAL);
    zero(&storage, WAL, at[4]..at[6]);
    assert_eq!(kind(&storage, 0, Recovery::Strict), ErrorKind::Corrupt);
    assert_eq!(found(&storage, 0, Recovery::TruncateAtFirstError), sequences(1..=4));
    assert_eq!(found(&storage, 0, Recovery::SkipDamaged), [1, 2, 3, 4, 7, 8, 9, 10]);
}

#[test]
fn row_6_records_beside_the_damage_are_salvaged() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    for _ in 0..5 {
        append(&journal).unwrap();
    }
    commit_many(&journal, 3);
    let at = groups(&storage, WAL);
    // The group's header, and the second of its records.
    storage.corrupt(WAL, at[0] + 9, 1);
    storage.corrupt(WAL, at[0] + 40 + 17 + payload_of(1).len() as u64 + 20, 1);
    assert_eq!(kind(&storage, 0, Recovery::Strict), ErrorKind::Corrupt);
    assert_eq!(found(&storage, 0, Recovery::TruncateAtFirstError), []);
    assert_eq!(found(&storage, 0, Recovery::SkipDamaged), [1, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn row_7_a_torn_tail_ends_the_journal() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit_many(&journal, 3);
    for _ in 0..3 {
        append(&journal).unwrap();
        append(&journal).unwrap();
        journal.flush().unwrap();
    }
    let at = groups(&storage, WAL);
    let torn = storage.crash_keep_all();
    torn.corrupt(WAL, at[4] + 45, 1);
    let lost = storage.crash_keep_all();
    zero(&lost, WAL, at[4]..at[5]);
    let second_bad = storage.crash_keep_all();
    second_bad.corrupt(WAL, at[4] + 40 + 17 + payload_of(6).len() as u64 + 1, 1);
    for policy in ALL {
        for (storage, last) in [(&torn, 5), (&lost, 5), (&second_bad, 6)] {
            let (visited, outcome) = read_with(storage, 0, policy).unwrap();
            assert_eq!(visited, sequences(1..=last));
            assert!(!outcome.clean && outcome.discarded_bytes > 0);
        }
    }
}

#[test]
fn row_8_an_unused_second_file_is_ignored() {
    let storage = ten_records();
    let torn_header = [&FileHeader { salt: 1, start: 10 }.encode()[..20], &[0; 5000]].concat();
    for content in [vec![], vec![0; 8192], torn_header] {
        storage.replace(NEXT, content);
        let (visited, outcome) = read(&storage, 0).unwrap();
        assert_eq!((visited, outcome.clean), (sequences(1..=10), true));
    }
}

#[test]
fn row_9_a_used_second_file_without_header_fails() {
    let storage = two_files();
    storage.corrupt(NEXT, 17, 4);
    assert_eq!(kind(&storage, 0, Recovery::Strict), ErrorKind::Corrupt);
    for policy in [Recovery::TruncateAtFirstError, Recovery::SkipDamaged] {
        let (visited, outcome) = read_with(&storage, 0, policy).unwrap();
        assert_eq!(visited, sequences(1..=10));
        assert!(!outcome.clean && outcome.discarded_bytes > 0);
        assert!(outcome.mark >= 15 + SEQUENCE_RESERVE, "the marks of the second file count");
    }
}

#[test]
fn row_10_a_second_file_after_the_checkpoint_is_read_alone() {
    let storage = two_files();
    storage.corrupt(WAL, 100, 1);
    for after in [10, 12] {
        let (visited, outcome) = read(&storage, after).unwrap();
        assert_eq!(visited, sequences(after + 1..=15));
        assert_eq!(outcome.records_seen, 5);
        assert!(!outcome.clean);
    }
}

#[test]
fn row_11_the_second_file_follows_the_first() {
    let (visited, outcome) = read(&two_files(), 0).unwrap();
    assert_eq!(visited, sequences(1..=15));
    assert!(!outcome.clean);
}

#[test]
fn row_12_a_second_file_after_a_torn_first_is_damage() {
    let storage = two_files();
    let last = *groups(&storage, WAL).last().unwrap();
    storage.corrupt(WAL, last + 60, 1);
    assert_eq!(kind(&storage, 0, Recovery::Strict), ErrorKind::Corrupt);
    assert_eq!(found(&storage, 0, Recovery::TruncateAtFirstError), sequences(1..=9));
    assert_eq!(found(&storage, 0, Recovery::SkipDamaged), [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15]);
}

/// Versions above the marks that are read would be given twice.
#[test]
fn marks_that_are_passed_over_count() {
    let reaches = |storage: &FaultStorage, last: u64| {
        for policy in [Recovery::TruncateAtFirstError, Recovery::SkipDamaged] {
            let (_, outcome) = read_with(storage, 0, policy).unwrap();
            assert!(outcome.mark >= last + SEQUENCE_RESERVE, "{policy:?}: {} of {last}", outcome.mark);
        }
    };
    // The second file behind damage in the first, and behind a first that seems torn.
    let storage = two_files();
    let at = groups(&storage, WAL);
    for place in [at[4] + 60, at[9] + 60, at[9] + 5] {
        let damaged = storage.crash_keep_all();
        damaged.corrupt(WAL, place, 1);
        reaches(&damaged, 15);
    }
    // The last group, whose damage looks like a torn tail.
    for place in [5, 60] {
        let damaged = storage.crash_keep_all();
        damaged.corrupt(NEXT, groups(&storage, NEXT)[4] + place, 1);
        reaches(&damaged, 15);
    }
}
