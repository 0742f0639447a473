//! Calls that change nothing.

use std::collections::BTreeSet;

use ramus::Entry;

use super::{Inode, Name, Namespace, Path, Result, race};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Directory,
    File,
}

/// What is known about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub kind: Kind,
    pub inode: u64,
    /// Names of the file; 1 for a directory.
    pub links: u64,
    /// Bytes of the file; 0 for a directory.
    pub size: u64,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    pub name: Vec<u8>,
    pub kind: Kind,
}

/// What all below a directory takes, without itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Files and directories.
    pub entries: u64,
    /// Bytes of their keys and values, not of what files hold: see [`Namespace::file_bytes`].
    pub bytes: u64,
}

impl Namespace {
    /// stat(2).
    pub fn stat(&self, path: impl AsRef<[u8]>) -> Result<Stat> {
        let path = Path::parse(path.as_ref())?;
        self.retry(|| {
            let found = self.existing(&path)?;
            let (kind, links, size) = match found.name {
                Name::Directory { .. } => (Kind::Directory, 1, 0),
                Name::File { size, .. } => (Kind::File, 1, size),
                Name::Linked { inode } => {
                    let (shared, version) = self.shared_inode(inode)?;
                    // A batch without changes proves that both records were so at one instant.
                    self.commit(|batch| {
                        batch.expect_version(&self.names, path.file_key(), found.version);
                        batch.expect_version(&self.inodes, Inode::key(inode), version);
                    })?;
                    (Kind::File, shared.links, shared.size)
                }
            };
            Ok(Stat { kind, inode: found.name.inode(), links, size })
        })
    }

    /// The entries of a directory with their kinds, in the order of their keys (a directory's ends with a slash). One delimiter
    /// listing: what lies further below is not visited, and no value is read.
    pub fn readdir(&self, path: impl AsRef<[u8]>) -> Result<Vec<DirEntry>> {
        let path = Path::parse(path.as_ref())?;
        let prefix = path.entries_prefix();
        self.steady(&path, || {
            let mut entries = Vec::new();
            for entry in self.names.prefix(&prefix).delimiter(b'/').keys_only() {
                let (kind, key) = match entry? {
                    Entry::Record { key, .. } => (Kind::File, key),
                    Entry::CommonPrefix(mut key) => {
                        key.pop();
                        (Kind::Directory, key)
                    }
                };
                entries.push(DirEntry { name: key[prefix.len()..].to_vec(), kind });
            }
            Ok(entries)
        })
    }

    /// What all below a directory takes; no visit of it.
    pub fn usage(&self, path: impl AsRef<[u8]>) -> Result<Usage> {
        let path = Path::parse(path.as_ref())?;
        self.steady(&path, || {
            let stats = self.names.count_prefix(path.entries_prefix())?;
            Ok(Usage { entries: stats.keys, bytes: stats.key_bytes + stats.value_bytes })
        })
    }

    /// The sum of the sizes of all files below a directory, as du(1) counts: a file with several names once. A visit of every
    /// name, and not of one instant if others write.
    pub fn file_bytes(&self, path: impl AsRef<[u8]>) -> Result<u64> {
        let path = Path::parse(path.as_ref())?;
        self.steady(&path, || {
            let (mut bytes, mut seen) = (0, BTreeSet::new());
            for entry in self.names.prefix(path.entries_prefix()) {
                let Entry::Record { value, .. } = entry? else { continue };
                match Name::decode(&value)? {
                    Name::Directory { .. } => {}
                    Name::File { size, .. } => bytes += size,
                    Name::Linked { inode } if seen.insert(inode) => {
                        bytes += self.shared_inode(inode)?.0.size;
                    }
                    Name::Linked { .. } => {}
                }
            }
            Ok(bytes)
        })
    }

    /// Reads below a directory. It counts only if the directory has the same record after: else it was moved or removed, and
    /// what was read may be of nothing. (One that was moved away and back in between is not told apart.)
    fn steady<T>(&self, path: &Path, read: impl Fn() -> Result<T>) -> Result<T> {
        self.retry(|| {
            let before = self.directory(path)?;
            let outcome = read()?;
            match self.names.get_record(path.directory_key())? {
                Some(record) if record.version == before => Ok(outcome),
                _ => Err(race("the directory went away while it was read")),
            }
        })
    }
}
