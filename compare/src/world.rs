//! The keys of a run: which are there, which are not, which directories they make.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::Result;

use crate::engine::Value;
use crate::model::{Model, value_of};
use crate::paths::sample;
use crate::random::{Random, Zipf};

/// What every engine holds: the same after each row, as rows put back what they take away.
pub struct World {
    /// Sorted.
    pub keys: Vec<Vec<u8>>,
    /// How often the value of each was replaced.
    versions: Vec<AtomicU32>,
    /// Keys that are not there, in random order.
    pub extra: Vec<Vec<u8>>,
    /// Directories with all that is below them, by where their keys stand among the sorted ones.
    pub dirs: Vec<Directory>,
    /// The keys' positions in the order of a load at random; the first are also the most popular.
    pub order: Vec<u32>,
    zipf: Zipf,
}

/// A prefix with `/` at its end.
#[derive(Debug, Clone)]
pub struct Directory {
    pub path: Vec<u8>,
    pub keys: Range<usize>,
}

/// Keys one after the other, as they are in a program that has just read them from a request: reading one misses no cache.
#[derive(Default)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    pub fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    pub fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl<'k> FromIterator<&'k [u8]> for Keys {
    fn from_iter<I: IntoIterator<Item = &'k [u8]>>(iter: I) -> Self {
        let mut keys = Self::default();
        iter.into_iter().for_each(|key| keys.push(key));
        keys
    }
}

/// The directory that a key is in, as the length of its prefix.
pub fn parent(key: &[u8]) -> Option<usize> {
    key.iter().rposition(|&byte| byte == b'/').map(|at| at + 1)
}

/// Directories with fewer keys are of no use to any row.
const DIRECTORY_KEYS_MIN: usize = 50;

fn directories(keys: &[Vec<u8>]) -> Vec<Directory> {
    let mut found = Vec::new();
    // Open directories, outermost first: the length of each one's prefix and where its keys begin.
    let mut open: Vec<(usize, usize)> = Vec::new();
    for at in 0..=keys.len() {
        let (before, key) = (at.checked_sub(1).map(|at| &keys[at]), keys.get(at));
        let stays =
            |len: usize| before.zip(key).is_some_and(|(before, key)| key.get(..len) == before.get(..len));
        while let Some(&(len, start)) = open.last() {
            if stays(len) {
                break;
            }
            open.pop();
            if at - start >= DIRECTORY_KEYS_MIN {
                found.push(Directory { path: keys[start][..len].to_vec(), keys: start..at });
            }
        }
        let Some(key) = key else { break };
        let known = open.last().map_or(0, |&(len, _)| len);
        let deeper = key.iter().enumerate().skip(known).filter(|(_, byte)| **byte == b'/');
        open.extend(deeper.map(|(slash, _)| (slash + 1, at)));
    }
    found
}

impl World {
    /// A world of `count` keys, evenly spread over the list, and some between them that are not there.
    pub fn new(paths: Vec<Vec<u8>>, count: usize) -> Result<Self> {
        let extras = (count / 20).clamp(1000, 100_000).min(paths.len() - count.min(paths.len()));
        let mut keys = sample(paths, count + extras)?;
        let mut random = Random::new(1);
        let mut is_extra = vec![false; keys.len()];
        is_extra[..extras].fill(true);
        random.shuffle(&mut is_extra);
        let mut extra = Vec::with_capacity(extras);
        let mut at = 0;
        keys.retain_mut(|key| {
            at += 1;
            if is_extra[at - 1] {
                extra.push(std::mem::take(key));
            }
            !is_extra[at - 1]
        });
        random.shuffle(&mut extra);
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        random.shuffle(&mut order);
        Ok(Self {
            versions: keys.iter().map(|_| AtomicU32::new(0)).collect(),
            dirs: directories(&keys),
            zipf: Zipf::new(keys.len()),
            keys,
            extra,
            order,
        })
    }

    pub fn value(&self, at: usize) -> Value {
        value_of(&self.keys[at], self.versions[at].load(Relaxed))
    }

    /// Says that all engines are about to replace the value of a key.
    pub fn replace(&self, at: usize) -> Value {
        self.versions[at].fetch_add(1, Relaxed);
        self.value(at)
    }

    /// Runs `ask` with the right answers.
    pub fn model<T>(&self, ask: impl FnOnce(&Model<'_, Vec<u8>>) -> T) -> T {
        ask(&Model { keys: &self.keys, value: &|at| self.value(at) })
    }

    pub fn uniform(&self, random: &mut Random) -> usize {
        random.below(self.keys.len())
    }

    pub fn popular(&self, random: &mut Random) -> usize {
        self.order[self.zipf.draw(random)] as usize
    }

    /// Up to `count` directories of about `keys` keys, none inside another: none off by more than a factor of 1.6.
    pub fn directories_of(&self, keys: usize, count: usize) -> Vec<&Directory> {
        let off = |dir: &Directory| (dir.keys.len() as f64 / keys as f64).ln().abs();
        let mut near: Vec<&Directory> = self.dirs.iter().filter(|dir| off(dir) <= 1.6f64.ln()).collect();
        near.sort_by(|one, other| off(one).total_cmp(&off(other)));
        let mut picked: Vec<&Directory> = Vec::new();
        for dir in near {
            let apart =
                |other: &&Directory| dir.keys.end <= other.keys.start || other.keys.end <= dir.keys.start;
            if picked.len() < count && picked.iter().all(apart) {
                picked.push(dir);
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_found_with_what_is_below_them() {
        let mut keys = vec![b"a/x".to_vec(), b"b".to_vec()];
        keys.extend((100..160).map(|at| format!("a/b/{at}").into_bytes()));
        keys.extend((100..160).map(|at| format!("a/b/c/{at}").into_bytes()));
        keys.sort();
        let found: Vec<(Vec<u8>, usize)> =
            directories(&keys).into_iter().map(|dir| (dir.path, dir.keys.len())).collect();
        assert_eq!(found, [(b"a/b/c/".to_vec(), 60), (b"a/b/".to_vec(), 120), (b"a/".to_vec(), 121)]);
    }

    #[test]
    fn extra_keys_are_not_among_the_others() {
        let paths: Vec<Vec<u8>> = (0..5000).map(|at| format!("d{}/f{at:05}", at % 7).into_bytes()).collect();
        let mut sorted = paths;
        sorted.sort();
        let world = World::new(sorted, 3000).unwrap();
        assert_eq!((world.keys.len(), world.extra.len()), (3000, 1000));
        assert!(
            world.keys.is_sorted() && world.extra.iter().all(|key| world.keys.binary_search(key).is_err())
        );
    }
}
