//! What a record says, and its bytes.
//!
//! Records are decisions, not requests: replay applies them without asking whether they hold. Numbers and lengths are
//! varints; an operation is tree, then each byte string with its length before it.

use super::varint;
use crate::error::{Error, Result};
use crate::limits::{KEY_BYTES_MAX, RECORD_BYTES_MAX, TREE_NAME_BYTES_MAX, VALUE_BYTES_MAX};

/// The byte in a record that says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Put = 1,
    Delete = 2,
    Rename = 3,
    Batch = 4,
    TreeCreate = 5,
    TreeDrop = 6,
    Noop = 7,
    RenamePrefix = 8,
    DeletePrefix = 9,
    DeleteRange = 10,
    /// No commit: it takes its own sequence and all from that in its payload on, which may have been seen before a crash.
    Bridge = 11,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Put,
        Self::Delete,
        Self::Rename,
        Self::Batch,
        Self::TreeCreate,
        Self::TreeDrop,
        Self::Noop,
        Self::RenamePrefix,
        Self::DeletePrefix,
        Self::DeleteRange,
        Self::Bridge,
    ];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One change of one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Put {
        tree: u32,
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        tree: u32,
        key: &'a [u8],
    },
    Rename {
        tree: u32,
        src: &'a [u8],
        dst: &'a [u8],
    },
    /// All keys that start with `src` start with `dst` of the other tree instead; what was there is gone. Versions stay.
    RenamePrefix {
        tree: u32,
        src: &'a [u8],
        dst_tree: u32,
        dst: &'a [u8],
    },
    /// All keys that start with the prefix, which may be empty.
    DeletePrefix {
        tree: u32,
        prefix: &'a [u8],
    },
    /// All keys from `low` to below `high` (None: no bound).
    DeleteRange {
        tree: u32,
        low: &'a [u8],
        high: Option<&'a [u8]>,
    },
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A single change.
    One(Op<'a>),
    /// Changes that take effect together, in this order.
    Batch(Vec<Op<'a>>),
    /// A new tree.
    TreeCreate { tree: u32, name: &'a str },
    /// The end of a tree.
    TreeDrop { tree: u32 },
    /// Nothing: it only takes a sequence.
    Noop,
}

impl Op<'_> {
    /// The kind to append it with as a record of its own.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Put { .. } => Kind::Put,
            Self::Delete { .. } => Kind::Delete,
            Self::Rename { .. } => Kind::Rename,
            Self::RenamePrefix { .. } => Kind::RenamePrefix,
            Self::DeletePrefix { .. } => Kind::DeletePrefix,
            Self::DeleteRange { .. } => Kind::DeleteRange,
        }
    }

    /// Appends the payload of a record of its own to `out`.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Put { tree, key, value } => {
                varint::put(tree, out);
                put_bytes(key, KEY_BYTES_MAX, out);
                put_bytes(value, VALUE_BYTES_MAX, out);
            }
            Self::Delete { tree, key } => {
                varint::put(tree, out);
                put_bytes(key, KEY_BYTES_MAX, out);
            }
            Self::Rename { tree, src, dst } => {
                varint::put(tree, out);
                put_bytes(src, KEY_BYTES_MAX, out);
                put_bytes(dst, KEY_BYTES_MAX, out);
            }
            Self::RenamePrefix { tree, src, dst_tree, dst } => {
                varint::put(tree, out);
                put_bytes(src, KEY_BYTES_MAX, out);
                varint::put(dst_tree, out);
                put_bytes(dst, KEY_BYTES_MAX, out);
            }
            Self::DeletePrefix { tree, prefix } => {
                varint::put(tree, out);
                put_bytes(prefix, KEY_BYTES_MAX, out);
            }
            Self::DeleteRange { tree, low, high } => {
                varint::put(tree, out);
                put_bytes(low, KEY_BYTES_MAX, out);
                // The length plus one; zero: there is no bound.
                match high {
                    Some(high) => {
                        debug_assert!(high.len() <= KEY_BYTES_MAX, "checked by the caller of the journal");
                        varint::put(high.len() as u32 + 1, out);
                        out.extend_from_slice(high);
                    }
                    None => varint::put(0, out),
                }
            }
        }
    }
}

