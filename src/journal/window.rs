//! A journal file that is read through a window of bounded size.

use crate::error::{Error, Result};
use crate::io::{OpenMode, Storage, StorageFile};
use std::sync::Arc;

/// Size of the window, in bytes; it is larger only for a record that is.
pub(super) const WINDOW_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn StorageFile>,
    path: String,
    file_bytes: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// None when there is no such file.
    pub(super) fn open(storage: &dyn Storage, name: &str) -> Result<Option<Self>> {
        let path = storage.describe(name);
        let wrap = |error| Error::io(format_args!("opening {path}"), error);
        let file = match storage.open(name, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrap(error)),
        };
        let file_bytes = file.len().map_err(wrap)?;
        Ok(Some(Self { file, path, file_bytes, start: 0, bytes: Vec::new() }))
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// `length` bytes from `offset`; none when the file ends before that.
    pub(super) fn get(&mut self, offset: u64, length: usize) -> Result<Option<&[u8]>> {
        let Some(end) = offset.checked_add(length as u64).filter(|end| *end <= self.file_bytes) else {
            return Ok(None);
        };
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            self.load(offset, length)?;
        }
        let at = (offset - self.start) as usize;
        Ok(self.bytes.get(at..at + length))
    }

    /// As many bytes from `offset` as the file has, up to a window.
    pub(super) fn get_some(&mut self, offset: u64) -> Result<&[u8]> {
        let length = self.file_bytes.saturating_sub(offset).min(WINDOW_BYTES as u64) as usize;
        Ok(self.get(offset, length)?.unwrap_or(&[]))
    }

    /// The same as an array.
    pub(super) fn array<const N: usize>(&mut self, offset: u64) -> Result<Option<&[u8; N]>> {
        Ok(self.get(offset, N)?.and_then(|bytes| bytes.first_chunk()))
    }

    fn load(&mut self, offset: u64, length: usize) -> Result<()> {
        let wanted = (self.file_bytes - offset).min(length.max(WINDOW_BYTES) as u64) as usize;
        self.bytes.resize(wanted, 0);
        self.start = offset;
        self.file.read_at(offset, &mut self.bytes).map_err(|error| {
            self.bytes.clear();
            Error::io(format_args!("reading {} at offset {offset}", self.path), error)
        })
    }
}
