//! What the right answers are: those of a sorted array of the keys.

use crate::engine::{VALUE_BYTES, Value, end_of, name_in, shared};
use crate::random::mix;

/// FNV-1a.
fn hash(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The value that `key` has in its `version`: bytes that no compression makes smaller, as of hashes and times.
pub fn value_of(key: &[u8], version: u32) -> Value {
    let seed = hash(key) ^ (u64::from(version) << 48);
    let mut value = [0; VALUE_BYTES];
    for (at, word) in value.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&mix(seed.wrapping_add(at as u64 + 1)).to_le_bytes());
    }
    value
}

fn last_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let taken = bytes.len().min(8);
    word[..taken].copy_from_slice(&bytes[bytes.len() - taken..]);
    u64::from_le_bytes(word) ^ (bytes.len() as u64) << 56
}

/// A short digest of an answer, cheap enough to be taken inside the time that is measured: it depends on the order and number of
/// what was shown, on the ends of keys and on both ends of values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest(pub u64);

impl Digest {
    pub const NOTHING: Self = Self(0);

    #[inline]
    pub fn key(&mut self, key: &[u8]) {
        self.0 = (self.0.rotate_left(7) ^ last_word(key)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    pub fn value(&mut self, value: &[u8]) {
        let first = value.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        self.0 = (self.0.rotate_left(7) ^ first ^ last_word(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    pub fn record(&mut self, key: &[u8], value: &[u8]) {
        self.key(key);
        self.value(value);
    }
}

/// Sorted keys, each with the version of its value.
pub struct Model<'m, K> {
    pub keys: &'m [K],
    pub value: &'m dyn Fn(usize) -> Value,
}

impl<K: AsRef<[u8]>> Model<'_, K> {
    fn first_from(&self, bound: &[u8]) -> usize {
        self.keys.partition_point(|key| key.as_ref() < bound)
    }

    fn key(&self, at: usize) -> &[u8] {
        self.keys[at].as_ref()
    }

    /// The positions of the keys that start with `prefix`.
    pub fn below(&self, prefix: &[u8]) -> std::ops::Range<usize> {
        self.first_from(prefix)..self.first_from(&end_of(prefix))
    }

    pub fn get(&self, key: &[u8]) -> Option<Value> {
        let at = self.first_from(key);
        (at < self.keys.len() && self.key(at) == key).then(|| (self.value)(at))
    }

    pub fn list_after(&self, prefix: &[u8], after: &[u8], limit: usize) -> (Digest, u64) {
        let (mut digest, mut shown) = (Digest::NOTHING, 0);
        let start = self.keys.partition_point(|key| key.as_ref() <= after);
        for at in (start..self.keys.len()).take(limit) {
            if !self.key(at).starts_with(prefix) {
                break;
            }
            digest.record(self.key(at), &(self.value)(at));
            shown += 1;
        }
        (digest, shown)
    }

    pub fn list_dir(&self, prefix: &[u8], limit: usize) -> (Digest, u64) {
        let (mut digest, mut shown) = (Digest::NOTHING, 0);
        let mut at = self.first_from(prefix);
        while at < self.keys.len() && self.key(at).starts_with(prefix) && shown < limit as u64 {
            let (name, rolled) = name_in(prefix, self.key(at));
            digest.key(name);
            shown += 1;
            at = if rolled { self.first_from(&end_of(name)) } else { at + 1 };
        }
        (digest, shown)
    }

    pub fn longest_prefix(&self, key: &[u8]) -> Option<usize> {
        let mut len = key.len();
        loop {
            let at = self.keys.partition_point(|other| other.as_ref() <= &key[..len]).checked_sub(1)?;
            let candidate = self.key(at);
            if key[..len].starts_with(candidate) {
                return Some(at);
            }
            len = shared(candidate, &key[..len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_looking_at_every_key() {
        let keys = ["a", "a/b", "a/b/c", "a/b/d/e", "a/bb", "a/c/f", "b/a"];
        let value = |at: usize| value_of(keys[at].as_bytes(), 0);
        let model = Model { keys: &keys, value: &value };
        assert_eq!(model.below(b"a/"), 1..6);
        assert_eq!(model.get(b"a/bb"), Some(value(4)));
        assert_eq!(model.get(b"a/"), None);
        assert_eq!(model.longest_prefix(b"a/b/x/y"), Some(1));
        assert_eq!(model.longest_prefix(b"a/b"), Some(1));
        assert_eq!(model.longest_prefix(b"0"), None);
        let mut names = Digest::NOTHING;
        ["a/b", "a/b/", "a/bb", "a/c/"].iter().for_each(|name| names.key(name.as_bytes()));
        assert_eq!(model.list_dir(b"a/", 100), (names, 4));
        let mut records = Digest::NOTHING;
        [2, 3].iter().for_each(|&at| records.record(keys[at].as_bytes(), &value(at)));
        assert_eq!(model.list_after(b"a/b/", b"a/b", 100), (records, 2));
        assert_ne!(model.list_after(b"a/b/", b"a/b", 1).0, records);
    }
}
