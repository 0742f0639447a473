//! A journal that an open goes on with, behind a bridge over the sequences that may have been seen and lost.

use super::*;
use crate::error::ErrorKind;
use crate::journal::format::GROUP_HEADER_BYTES;

const WAL: &str = "journal.wal";

/// What an open does: reads all, goes on above all marks. The journal, and what was read.
fn reopen(storage: &FaultStorage, after: u64) -> Result<(Journal, Vec<u64>)> {
    let (found, outcome) = read(storage, after)?;
    let end = outcome.end.ok_or_else(|| Error::invalid("half a group at the end"))?;
    let sequence = outcome.mark.max(outcome.last_sequence + 2) - 1;
    Ok((Journal::go_on(Arc::new(storage.clone()), &end, sequence, Durability::Sync)?, found))
}

#[test]
fn row_13_a_bridge_passes_over_sequences_that_may_have_been_seen() {
    let storage = FaultStorage::new();
    commit_many(&create(&storage), 10);
    let mut all = sequences(1..=10);
    for _ in 0..3 {
        let mark = read(&storage, 0).unwrap().1.mark;
        let (journal, found) = reopen(&storage, 0).unwrap();
        assert_eq!(found, all);
        assert!(journal.file_bytes() > 0, "what was read counts for the journal's limit");
        assert!(journal.durable_sequence() >= mark - 1 && journal.durable_mark() > mark);
        for _ in 0..5 {
            all.push(commit(&journal, Durability::Sync).unwrap());
        }
        assert_eq!(all[all.len() - 5], mark, "no sequence below the mark is given again");
    }
    assert_eq!(read(&storage, 0).unwrap().0, all);
    assert_eq!(read(&storage, all[11]).unwrap().0, all[12..]);
    // A switch goes on from there.
    let (journal, _) = reopen(&storage, 0).unwrap();
    journal.prepare_switch(|| ()).unwrap();
    let cut = journal.switch();
    all.push(commit(&journal, Durability::Sync).unwrap());
    assert_eq!(read(&storage, 0).unwrap().0, all);
    assert_eq!(read(&storage, cut).unwrap().0, all[all.len() - 1..]);
    // The superblock has the cut, but the power went before the second file got its name.
    let (journal, found) = reopen(&storage, cut).unwrap();
    assert_eq!(found, all[all.len() - 1..]);
    assert!(storage.contents("journal.next").is_none());
    all.push(commit(&journal, Durability::Sync).unwrap());
    assert_eq!(read(&storage, cut).unwrap().0, all[all.len() - 2..]);
}

#[test]
fn a_bridge_leads_on_from_one_sequence_only() {
    let storage = FaultStorage::new();
    commit_many(&create(&storage), 10);
    let end = read(&storage, 0).unwrap().1.end.unwrap();
    let wrong = crate::journal::reader::FileEnd { last_sequence: 9, ..end };
    let journal = Journal::go_on(Arc::new(storage.clone()), &wrong, 100, Durability::Sync).unwrap();
    commit_many(&journal, 2);
    assert_eq!(read(&storage, 0).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(read_with(&storage, 0, Recovery::TruncateAtFirstError).unwrap().0, sequences(1..=10));
}

#[test]
fn a_damaged_bridge_is_noticed() {
    let storage = FaultStorage::new();
    commit_many(&create(&storage), 10);
    let offset = read(&storage, 0).unwrap().1.end.unwrap().offset;
    let (journal, _) = reopen(&storage, 0).unwrap();
    let later =
        vec![commit(&journal, Durability::Sync).unwrap(), commit(&journal, Durability::Sync).unwrap()];
    for at in [offset + 20, offset + GROUP_HEADER_BYTES as u64 + 20] {
        let damaged = storage.crash_keep_all();
        damaged.corrupt(WAL, at, 1);
        assert_eq!(read(&damaged, 0).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(read_with(&damaged, 0, Recovery::TruncateAtFirstError).unwrap().0, sequences(1..=10));
        let (found, outcome) = read_with(&damaged, 0, Recovery::SkipDamaged).unwrap();
        assert_eq!(found, [sequences(1..=10), later.clone()].concat());
        assert_eq!(outcome.end, None, "a damaged journal is replaced");
    }
}

#[test]
fn a_torn_end_is_cut_before_the_bridge() {
    let storage = FaultStorage::new();
    commit_many(&create(&storage), 10);
    let offset = read(&storage, 0).unwrap().1.end.unwrap().offset;
    // A group of which only the middle arrived.
    let mut bytes = storage.contents(WAL).unwrap();
    bytes[offset as usize + 50..offset as usize + 90].fill(7);
    let torn = storage.crash_keep_all();
    torn.replace(WAL, bytes);
    let (journal, found) = reopen(&torn, 0).unwrap();
    assert_eq!(found, sequences(1..=10));
    let next = commit(&journal, Durability::Sync).unwrap();
    assert_eq!(read(&torn, 0).unwrap().0, [sequences(1..=10), vec![next]].concat());
}

#[test]
fn a_group_that_is_half_there_is_not_gone_on_with() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    for _ in 0..5 {
        append(&journal).unwrap();
    }
    journal.flush().unwrap();
    let (found, outcome) = read(&storage, 0).unwrap();
    assert_eq!(found, sequences(1..=5));
    let start = outcome.end.unwrap().start as usize + 32;
    let whole = storage.contents(WAL).unwrap();
    let mut holed = whole.clone();
    holed[start + 300..].fill(0);
    storage.replace(WAL, holed);
    let (found, outcome) = read(&storage, 0).unwrap();
    assert!((1..5).contains(&found.len()));
    assert_eq!(outcome.end, None);
    // Nothing of it is read where the file ends inside: then it can be cut off.
    storage.replace(WAL, whole[..start + 300].to_vec());
    let (found, outcome) = read(&storage, 0).unwrap();
    assert_eq!((found, outcome.end.unwrap().offset), (vec![], start as u64));
}

/// Opens that go on are stopped at every operation, and the commits after them, twice in a row.
#[test]
fn a_power_cut_at_any_operation_of_a_bridge_loses_no_acknowledged_commit() {
    for index in 0..14 {
        for seed in 0..6 {
            let mut storage = FaultStorage::new();
            let journal = create(&storage);
            commit_many(&journal, 6);
            // Not durable, and perhaps torn.
            for _ in 0..3 {
                append(&journal).and_then(|_| journal.flush()).unwrap();
            }
            let (mut acknowledged, mut seen) = (6, 9);
            for life in 0..3 {
                let left = storage.crash(seed * 3 + life);
                left.fail_after(index);
                if let Ok((journal, found)) = reopen(&left, 0) {
                    assert!(found.last().is_some_and(|last| (acknowledged..=seen).contains(last)));
                    acknowledged = *found.last().unwrap();
                    seen = seen.max(acknowledged);
                    for _ in 0..4 {
                        let Ok(position) = append(&journal) else { break };
                        assert!(position.sequence > seen, "a sequence was given again");
                        seen = position.sequence;
                        if journal.commit(position, Durability::Sync).is_ok() {
                            acknowledged = seen;
                        }
                    }
                }
                storage = left;
            }
            let (found, _) = read(&storage.crash(seed), 0).unwrap();
            assert!(
                found.is_sorted() && found.last().is_some_and(|last| (acknowledged..=seen).contains(last))
            );
        }
    }
}
