//! The change of files at a checkpoint.

use super::*;
use crate::error::ErrorKind;

fn wal_bytes(storage: &FaultStorage) -> usize {
    storage.contents("journal.wal").unwrap().len()
}

#[test]
fn an_idle_switch_leaves_a_bare_header() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit_many(&journal, 5);
    journal.prepare_switch(|| ()).unwrap();
    assert_eq!(journal.switch(), 5);
    journal.settle_switch().unwrap();
    journal.retire_old(false, || ()).unwrap();
    assert_eq!(wal_bytes(&storage), 32);
    assert_eq!(storage.list().unwrap(), ["journal.wal"]);
    let crashed = storage.crash_lose_all();
    assert_eq!(wal_bytes(&crashed), 32);
    let (found, outcome) = read(&crashed, 5).unwrap();
    assert_eq!((found, outcome.clean, outcome.records_seen), (vec![], true, 0));
    assert_eq!(read(&crashed, 4).unwrap_err().kind(), ErrorKind::Corrupt);
    commit_many(&journal, 3);
    assert_eq!(read(&storage.crash_lose_all(), 5).unwrap().0, sequences(6..=8));
}

#[test]
fn every_cut_has_its_own_sequence() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    for cut in 1..=3 {
        journal.prepare_switch(|| ()).unwrap();
        assert_eq!(journal.switch(), cut);
        assert_eq!(read(&storage.crash_lose_all(), cut - 1).unwrap().0, []);
        journal.settle_switch().unwrap();
        assert_eq!(read(&storage.crash_lose_all(), cut - 1).unwrap().0, [cut]);
        journal.retire_old(false, || ()).unwrap();
    }
    assert_eq!(journal.last_sequence(), 3);
}

/// Records on both sides of the cut, committed before the switch is settled, by reservations made at every stage.
#[test]
fn commits_go_on_at_every_stage() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit_many(&journal, 2);
    let early = journal.reserve(400).unwrap();
    journal.prepare_switch(|| ()).unwrap();
    journal.prepare_switch(|| ()).unwrap();
    commit_many(&journal, 2);
    let late = journal.reserve(400).unwrap();
    commit(&journal, BATCHED).unwrap();
    assert_eq!(journal.switch(), 5);
    assert_eq!(journal.file_bytes(), 0);
    journal.append(early, Kind::Put, &payload_of(6));
    let position = journal.append(late, Kind::Put, &payload_of(7));
    journal.commit(position, Durability::Sync).unwrap();
    assert_eq!(read(&storage.crash_lose_all(), 0).unwrap().0, sequences(1..=7));
    journal.settle_switch().unwrap();
    assert_eq!(journal.prepare_switch(|| ()).unwrap_err().kind(), ErrorKind::InvalidInput);
    commit_many(&journal, 1);
    assert_eq!(read(&storage.crash_lose_all(), 5).unwrap().0, sequences(6..=8));
    journal.retire_old(false, || ()).unwrap();
    assert_eq!(journal.retire_old(false, || ()).unwrap_err().kind(), ErrorKind::InvalidInput);
    commit_many(&journal, 1);
    assert_eq!(read(&storage.crash_lose_all(), 5).unwrap().0, sequences(6..=9));
}

#[test]
fn the_second_file_has_room_for_every_reservation() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    let held: Vec<_> = (0..10).map(|_| journal.reserve(200_000).unwrap()).collect();
    journal.prepare_switch(|| ()).unwrap();
    let more: Vec<_> = (0..10).map(|_| journal.reserve(300_000).unwrap()).collect();
    journal.switch();
    storage.set_full(Some(0));
    for reservation in held.into_iter().chain(more) {
        journal.append(reservation, Kind::Noop, &[0; 200_000]);
    }
    journal.sync().unwrap();
    let outcome = replay(&storage.crash_lose_all(), 21, Recovery::Strict, &mut |_, _| Ok(())).unwrap();
    assert_eq!((outcome.records_seen, outcome.last_sequence), (20, 21));
}

