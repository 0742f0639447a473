//! What a batch or a directory operation asks for, before it meets the tree: changes, expectations, and what they
//! touch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TreeState;
use super::commit::{check_key, check_value};
use super::reads::Read;
use crate::error::{Error, Result};
use crate::journal::{Kind, Op, Record};
use crate::tree::successor;

/// One change of a plan. Later ones see earlier ones.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put {
        tree: Arc<TreeState>,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        tree: Arc<TreeState>,
        key: Vec<u8>,
    },
    Rename {
        tree: Arc<TreeState>,
        src: Vec<u8>,
        dst: Vec<u8>,
        replace: bool,
    },
    /// All keys that start with `src` start with `dst` of the other tree instead.
    RenamePrefix {
        tree: Arc<TreeState>,
        src: Vec<u8>,
        dst_tree: Arc<TreeState>,
        dst: Vec<u8>,
        replace: bool,
    },
    DeletePrefix {
        tree: Arc<TreeState>,
        prefix: Vec<u8>,
    },
    /// The keys from `low` to below `high` (None: no bound).
    DeleteRange {
        tree: Arc<TreeState>,
        low: Vec<u8>,
        high: Option<Vec<u8>>,
    },
}

/// What must hold before the first change.
#[derive(Debug, Clone)]
pub(crate) enum Expectation {
    Version { tree: Arc<TreeState>, key: Vec<u8>, version: u64 },
    Absent { tree: Arc<TreeState>, key: Vec<u8> },
    PrefixEmpty { tree: Arc<TreeState>, prefix: Vec<u8> },
}

/// Changes that take effect together if all expectations hold and all that was read reads the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    pub(crate) expectations: Vec<Expectation>,
    pub(crate) reads: Vec<Read>,
}

/// A range of keys that a plan reads or changes: one key, or all that start with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) tree: u32,
    pub(super) start: Vec<u8>,
    /// Some: the span goes on below this key. None with `open`: to the end.
    pub(super) end: Option<Vec<u8>>,
    pub(super) open: bool,
}

impl Change {
    pub(super) fn op(&self) -> Op<'_> {
        match self {
            Self::Put { tree, key, value } => Op::Put { tree: tree.id, key, value },
            Self::Delete { tree, key } => Op::Delete { tree: tree.id, key },
            Self::Rename { tree, src, dst, .. } => Op::Rename { tree: tree.id, src, dst },
            Self::RenamePrefix { tree, src, dst_tree, dst, .. } => {
                Op::RenamePrefix { tree: tree.id, src, dst_tree: dst_tree.id, dst }
            }
            Self::DeletePrefix { tree, prefix } => Op::DeletePrefix { tree: tree.id, prefix },
            Self::DeleteRange { tree, low, high } => {
                Op::DeleteRange { tree: tree.id, low, high: high.as_deref() }
            }
        }
    }

    pub(super) fn tree(&self) -> &Arc<TreeState> {
        match self {
            Self::Put { tree, .. }
            | Self::Delete { tree, .. }
            | Self::Rename { tree, .. }
            | Self::RenamePrefix { tree, .. }
            | Self::DeletePrefix { tree, .. }
            | Self::DeleteRange { tree, .. } => tree,
        }
    }

    /// The tree that the change takes from, and the one that it puts into: mostly the same.
    pub(super) fn both_trees(&self) -> [&Arc<TreeState>; 2] {
        match self {
            Self::RenamePrefix { tree, dst_tree, .. } => [tree, dst_tree],
            _ => [self.tree(); 2],
        }
    }

    /// Whether it changes all keys of a range, however many there are.
    pub(super) fn is_wide(&self) -> bool {
        matches!(self, Self::RenamePrefix { .. } | Self::DeletePrefix { .. } | Self::DeleteRange { .. })
    }

    /// Bytes of its keys, prefixes and value.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } => key.len(),
            Self::Rename { src, dst, .. } | Self::RenamePrefix { src, dst, .. } => src.len() + dst.len(),
            Self::DeletePrefix { prefix, .. } => prefix.len(),
            Self::DeleteRange { low, high, .. } => low.len() + high.as_ref().map_or(0, Vec::len),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Put { key, value, .. } => check_key(key).and_then(|()| check_value(key, value)),
            Self::Delete { key, .. } => check_key(key),
            Self::Rename { src, dst, .. } => check_key(src).and_then(|()| check_key(dst)),
            Self::RenamePrefix { tree, src, dst_tree, dst, .. } => {
                check_prefix(src)?;
                check_prefix(dst)?;
                if src.is_empty() || dst.is_empty() {
                    return Err(Error::invalid("a prefix to move, and where it moves to, may not be empty"));
                }
                let nested = src != dst && (src.starts_with(dst) || dst.starts_with(src));
                if tree.id == dst_tree.id && nested {
                    let (src, dst) = (show(src), show(dst));
                    let what = format_args!("the prefixes \"{src}\" and \"{dst}\" lie inside each other");
                    return Err(Error::invalid(what));
                }
                Ok(())
            }
            Self::DeletePrefix { prefix, .. } => check_prefix(prefix),
            Self::DeleteRange { low, high, .. } => {
                check_prefix(low)?;
                high.as_deref().map_or(Ok(()), check_prefix)
            }
        }
    }
}

