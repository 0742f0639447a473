//! Numbers for new inodes: each is given once, also after a crash.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ramus::{Error, ErrorKind, Result, Tree};

use super::record::number;

/// So many numbers are reserved by one commit. What is left of them at the end is never used.
const RESERVE: u64 = 1024;
const NEXT: &[u8] = b"next inode";

/// Hands out numbers that a commit has reserved before. So the counter is no record that every creation writes, which
/// would put all of them in one queue.
pub struct InodeNumbers {
    counters: Tree,
    reserved: Mutex<Range<u64>>,
}

impl InodeNumbers {
    pub fn new(counters: Tree) -> Self {
        Self { counters, reserved: Mutex::new(0..0) }
    }

    pub fn next(&self) -> Result<u64> {
        // A range stays right even if a thread panicked over it.
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(inode) = reserved.next() {
                return Ok(inode);
            }
            *reserved = self.reserve()?;
        }
    }

    fn reserve(&self) -> Result<Range<u64>> {
        loop {
            let record = self.counters.get_record(NEXT)?;
            let first = record.as_ref().map_or(Some(1), |record| number(&record.value, 0));
            let first =
                first.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the inode counter is no number"))?;
            let range = first..first + RESERVE;
            let done = match record {
                None => self.counters.put_if_absent(NEXT, range.end.to_le_bytes()),
                Some(record) => {
                    self.counters.compare_and_put(NEXT, record.version, range.end.to_le_bytes()).map(|_| true)
                }
            };
            match done {
                Ok(true) => return Ok(range),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }
}
