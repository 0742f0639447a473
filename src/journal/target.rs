//! A journal file that is written to.
//!
//! Invariants: `header <= synced <= offset <= allocated`; bytes from `offset` on are zeros. Only the leader has it.

use super::format::{
    Checksum, FILE_HEADER_BYTES, FileHeader, GROUP_HEADER_BYTES, GroupHeader, RECORD_HEADER_BYTES, align,
};
use super::reader::FileEnd;
use super::tail::Group;
use super::{CURRENT_NAME, NEXT_NAME};
use crate::error::{Error, ErrorKind, Result};
use crate::io::{OpenMode, Storage, StorageFile};
use crate::limits::SEQUENCE_RESERVE;
use crate::sync::random_u64;
use std::sync::Arc;

/// Up to so many bytes from sync to sync a file grows by zeros that are written.
const OFTEN_BYTES: u64 = 128 << 10;

#[derive(Debug)]
pub(super) struct Target {
    file: Arc<dyn StorageFile>,
    path: String,
    salt: u64,
    pub(super) generation: u64,
    offset: u64,
    synced: u64,
    allocated: u64,
    /// The mark in the last group.
    mark: u64,
    /// A moving average of the bytes that come from sync to sync.
    stride: u64,
}

impl Target {
    /// Makes an empty file `journal.next`, after a leftover of that name is gone for good: a crash must not be able to
    /// mix old bytes with new ones.
    pub(super) fn create_next(storage: &dyn Storage, generation: u64, stride: u64) -> Result<Self> {
        remove_next(storage)?;
        let path = storage.describe(NEXT_NAME);
        let file = storage
            .open(NEXT_NAME, OpenMode::Create)
            .map_err(|error| Error::io(format_args!("creating {path}"), error))?;
        Ok(Self { generation, ..Self::of(file, path, random_u64(), stride) })
    }

    fn of(file: Arc<dyn StorageFile>, path: String, salt: u64, stride: u64) -> Self {
        let [generation, offset, synced, allocated, mark] = [0; 5];
        Self { file, path, salt, generation, offset, synced, allocated, mark, stride }
    }

    /// Takes up a journal without records; what lies behind its header is cut off.
    pub(super) fn resume(storage: &dyn Storage, start: u64, stride: u64) -> Result<Self> {
        let mut target = Self::take_up(storage, start, stride)?;
        target.cut_to_header()?;
        Ok(target)
    }

    /// Takes up a journal that was read to this end: all of it is durable then, and nothing but zeros follows.
    pub(super) fn go_on(storage: &dyn Storage, end: &FileEnd, stride: u64) -> Result<Self> {
        let mut target = Self::take_up(storage, end.start, stride)?;
        let cut = || {
            if end.torn {
                target.file.set_len(end.offset)?;
            }
            target.file.sync()?;
            target.file.len()
        };
        let allocated = cut().map_err(|error| target.wrap(error))?;
        (target.offset, target.synced, target.allocated) =
            (end.offset, end.offset, allocated.max(end.offset));
        Ok(target)
    }

    fn take_up(storage: &dyn Storage, start: u64, stride: u64) -> Result<Self> {
        let path = storage.describe(CURRENT_NAME);
        let wrap = |error| Error::io(format_args!("opening {path}"), error);
        let file = storage.open(CURRENT_NAME, OpenMode::ReadWrite).map_err(wrap)?;
        let mut bytes = [0; FILE_HEADER_BYTES];
        file.read_at(0, &mut bytes).map_err(wrap)?;
        let header = FileHeader::decode(&bytes)
            .ok()
            .filter(|header| header.start == start)
            .ok_or_else(|| Error::corrupt(&path, 0, format_args!("no header of a journal after {start}")))?;
        Ok(Self::of(file, path, header.salt, stride))
    }

    pub(super) fn checksum(&self) -> Checksum {
        Checksum::new(self.salt)
    }

    /// Free space when nothing but the header is in the file.
    pub(super) fn capacity(&self) -> u64 {
        self.allocated.saturating_sub(FILE_HEADER_BYTES as u64)
    }

    /// Space behind the last group.
    pub(super) fn free_bytes(&self) -> u64 {
        self.allocated - self.offset
    }

    /// Whether there is no group in it.
    pub(super) fn holds_no_group(&self) -> bool {
        self.offset == FILE_HEADER_BYTES as u64
    }

    /// Opens the file for groups: writes its header and syncs it.
    pub(super) fn start_after(&mut self, start: u64) -> Result<()> {
        debug_assert!(self.offset == 0);
        let header = FileHeader { salt: self.salt, start }.encode();
        self.file.write_at(0, &header).and_then(|()| self.file.sync()).map_err(|error| self.wrap(error))?;
        self.offset = header.len() as u64;
        self.synced = self.offset;
        self.allocated = self.allocated.max(self.offset);
        Ok(())
    }

