//! Threads that call at the same time.

use ramus::io::MemoryStorage;

use super::{assert_whole, open_on, paths, random_path};
use crate::common::{Dice, assert_sound, cases, seed, watched};
use crate::namespace::{Errno, Namespace};

/// One of few paths, so that threads are in each other's way all the time.
fn contended_path(dice: &mut Dice) -> String {
    let name = |dice: &mut Dice| ["a", "b", "c"][dice.below(3)];
    let (first, second) = (name(dice), name(dice));
    if dice.below(2) == 0 { format!("/{first}") } else { format!("/{first}/{second}") }
}

/// Random calls; gives the names made less the names taken away by those that were done. A rename may do either, and is left out
/// unless asked for.
fn work(
    namespace: &Namespace,
    dice: &mut Dice,
    path: fn(&mut Dice) -> String,
    steps: u64,
    renames: bool,
) -> i64 {
    let mut balance = 0;
    for step in 0..steps {
        let (path, other) = (path(dice), path(dice));
        let (outcome, change) = match dice.below(if renames { 24 } else { 14 }) {
            0..3 => (namespace.mkdir(&path), 1),
            3..5 => (namespace.create(&path), 1),
            5 => (namespace.truncate(&path, step), 0),
            6..8 => (namespace.link(&path, &other), 1),
            8..10 => (namespace.unlink(&path), -1),
            10..12 => (namespace.rmdir(&path), -1),
            12 => (namespace.stat(&path).map(drop), 0),
            13 => (namespace.readdir(&path).map(drop), 0),
            14..16 => (namespace.exchange(&path, &other), 0),
            _ => (namespace.rename(&path, &other), 0),
        };
        match outcome {
            Ok(()) => balance += change,
            // The database itself never fails, and no call gives up.
            Err(error) => assert!(error.errno().is_some(), "{path} {other}: {error}"),
        }
    }
    balance
}

/// Each round is on a namespace of its own: directories that are moved into each other get out of reach, and only pile up.
fn threads_keep_the_rules(path: fn(&mut Dice) -> String, rounds: u64, steps: u64) {
    let seed = seed();
    for round in 0..rounds {
        let renames = round % 2 == 1;
        let storage = MemoryStorage::new();
        let (db, namespace) = open_on(&storage);
        let balance: i64 = watched("filesystem threads", || {
            std::thread::scope(|scope| {
                let start = |thread| {
                    let namespace = &namespace;
                    let mut dice = Dice(seed ^ (round * 16 + thread));
                    scope.spawn(move || work(namespace, &mut dice, path, steps, renames))
                };
                let threads: Vec<_> = (0..4).map(start).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            })
        });
        assert_whole(&namespace);
        let entries = namespace.usage("/").unwrap().entries as i64;
        assert!(renames || entries == balance, "{entries} names, and {balance} were made and not taken away");
        assert_sound(&db);
        let before = paths(&namespace);
        assert_eq!(before.len() as i64, entries);
        drop((namespace, db));
        let (_db, namespace) = open_on(&storage);
        assert_eq!(paths(&namespace), before);
        assert_whole(&namespace);
    }
}

#[test]
fn threads_keep_the_rules_on_many_names() {
    threads_keep_the_rules(random_path, 4, cases(600));
}

#[test]
fn threads_keep_the_rules_on_few_names() {
    threads_keep_the_rules(contended_path, cases(80), 500);
}

/// Each file is made once and moved, with the directory it is in, all the time: it is never lost and never doubled.
#[test]
fn directories_that_move_to_and_fro_lose_no_entry() {
    let (db, namespace) = open_on(&MemoryStorage::new());
    namespace.mkdir("/home").unwrap();
    namespace.mkdir("/home/d").unwrap();
    namespace.mkdir("/away").unwrap();
    let rounds = cases(300);
    let places = ["/home/d", "/away/d", "/away/e"];
    watched("moving directories", || {
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let namespace = &namespace;
                scope.spawn(move || {
                    for round in 0..rounds as usize {
                        let (from, to) = (places[(round + thread) % 3], places[(round * 2 + 1) % 3]);
                        if let Err(error) = namespace.rename(from, to) {
                            assert_eq!(error.errno(), Some(Errno::NoEntry), "{from} {to}");
                        }
                    }
                });
            }
            for thread in 0..2 {
                let namespace = &namespace;
                scope.spawn(move || {
                    for file in 0..rounds as usize {
                        // It is at one of its places, though perhaps never at the one asked.
                        let made = (0..).any(|at| {
                            let outcome = namespace.create(format!("{}/{thread}-{file}", places[at % 3]));
                            outcome.map_err(|error| assert_eq!(error.errno(), Some(Errno::NoEntry))).is_ok()
                        });
                        assert!(made);
                    }
                });
            }
        });
    });
    let place =
        places.iter().find(|place| namespace.stat(place).is_ok()).expect("the directory is somewhere");
    assert_eq!(namespace.usage(place).unwrap().entries, 2 * rounds);
    assert_eq!(namespace.usage("/").unwrap().entries, 2 * rounds + 3);
    assert_whole(&namespace);
    assert_sound(&db);
}
