//! Random transactions against the model: every answer sees the transaction's own changes, a commit does what the calls said,
//! and a rollback nothing. Others change things in between; a commit that succeeds then still has answered as if it had run at
//! once.

use ramus::io::FaultStorage;
use ramus::{Db, Entry, ErrorKind, IfExists, Tree};

use crate::common::{Dice, Records, assert_sound, cases, records, seed, small};
use crate::model::{Answer, Model, Op, TREES, call, roll_key, roll_op};

fn trees(db: &Db) -> Vec<Tree> {
    (0..TREES).map(|n| db.tree(&format!("t{n}")).unwrap()).collect()
}

fn contents(trees: &[Tree]) -> Vec<Records> {
    trees.iter().map(|tree| records(tree).unwrap()).collect()
}

/// Changes by somebody else.
fn intrude(trees: &[Tree], model: &mut Model, dice: &mut Dice, value_max: usize) {
    for _ in 0..1 + dice.below(2) {
        let (n, key) = (dice.below(TREES), roll_key(dice));
        let (tree, map) = (&trees[n], &mut model.0[n]);
        match dice.below(4) {
            0 => {
                tree.delete(&key).unwrap();
                map.remove(&key);
            }
            1 => {
                let to = roll_key(dice);
                if tree.rename_prefix(&key, &to, IfExists::Replace).is_ok() {
                    assert_eq!(model.call(&Op::RenamePrefix(n, key, n, to, true)), Answer::Done);
                }
            }
            _ => {
                let value = vec![dice.roll() as u8; dice.below(value_max)];
                let version = tree.put(&key, &value).unwrap();
                map.insert(key, (value, version));
            }
        }
    }
}

/// How many transactions committed undisturbed, committed although others had changed something, met a conflict.
#[derive(Debug, Default)]
struct Outcomes([u64; 3]);

fn one_transaction(
    db: &Db,
    trees: &[Tree],
    model: &mut Model,
    dice: &mut Dice,
    value_max: usize,
    outcomes: &mut Outcomes,
) {
    let mut tx = db.transaction();
    let mut own = model.clone();
    let (mut ops, mut answers) = (Vec::new(), Vec::new());
    let mut disturbed = false;
    let reads_only = dice.below(6) == 0;
    for _ in 0..1 + dice.below(12) {
        if dice.below(20) == 0 {
            intrude(trees, model, dice, value_max);
            disturbed = true;
        }
        let op = roll_op(dice, reads_only, value_max);
        let answer = call(&mut tx, trees, &op);
        if !disturbed {
            assert_eq!(answer, own.call(&op), "{op:?} after {ops:?}");
        }
        let lost = answer == Answer::Refused(ErrorKind::Conflict);
        ops.push(op);
        answers.push(answer);
        if lost {
            assert!(disturbed);
            assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
            outcomes.0[2] += 1;
            return;
        }
    }
    if dice.below(8) == 0 {
        if dice.below(2) == 0 {
            tx.rollback()
        } else {
            drop(tx)
        }
        return;
    }
    match tx.commit() {
        Ok(version) => {
            let mut own = model.clone();
            for (op, answer) in ops.iter().zip(&answers) {
                assert_eq!(*answer, own.call(op), "{op:?} among {ops:?}");
            }
            own.commit(version);
            *model = own;
            outcomes.0[usize::from(disturbed)] += 1;
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}: {ops:?}");
            assert!(disturbed, "a conflict with nobody: {error}: {ops:?}");
            outcomes.0[2] += 1;
        }
    }
}

fn compare(trees: &[Tree], model: &Model) {
    for (n, there) in contents(trees).into_iter().enumerate() {
        assert_eq!(there, model.0[n]);
    }
}

#[test]
fn random_transactions_answer_and_commit_as_the_model() {
    let seed = seed();
    let mut outcomes = Outcomes::default();
    for case in 0..cases(60) {
        let mut dice = Dice(seed ^ case << 32);
        let storage = FaultStorage::new();
        let mut model = Model::default();
        // With the larger ones, directories are limbs of their own once they have moved.
        let value_max = if case % 2 == 0 { 40 } else { 4096 };
        for _ in 0..4 {
            let db = small(&storage).open("").unwrap();
            let trees = trees(&db);
            compare(&trees, &model);
            for _ in 0..60 {
                one_transaction(&db, &trees, &mut model, &mut dice, value_max, &mut outcomes);
                compare(&trees, &model);
            }
            assert_sound(&db);
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes.0.iter().all(|&count| count > 100), "{outcomes:?}");
}

/// Directories of several blobs, which become limbs of their own when they move.
#[test]
fn transactions_see_large_directories_through_their_own_moves() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    let name = |n: usize| format!("{:02}/file-{n:04}", n % 40);
    for n in 0..2000 {
        tree.put(format!("a/{}", name(n)), vec![n as u8; 200]).unwrap();
    }
    tree.rename_prefix("a/07/", "moved/", IfExists::Fail).unwrap();
    tree.rename_prefix("moved/", "a/07/", IfExists::Fail).unwrap();
    let mut tx = db.transaction();
    tx.delete(&tree, format!("a/{}", name(3))).unwrap();
    tx.rename_prefix(&tree, "a/", "b/c/", IfExists::Fail).unwrap();
    tx.put(&tree, "b/c/07/zz", "own").unwrap();
    tx.rename_prefix(&tree, "b/c/0", "b/d/", IfExists::Fail).unwrap();
    tx.delete_prefix(&tree, "b/c/39/").unwrap();
    assert_eq!(tx.count_prefix(&tree, "a/").unwrap().keys, 0);
    assert_eq!(tx.count_prefix(&tree, "b/").unwrap().keys, 2000 - 50);
    assert_eq!(tx.count_prefix(&tree, "b/d/7/").unwrap().keys, 51);
    let names = |scan: ramus::TransactionScan<'_>| -> Vec<String> {
        scan.map(|entry| String::from_utf8(entry.unwrap().key().to_vec()).unwrap()).collect()
    };
    let expected: Vec<String> = (10..39).map(|n| format!("b/c/{n}/")).collect();
    assert_eq!(names(tx.prefix(&tree, "b/c/").delimiter(b'/')), expected);
    let expected: Vec<String> = (0..10).rev().map(|n| format!("b/d/{n}/")).collect();
    assert_eq!(names(tx.prefix(&tree, "b/d/").delimiter(b'/').reverse()), expected);
    let all: Vec<_> = tx.prefix(&tree, "").map(Result::unwrap).collect();
    let backward: Vec<_> = tx.prefix(&tree, "").reverse().map(Result::unwrap).collect();
    assert!(all.iter().eq(backward.iter().rev()));
    assert_eq!(all.len(), 1950);
    let version = tx.commit().unwrap();
    let mut own = 0;
    for (before, (key, (value, there))) in all.iter().zip(records(&tree).unwrap()) {
        let Entry::Record { key: old_key, value: old_value, version: old } = before else { unreachable!() };
        assert_eq!((old_key, old_value), (&key, &value));
        assert_eq!(if *old == 0 { version } else { *old }, there);
        own += u32::from(*old == 0);
    }
    assert_eq!(own, 1);
    assert_sound(&db);
}
