//! Power cuts at every operation: what was acknowledged is there, and what is there is a prefix.

use super::*;
use crate::error::ErrorKind;
use proptest::prelude::*;

/// What a workload was told before the power went.
#[derive(Default)]
struct Promise {
    /// Sequences up to here are durable.
    acknowledged: u64,
    /// Sequences up to here were appended.
    appended: u64,
    /// The superblock that a checkpoint has put on the device.
    superblock: u64,
    /// The superblock that may be there too.
    superblock_next: u64,
}

fn workload(storage: &FaultStorage, promise: &mut Promise) -> Result<()> {
    let journal = Journal::create(Arc::new(storage.clone()), 0, MARK, Durability::Sync)?;
    for round in 0..3 {
        for number in 0..4 {
            let position = append(&journal)?;
            promise.appended = position.sequence;
            if number % 3 == round % 3 {
                journal.commit(position, Durability::Sync)?;
                promise.acknowledged = position.sequence;
            } else {
                journal.flush()?;
            }
        }
        journal.prepare_switch(|| ())?;
        let cut = journal.switch();
        promise.appended = journal.last_sequence();
        if round != 1 {
            promise.appended = append(&journal)?.sequence;
        }
        journal.settle_switch()?;
        promise.acknowledged = journal.durable_sequence();
        promise.superblock_next = cut;
        storage
            .open("superblock", OpenMode::Create)
            .and_then(|file| file.sync())
            .map_err(|e| Error::io("x", e))?;
        promise.superblock = cut;
        journal.retire_old(false, || ())?;
    }
    let position = append(&journal)?;
    promise.appended = position.sequence;
    journal.sync()?;
    promise.acknowledged = position.sequence;
    Ok(())
}

fn check(crashed: &FaultStorage, promise: &Promise, what: &str) {
    for after in [promise.superblock, promise.superblock_next] {
        let (found, outcome) = match read(crashed, after) {
            Ok(found) => found,
            Err(error) => {
                // Only before anything was acknowledged may the journal not be there yet.
                assert!(promise.appended == 0 && error.kind() == ErrorKind::Corrupt, "{what}: {error}");
                continue;
            }
        };
        assert_eq!(found, sequences(after + 1..=outcome.last_sequence), "{what}");
        assert!(outcome.last_sequence >= promise.acknowledged, "{what}: lost a commit");
        assert!(outcome.last_sequence <= promise.appended.max(after), "{what}: made a commit up");
    }
}

#[test]
fn a_power_cut_at_any_operation_loses_no_acknowledged_commit() {
    let whole = FaultStorage::new();
    workload(&whole, &mut Promise::default()).unwrap();
    let operations = whole.operations();
    assert!(operations > 60);
    for index in 0..=operations {
        let storage = FaultStorage::new();
        storage.fail_after(index);
        let mut promise = Promise::default();
        assert_eq!(workload(&storage, &mut promise).is_ok(), index == operations);
        check(&storage.crash_keep_all(), &promise, "all kept");
        check(&storage.crash_lose_all(), &promise, "all lost");
        for seed in 0..8 {
            check(&storage.crash(seed), &promise, &format!("operation {index}, seed {seed}"));
        }
    }
}

/// A sync that failed may have lost any of its writes: nothing may be acknowledged on top of it.
#[test]
fn an_operation_that_fails_once_loses_no_acknowledged_commit() {
    for index in 0..60 {
        let storage = FaultStorage::new();
        storage.fail_once(index, std::io::ErrorKind::Other);
        let mut promise = Promise::default();
        assert!(workload(&storage, &mut promise).is_err());
        for seed in 0..8 {
            check(&storage.crash(seed), &promise, &format!("operation {index}, seed {seed}"));
        }
    }
}

/// Recovery puts a new journal in the place of whatever a crash left, and may crash itself.
#[test]
fn a_power_cut_while_the_journal_is_replaced_is_survived() {
    for seed in 0..12 {
        for index in 0..9 {
            let storage = FaultStorage::new();
            let journal = create(&storage);
            commit_many(&journal, 20);
            journal.prepare_switch(|| ()).unwrap();
            journal.switch();
            commit_many(&journal, 20);
            storage.fail_after(index);
            let recovered = Journal::create(Arc::new(storage.clone()), 40, MARK, Durability::Sync);
            assert_eq!(recovered.is_ok(), index >= 7);
            let (found, outcome) = read(&storage.crash(seed), 40).unwrap();
            assert_eq!((found, outcome.last_sequence), (vec![], 40));
        }
    }
}

proptest! {
    /// Damage is found or does not matter: what is read is what was written.
    #[test]
    fn no_damage_makes_a_record_up(
        flips in proptest::collection::vec((0..6000_u64, 1..=255_u8), 1..6),
        cut in proptest::option::of(0..6000_usize),
        policy in prop_oneof![
            Just(Recovery::Strict),
            Just(Recovery::TruncateAtFirstError),
            Just(Recovery::SkipDamaged),
        ],
    ) {
        let storage = FaultStorage::new();
        let journal = create(&storage);
        commit_many(&journal, 20);
        journal.prepare_switch(|| ()).unwrap();
        journal.switch();
        commit_many(&journal, 5);
        for (offset, xor) in flips {
            let name = if offset % 3 == 0 { "journal.next" } else { "journal.wal" };
            storage.corrupt(name, offset, xor);
        }
        if let Some(cut) = cut {
            let mut bytes = storage.contents("journal.wal").unwrap();
            bytes.truncate(cut);
            storage.replace("journal.wal", bytes);
        }
        match read_with(&storage, 0, policy) {
            Ok((found, outcome)) => {
                prop_assert!(found.is_sorted());
                prop_assert!(outcome.last_sequence <= 25);
                if policy != Recovery::SkipDamaged {
                    prop_assert_eq!(found, sequences(1..=outcome.last_sequence));
                }
            }
            Err(error) => prop_assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported)),
        }
    }
}
