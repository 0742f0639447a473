//! A record of many puts, encoded as they come.

use super::record::{Kind, put_bytes};
use super::varint;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Room for the number of puts, which stands first and is known last.
const HEAD_BYTES: usize = 5;

/// The payload of a [`Kind::Batch`] that only puts.
pub(crate) struct Puts {
    /// Behind a head that is empty until the payload is asked for.
    bytes: Vec<u8>,
    count: u32,
}

impl Puts {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; HEAD_BYTES], count: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEAD_BYTES);
        self.count = 0;
    }

    /// Bytes of the payload, or a few more.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a put. Returns where its key and its value begin in the [text](Self::text).
    pub(crate) fn push(&mut self, tree: u32, key: &[u8], value: &[u8]) -> (u32, u32) {
        let out = &mut self.bytes;
        out.push(Kind::Put as u8);
        varint::put(tree, out);
        put_bytes(key, KEY_BYTES_MAX, out);
        let key_at = out.len() - key.len();
        put_bytes(value, VALUE_BYTES_MAX, out);
        self.count += 1;
        (key_at as u32, (out.len() - value.len()) as u32)
    }

    /// What the places of keys and values are in.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes
    }

    /// The record's payload.
    pub(crate) fn payload(&mut self) -> &[u8] {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        varint::put(self.count, &mut head);
        let start = HEAD_BYTES - head.len();
        self.bytes[start..HEAD_BYTES].copy_from_slice(&head);
        &self.bytes[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Op, Record};
    use super::*;

    #[test]
    fn they_are_a_batch() {
        let mut puts = Puts::new();
        for count in [1, 2, 127, 128, 300] {
            puts.clear();
            let keys: Vec<Vec<u8>> = (0..count).map(|n| format!("key/{n}").into_bytes()).collect();
            for key in &keys {
                let (key_at, value_at) = puts.push(300, key, b"value");
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
