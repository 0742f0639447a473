//! A record of many puts, encoded as they come.

use super::record::Kind;
use super::varint;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Room for the number of puts, which stands first and is known last.
const HEAD_BYTES: usize = 5;

/// Most bytes of what stands before a put's key: kind, tree, length.
const LEAD_BYTES: usize = 8;
const _: () = assert!(KEY_BYTES_MAX < 1 << 14 && VALUE_BYTES_MAX < 1 << 14);

/// The payload of a [`Kind::Batch`] that only puts, in one tree.
pub(crate) struct Puts {
    /// The first `len` bytes count: behind a head that is empty until the payload is asked for. The rest was in use before,
    /// so nothing is cleared before it is written.
    bytes: Vec<u8>,
    len: usize,
    count: u32,
    /// Kind and tree of each, and how many bytes of it that is.
    lead: ([u8; LEAD_BYTES], usize),
}

impl Puts {
    pub(crate) fn new(tree: u32) -> Self {
        let mut bytes = vec![Kind::Put as u8];
        varint::put(tree, &mut bytes);
        let mut lead = [0; LEAD_BYTES];
        lead[..bytes.len()].copy_from_slice(&bytes);
        Self { bytes: vec![0; HEAD_BYTES], len: HEAD_BYTES, count: 0, lead: (lead, bytes.len()) }
    }

    pub(crate) fn clear(&mut self) {
        self.len = HEAD_BYTES;
        self.count = 0;
    }

    /// Bytes of the payload, or a few more.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        self.bytes.resize((self.bytes.len() * 2).max(self.len + bytes).max(4 << 10), 0);
    }

    /// Adds a put. Returns where its key and its value begin in the [text](Self::text).
    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> (u32, u32) {
        debug_assert!(key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX, "checked by the caller");
        // Two bytes are the most for a length.
        let most = LEAD_BYTES + 2 + key.len() + 2 + value.len();
        if self.bytes.len() < self.len + most {
            self.grow(most);
        }
        let out = &mut self.bytes[self.len..self.len + most];
        let (lead, lead_bytes) = self.lead;
        out[..LEAD_BYTES].copy_from_slice(&lead);
        let key_at = put_bytes(key, out, lead_bytes);
        let value_at = put_bytes(value, out, key_at + key.len());
        let start = self.len;
        self.len += value_at + value.len();
        self.count += 1;
        ((start + key_at) as u32, (start + value_at) as u32)
    }

    /// What the places of keys and values are in.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The record's payload.
    pub(crate) fn payload(&mut self) -> &[u8] {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        varint::put(self.count, &mut head);
        let start = HEAD_BYTES - head.len();
        self.bytes[start..HEAD_BYTES].copy_from_slice(&head);
        &self.bytes[start..self.len]
    }
}

/// Puts bytes at `at`, behind their length, which takes two bytes at the most; where they begin.
#[inline(always)]
fn put_bytes(bytes: &[u8], out: &mut [u8], mut at: usize) -> usize {
    let len = bytes.len();
    if len < 0x80 {
        out[at] = len as u8;
        at += 1;
    } else {
        out[at] = len as u8 | 0x80;
        out[at + 1] = (len >> 7) as u8;
        at += 2;
    }
    out[at..at + len].copy_from_slice(bytes);
    at
}

#[cfg(test)]
mod tests {
    use super::super::{Op, Record};
    use super::*;

    #[test]
    fn lengths_are_varints() {
        let mut puts = Puts::new(u32::MAX);
        for len in [1, 127, 128, 129, 4_095, 4_096] {
            let (key, value) = (vec![1; 2 * len], vec![2; len]);
            puts.clear();
            let (key_at, value_at) = puts.push(&key, &value);
            assert_eq!(
                (puts.text()[key_at as usize], puts.text()[value_at as usize - 1]),
                (1, varint_end(len))
            );
            let mut batch = Vec::new();
            let op = Op::Put { tree: u32::MAX, key: &key, value: &value };
            Record::Batch(vec![op]).encode_into(&mut batch);
            assert_eq!(puts.payload(), batch, "{len}");
        }
    }

    fn varint_end(len: usize) -> u8 {
        let mut bytes = Vec::new();
        varint::put(len as u32, &mut bytes);
        bytes[bytes.len() - 1]
    }

    #[test]
    fn they_are_a_batch() {
        let mut puts = Puts::new(300);
        for count in [1, 2, 127, 128, 300] {
            puts.clear();
            let keys: Vec<Vec<u8>> = (0..count).map(|n| format!("key/{n}").into_bytes()).collect();
            for key in &keys {
                let (key_at, value_at) = puts.push(key, b"value");
                assert!(puts.text()[key_at as usize..].starts_with(key));
                assert!(puts.text()[value_at as usize..].starts_with(b"value"));
            }
            let ops = keys.iter().map(|key| Op::Put { tree: 300, key, value: b"value" }).collect();
            let mut batch = Vec::new();
            Record::Batch(ops).encode_into(&mut batch);
            assert_eq!(puts.payload(), batch);
            assert!(puts.len() >= batch.len());
        }
    }
}
