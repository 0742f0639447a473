//! What a transaction should answer: the same calls on plain maps.

use std::collections::BTreeMap;

use ramus::{Entry, ErrorKind, IfExists, Result, Transaction, Tree};

use crate::common::Dice;

pub const TREES: usize = 2;

/// Key, value, version; version 0 is the transaction's own.
pub type Map = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model(pub [Map; TREES]);

#[derive(Debug, Clone)]
pub struct ListSpec {
    pub low: Vec<u8>,
    /// None: all that start with `low`.
    pub high: Option<Vec<u8>>,
    pub start_after: Option<Vec<u8>>,
    pub delimiter: bool,
    pub reverse: bool,
    pub keys_only: bool,
    pub limit: usize,
}

#[derive(Debug, Clone)]
pub enum Op {
    Get(usize, Vec<u8>),
    Contains(usize, Vec<u8>),
    Put(usize, Vec<u8>, Vec<u8>),
    Delete(usize, Vec<u8>),
    Rename(usize, Vec<u8>, Vec<u8>, bool),
    RenamePrefix(usize, Vec<u8>, usize, Vec<u8>, bool),
    DeletePrefix(usize, Vec<u8>),
    DeleteRange(usize, Vec<u8>, Vec<u8>),
    Count(usize, Vec<u8>),
    List(usize, ListSpec),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Record(Option<(Vec<u8>, u64)>),
    There(bool),
    Done,
    Counted(u64, u64, u64),
    Items(Vec<Entry>),
    Refused(ErrorKind),
}

fn if_exists(replace: bool) -> IfExists {
    if replace { IfExists::Replace } else { IfExists::Fail }
}

/// A call on a transaction.
pub fn call(tx: &mut Transaction, trees: &[Tree], op: &Op) -> Answer {
    let done = |outcome: Result<()>| outcome.map(|()| Answer::Done);
    let outcome = match op {
        Op::Get(tree, key) => tx
            .get_record(&trees[*tree], key)
            .map(|found| Answer::Record(found.map(|record| (record.value, record.version)))),
        Op::Contains(tree, key) => tx.contains(&trees[*tree], key).map(Answer::There),
        Op::Put(tree, key, value) => done(tx.put(&trees[*tree], key, value)),
        Op::Delete(tree, key) => done(tx.delete(&trees[*tree], key)),
        Op::Rename(tree, src, dst, replace) => done(tx.rename(&trees[*tree], src, dst, if_exists(*replace))),
        Op::RenamePrefix(tree, src, other, dst, replace) => {
            done(tx.rename_prefix_to(&trees[*tree], &trees[*other], src, dst, if_exists(*replace)))
        }
        Op::DeletePrefix(tree, prefix) => done(tx.delete_prefix(&trees[*tree], prefix)),
        Op::DeleteRange(tree, low, high) => done(tx.delete_range(&trees[*tree], low.clone()..high.clone())),
        Op::Count(tree, prefix) => tx
            .count_prefix(&trees[*tree], prefix)
            .map(|sums| Answer::Counted(sums.keys, sums.key_bytes, sums.value_bytes)),
        Op::List(tree, spec) => {
            let tree = &trees[*tree];
            let mut scan = match &spec.high {
                Some(high) => tx.range(tree, spec.low.clone()..high.clone()),
                None => tx.prefix(tree, &spec.low),
            };
            scan = scan.limit(spec.limit);
            if let Some(after) = &spec.start_after {
                scan = scan.start_after(after);
            }
            if spec.delimiter {
                scan = scan.delimiter(b'/');
            }
            if spec.reverse {
                scan = scan.reverse();
            }
            if spec.keys_only {
                scan = scan.keys_only();
            }
            scan.collect::<Result<Vec<_>>>().map(Answer::Items)
        }
    };
    outcome.unwrap_or_else(|error| Answer::Refused(error.kind()))
}

impl Model {
    fn has(&self, tree: usize, prefix: &[u8]) -> bool {
        self.0[tree].keys().any(|key| key.starts_with(prefix))
    }

    /// The same call.
    pub fn call(&mut self, op: &Op) -> Answer {
        match op {
            Op::Get(tree, key) => Answer::Record(self.0[*tree].get(key).cloned()),
            Op::Contains(tree, key) => Answer::There(self.0[*tree].contains_key(key)),
            Op::Put(tree, key, value) => {
                self.0[*tree].insert(key.clone(), (value.clone(), 0));
                Answer::Done
            }
            Op::Delete(tree, key) => {
                self.0[*tree].remove(key);
                Answer::Done
            }
            Op::Rename(tree, src, dst, replace) => {
                let tree = &mut self.0[*tree];
                match tree.get(src).cloned() {
                    None => Answer::Refused(ErrorKind::NotFound),
                    Some(_) if !replace && tree.contains_key(dst) => Answer::Refused(ErrorKind::Exists),
                    Some((value, _)) => {
                        tree.remove(src);
                        tree.insert(dst.clone(), (value, 0));
                        Answer::Done
                    }
                }
            }
            Op::RenamePrefix(tree, src, other, dst, replace) => {
                self.move_all(*tree, src, *other, dst, *replace)
            }
            Op::DeletePrefix(tree, prefix) => {
                self.0[*tree].retain(|key, _| !key.starts_with(prefix));
                Answer::Done
            }
            Op::DeleteRange(_, low, high) if low > high => Answer::Refused(ErrorKind::InvalidInput),
            Op::DeleteRange(tree, low, high) => {
                self.0[*tree].retain(|key, _| !(low..high).contains(&key));
                Answer::Done
            }
            Op::Count(tree, prefix) => {
                let mut sums = (0, 0, 0);
                for (key, (value, _)) in self.0[*tree].iter().filter(|(key, _)| key.starts_with(prefix)) {
                    sums = (sums.0 + 1, sums.1 + key.len() as u64, sums.2 + value.len() as u64);
                }
                Answer::Counted(sums.0, sums.1, sums.2)
            }
            Op::List(_, ListSpec { low, high: Some(high), .. }) if low > high => {
                Answer::Refused(ErrorKind::InvalidInput)
            }
            Op::List(tree, spec) => Answer::Items(self.list(*tree, spec)),
        }
    }

