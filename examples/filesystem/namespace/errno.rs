//! What a call answers when it does not do its work.

use std::fmt;

/// The error numbers of POSIX that a namespace gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errno {
    /// The root cannot be renamed or removed.
    Busy,
    /// The name is taken.
    Exists,
    /// A directory cannot be moved into itself; `.` and `..` are not looked up here.
    Invalid,
    /// The call is not for directories.
    IsDirectory,
    /// A name is longer than 255 bytes, or a path than 4,095.
    NameTooLong,
    /// Nothing has this name.
    NoEntry,
    /// What should be a directory is none.
    NotDirectory,
    /// The directory has entries.
    NotEmpty,
    /// A directory cannot have a second name.
    NotPermitted,
}

impl Errno {
    /// Its name in C.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "EBUSY",
            Self::Exists => "EEXIST",
            Self::Invalid => "EINVAL",
            Self::IsDirectory => "EISDIR",
            Self::NameTooLong => "ENAMETOOLONG",
            Self::NoEntry => "ENOENT",
            Self::NotDirectory => "ENOTDIR",
            Self::NotEmpty => "ENOTEMPTY",
            Self::NotPermitted => "EPERM",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A call was refused by the rules, or the database failed. Nothing was changed by a refused one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Refused(Errno),
    #[error("the database: {0}")]
    Database(#[from] ramus::Error),
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl Error {
    /// The error number; None if it was the database that failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(errno) => Some(*errno),
            Self::Database(_) => None,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
