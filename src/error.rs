//! The one error type of the crate.

use std::fmt;
use std::sync::Arc;

/// Result of every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller has to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong (a limit, an empty key, an inverted range, a database that was closed): fix the call. Nothing was
    /// changed.
    InvalidInput,
    /// What the call names does not exist. Nothing was changed.
    NotFound,
    /// What the call would make exists already. Nothing was changed.
    Exists,
    /// An expectation did not hold: read again, decide again, retry. Nothing was changed.
    Conflict,
    /// The database is locked by another process or handle: close that one or wait.
    Busy,
    /// No space on the device (or no blob id left): free space and retry. Nothing was changed.
    NoSpace,
    /// Bytes on the device are not what was written: restore from a backup. Other data stays readable.
    Corrupt,
    /// An earlier write or sync failed: drop the handle and open again, which recovers.
    Poisoned,
    /// The database was opened read-only, or lies on a read-only file system.
    ReadOnly,
    /// The file is of a format, or the call needs a feature, that this build does not have.
    Unsupported,
    /// The operating system reported an error; see the source.
    Io,
}

/// An error: its [`kind`](Error::kind) says what to do, its message names the file, offset, key or limit.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: Box<str>,
    source: Option<Arc<std::io::Error>>,
}

impl Error {
    /// Makes an error of `kind` with a message for people.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string().into_boxed_str(), source: None }
    }

    /// Wraps an operating system error; `doing` names the action and the file. A full disk or quota becomes
    /// [`ErrorKind::NoSpace`], a missing file [`ErrorKind::NotFound`], a read-only file system [`ErrorKind::ReadOnly`], a lock in
    /// the way [`ErrorKind::Busy`], everything else [`ErrorKind::Io`].
    pub fn io(doing: impl fmt::Display, source: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let kind = match source.kind() {
            K::StorageFull | K::QuotaExceeded => ErrorKind::NoSpace,
            K::NotFound => ErrorKind::NotFound,
            K::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            K::WouldBlock => ErrorKind::Busy,
            _ => ErrorKind::Io,
        };
        Self { kind, message: format!("{doing}: {source}").into_boxed_str(), source: Some(Arc::new(source)) }
    }

    /// Bytes at `offset` of `file` are not what was written there.
    pub fn corrupt(file: impl fmt::Display, offset: u64, what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Corrupt, format!("{file}: corrupt at offset {offset}: {what}"))
    }

    /// The call breaks a limit or a rule.
    pub fn invalid(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidInput, what)
    }

    /// The same, its message behind a part that says where.
    pub(crate) fn within(self, place: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message).into_boxed_str(), ..self }
    }

    /// What the caller has to do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
