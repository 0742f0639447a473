//! The named trees of a database, and the limbs that are being freed. Kept whole in memory; a checkpoint writes it as
//! one extent.
//!
//! ```text
//! magic u32 "RCAT" | format u32 | next tree id u32 | trees u32 | limbs to reclaim u32
//! each tree:  id u32 | root blob u32 | name length u16 | name
//! each limb:  root blob u32
//! ```
//! The extent's hash stands in the superblock.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{TREE_NAME_BYTES_MAX, TREES_MAX};
use crate::store::BlobId;
use crate::tree::Life;

const MAGIC: u32 = u32::from_le_bytes(*b"RCAT");
const FORMAT: u32 = 1;

/// A named tree, shared by its handles.
#[derive(Debug)]
pub(crate) struct TreeState {
    pub(crate) id: u32,
    pub(crate) name: String,
    root: BlobId,
    life: Life,
}

impl TreeState {
    pub(crate) fn new(id: u32, name: String, root: BlobId) -> Self {
        Self { id, name, root, life: Life::default() }
    }

    pub(crate) fn root(&self) -> BlobId {
        self.root
    }

    /// What whoever reads or changes the tree has to look at.
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// An error once the tree was dropped, or a move in it broke off.
    #[inline]
    pub(crate) fn check_alive(&self) -> Result<()> {
        self.life.check(format_args!("tree {:?}", self.name))
    }
}

/// All trees at one sequence. Cloned for a cut by reference count.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog {
    pub(super) by_name: BTreeMap<String, Arc<TreeState>>,
    pub(super) by_id: BTreeMap<u32, Arc<TreeState>>,
    pub(super) reclaim: Vec<BlobId>,
    next_id: u32,
}

impl Catalog {
    pub(super) fn next_id(&self) -> u32 {
        self.next_id.max(1)
    }

    pub(super) fn insert(&mut self, tree: Arc<TreeState>) {
        self.next_id = self.next_id().max(tree.id.saturating_add(1));
        self.by_name.insert(tree.name.clone(), Arc::clone(&tree));
        self.by_id.insert(tree.id, tree);
    }

    /// Takes a tree out; its limb is to be reclaimed.
    pub(super) fn remove(&mut self, id: u32) -> Option<Arc<TreeState>> {
        let tree = self.by_id.remove(&id)?;
        self.by_name.remove(&tree.name);
        self.reclaim.push(tree.root);
        Some(tree)
    }

    /// Length of what [`encode`](Self::encode) makes.
    pub(super) fn encoded_bytes(&self) -> usize {
        let names: usize = self.by_name.keys().map(String::len).sum();
        20 + self.by_id.len() * 10 + names + self.reclaim.len() * 4
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_bytes());
        for number in [MAGIC, FORMAT, self.next_id(), self.by_id.len() as u32, self.reclaim.len() as u32] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for tree in self.by_id.values() {
            out.extend_from_slice(&tree.id.to_le_bytes());
            out.extend_from_slice(&tree.root.0.to_le_bytes());
            out.extend_from_slice(&(tree.name.len() as u16).to_le_bytes());
            out.extend_from_slice(tree.name.as_bytes());
        }
        for root in &self.reclaim {
            out.extend_from_slice(&root.0.to_le_bytes());
        }
        out
    }

    /// Reads a catalog; an empty one is that of a new database.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        Self::decode_body(bytes)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the catalog of trees is not one that was written"))
    }

    fn decode_body(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let number = |rest: &mut &[u8]| {
            let (head, tail) = rest.split_first_chunk::<4>()?;
            *rest = tail;
            Some(u32::from_le_bytes(*head))
        };
        if number(&mut rest)? != MAGIC || number(&mut rest)? != FORMAT {
            return None;
        }
        let next_id = number(&mut rest)?;
        let (trees, limbs) = (number(&mut rest)?, number(&mut rest)?);
        if trees as usize > TREES_MAX {
            return None;
        }
        let mut catalog = Self { next_id, ..Self::default() };
        for _ in 0..trees {
            let (id, root) = (number(&mut rest)?, number(&mut rest)?);
            let (len, tail) = rest.split_first_chunk::<2>()?;
            let (name, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
            rest = tail;
            let name = String::from_utf8(name.to_vec()).ok()?;
            if name.len() > TREE_NAME_BYTES_MAX || id == 0 || root == 0 || catalog.by_id.contains_key(&id) {
                return None;
            }
            catalog.insert(Arc::new(TreeState::new(id, name, BlobId(root))));
        }
        for _ in 0..limbs {
            catalog.reclaim.push(BlobId(number(&mut rest)?));
        }
        rest.is_empty().then_some(catalog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Catalog {
        let mut catalog = Catalog::default();
        catalog.insert(Arc::new(TreeState::new(1, "default".into(), BlobId(3))));
        catalog.insert(Arc::new(TreeState::new(2, "t".into(), BlobId(9))));
        catalog.remove(2);
        catalog
    }

    #[test]
    fn golden_bytes() {
        #[rustfmt::skip]
        let expected = [
            b'R', b'C', b'A', b'T', 1, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
            1, 0, 0, 0, 3, 0, 0, 0, 7, 0, b'd', b'e', b'f', b'a', b'u', b'l', b't',
            9, 0, 0, 0,
        ];
        assert_eq!(sample().encode(), expected);
        assert_eq!(sample().encoded_bytes(), expected.len());
        let back = Catalog::decode(&expected).unwrap();
        assert_eq!(back.encode(), expected);
        assert_eq!(back.next_id(), 3);
    }

    #[test]
    fn cut_or_changed_bytes_are_refused() {
        let bytes = sample().encode();
        for len in 1..bytes.len() {
            assert!(Catalog::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        assert!(Catalog::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
