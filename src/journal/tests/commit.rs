//! Reservations and commits.

use super::*;
use crate::error::ErrorKind;
use crate::limits::{RECORD_BYTES_MAX, SEQUENCE_RESERVE};

#[test]
fn records_of_many_groups_come_back_in_order() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    for _ in 0..50 {
        commit(&journal, BATCHED).unwrap();
        append(&journal).unwrap();
        commit(&journal, Durability::Sync).unwrap();
    }
    let (found, outcome) = read(&storage.crash_lose_all(), 0).unwrap();
    assert_eq!(found, sequences(1..=150));
    assert_eq!(outcome.records_seen, 150);
    assert_eq!(outcome.last_sequence, 150);
    assert_eq!(outcome.mark, 150 + SEQUENCE_RESERVE);
    assert!(outcome.clean);
    assert!(journal.file_bytes() > 150 * 17);
}

/// What is half done in memory must not be acknowledged, nor written by a checkpoint.
#[test]
fn a_panic_in_the_middle_of_a_write_poisons() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit(&journal, Durability::Sync).unwrap();
    drop(journal.watch());
    commit(&journal, Durability::Sync).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let _watch = journal.watch();
            append(&journal).unwrap();
            std::panic::resume_unwind(Box::new("no message"));
        });
        assert!(writer.join().is_err());
    });
    assert_eq!(commit(&journal, Durability::Sync).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(journal.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(read(&storage.crash_keep_all(), 0).unwrap().0, [1, 2]);
}

#[test]
fn a_batched_commit_is_safe_after_a_sync_only() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    for _ in 0..10 {
        commit(&journal, BATCHED).unwrap();
    }
    assert_eq!(read(&storage.crash_keep_all(), 0).unwrap().0, []);
    journal.flush().unwrap();
    assert_eq!(journal.durable_sequence(), 0);
    assert_eq!(read(&storage.crash_keep_all(), 0).unwrap().0, sequences(1..=10));
    assert_eq!(read(&storage.crash_lose_all(), 0).unwrap().0, []);
    journal.sync().unwrap();
    assert_eq!(journal.durable_sequence(), 10);
    assert_eq!(read(&storage.crash_lose_all(), 0).unwrap().0, sequences(1..=10));
}

#[test]
fn a_full_buffer_is_written_by_its_commit() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    let durability = Durability::Batched { bytes: 4096, interval: None };
    for _ in 0..100 {
        commit(&journal, durability).unwrap();
    }
    let (found, _) = read(&storage, 0).unwrap();
    assert!(found.len() > 50 && found.len() < 100, "{} records", found.len());
}

/// Eight threads commit at once: each record must be durable when its commit returns, and read back once.
#[test]
fn threads_share_a_sync_and_lose_nothing() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..200_u32 {
                    let mut payload = Vec::new();
                    Op::Put { tree: thread, key: &number.to_be_bytes(), value: &[] }
                        .encode_into(&mut payload);
                    let reservation = journal.reserve(payload.len() + number as usize % 50).unwrap();
                    let position = journal.append(reservation, Kind::Put, &payload);
                    let durability = if number % 3 == 0 { BATCHED } else { Durability::Sync };
                    journal.commit(position, durability).unwrap();
                    assert!(
                        durability != Durability::Sync || journal.durable_sequence() >= position.sequence
                    );
                }
            });
        }
    });
    journal.sync().unwrap();
    let mut next = [0_u32; 8];
    let outcome = replay(&storage.crash_lose_all(), 0, Recovery::Strict, &mut |_, record| {
        let Record::One(Op::Put { tree, key, .. }) = record else { panic!("{record:?}") };
        assert_eq!(key, next[tree as usize].to_be_bytes());
        next[tree as usize] += 1;
        Ok(())
    });
    assert_eq!(outcome.unwrap().records_seen, 1600);
    assert_eq!(next, [200; 8]);
}

#[test]
fn a_full_device_refuses_the_reservation_and_loses_nothing() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    storage.set_full(Some(300 << 10));
    let mut written = 0;
    let error = loop {
        match commit(&journal, Durability::Sync) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(written > 500);
    let held = journal.reserve_emergency(10).unwrap();
    let position = journal.append(held, Kind::Delete, b"\x07\x08AAAAAAAA");
    journal.commit(position, Durability::Sync).unwrap();
    assert_eq!(journal.reserve(1000).unwrap_err().kind(), ErrorKind::NoSpace);
    let outcome = replay(&storage.crash_lose_all(), 0, Recovery::Strict, &mut |_, _| Ok(())).unwrap();
    assert_eq!(outcome.last_sequence, written + 1);
    storage.set_full(None);
    assert!(journal.reserve(1000).is_ok());
}

