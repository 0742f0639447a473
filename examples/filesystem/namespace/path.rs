//! Paths as callers write them, and the keys they become. The layout is explained at the head of `main.rs`.

use super::errno::Errno;

/// Longest name of an entry, in bytes (NAME_MAX).
const NAME_BYTES_MAX: usize = 255;
/// Longest path a caller may write, in bytes (PATH_MAX less its terminator).
const PATH_BYTES_MAX: usize = 4095;
/// The key of the root directory's own record.
pub const ROOT: &[u8] = b"/";

// A name takes its bytes and two slashes in a key, its bytes and at least one slash in a path. So the worst path has names of one byte.
const _: () = assert!(PATH_BYTES_MAX.div_ceil(2) * 3 + 2 <= ramus::limits::KEY_BYTES_MAX);

/// A path that was read. It starts at the root whether or not it begins with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// `//` before each name; empty for the root.
    name_key: Vec<u8>,
    /// It was written with a slash at its end: it can only mean a directory.
    pub directory_only: bool,
}

impl Path {
    /// Reads a path. Several slashes count as one. `.` and `..` are for the caller to resolve, as a kernel does.
    pub fn parse(text: &[u8]) -> Result<Self, Errno> {
        if text.is_empty() {
            return Err(Errno::NoEntry);
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(Errno::NameTooLong);
        }
        let mut name_key = Vec::with_capacity(text.len() + 16);
        for name in text.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            if name.len() > NAME_BYTES_MAX {
                return Err(Errno::NameTooLong);
            }
            if name == b"." || name == b".." || name.contains(&0) {
                return Err(Errno::Invalid);
            }
            name_key.extend_from_slice(b"//");
            name_key.extend_from_slice(name);
        }
        let directory_only = !name_key.is_empty() && text.ends_with(b"/");
        Ok(Self { name_key, directory_only })
    }

    pub fn is_root(&self) -> bool {
        self.name_key.is_empty()
    }

    /// The key under which a file of this path lies.
    pub fn file_key(&self) -> &[u8] {
        &self.name_key
    }

    /// The key of the own record of a directory of this path. All of the directory starts with it.
    pub fn directory_key(&self) -> Vec<u8> {
        [&self.name_key, ROOT].concat()
    }

    /// What the keys of all entries of a directory of this path start with, and its own record does not.
    pub fn entries_prefix(&self) -> Vec<u8> {
        [&self.name_key[..], b"//"].concat()
    }

    /// The directory that this path is an entry of; the root's is the root.
    pub fn parent(&self) -> Self {
        let end = self.name_key.windows(2).rposition(|pair| pair == b"//").unwrap_or(0);
        Self { name_key: self.name_key[..end].to_vec(), directory_only: true }
    }

    /// The directories above, from the root down.
    pub fn ancestors(&self) -> Vec<Self> {
        let mut above = Vec::new();
        let mut at = self.clone();
        while !at.is_root() {
            at = at.parent();
            above.push(at.clone());
        }
        above.reverse();
        above
    }

    /// Whether this path is below `other`.
    pub fn is_inside(&self, other: &Self) -> bool {
        self.name_key.starts_with(&other.entries_prefix())
    }

    /// Whether both name the same entry.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name_key == other.name_key
    }
}
