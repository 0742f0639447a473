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
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Put, Self::Delete, Self::Rename, Self::Batch, Self::TreeCreate, Self::TreeDrop, Self::Noop];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One change of one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Put { tree: u32, key: &'a [u8], value: &'a [u8] },
    Delete { tree: u32, key: &'a [u8] },
    Rename { tree: u32, src: &'a [u8], dst: &'a [u8] },
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
    fn kind(&self) -> Kind {
        match self {
            Self::Put { .. } => Kind::Put,
            Self::Delete { .. } => Kind::Delete,
            Self::Rename { .. } => Kind::Rename,
        }
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Put { tree, key, value } => encode_put(tree, key, value, out),
            Self::Delete { tree, key } => {
                varint::put(tree, out);
                put_bytes(key, KEY_BYTES_MAX, out);
            }
            Self::Rename { tree, src, dst } => {
                varint::put(tree, out);
                put_bytes(src, KEY_BYTES_MAX, out);
                put_bytes(dst, KEY_BYTES_MAX, out);
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

/// Appends the payload of a single put: [`Record::encode_into`] without the record.
pub(crate) fn encode_put(tree: u32, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    varint::put(tree, out);
    put_bytes(key, KEY_BYTES_MAX, out);
    put_bytes(value, VALUE_BYTES_MAX, out);
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
        Kind::Put | Kind::Delete | Kind::Rename => Record::One(rest.op(kind)?),
        Kind::Batch => Record::Batch(rest.batch()?),
        Kind::TreeCreate => Record::TreeCreate { tree: rest.number()?, name: rest.name()? },
        Kind::TreeDrop => Record::TreeDrop { tree: rest.number()? },
        Kind::Noop => Record::Noop,
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
            _ => Err("no operation of this kind in a batch"),
        }
    }

    fn batch(&mut self) -> Result<Vec<Op<'a>>, &'static str> {
        /// The kind, tree and one length.
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
        assert_eq!(Kind::ALL.map(|kind| kind as u8), [1, 2, 3, 4, 5, 6, 7]);
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
            (Kind::Batch, b"\x01\x09\x00\x00"),
        ] {
            assert!(decode(kind, bytes).is_err(), "{kind:?} {bytes:?}");
        }
    }

    #[derive(Debug, Clone)]
    enum Owned {
        Put(u32, Vec<u8>, Vec<u8>),
        Delete(u32, Vec<u8>),
        Rename(u32, Vec<u8>, Vec<u8>),
    }

    impl Owned {
        fn op(&self) -> Op<'_> {
            match self {
                Self::Put(tree, key, value) => Op::Put { tree: *tree, key, value },
                Self::Delete(tree, key) => Op::Delete { tree: *tree, key },
                Self::Rename(tree, src, dst) => Op::Rename { tree: *tree, src, dst },
            }
        }
    }

    fn any_op() -> impl Strategy<Value = Owned> {
        let key = || proptest::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            (any::<u32>(), key(), key()).prop_map(|(tree, key, value)| Owned::Put(tree, key, value)),
            (any::<u32>(), key()).prop_map(|(tree, key)| Owned::Delete(tree, key)),
            (any::<u32>(), key(), key()).prop_map(|(tree, src, dst)| Owned::Rename(tree, src, dst)),
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
