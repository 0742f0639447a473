//! What the trees hold: the values of names and of inodes.

use ramus::{Error, ErrorKind, Result};

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const LINKED: u8 = 2;

/// The value of a name.
///
/// ```text
/// 0 kind u8   1 inode number u64   9 size u64, of a file with one name only
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Directory {
        inode: u64,
    },
    /// A file that never had a second name: all about it stands here.
    File {
        inode: u64,
        size: u64,
    },
    /// A file that has, or had, several names: they share a record in the tree of inodes.
    Linked {
        inode: u64,
    },
}

impl Name {
    pub fn encode(self) -> Vec<u8> {
        let (kind, inode, size) = match self {
            Self::Directory { inode } => (DIRECTORY, inode, None),
            Self::File { inode, size } => (FILE, inode, Some(size)),
            Self::Linked { inode } => (LINKED, inode, None),
        };
        let mut value = vec![kind];
        value.extend_from_slice(&inode.to_le_bytes());
        value.extend(size.iter().flat_map(|size| size.to_le_bytes()));
        value
    }

    pub fn decode(value: &[u8]) -> Result<Self> {
        match (value.first(), number(value, 1), number(value, 9), value.len()) {
            (Some(&DIRECTORY), Some(inode), None, 9) => Ok(Self::Directory { inode }),
            (Some(&FILE), Some(inode), Some(size), 17) => Ok(Self::File { inode, size }),
            (Some(&LINKED), Some(inode), None, 9) => Ok(Self::Linked { inode }),
            _ => Err(wrong("a name", value)),
        }
    }

    pub fn inode(self) -> u64 {
        match self {
            Self::Directory { inode } | Self::File { inode, .. } | Self::Linked { inode } => inode,
        }
    }
}

/// The value of an inode that several names share.
///
/// ```text
/// 0 names u64   8 size u64
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    pub links: u64,
    pub size: u64,
}

impl Inode {
    pub fn encode(self) -> Vec<u8> {
        [self.links.to_le_bytes(), self.size.to_le_bytes()].concat()
    }

    pub fn decode(value: &[u8]) -> Result<Self> {
        match (number(value, 0), number(value, 8), value.len()) {
            (Some(links), Some(size), 16) => Ok(Self { links, size }),
            _ => Err(wrong("an inode", value)),
        }
    }

    /// Its key: big-endian, so that inodes lie in the order of their numbers.
    pub fn key(number: u64) -> [u8; 8] {
        number.to_be_bytes()
    }
}

/// The number that stands at an offset.
pub fn number(value: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(value.get(at..at + 8)?.try_into().ok()?))
}

fn wrong(what: &str, value: &[u8]) -> Error {
    Error::new(ErrorKind::Corrupt, format_args!("{what} cannot be \"{}\"", value.escape_ascii()))
}
