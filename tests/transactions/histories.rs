//! Histories of threads that run transactions, batches and moves on a handful of keys, recorded and checked. The same threads
//! run on stores that lack something, for the tests of the checker.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use ramus::{Db, ErrorKind, IfExists, Result, Transaction, Tree};

use crate::checker::{Change, Committed, DIRECTORIES, KEYS, NAMES, Strict, Value, apply, check};
use crate::common::{Dice, assert_sound, cases, seed, watched};

const THREADS: usize = 3;
/// Transactions of each thread in a history.
const TRANSACTIONS: usize = 3;

/// What stands in for the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Engine,
    Broken(Broken),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// What was read is not validated: the changes go into a batch.
    Unvalidated,
    /// Records that were read are validated, listings are not.
    PointsOnly,
    /// Changes are made as they come.
    Piecemeal,
}

/// A history's directories: the last one lies in another tree.
struct Place<'d> {
    db: &'d Db,
    trees: [Tree; 2],
    history: u64,
}

impl Place<'_> {
    fn tree(&self, directory: usize) -> &Tree {
        &self.trees[usize::from(directory + 1 == DIRECTORIES)]
    }

    fn path(&self, directory: usize) -> String {
        format!("h{:06}/d{directory}/", self.history)
    }

    fn key(&self, key: usize) -> (&Tree, String) {
        let directory = key / NAMES;
        (self.tree(directory), format!("{}n{}", self.path(directory), key % NAMES))
    }

    fn put(&self, key: usize, value: Value) {
        let (tree, path) = self.key(key);
        match value {
            Some(value) => drop(tree.put(path, value.to_le_bytes()).unwrap()),
            None => drop(tree.delete(path).unwrap()),
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().unwrap())
}

/// What a transaction comes to: its version if it changed anything, its reads and its changes.
type Done = (Option<u64>, Vec<(usize, Value)>, Vec<Change>);

/// A transaction under way: of the engine, or what a broken store has in its place.
struct Running<'p> {
    place: &'p Place<'p>,
    store: Store,
    tx: Transaction,
    reads: Vec<(usize, Value)>,
    changes: Vec<Change>,
    /// Of changes that were made at once.
    last: Option<u64>,
}

impl<'p> Running<'p> {
    fn new(place: &'p Place<'p>, store: Store) -> Self {
        Self { place, store, tx: place.db.transaction(), reads: Vec::new(), changes: Vec::new(), last: None }
    }

    /// Whether own changes decide what the key holds.
    fn is_own(&self, key: usize) -> bool {
        self.changes.iter().any(|change| match change {
            Change::Set(own, _) => *own == key,
            Change::Move(src, dst) => [*src, *dst].contains(&(key / NAMES)),
        })
    }

    fn get(&mut self, key: usize) -> Result<()> {
        if self.is_own(key) {
            return Ok(());
        }
        let (tree, path) = self.place.key(key);
        let value = match self.store {
            Store::Engine | Store::Broken(Broken::PointsOnly) => self.tx.get(tree, path)?,
            Store::Broken(_) => tree.get(path)?,
        };
        self.reads.push((key, value.map(|bytes| number(&bytes))));
        Ok(())
    }

    /// Lists a directory, or its first name.
    fn list(&mut self, directory: usize, only_first: bool, reverse: bool) -> Result<()> {
        let tree = self.place.tree(directory);
        let path = self.place.path(directory);
        let mut found: [Value; NAMES] = [None; NAMES];
        let mut read = 0..NAMES;
        let mut note = |entry: ramus::Entry| {
            let ramus::Entry::Record { key, value, .. } = entry else { panic!("a common prefix") };
            let name = usize::from(key[key.len() - 1] - b'0');
            found[name] = Some(number(&value));
            if only_first {
                read = if reverse { name..NAMES } else { 0..name + 1 };
            }
        };
        let limit = if only_first { 1 } else { usize::MAX };
        match self.store {
            Store::Engine => {
                let scan = self.tx.prefix(tree, path).limit(limit);
                let scan = if reverse { scan.reverse() } else { scan };
                scan.collect::<Result<Vec<_>>>()?.into_iter().for_each(&mut note);
            }
            Store::Broken(_) => {
                let scan = tree.prefix(path).limit(limit);
                let scan = if reverse { scan.reverse() } else { scan };
                scan.collect::<Result<Vec<_>>>()?.into_iter().for_each(&mut note);
            }
        }
        for name in read {
            let key = directory * NAMES + name;
            if !self.is_own(key) {
                self.reads.push((key, found[name]));
            }
        }
        Ok(())
    }

