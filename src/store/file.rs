//! The data file with errors that name it. Offsets are in units.

use crate::error::{Error, ErrorKind, Result};
use crate::io::{OpenMode, Storage, StorageFile};
use crate::limits::BLOCK_BYTES;
use std::io;
use std::sync::Arc;

/// The file's name in its directory.
pub(super) const NAME: &str = "data.ramus";

/// The file and what it is called in messages.
pub(super) struct DataFile {
    file: Arc<dyn StorageFile>,
    name: String,
}

/// The offset of `unit` in bytes.
pub(super) fn offset(unit: u32) -> u64 {
    u64::from(unit) * BLOCK_BYTES as u64
}

impl DataFile {
    /// Opens the data file.
    pub(super) fn open(storage: &dyn Storage, mode: OpenMode) -> Result<Self> {
        let name = storage.describe(NAME);
        let file =
            storage.open(NAME, mode).map_err(|source| Error::io(format_args!("opening {name}"), source))?;
        Ok(Self { file, name })
    }

    /// What the file is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Something at `unit` is not what was written.
    pub(super) fn corrupt(&self, unit: u32, what: impl std::fmt::Display) -> Error {
        Error::corrupt(&self.name, offset(unit), what)
    }

    /// Fills `bytes` from `unit` on; a file that is too short is corrupt.
    pub(super) fn read(&self, unit: u32, bytes: &mut [u8]) -> Result<()> {
        self.file.read_at(offset(unit), bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt(unit, "the file is shorter than that"),
            _ => Error::io(format_args!("reading {} at offset {}", self.name, offset(unit)), source),
        })
    }

    /// Writes `bytes` from `unit` on.
    pub(super) fn write(&self, unit: u32, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset(unit), bytes).map_err(|source| {
            Error::io(format_args!("writing {} at offset {}", self.name, offset(unit)), source)
        })
    }

    /// Makes the file longer: it must end at `unit`.
    pub(super) fn allocate(&self, unit: u32, units: u32) -> Result<()> {
        self.file.allocate(offset(unit), offset(units)).map_err(|source| {
            Error::io(format_args!("growing {} to {}", self.name, offset(unit) + offset(units)), source)
        })
    }

    /// Makes all writes durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|source| Error::io(format_args!("syncing {}", self.name), source))
    }

    /// Cuts the file behind `units`.
    pub(super) fn cut(&self, units: u32) -> Result<()> {
        self.file
            .set_len(offset(units))
            .map_err(|source| Error::io(format_args!("cutting {} to {}", self.name, offset(units)), source))
    }

    /// Length of the file in whole units.
    pub(super) fn units(&self) -> Result<u32> {
        let bytes =
            self.file.len().map_err(|source| Error::io(format_args!("measuring {}", self.name), source))?;
        u32::try_from(bytes / BLOCK_BYTES as u64).map_err(|_| {
            let what = format_args!("{}: {bytes} bytes are more than a data file can have", self.name);
            Error::new(ErrorKind::Unsupported, what)
        })
    }
}