impl Record<'_> {
    /// The kind to append the record with.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::One(op) => op.kind(),
            Self::Batch(_) => Kind::Batch,
            Self::TreeCreate { .. } => Kind::TreeCreate,
            Self::TreeDrop { .. } => Kind::TreeDrop,
            Self::Noop => Kind::Noop,
        }
    }

    /// Appends the payload to `out`.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::One(op) => op.encode_into(out),
            Self::Batch(ops) => {
                varint::put(ops.len() as u32, out);
                for op in ops {
                    out.push(op.kind() as u8);
                    op.encode_into(out);
                }
            }
            Self::TreeCreate { tree, name } => {
                varint::put(*tree, out);
                put_bytes(name.as_bytes(), TREE_NAME_BYTES_MAX, out);
            }
            Self::TreeDrop { tree } => varint::put(*tree, out),
            Self::Noop => {}
        }
    }
}

/// The payload of a bridge: the sequence before those that it passes over.
pub(super) fn encode_bridge(last: u64) -> [u8; 8] {
    last.to_le_bytes()
}

/// The sequence that a bridge starts from.
pub(super) fn decode_bridge(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_le_bytes)
}

fn put_bytes(bytes: &[u8], bytes_max: usize, out: &mut Vec<u8>) {
    debug_assert!(bytes.len() <= bytes_max, "checked by the caller of the journal");
    varint::put(bytes.len() as u32, out);
    out.extend_from_slice(bytes);
}

/// Decodes a payload. An error says what is wrong with it; the caller knows the file and offset.
pub(super) fn decode(kind: Kind, payload: &[u8]) -> Result<Record<'_>, &'static str> {
    let mut rest = Rest(payload);
    let record = match kind {
        Kind::Put
        | Kind::Delete
        | Kind::Rename
        | Kind::RenamePrefix
        | Kind::DeletePrefix
        | Kind::DeleteRange => Record::One(rest.op(kind)?),
        Kind::Batch => Record::Batch(rest.batch()?),
        Kind::TreeCreate => Record::TreeCreate { tree: rest.number()?, name: rest.name()? },
        Kind::TreeDrop => Record::TreeDrop { tree: rest.number()? },
        Kind::Noop => Record::Noop,
        Kind::Bridge => return Err("a bridge is no commit"),
    };
    if rest.0.is_empty() { Ok(record) } else { Err("bytes after the end of the record") }
}

/// What is still to be decoded.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> Result<u32, &'static str> {
        varint::take(&mut self.0).ok_or("bad number")
    }

    fn bytes(&mut self, bytes_max: usize) -> Result<&'a [u8], &'static str> {
        let length = self.number()? as usize;
        self.take(length, bytes_max)
    }

    fn take(&mut self, length: usize, bytes_max: usize) -> Result<&'a [u8], &'static str> {
        if length > bytes_max {
            return Err("length over its limit");
        }
        let (bytes, rest) = self.0.split_at_checked(length).ok_or("length over the record's end")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn name(&mut self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes(TREE_NAME_BYTES_MAX)?).map_err(|_| "tree name is not UTF-8")
    }

    fn op(&mut self, kind: Kind) -> Result<Op<'a>, &'static str> {
        let tree = self.number()?;
        match kind {
            Kind::Put => {
                Ok(Op::Put { tree, key: self.bytes(KEY_BYTES_MAX)?, value: self.bytes(VALUE_BYTES_MAX)? })
            }
            Kind::Delete => Ok(Op::Delete { tree, key: self.bytes(KEY_BYTES_MAX)? }),
            Kind::Rename => {
                Ok(Op::Rename { tree, src: self.bytes(KEY_BYTES_MAX)?, dst: self.bytes(KEY_BYTES_MAX)? })
            }
            Kind::RenamePrefix => {
                let (src, dst_tree) = (self.bytes(KEY_BYTES_MAX)?, self.number()?);
                Ok(Op::RenamePrefix { tree, src, dst_tree, dst: self.bytes(KEY_BYTES_MAX)? })
            }
            Kind::DeletePrefix => Ok(Op::DeletePrefix { tree, prefix: self.bytes(KEY_BYTES_MAX)? }),
            Kind::DeleteRange => {
                let low = self.bytes(KEY_BYTES_MAX)?;
                let high = match (self.number()? as usize).checked_sub(1) {
                    Some(length) => Some(self.take(length, KEY_BYTES_MAX)?),
                    None => None,
                };
                Ok(Op::DeleteRange { tree, low, high })
            }
            _ => Err("no operation of this kind in a batch"),
        }
    }

    fn batch(&mut self) -> Result<Vec<Op<'a>>, &'static str> {
        /// Kind, tree and one length.
        const OP_BYTES_MIN: usize = 3;
        let count = self.number()? as usize;
        if count > self.0.len() / OP_BYTES_MIN {
            return Err("more operations than bytes");
        }
        let mut ops = Vec::with_capacity(count);
        for _ in 0..count {
            let (&byte, rest) = self.0.split_first().ok_or("batch cut short")?;
            self.0 = rest;
            ops.push(self.op(Kind::from_byte(byte).ok_or("unknown operation")?)?);
        }
        Ok(ops)
    }
}