/// Checks a prefix, or an end of a range, against the limit of keys.
fn check_prefix(prefix: &[u8]) -> Result<()> {
    if prefix.is_empty() { Ok(()) } else { check_key(prefix) }
}

/// A key for a message.
pub(super) fn show(key: &[u8]) -> String {
    key[..key.len().min(128)].escape_ascii().to_string()
}

impl Plan {
    /// Whether it only compares what was read.
    pub(super) fn only_reads(&self) -> bool {
        self.changes.is_empty() && !self.reads.is_empty()
    }

    /// Whether the plan only takes records away.
    pub(super) fn frees(&self) -> bool {
        let frees = |change: &Change| {
            matches!(change, Change::Delete { .. } | Change::DeletePrefix { .. } | Change::DeleteRange { .. })
        };
        self.changes.iter().all(frees)
    }

    /// Whether it has to run with the gate closed.
    pub(super) fn is_exclusive(&self) -> bool {
        self.changes.iter().any(Change::is_wide)
    }

    pub(super) fn trees(&self) -> BTreeMap<u32, Arc<TreeState>> {
        let mut trees = BTreeMap::new();
        for change in &self.changes {
            for tree in change.both_trees() {
                trees.insert(tree.id, Arc::clone(tree));
            }
        }
        for expectation in &self.expectations {
            let (Expectation::Version { tree, .. }
            | Expectation::Absent { tree, .. }
            | Expectation::PrefixEmpty { tree, .. }) = expectation;
            trees.insert(tree.id, Arc::clone(tree));
        }
        for read in &self.reads {
            trees.insert(read.tree().id, Arc::clone(read.tree()));
        }
        trees
    }

    /// The spans of changes and expectations, sorted, each once. Those of wide changes are not among them.
    pub(super) fn spans(&self) -> Vec<Span> {
        let key = |tree: &TreeState, key: &[u8]| Span {
            tree: tree.id,
            start: key.to_vec(),
            end: None,
            open: false,
        };
        let mut spans = Vec::with_capacity(self.changes.len() + self.expectations.len());
        for change in &self.changes {
            match change {
                Change::Put { tree, key: k, .. } | Change::Delete { tree, key: k } => {
                    spans.push(key(tree, k))
                }
                Change::Rename { tree, src, dst, .. } => spans.extend([key(tree, src), key(tree, dst)]),
                Change::RenamePrefix { .. } | Change::DeletePrefix { .. } | Change::DeleteRange { .. } => {}
            }
        }
        for expectation in &self.expectations {
            match expectation {
                Expectation::Version { tree, key: k, .. } | Expectation::Absent { tree, key: k } => {
                    spans.push(key(tree, k));
                }
                Expectation::PrefixEmpty { tree, prefix } => spans.push(Span {
                    tree: tree.id,
                    start: prefix.clone(),
                    end: successor(prefix),
                    open: true,
                }),
            }
        }
        spans.sort_unstable();
        spans.dedup();
        spans
    }

    pub(super) fn payload(&self) -> (Vec<u8>, Kind) {
        let record = match self.changes.as_slice() {
            [only] => Record::One(only.op()),
            changes => Record::Batch(changes.iter().map(Change::op).collect()),
        };
        let mut payload = Vec::new();
        record.encode_into(&mut payload);
        (payload, record.kind())
    }
}
