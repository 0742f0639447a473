//! The checker finds what it is for: one history for each anomaly, written by hand, beside the one that is as it should be; and
//! stores that lack what the engine has are caught by what they do.

use crate::checker::{Change, Committed, KEYS, NAMES, Strict, Value, check};
use crate::common::{cases, seed, watched};
use crate::histories::{Broken, Store, first_wrong};

const START: [Value; KEYS] = [Some(1), Some(2), None, None, None, None];

fn committed(version: u64, reads: &[(usize, Value)], changes: &[Change]) -> Committed {
    let version = (!changes.is_empty()).then_some(version);
    Committed { version, reads: reads.to_vec(), changes: changes.to_vec(), from: 0, to: u64::MAX }
}

fn set(key: usize, value: u32) -> Change {
    Change::Set(key, Some(value))
}

#[track_caller]
fn accepts(history: &[Committed]) {
    assert_eq!(check(START, history, Strict::default()), Ok(()));
}

#[track_caller]
fn rejects(history: &[Committed], what: &str) {
    let error = check(START, history, Strict::default()).unwrap_err();
    assert!(error.contains(what), "{error}");
}

#[test]
fn lost_update_is_found() {
    let first = committed(1, &[(0, Some(1))], &[set(0, 10)]);
    rejects(&[first.clone(), committed(2, &[(0, Some(1))], &[set(0, 11)])], "cycle");
    accepts(&[first, committed(2, &[(0, Some(10))], &[set(0, 11)])]);
}

#[test]
fn write_skew_is_found() {
    let both = [(0, Some(1)), (1, Some(2))];
    let first = committed(1, &both, &[Change::Set(0, None)]);
    rejects(&[first.clone(), committed(2, &both, &[Change::Set(1, None)])], "cycle");
    accepts(&[first, committed(2, &[(0, None), (1, Some(2))], &[set(0, 11)])]);
}

#[test]
fn dirty_read_is_found() {
    // 99 was put by somebody who gave it up.
    rejects(&[committed(1, &[(0, Some(99))], &[set(1, 10)])], "nobody committed");
    // A value that was put over in the same transaction.
    rejects(
        &[committed(1, &[], &[set(0, 10), set(0, 11)]), committed(2, &[(0, Some(10))], &[])],
        "nobody committed",
    );
    accepts(&[committed(1, &[], &[set(0, 10), set(0, 11)]), committed(2, &[(0, Some(11))], &[])]);
}

#[test]
fn phantom_is_found() {
    // Both list the directory of keys 2 and 3, find it empty, and each puts another name.
    let empty = [(2, None), (3, None)];
    let first = committed(1, &empty, &[set(2, 10)]);
    rejects(&[first.clone(), committed(2, &empty, &[set(3, 11)])], "cycle");
    accepts(&[first, committed(2, &[(2, Some(10)), (3, None)], &[set(3, 11)])]);
    // A directory moves into a range that was listed, and the lister's change into what the mover read.
    let mover = committed(1, &[(4, None)], &[Change::Move(0, 1)]);
    rejects(&[mover, committed(2, &empty, &[set(4, 11)])], "cycle");
}

#[test]
fn torn_batch_is_found() {
    let batch = committed(1, &[], &[set(0, 10), set(1, 11)]);
    rejects(&[batch.clone(), committed(0, &[(0, Some(10)), (1, Some(2))], &[])], "cycle");
    accepts(&[batch.clone(), committed(0, &[(0, Some(10)), (1, Some(11))], &[])]);
    accepts(&[batch, committed(0, &[(0, Some(1)), (1, Some(2))], &[])]);
    let half = [(0, None), (NAMES, None)];
    rejects(&[committed(1, &[], &[Change::Move(0, 1)]), committed(0, &half, &[])], "cycle");
}

/// Two readers see two writers in different orders.
#[test]
fn a_long_fork_is_found() {
    let writers = [committed(1, &[], &[set(0, 10)]), committed(2, &[], &[set(1, 11)])];
    let one = committed(0, &[(0, Some(10)), (1, Some(2))], &[]);
    let other = committed(0, &[(0, Some(1)), (1, Some(11))], &[]);
    accepts(&[writers[0].clone(), writers[1].clone(), one.clone()]);
    accepts(&[writers[0].clone(), writers[1].clone(), other.clone()]);
    rejects(&[writers[0].clone(), writers[1].clone(), one, other.clone()], "cycle");
    let by_version = Strict { by_version: true, in_real_time: false };
    assert!(check(START, &[writers[0].clone(), writers[1].clone(), other], by_version).is_err());
}

#[test]
fn a_stale_read_is_found_by_the_clock() {
    let writer = Committed { from: 1, to: 2, ..committed(1, &[], &[set(0, 10)]) };
    let reader = Committed { from: 3, to: 4, ..committed(0, &[(0, Some(1))], &[]) };
    accepts(&[writer.clone(), reader.clone()]);
    let in_real_time = Strict { by_version: false, in_real_time: true };
    assert!(check(START, &[writer, reader], in_real_time).is_err());
}

/// A key is absent, present, and absent again; both absences are tried.
#[test]
fn reads_that_fit_two_versions_may_be_of_either() {
    let put = committed(1, &[], &[set(2, 10)]);
    let delete = committed(2, &[(2, Some(10))], &[Change::Set(2, None), set(3, 12)]);
    for after in [None, Some(12)] {
        accepts(&[put.clone(), delete.clone(), committed(0, &[(2, None), (3, after)], &[])]);
    }
    rejects(&[put.clone(), delete.clone(), committed(0, &[(2, Some(10)), (3, Some(12))], &[])], "cycle");
}

/// The same threads on a store that leaves something out: the checker notices within this many histories.
const CAUGHT_WITHIN: u64 = 5_000;

fn caught(broken: Broken, strict: Strict) {
    let seed = seed();
    let wrong =
        watched("a broken store", || first_wrong(Store::Broken(broken), seed, cases(CAUGHT_WITHIN), strict));
    let (history, what) = wrong.expect("the checker finds something");
    println!("history {history}: {what}");
}

#[test]
fn commits_without_validation_are_caught() {
    caught(Broken::Unvalidated, Strict::default());
}

#[test]
fn validation_of_records_without_ranges_is_caught() {
    caught(Broken::PointsOnly, Strict::default());
}

#[test]
fn changes_made_one_by_one_are_caught() {
    caught(Broken::Piecemeal, Strict::default());
}
