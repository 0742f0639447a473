//! What a batch holds before it is committed.

use std::ops::RangeBounds;
use std::sync::Arc;

use super::bounds::{bounds, within_limit};
use super::{Handle, IfExists, Tree, Version};
use crate::engine::{Change, Expectation, Plan, TreeState};
use crate::error::{Error, Result};

/// Changes and expectations that are committed together; see [`Db::batch`](crate::Db::batch). Limits are checked at the commit.
pub struct Batch {
    handle: Arc<Handle>,
    plan: Plan,
    /// The first thing that was wrong.
    error: Option<Error>,
}

/// What the closure of [`Db::batch`](crate::Db::batch) may return: nothing, or a result whose error gives the batch up.
pub trait BatchOutcome: sealed::Sealed {
    /// The outcome as a result.
    fn into_result(self) -> Result<()>;
}

impl BatchOutcome for () {
    fn into_result(self) -> Result<()> {
        Ok(())
    }
}

impl BatchOutcome for Result<()> {
    fn into_result(self) -> Result<()> {
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for crate::Result<()> {}
}

impl Batch {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, plan: Plan::default(), error: None }
    }

    pub(super) fn into_plan(self) -> Result<Plan> {
        self.error.map_or(Ok(self.plan), Err)
    }

    fn state(&mut self, tree: &Tree) -> Arc<TreeState> {
        if !tree.belongs_to(&self.handle) && self.error.is_none() {
            let what = format_args!("tree {:?} belongs to another database than the batch", tree.name());
            self.error = Some(Error::invalid(what));
        }
        tree.state()
    }

    /// Puts a record.
    pub fn put(&mut self, tree: &Tree, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let tree = self.state(tree);
        let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
        self.plan.changes.push(Change::Put { tree, key, value });
    }

    /// Deletes a record if it is there.
    pub fn delete(&mut self, tree: &Tree, key: impl AsRef<[u8]>) {
        let tree = self.state(tree);
        self.plan.changes.push(Change::Delete { tree, key: key.as_ref().to_vec() });
    }

    /// Moves a record to another key. The batch fails with NotFound if there is none at `src`.
    pub fn rename(&mut self, tree: &Tree, src: impl AsRef<[u8]>, dst: impl AsRef<[u8]>, if_exists: IfExists) {
        let tree = self.state(tree);
        let (src, dst) = (src.as_ref().to_vec(), dst.as_ref().to_vec());
        self.plan.changes.push(Change::Rename { tree, src, dst, replace: if_exists == IfExists::Replace });
    }

    /// Moves every key that starts with `src` to `dst`: see [`Tree::rename_prefix`]. The batch fails with NotFound if there is none,
    /// and with Exists if there are keys at `dst` and `if_exists` is Fail: as the changes before it left things.
    pub fn rename_prefix(
        &mut self,
        tree: &Tree,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) {
        self.rename_prefix_to(tree, tree, src, dst, if_exists);
    }

    /// As [`rename_prefix`](Self::rename_prefix), from one tree to another.
    pub fn rename_prefix_to(
        &mut self,
        tree: &Tree,
        other: &Tree,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) {
        let (tree, dst_tree) = (self.state(tree), self.state(other));
        let (src, dst) = (src.as_ref().to_vec(), dst.as_ref().to_vec());
        let replace = if_exists == IfExists::Replace;
        self.plan.changes.push(Change::RenamePrefix { tree, src, dst_tree, dst, replace });
    }

    /// Deletes every record whose key starts with `prefix`: see [`Tree::delete_prefix`].
    pub fn delete_prefix(&mut self, tree: &Tree, prefix: impl AsRef<[u8]>) {
        let tree = self.state(tree);
        self.plan.changes.push(Change::DeletePrefix { tree, prefix: prefix.as_ref().to_vec() });
    }

    /// Deletes every record whose key is in `range`: see [`Tree::delete_range`]. The batch fails with InvalidInput if it is
    /// inverted.
    pub fn delete_range<K: AsRef<[u8]>>(&mut self, tree: &Tree, range: impl RangeBounds<K>) {
        let tree = self.state(tree);
        match bounds(range).map(within_limit) {
            Ok(Some((low, high))) => self.plan.changes.push(Change::DeleteRange { tree, low, high }),
            Ok(None) => {}
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }

    /// The batch fails with Conflict unless the record of `key` has this version.
    pub fn expect_version(&mut self, tree: &Tree, key: impl AsRef<[u8]>, version: Version) {
        let tree = self.state(tree);
        self.plan.expectations.push(Expectation::Version { tree, key: key.as_ref().to_vec(), version });
    }

    /// The batch fails with Conflict if there is a record of `key`.
    pub fn expect_absent(&mut self, tree: &Tree, key: impl AsRef<[u8]>) {
        let tree = self.state(tree);
        self.plan.expectations.push(Expectation::Absent { tree, key: key.as_ref().to_vec() });
    }

    /// The batch fails with Conflict if any key starts with `prefix`.
    pub fn expect_prefix_empty(&mut self, tree: &Tree, prefix: impl AsRef<[u8]>) {
        let tree = self.state(tree);
        self.plan.expectations.push(Expectation::PrefixEmpty { tree, prefix: prefix.as_ref().to_vec() });
    }
}