    /// Writes a group; the bytes it took.
    pub(super) fn write(&mut self, group: &mut Group) -> Result<u64> {
        let mark = group.last_sequence + SEQUENCE_RESERVE;
        let payload_bytes = u32::try_from(group.bytes.len() - GROUP_HEADER_BYTES)
            .map_err(|_| Error::new(ErrorKind::Io, "too much was appended for one group of the journal"))?;
        let header = GroupHeader {
            payload_bytes,
            first_sequence: group.first_sequence,
            synced_offset: self.synced,
            sequence_mark: mark,
        };
        group.bytes[..GROUP_HEADER_BYTES].copy_from_slice(&header.encode(&self.checksum()));
        group.bytes.resize(align(group.bytes.len() as u64) as usize, 0);
        let used = group.bytes.len() as u64;
        debug_assert!(used <= group.charged && self.offset + used <= self.allocated);
        debug_assert!(payload_bytes == 0 || payload_bytes as usize >= RECORD_HEADER_BYTES);
        self.file.write_at(self.offset, &group.bytes).map_err(|error| self.wrap(error))?;
        self.offset += used;
        self.mark = mark;
        Ok(used)
    }

    /// Makes all groups durable; the mark they carry.
    pub(super) fn sync(&mut self) -> Result<u64> {
        if self.synced < self.offset {
            self.file.sync().map_err(|error| self.wrap(error))?;
            self.stride = self.stride.midpoint(self.offset - self.synced);
            self.synced = self.offset;
        }
        Ok(self.mark)
    }

    /// How many bytes come from sync to sync, as of late.
    pub(super) fn stride(&self) -> u64 {
        self.stride
    }

    /// Appends `bytes` that read as zeros. When it fails the file is as before, but for zeros behind its end.
    ///
    /// The zeros are written if the file is synced often: where a file system has only set blocks aside, the first sync of what is put
    /// there has to note that they are in use. Else that would only write everything twice.
    pub(super) fn grow(&mut self, bytes: u64, sync: bool) -> Result<()> {
        let grown = match self.stride <= OFTEN_BYTES {
            true => self.file.write_zeros(self.allocated, bytes),
            false => self.file.allocate(self.allocated, bytes),
        };
        grown
            .and_then(|()| if sync { self.file.sync() } else { Ok(()) })
            .map_err(|error| self.wrap(error))?;
        self.allocated += bytes;
        Ok(())
    }

    /// Gives back what a growth that failed left behind the end.
    pub(super) fn give_back(&self) {
        // If it cannot be, it is taken by the next growth, which writes it anew.
        let _ = self.file.set_len(self.allocated);
    }

    /// Gives the last `bytes`, which are free, back to the file system.
    pub(super) fn shrink(&mut self, bytes: u64) -> Result<()> {
        let end = self.allocated - bytes;
        debug_assert!(self.offset <= end);
        self.file.set_len(end).and_then(|()| self.file.sync()).map_err(|error| self.wrap(error))?;
        self.allocated = end;
        Ok(())
    }

    /// Cuts a file without groups to its header.
    pub(super) fn cut_to_header(&mut self) -> Result<()> {
        self.cut().map_err(|error| self.wrap(error))
    }

    fn cut(&mut self) -> std::io::Result<()> {
        let header_bytes = FILE_HEADER_BYTES as u64;
        if self.file.len()? != header_bytes {
            self.file.set_len(header_bytes)?;
            self.file.sync()?;
        }
        (self.offset, self.synced, self.allocated) = (header_bytes, header_bytes, header_bytes);
        Ok(())
    }

    /// The file has the name of the journal now.
    pub(super) fn was_installed(&mut self, storage: &dyn Storage) {
        self.path = storage.describe(CURRENT_NAME);
    }

    fn wrap(&self, error: std::io::Error) -> Error {
        Error::io(format_args!("writing {}", self.path), error)
    }
}

/// Makes sure that there is no `journal.next`.
pub(super) fn remove_next(storage: &dyn Storage) -> Result<()> {
    let path = storage.describe(NEXT_NAME);
    match storage.remove(NEXT_NAME) {
        Ok(()) => storage.sync_dir().map_err(|error| Error::io(format_args!("syncing {path}"), error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(format_args!("removing {path}"), error)),
    }
}

/// Gives `journal.next` its name for good.
pub(super) fn install(storage: &dyn Storage) -> Result<()> {
    storage.rename(NEXT_NAME, CURRENT_NAME).and_then(|()| storage.sync_dir()).map_err(|error| {
        Error::io(format_args!("renaming {} to {CURRENT_NAME}", storage.describe(NEXT_NAME)), error)
    })
}

/// Whether a failure left everything as it was.
pub(super) fn is_harmless(error: &Error) -> bool {
    error.kind() == ErrorKind::NoSpace
}