#[test]
fn a_full_device_can_still_switch() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit_many(&journal, 10);
    storage.set_full(Some(wal_bytes(&storage) as u64));
    while commit(&journal, Durability::Sync).is_ok() {}
    let last = journal.last_sequence();
    journal.prepare_switch(|| ()).unwrap();
    assert_eq!(journal.switch(), last);
    journal.settle_switch().unwrap();
    assert_eq!(read(&storage.crash_lose_all(), 0).unwrap().0, sequences(1..=last));
    journal.retire_old(false, || ()).unwrap();
    commit_many(&journal, 10);
    assert_eq!(read(&storage.crash_lose_all(), last).unwrap().0, sequences(last + 1..=last + 10));
}

/// Others take at once what the journal gives back to a full device.
#[test]
fn no_switch_on_a_full_device_loses_the_space_for_the_next() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit_many(&journal, 10);
    let others_take_the_rest = || {
        let files = ["journal.wal", "journal.next"];
        let used = files.iter().filter_map(|name| storage.contents(name)).map(|bytes| bytes.len() as u64);
        storage.set_full(Some(used.sum()));
    };
    for round in 0..100 {
        others_take_the_rest();
        for number in 0..round % 7 {
            let payload = payload_of(journal.last_sequence() + 1);
            let reservation = journal.reserve_emergency(payload.len()).unwrap();
            let position = journal.append(reservation, Kind::Put, &payload);
            if number % 2 == 0 {
                journal.commit(position, Durability::Sync).unwrap();
            }
        }
        let held = (round % 3 == 0).then(|| journal.reserve_emergency(round * 50).unwrap());
        journal.prepare_switch(|| ()).unwrap_or_else(|error| panic!("switch {round}: {error}"));
        others_take_the_rest();
        journal.switch();
        journal.settle_switch().unwrap();
        others_take_the_rest();
        drop(journal.reserve_emergency(300).unwrap_or_else(|error| panic!("delete {round}: {error}")));
        drop(held);
        journal.retire_old(true, || ()).unwrap();
    }
    let last = journal.last_sequence();
    journal.sync().unwrap();
    assert_eq!(read(&storage.crash_lose_all(), last).unwrap().0, [0; 0]);
}

#[test]
fn a_leftover_second_file_does_no_harm() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    commit_many(&journal, 3);
    storage.replace("journal.next", vec![7; 5000]);
    journal.prepare_switch(|| ()).unwrap();
    journal.switch();
    journal.settle_switch().unwrap();
    assert_eq!(read(&storage.crash_lose_all(), 0).unwrap().0, sequences(1..=3));
}

/// Writers commit while checkpoints switch under them.
#[test]
fn switches_under_writers_lose_nothing() {
    let storage = FaultStorage::new();
    let journal = create(&storage);
    let mut last_cut = 0;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_usize)
            .map(|thread| {
                let journal = &journal;
                scope.spawn(move || {
                    for number in 0..300 {
                        let payload = vec![0; thread * 100 + number];
                        let reservation = journal.reserve(payload.len()).unwrap();
                        let position = journal.append(reservation, Kind::Noop, &payload);
                        journal
                            .commit(position, if number % 2 == 0 { BATCHED } else { Durability::Sync })
                            .unwrap();
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            journal.prepare_switch(|| ()).unwrap();
            let cut = journal.switch();
            assert!(cut > last_cut);
            last_cut = cut;
            journal.settle_switch().unwrap();
            journal.retire_old(false, || ()).unwrap();
        }
    });
    journal.sync().unwrap();
    let last = journal.last_sequence();
    assert!(last >= 1200);
    // Payloads of zeros are no records, so only checksums and sequences are read here.
    let outcome = replay(&storage.crash_lose_all(), last, Recovery::Strict, &mut |_, _| Ok(())).unwrap();
    assert_eq!((outcome.records_applied, outcome.records_seen), (0, last - last_cut));
}