    fn set(&mut self, key: usize, value: Value) -> Result<()> {
        let (tree, path) = self.place.key(key);
        if self.store == Store::Broken(Broken::Piecemeal) {
            self.place.put(key, value);
            self.last = Some(self.place.db.stats().last_version);
        } else {
            match value {
                Some(value) => self.tx.put(tree, path, value.to_le_bytes())?,
                None => self.tx.delete(tree, path)?,
            }
        }
        self.changes.push(Change::Set(key, value));
        Ok(())
    }

    /// Moves a directory onto one that is empty, if there is anything in it.
    fn rename(&mut self, src: usize, dst: usize) -> Result<()> {
        let own = [src, dst].iter().any(|at| (0..NAMES).any(|name| self.is_own(at * NAMES + name)));
        if src == dst || own || self.store != Store::Engine {
            return Ok(());
        }
        let (from, to) = (self.place.tree(src), self.place.tree(dst));
        let outcome =
            self.tx.rename_prefix_to(from, to, self.place.path(src), self.place.path(dst), IfExists::Fail);
        let absent = |directory: usize| (0..NAMES).map(move |name| (directory * NAMES + name, None));
        match outcome {
            Ok(()) => {
                self.reads.extend(absent(dst));
                self.changes.push(Change::Move(src, dst));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.reads.extend(absent(src)),
            // Which of them was there is not known.
            Err(error) if error.kind() == ErrorKind::Exists => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The version, if anything was changed.
    fn commit(self) -> Result<Done> {
        let version = match self.store {
            Store::Engine | Store::Broken(Broken::PointsOnly) => self.tx.commit()?,
            Store::Broken(Broken::Piecemeal) => self.last.unwrap_or(0),
            Store::Broken(Broken::Unvalidated) => self.place.db.batch(|batch| {
                for change in &self.changes {
                    let Change::Set(key, value) = change else { continue };
                    let (tree, path) = self.place.key(*key);
                    match value {
                        Some(value) => batch.put(tree, path, value.to_le_bytes()),
                        None => batch.delete(tree, path),
                    }
                }
            })?,
        };
        Ok(((!self.changes.is_empty()).then_some(version), self.reads, self.changes))
    }
}

/// One transaction of whatever kind. None: it met a conflict, or was given up. Another error is wrong.
fn one(
    place: &Place<'_>,
    store: Store,
    dice: &mut Dice,
    clock: &AtomicU64,
    value: u32,
) -> Option<Result<Committed>> {
    let from = clock.fetch_add(1, Ordering::SeqCst);
    let outcome = run_one(place, store, dice, value);
    let to = clock.fetch_add(1, Ordering::SeqCst);
    match outcome {
        Ok(Some((version, reads, changes))) => Some(Ok(Committed { version, reads, changes, from, to })),
        Ok(None) => None,
        Err(error) if error.kind() == ErrorKind::Conflict => None,
        Err(error) => Some(Err(error)),
    }
}

fn run_one(place: &Place<'_>, store: Store, dice: &mut Dice, value: u32) -> Result<Option<Done>> {
    let mut tx = Running::new(place, store);
    let (a, b) = (dice.below(KEYS), dice.below(KEYS));
    let give_way = |dice: &mut Dice| {
        if dice.below(2) == 0 {
            std::thread::yield_now();
        }
    };
    match dice.below(10) {
        // Reads a key and puts it: updates may be lost.
        0..=1 => {
            tx.get(a)?;
            give_way(dice);
            tx.set(a, Some(value))?;
        }
        // Reads two keys and puts or deletes one: writes may be skewed.
        2..=3 => {
            tx.get(a)?;
            tx.get(b)?;
            give_way(dice);
            tx.set(a, (dice.below(2) == 0).then_some(value))?;
        }
        // Lists a directory and puts something into one: phantoms may come.
        4..=5 => {
            tx.list(a / NAMES, dice.below(2) == 0, dice.below(2) == 0)?;
            give_way(dice);
            tx.set(b, Some(value))?;
        }
        // Puts two keys, or a directory: a batch may be torn.
        6 => {
            for key in [a, b] {
                tx.set(key, Some(value + key as u32))?;
                give_way(dice);
            }
        }
        // Reads everything: sees what is torn, dirty or out of order.
        7 => {
            for directory in 0..DIRECTORIES {
                tx.list(directory, false, false)?;
                give_way(dice);
            }
        }
        // Moves a directory.
        8 => {
            tx.get(a)?;
            tx.rename(a / NAMES, b / NAMES)?;
            give_way(dice);
            tx.set(dice.below(KEYS), Some(value))?;
        }
        // Changes its mind: what it put is dirty.
        _ => {
            let before = place.key(a).0.get(place.key(a).1)?;
            tx.set(a, Some(value))?;
            give_way(dice);
            if store == Store::Broken(Broken::Piecemeal) {
                place.put(a, before.map(|bytes| number(&bytes)));
            }
            tx.tx.rollback();
            return Ok(None);
        }
    }
    tx.commit().map(Some)
}

/// Runs histories until one is wrong. Returns its number and what is wrong with it.
pub fn first_wrong(store: Store, seed: u64, histories: u64, strict: Strict) -> Option<(u64, String)> {
    let db = Db::in_memory().unwrap();
    let trees = [db.default_tree(), db.tree("other").unwrap()];
    let clock = AtomicU64::new(1);
    let (begin, end) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    // The history to run; u64::MAX ends the threads.
    let turn = AtomicU64::new(0);
    let (mut wrong, mut committed) = (None, 0);
    std::thread::scope(|scope| {
        let (sender, results) = std::sync::mpsc::channel::<Result<Vec<Committed>>>();
        for thread in 0..THREADS {
            let (db, trees, sender) = (&db, &trees, sender.clone());
            let (clock, begin, end, turn) = (&clock, &begin, &end, &turn);
            scope.spawn(move || {
                loop {
                    begin.wait();
                    let history = turn.load(Ordering::SeqCst);
                    if history == u64::MAX {
                        return;
                    }
                    let mut dice = Dice(seed ^ history << 8 ^ thread as u64);
                    let place = Place { db, trees: trees.clone(), history };
                    let value = |n: usize| 1000 + ((thread * TRANSACTIONS + n) * KEYS) as u32;
                    let run = |n| one(&place, store, &mut dice, clock, value(n));
                    sender.send((0..TRANSACTIONS).filter_map(run).collect()).unwrap();
                    end.wait();
                }
            });
        }
        for history in 0..histories {
            let place = Place { db: &db, trees: trees.clone(), history };
            let mut dice = Dice(seed ^ history << 8 ^ 0xFF);
            let mut start = [None; KEYS];
            for key in (0..KEYS).filter(|_| dice.below(2) == 0) {
                apply(&mut start, Change::Set(key, Some(key as u32)));
                place.put(key, Some(key as u32));
            }
            turn.store(history, Ordering::SeqCst);
            begin.wait();
            end.wait();
            let all: Result<Vec<Vec<Committed>>> = (0..THREADS).map(|_| results.recv().unwrap()).collect();
            let all: Vec<Committed> = match all {
                Ok(all) => all.concat(),
                Err(error) => {
                    wrong = Some((history, error.to_string()));
                    break;
                }
            };
            committed += all.len();
            if let Err(what) = check(start, &all, strict) {
                let lines: Vec<_> = all.iter().map(|one| format!("{one:?}")).collect();
                wrong = Some((history, format!("{what}, from {start:?}:\n{}", lines.join("\n"))));
                break;
            }
            if history % 50 == 49 {
                for tree in &trees {
                    tree.delete_prefix("").unwrap();
                }
            }
        }
        turn.store(u64::MAX, Ordering::SeqCst);
        begin.wait();
    });
    assert_sound(&db);
    println!("{committed} transactions committed");
    wrong
}

#[test]
fn histories_of_transactions_are_serializable() {
    let seed = seed();
    let strict = Strict { by_version: true, in_real_time: true };
    let wrong = watched("serializable histories", || first_wrong(Store::Engine, seed, cases(10_000), strict));
    if let Some((history, what)) = wrong {
        panic!("history {history}: {what}");
    }
}