/// Refuses a payload that no journal can hold.
pub(super) fn check_length(payload_bytes: usize) -> Result<()> {
    if payload_bytes > RECORD_BYTES_MAX {
        return Err(Error::invalid(format_args!(
            "a commit of {payload_bytes} bytes is over the limit of {RECORD_BYTES_MAX} bytes (RECORD_BYTES_MAX)"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode_into(&mut bytes);
        bytes
    }

    #[test]
    fn format_1_is_these_bytes() {
        let ops = vec![
            Op::Put { tree: 300, key: b"ab", value: b"xyz" },
            Op::Delete { tree: 1, key: b"c" },
            Op::Rename { tree: 0, src: b"d", dst: b"ef" },
        ];
        assert_eq!(encoded(&Record::One(ops[0])), b"\xAC\x02\x02ab\x03xyz");
        assert_eq!(
            encoded(&Record::Batch(ops)),
            b"\x03\x01\xAC\x02\x02ab\x03xyz\x02\x01\x01c\x03\x00\x01d\x02ef"
        );
        assert_eq!(encoded(&Record::TreeCreate { tree: 7, name: "photos" }), b"\x07\x06photos");
        assert_eq!(encoded(&Record::TreeDrop { tree: 7 }), b"\x07");
        assert_eq!(encoded(&Record::Noop), b"");
        assert_eq!(Kind::ALL.map(|kind| kind as u8), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(encode_bridge(0x0102), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode_bridge(&encode_bridge(7)), Some(7));
        assert_eq!(decode_bridge(b"1234567"), None);
    }

    #[test]
    fn format_1_of_directories_is_these_bytes() {
        let ops = vec![
            Op::RenamePrefix { tree: 1, src: b"ab/", dst_tree: 300, dst: b"c" },
            Op::DeletePrefix { tree: 2, prefix: b"" },
            Op::DeleteRange { tree: 3, low: b"d", high: None },
            Op::DeleteRange { tree: 3, low: b"", high: Some(b"ef") },
        ];
        let golden: [&[u8]; 4] =
            [b"\x01\x03ab/\xAC\x02\x01c", b"\x02\x00", b"\x03\x01d\x00", b"\x03\x00\x03ef"];
        for (op, golden) in ops.iter().zip(golden) {
            assert_eq!(encoded(&Record::One(*op)), golden);
        }
        assert_eq!(
            encoded(&Record::Batch(ops)),
            b"\x04\x08\x01\x03ab/\xAC\x02\x01c\x09\x02\x00\x0A\x03\x01d\x00\x0A\x03\x00\x03ef"
        );
    }

    #[test]
    fn what_was_not_written_is_refused() {
        let long_key = encoded(&Record::One(Op::Delete { tree: 1, key: &[0; KEY_BYTES_MAX] }));
        assert!(decode(Kind::Delete, &long_key).is_ok());
        let mut longer = vec![1];
        varint::put(KEY_BYTES_MAX as u32 + 1, &mut longer);
        longer.resize(longer.len() + KEY_BYTES_MAX + 1, 0);
        assert!(decode(Kind::Delete, &longer).is_err());
        for (kind, bytes) in [
            (Kind::Noop, &b"x"[..]),
            (Kind::Put, b"\x01\x01a\x02b"),
            (Kind::Put, b"\x01\x01a"),
            (Kind::Delete, b"\x01\x01ab"),
            (Kind::TreeCreate, b"\x01\x01\xFF"),
            (Kind::Batch, b"\xFF\xFF\xFF\xFF\x0F\x01"),
            (Kind::Batch, b"\x01\x04\x00"),
            (Kind::Batch, b"\x01\x0B\x00\x00"),
            (Kind::Batch, b"\x01\x07\x00\x00"),
            (Kind::RenamePrefix, b"\x01\x01a\x01"),
            (Kind::DeleteRange, b"\x01\x01a\x03b"),
            (Kind::DeleteRange, b"\x01\x01a\x82\x40"),
            (Kind::DeletePrefix, b"\x01\x00x"),
        ] {
            assert!(decode(kind, bytes).is_err(), "{kind:?} {bytes:?}");
        }
    }

    #[derive(Debug, Clone)]
    enum Owned {
        Put(u32, Vec<u8>, Vec<u8>),
        Delete(u32, Vec<u8>),
        Rename(u32, Vec<u8>, Vec<u8>),
        RenamePrefix(u32, Vec<u8>, u32, Vec<u8>),
        DeletePrefix(u32, Vec<u8>),
        DeleteRange(u32, Vec<u8>, Option<Vec<u8>>),
    }

    impl Owned {
        fn op(&self) -> Op<'_> {
            match self {
                Self::Put(tree, key, value) => Op::Put { tree: *tree, key, value },
                Self::Delete(tree, key) => Op::Delete { tree: *tree, key },
                Self::Rename(tree, src, dst) => Op::Rename { tree: *tree, src, dst },
                Self::RenamePrefix(tree, src, dst_tree, dst) => {
                    Op::RenamePrefix { tree: *tree, src, dst_tree: *dst_tree, dst }
                }
                Self::DeletePrefix(tree, prefix) => Op::DeletePrefix { tree: *tree, prefix },
                Self::DeleteRange(tree, low, high) => {
                    Op::DeleteRange { tree: *tree, low, high: high.as_deref() }
                }
            }
        }
    }

    fn any_op() -> impl Strategy<Value = Owned> {
        let key = || proptest::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            (any::<u32>(), key(), key()).prop_map(|(tree, key, value)| Owned::Put(tree, key, value)),
            (any::<u32>(), key()).prop_map(|(tree, key)| Owned::Delete(tree, key)),
            (any::<u32>(), key(), key()).prop_map(|(tree, src, dst)| Owned::Rename(tree, src, dst)),
            (any::<u32>(), key(), any::<u32>(), key())
                .prop_map(|(a, src, b, dst)| Owned::RenamePrefix(a, src, b, dst)),
            (any::<u32>(), key()).prop_map(|(tree, prefix)| Owned::DeletePrefix(tree, prefix)),
            (any::<u32>(), key(), proptest::option::of(key()))
                .prop_map(|(tree, low, high)| Owned::DeleteRange(tree, low, high)),
        ]
    }

    proptest! {
        #[test]
        fn every_record_comes_back_and_no_part_of_it_does(
            ops in proptest::collection::vec(any_op(), 0..12),
            name in "\\PC{0,60}",
            tree in any::<u32>(),
        ) {
            let batch = Record::Batch(ops.iter().map(Owned::op).collect());
            let singles = ops.iter().map(|op| Record::One(op.op()));
            let trees = [Record::TreeCreate { tree, name: &name }, Record::TreeDrop { tree }, Record::Noop, batch];
            for record in singles.chain(trees) {
                let bytes = encoded(&record);
                prop_assert_eq!(decode(record.kind(), &bytes).unwrap(), record.clone());
                for cut in 0..bytes.len() {
                    prop_assert!(decode(record.kind(), &bytes[..cut]).is_err());
                }
            }
        }

        #[test]
        fn any_bytes_decode_or_err(kind in 0..Kind::ALL.len(), bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let _ = decode(Kind::ALL[kind], &bytes);
        }
    }
}
