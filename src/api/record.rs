//! What reads give back.

/// The commit that last wrote a record. Versions grow with every commit of a database; none is given twice, not even after
/// a crash that lost the commit it was first given to.
pub type Version = u64;

/// A stored value with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The value.
    pub value: Vec<u8>,
    /// The commit that wrote it.
    pub version: Version,
}

impl Record {
    pub(crate) fn new(value: Vec<u8>, version: Version) -> Self {
        Self { value, version }
    }
}

/// One item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A record. The value is empty when the listing asked for keys only.
    Record {
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// The commit that wrote it.
        version: Version,
    },
    /// At least one key starts with this: the listed prefix, and what follows it up to and with the delimiter.
    CommonPrefix(Vec<u8>),
}

impl Entry {
    /// The key, or the common prefix.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Record { key, .. } | Self::CommonPrefix(key) => key,
        }
    }
}

/// One item of a listing, lent until the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryRef<'s> {
    /// A record. The value is empty when the listing asked for keys only.
    Record {
        /// Its key.
        key: &'s [u8],
        /// Its value.
        value: &'s [u8],
        /// The commit that wrote it.
        version: Version,
    },
    /// At least one key starts with this: the listed prefix, and what follows it up to and with the delimiter.
    CommonPrefix(&'s [u8]),
}

impl<'s> EntryRef<'s> {
    /// The key, or the common prefix.
    #[inline]
    pub fn key(&self) -> &'s [u8] {
        match self {
            Self::Record { key, .. } | Self::CommonPrefix(key) => key,
        }
    }

    /// A copy to keep.
    pub fn to_entry(&self) -> Entry {
        match *self {
            Self::Record { key, value, version } => {
                Entry::Record { key: key.to_vec(), value: value.to_vec(), version }
            }
            Self::CommonPrefix(prefix) => Entry::CommonPrefix(prefix.to_vec()),
        }
    }
}

impl Entry {
    /// The same, lent.
    pub fn as_entry_ref(&self) -> EntryRef<'_> {
        match self {
            Self::Record { key, value, version } => EntryRef::Record { key, value, version: *version },
            Self::CommonPrefix(prefix) => EntryRef::CommonPrefix(prefix),
        }
    }
}

/// What the keys that start with a prefix add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PrefixStats {
    /// How many there are.
    pub keys: u64,
    /// The sum of their lengths, the prefix included in each.
    pub key_bytes: u64,
    /// The sum of the lengths of their values.
    pub value_bytes: u64,
}

/// What a rename does when its target exists: the key, or any key that starts with the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Fails with [`ErrorKind::Exists`](crate::ErrorKind::Exists); nothing is changed.
    Fail,
    /// Replaces the target.
    Replace,
}
