//! What a batch or a rename asks for, before it meets the tree: changes, expectations, and what they touch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TreeState;
use super::commit::{check_key, check_value};
use crate::error::Result;
use crate::journal::{Kind, Op, Record};
use crate::tree::successor;

/// One change of a plan. Later ones see earlier ones.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put { tree: Arc<TreeState>, key: Vec<u8>, value: Vec<u8> },
    Delete { tree: Arc<TreeState>, key: Vec<u8> },
    Rename { tree: Arc<TreeState>, src: Vec<u8>, dst: Vec<u8>, replace: bool },
}

/// What must hold before the first change.
#[derive(Debug, Clone)]
pub(crate) enum Expectation {
    Version { tree: Arc<TreeState>, key: Vec<u8>, version: u64 },
    Absent { tree: Arc<TreeState>, key: Vec<u8> },
    PrefixEmpty { tree: Arc<TreeState>, prefix: Vec<u8> },
}

/// Changes that take effect together if all expectations hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    pub(crate) expectations: Vec<Expectation>,
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
        }
    }

    pub(super) fn tree(&self) -> &Arc<TreeState> {
        match self {
            Self::Put { tree, .. } | Self::Delete { tree, .. } | Self::Rename { tree, .. } => tree,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Put { key, value, .. } => check_key(key).and_then(|()| check_value(key, value)),
            Self::Delete { key, .. } => check_key(key),
            Self::Rename { src, dst, .. } => check_key(src).and_then(|()| check_key(dst)),
        }
    }
}

impl Plan {
    /// Whether the plan only takes records away.
    pub(super) fn frees(&self) -> bool {
        self.changes.iter().all(|change| matches!(change, Change::Delete { .. }))
    }

    pub(super) fn trees(&self) -> BTreeMap<u32, Arc<TreeState>> {
        let mut trees = BTreeMap::new();
        for change in &self.changes {
            trees.insert(change.tree().id, Arc::clone(change.tree()));
        }
        for expectation in &self.expectations {
            let (Expectation::Version { tree, .. }
            | Expectation::Absent { tree, .. }
            | Expectation::PrefixEmpty { tree, .. }) = expectation;
            trees.insert(tree.id, Arc::clone(tree));
        }
        trees
    }

    /// All spans, sorted, each once.
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
