//! The check of a whole namespace.

use std::collections::{BTreeMap, BTreeSet};

use ramus::{Entry, Tree};

use super::path::ROOT;
use super::record::{Inode, Name};
use super::{Namespace, Result};

impl Namespace {
    /// Reads all records and says what breaks the rules N1 to N3 (see `change.rs`), or that records lie under keys of the wrong
    /// kind or share an inode that is not theirs. For a namespace in which nobody works meanwhile.
    pub fn fsck(&self) -> Result<Vec<String>> {
        let names = all(&self.names, Name::decode)?;
        let mut inodes = all(&self.inodes, Inode::decode)?;
        let mut problems = Vec::new();
        let (mut owners, mut named) = (BTreeSet::new(), BTreeSet::new());
        for (key, name) in &names {
            let mut problem = |what: &str| problems.push(format!("\"{}\": {what}", key.escape_ascii()));
            let directory = key.ends_with(b"/");
            if directory != matches!(name, Name::Directory { .. }) {
                problem("a record of the wrong kind");
            }
            let bare = if directory { &key[..key.len() - 1] } else { key };
            if directory && names.contains_key(bare) {
                problem("both a file and a directory");
            }
            let parent = bare.windows(2).rposition(|pair| pair == b"//").map(|at| &key[..=at]);
            match parent {
                Some(parent) if !names.contains_key(parent) => problem("an entry of no directory"),
                None if key != ROOT => problem("not below the root"),
                _ => {}
            }
            if let Name::Linked { inode } = name {
                named.insert(Inode::key(*inode).to_vec());
                match inodes.get_mut(&Inode::key(*inode)[..]) {
                    Some(shared) => shared.links = shared.links.wrapping_sub(1),
                    None => problem("a name of an inode that is not there"),
                }
            } else if !owners.insert(name.inode()) || inodes.contains_key(&Inode::key(name.inode())[..]) {
                problem("an inode number given twice");
            }
        }
        if !names.contains_key(ROOT) {
            problems.push("no root".to_owned());
        }
        // Each name that was found has been taken off the count.
        for (key, inode) in inodes {
            let mut problem = |what: &str| problems.push(format!("inode {}: {what}", key.escape_ascii()));
            if inode.links != 0 {
                problem(&format!("counts {} names too many", inode.links.cast_signed()));
            }
            if !named.contains(&key) {
                problem("has no name");
            }
        }
        Ok(problems)
    }
}

fn all<T>(tree: &Tree, decode: impl Fn(&[u8]) -> ramus::Result<T>) -> Result<BTreeMap<Vec<u8>, T>> {
    let mut records = BTreeMap::new();
    for entry in tree.iter() {
        if let Entry::Record { key, value, .. } = entry? {
            records.insert(key, decode(&value)?);
        }
    }
    Ok(records)
}