#[test]
fn an_unused_reservation_is_given_back() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    drop(journal.reserve(100_000).unwrap());
    let before = storage.contents("journal.wal").unwrap().len();
    for _ in 0..100 {
        drop(journal.reserve(100_000).unwrap());
    }
    assert_eq!(storage.contents("journal.wal").unwrap().len(), before);
}

#[test]
fn a_record_over_the_limit_is_refused_by_name() {
    let journal = create(&FaultStorage::new());
    let error = journal.reserve(RECORD_BYTES_MAX + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("RECORD_BYTES_MAX"));
}

#[test]
fn a_failed_sync_poisons() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit_many(&journal, 3);
    let reservation = journal.reserve(100).unwrap();
    storage.fail_once(1, std::io::ErrorKind::Other);
    assert_eq!(commit(&journal, Durability::Sync).unwrap_err().kind(), ErrorKind::Io);
    let payload = payload_of(5);
    let position = journal.append(reservation, Kind::Put, &payload[..payload.len().min(100)]);
    let error = journal.commit(position, Durability::Sync).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert!(error.to_string().contains("reopen the database"));
    for outcome in
        [journal.sync(), journal.flush(), journal.reserve(1).map(drop), journal.prepare_switch(|| ())]
    {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned);
    }
    assert_eq!(journal.commit(position, BATCHED).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(journal.durable_sequence(), 3);
}

/// No sequence may be handed out twice, so none at or above the durable mark.
#[test]
fn sequences_stay_below_the_durable_mark() {
    let storage = FaultStorage::new();
    let journal = Journal::create(Arc::new(storage.clone()), 0, 4, Durability::Sync).unwrap();
    assert_eq!(commit(&journal, BATCHED).unwrap(), 1);
    assert_eq!(journal.durable_mark(), 4);
    assert_eq!(commit(&journal, BATCHED).unwrap(), 2);
    assert_eq!(commit(&journal, BATCHED).unwrap(), 3);
    assert!(journal.durable_mark() > SEQUENCE_RESERVE);
    let (_, outcome) = read(&storage.crash_lose_all(), 0).unwrap();
    assert_eq!(outcome.mark, journal.durable_mark());
}

#[test]
fn an_empty_journal_carries_a_mark_too() {
    let storage = FaultStorage::new();
    let journal = Journal::create(Arc::new(storage.clone()), 9, 0, Durability::Sync).unwrap();
    drop(journal.reserve(1).unwrap());
    let (found, outcome) = read(&storage.crash_lose_all(), 9).unwrap();
    assert_eq!(found, []);
    assert_eq!(outcome.mark, 9 + SEQUENCE_RESERVE);
    assert_eq!(outcome.last_sequence, 9);
}

#[test]
fn the_journal_grows_before_it_is_used() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    assert_eq!(storage.contents("journal.wal").unwrap().len(), 32);
    commit_many(&journal, 1);
    let length = storage.contents("journal.wal").unwrap().len();
    assert_eq!(length, 32 + (256 << 10));
    commit_many(&journal, 200);
    assert_eq!(storage.contents("journal.wal").unwrap().len(), length);
    let large = vec![0; 1 << 20];
    let reservation = journal.reserve(large.len()).unwrap();
    let position = journal.append(reservation, Kind::Noop, &large);
    journal.commit(position, Durability::Sync).unwrap();
    assert!(storage.contents("journal.wal").unwrap().len() > 32 + (1 << 20));
}

#[test]
fn an_empty_journal_is_resumed() {
    let storage = FaultStorage::new();
    drop(create(&storage));
    let resume = |start| Journal::resume(Arc::new(storage.clone()), start, MARK, Durability::Sync);
    storage.open("journal.wal", OpenMode::ReadWrite).unwrap().set_len(4096).unwrap();
    assert_eq!(resume(1).unwrap_err().kind(), ErrorKind::Corrupt);
    let journal = resume(0).unwrap();
    assert_eq!(storage.contents("journal.wal").unwrap().len(), 32);
    commit_many(&journal, 3);
    assert_eq!(read(&storage.crash_lose_all(), 0).unwrap().0, sequences(1..=3));
}