    fn move_all(&mut self, tree: usize, src: &[u8], other: usize, dst: &[u8], replace: bool) -> Answer {
        let nested = src != dst && (src.starts_with(dst) || dst.starts_with(src));
        if tree == other && nested {
            return Answer::Refused(ErrorKind::InvalidInput);
        }
        if !self.has(tree, src) {
            return Answer::Refused(ErrorKind::NotFound);
        }
        if tree == other && src == dst {
            return Answer::Done;
        }
        if !replace && self.has(other, dst) {
            return Answer::Refused(ErrorKind::Exists);
        }
        self.0[other].retain(|key, _| !key.starts_with(dst));
        let keys: Vec<_> = self.0[tree].keys().filter(|key| key.starts_with(src)).cloned().collect();
        for key in keys {
            let record = self.0[tree].remove(&key).unwrap();
            self.0[other].insert([dst, &key[src.len()..]].concat(), record);
        }
        Answer::Done
    }

    fn list(&self, tree: usize, spec: &ListSpec) -> Vec<Entry> {
        let mut items: Vec<Entry> = Vec::new();
        for (key, (value, version)) in &self.0[tree] {
            let (inside, behind) = match &spec.high {
                Some(high) => ((&spec.low..high).contains(&key), 0),
                None => (key.starts_with(&spec.low), spec.low.len()),
            };
            if !inside {
                continue;
            }
            let at = key[behind..].iter().position(|byte| *byte == b'/').filter(|_| spec.delimiter);
            let item = match at {
                Some(at) => Entry::CommonPrefix(key[..behind + at + 1].to_vec()),
                None => {
                    let value = if spec.keys_only { Vec::new() } else { value.clone() };
                    Entry::Record { key: key.clone(), value, version: *version }
                }
            };
            if items.last() != Some(&item) {
                items.push(item);
            }
        }
        if let Some(after) = &spec.start_after {
            items.retain(|item| match item {
                _ if spec.reverse => item.key() < after.as_slice(),
                Entry::CommonPrefix(prefix) => prefix > after && !after.starts_with(prefix),
                item => item.key() > after.as_slice(),
            });
        }
        if spec.reverse {
            items.reverse();
        }
        items.truncate(spec.limit);
        items
    }

    /// What the transaction wrote has its version now.
    pub fn commit(&mut self, version: u64) {
        for (_, (_, there)) in self.0.iter_mut().flatten() {
            if *there == 0 {
                *there = version;
            }
        }
    }
}

/// A key of a few letters, some of them slashes, so that many are prefixes of each other.
pub fn roll_key(dice: &mut Dice) -> Vec<u8> {
    let len = 1 + dice.below(5);
    (0..len).map(|_| b"ab/"[dice.below(3)]).collect()
}

/// A call on one of the trees, with values of up to so many bytes.
pub fn roll_op(dice: &mut Dice, reads_only: bool, value_max: usize) -> Op {
    let tree = dice.below(TREES);
    let kind = if reads_only { 10 + dice.below(6) } else { dice.below(16) };
    match kind {
        0..=3 => Op::Put(tree, roll_key(dice), vec![dice.roll() as u8; dice.below(value_max)]),
        4..=5 => Op::Delete(tree, roll_key(dice)),
        6 => Op::Rename(tree, roll_key(dice), roll_key(dice), dice.below(2) == 0),
        7 => Op::RenamePrefix(tree, roll_key(dice), dice.below(TREES), roll_key(dice), dice.below(2) == 0),
        8 => Op::DeletePrefix(tree, roll_key(dice)),
        9 => {
            let (low, high) = (roll_key(dice), roll_key(dice));
            Op::DeleteRange(tree, low, high)
        }
        10 => Op::Get(tree, roll_key(dice)),
        11 => Op::Contains(tree, roll_key(dice)),
        12 => {
            let mut prefix = roll_key(dice);
            prefix.truncate(dice.below(4));
            Op::Count(tree, prefix)
        }
        _ => {
            let mut low = roll_key(dice);
            low.truncate(dice.below(4));
            let high = (dice.below(2) == 0).then(|| roll_key(dice));
            let start_after = (dice.below(3) == 0).then(|| roll_key(dice));
            let limit = if dice.below(2) == 0 { 1 + dice.below(4) } else { usize::MAX };
            let [delimiter, reverse, keys_only] = [(); 3].map(|()| dice.below(2) == 0);
            Op::List(tree, ListSpec { low, high, start_after, delimiter, reverse, keys_only, limit })
        }
    }
}
