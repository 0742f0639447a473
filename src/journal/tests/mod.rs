//! The journal as its callers see it, on a device with faults.

mod bridge;
mod commit;
mod crash;
mod switch;
mod table;

use super::*;
use crate::error::{Error, Result};
use crate::io::{FaultStorage, OpenMode, Storage};
use std::sync::Arc;

/// A mark far above the sequences of a test.
const MARK: u64 = 1 << 20;
const BATCHED: Durability = Durability::Batched { bytes: 1 << 20, interval: None };

fn create(storage: &FaultStorage) -> Journal {
    Journal::create(Arc::new(storage.clone()), 0, MARK, Durability::Sync).unwrap()
}

fn payload_of(sequence: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    let value = vec![sequence as u8; (sequence * 37 % 300) as usize];
    Op::Put { tree: 7, key: &sequence.to_be_bytes(), value: &value }.encode_into(&mut payload);
    payload
}

/// Appends the next record; its payload depends on nothing but its sequence when only one thread appends.
fn append(journal: &Journal) -> Result<Position> {
    let payload = payload_of(journal.last_sequence() + 1);
    let reservation = journal.reserve(payload.len())?;
    Ok(journal.append(reservation, Kind::Put, &payload))
}

fn commit(journal: &Journal, durability: Durability) -> Result<u64> {
    let position = append(journal)?;
    journal.commit(position, durability)?;
    Ok(position.sequence)
}

fn commit_many(journal: &Journal, count: u64) {
    for _ in 0..count {
        commit(journal, Durability::Sync).unwrap();
    }
}

/// The sequences that a replay visits; fails on a record that was never written.
fn read_with(storage: &FaultStorage, after: u64, policy: Recovery) -> Result<(Vec<u64>, Outcome)> {
    let mut sequences = Vec::new();
    let outcome = replay(storage, after, policy, &mut |sequence, record| {
        let mut payload = Vec::new();
        record.encode_into(&mut payload);
        assert!(record == Record::Noop || payload == payload_of(sequence), "a record that was never written");
        sequences.push(sequence);
        Ok(())
    })?;
    assert_eq!(outcome.records_applied, sequences.len() as u64);
    Ok((sequences, outcome))
}

fn read(storage: &FaultStorage, after: u64) -> Result<(Vec<u64>, Outcome)> {
    read_with(storage, after, Recovery::Strict)
}

fn sequences(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}
