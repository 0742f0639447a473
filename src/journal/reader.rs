//! Replay: what the journal holds after the state in the data file.
//!
//! Decision table; each row has a test of its name. "Fails" is [`ErrorKind::Corrupt`] with file and offset. S, T and D
//! are the policies strict, truncate at first error, skip damaged.
//!
//! | row | found | done |
//! |---|---|---|
//! | 1 | no `journal.wal` | fails |
//! | 2 | header of `journal.wal` invalid | fails; Unsupported if of a newer format |
//! | 3 | `journal.wal` starts after a sequence that the data file does not have | fails |
//! | 4 | records that the data file has | skipped |
//! | 5 | a valid group or record out of sequence | S fails, T ends there, D goes on with higher ones |
//! | 6 | no valid group or record where a later group knows that it was durable | S fails, T ends there, D goes on |
//! | 7 | the same where no group knows that | the torn tail: ends there |
//! | 8 | `journal.next` empty, zeros, or a bad header and zeros | ignored: it was never used |
//! | 9 | `journal.next` with a bad header and more | S fails, T and D ignore it; Unsupported if of a newer format |
//! | 10 | `journal.next` starts at or before the data file's sequence | it alone is read |
//! | 11 | `journal.next` starts where `journal.wal` ends | it is read after that |
//! | 12 | `journal.next` starts elsewhere, as if `journal.wal` were torn | S fails, T ignores it, D reads it |
//! | 13 | a bridge from the last sequence | the sequences up to its own are passed over |

use super::format::{BadHeader, FILE_HEADER_BYTES, FileHeader, RECORD_HEADER_BYTES};
use super::record::{self, Kind, Record};
use super::scan::{End, Scan, last_used};
use super::window::Window;
use super::{CURRENT_NAME, NEXT_NAME, Recovery};
use crate::error::{Error, ErrorKind, Result};
use crate::io::Storage;
use crate::limits::SEQUENCE_RESERVE;

/// What a replay found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The sequence of the last record, or that of the data file if it is higher.
    pub(crate) last_sequence: u64,
    /// No sequence at or above this number was handed out under a mark of the journal; 0 when it has none.
    pub(crate) mark: u64,
    /// Records read.
    pub(crate) records_seen: u64,
    /// Records visited.
    pub(crate) records_applied: u64,
    /// Nothing was torn or damaged, there is one file, and it starts at the data file's sequence: without records in it
    /// the journal may be resumed.
    pub(crate) clean: bool,
    /// Bytes passed over.
    pub(crate) discarded_bytes: u64,
    /// Where the journal can be gone on with: there is one file with records, and nothing in it is damaged or half a group.
    pub(crate) end: Option<FileEnd>,
}

/// Where the last group of a journal file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileEnd {
    /// The sequence after which the file starts, and its last one.
    pub(super) start: u64,
    pub(super) last_sequence: u64,
    /// In bytes.
    pub(super) offset: u64,
    /// Something torn follows that has to be cut off.
    pub(super) torn: bool,
    /// The file is still named `journal.next`, and the one of the right name holds nothing that the data file does not.
    pub(super) is_second: bool,
}

/// Visits the records after sequence `after`, in order.
pub(crate) fn replay(
    storage: &dyn Storage,
    after: u64,
    policy: Recovery,
    visit: &mut dyn FnMut(u64, Record<'_>) -> Result<()>,
) -> Result<Outcome> {
    let outcome = Outcome {
        last_sequence: after,
        mark: 0,
        records_seen: 0,
        records_applied: 0,
        clean: true,
        discarded_bytes: 0,
        end: None,
    };
    let mut replay = Replay { after, policy, visit, outcome, passed_start: 0 };
    let Some(first) = Window::open(storage, CURRENT_NAME)? else {
        return Err(Error::corrupt(storage.describe(CURRENT_NAME), 0, "the journal is missing"));
    };
    match replay.open_second(storage)? {
        Some((second, header)) if header.start <= after => {
            let (second, end) = replay.read(Scan::new(second, header, policy))?;
            replay.note_end(&second, end, header.start, true);
        }
        second => replay.read_both(first, second)?,
    }
    replay.raise_mark();
    Ok(replay.outcome)
}

/// Whether there is a second file: a checkpoint may have been under way.
pub(crate) fn is_switching(storage: &dyn Storage) -> Result<bool> {
    Ok(Window::open(storage, NEXT_NAME)?.is_some())
}

struct Replay<'v> {
    after: u64,
    policy: Recovery,
    visit: &'v mut dyn FnMut(u64, Record<'_>) -> Result<()>,
    outcome: Outcome,
    /// Where a file that was passed over starts.
    passed_start: u64,
}

impl Replay<'_> {
    /// The second file if it was used.
    fn open_second(&mut self, storage: &dyn Storage) -> Result<Option<(Window, FileHeader)>> {
        let Some(mut window) = Window::open(storage, NEXT_NAME)? else { return Ok(None) };
        match read_header(&mut window)? {
            Ok(header) => {
                self.outcome.clean = false;
                Ok(Some((window, header)))
            }
            Err(BadHeader::Newer(format)) => Err(newer(&window, format)),
            Err(BadHeader::Invalid) if is_unused(&mut window)? => Ok(None),
            Err(BadHeader::Invalid) if self.policy == Recovery::Strict => Err(bad_header(&window)),
            Err(BadHeader::Invalid) => {
                self.pass_over(&window);
                Ok(None)
            }
        }
    }

    fn read_both(&mut self, mut first: Window, second: Option<(Window, FileHeader)>) -> Result<()> {
        let header = read_header(&mut first)?.map_err(|bad| match bad {
            BadHeader::Invalid => bad_header(&first),
            BadHeader::Newer(format) => newer(&first, format),
        })?;
        if header.start > self.after {
            let (start, after) = (header.start, self.after);
            let what = format!("the journal starts after sequence {start}, but the data file is at {after}");
            return Err(Error::corrupt(first.path(), 0, what));
        }
        self.outcome.clean &= header.start == self.after;
        let (first, end) = self.read(Scan::new(first, header, self.policy))?;
        let Some((second, header)) = second else {
            self.note_end(&first, end, header.start, false);
            return Ok(());
        };
        if end == End::Cut {
            self.pass_over_from(&second, header.start);
            return Ok(());
        }
        if header.start != first.last_sequence {
            match self.policy {
                Recovery::Strict => {
                    let (last, start) = (first.last_sequence, header.start);
                    let what =
                        format!("the file ends at sequence {last}, but {NEXT_NAME} starts after {start}");
                    return Err(Error::corrupt(first.path(), first.end_offset, what));
                }
                Recovery::TruncateAtFirstError => {
                    self.pass_over_from(&second, header.start);
                    return Ok(());
                }
                Recovery::SkipDamaged => {}
            }
        }
        let mut second = Scan::new(second, header, self.policy);
        second.last_sequence = second.last_sequence.max(first.last_sequence);
        self.read(second).map(drop)
    }

    fn read(&mut self, mut scan: Scan) -> Result<(Scan, End)> {
        let (after, visit, path) = (self.after, &mut *self.visit, scan.path().to_owned());
        let (mut seen, mut applied) = (0, 0);
        let end = scan.run(&mut |offset, sequence, kind: Kind, payload| {
            seen += 1;
            if sequence > after {
                let record =
                    record::decode(kind, payload).map_err(|what| Error::corrupt(&path, offset, what))?;
                visit(sequence, record)?;
                applied += 1;
            }
            Ok(())
        })?;
        let outcome = &mut self.outcome;
        outcome.records_seen += seen;
        outcome.records_applied += applied;
        outcome.last_sequence = outcome.last_sequence.max(scan.last_sequence);
        outcome.mark = outcome.mark.max(scan.mark);
        outcome.discarded_bytes += scan.discarded_bytes;
        outcome.clean &= end == End::Whole && !scan.damaged;
        Ok((scan, end))
    }

    fn note_end(&mut self, scan: &Scan, end: End, start: u64, is_second: bool) {
        // Unless another file was passed over.
        if scan.can_go_on() && self.outcome.discarded_bytes == scan.discarded_bytes {
            let (last_sequence, offset) = (scan.last_sequence, scan.end_offset);
            self.outcome.end =
                Some(FileEnd { start, last_sequence, offset, torn: end == End::Torn, is_second });
        }
    }

    fn pass_over(&mut self, window: &Window) {
        self.outcome.clean = false;
        self.outcome.discarded_bytes += window.file_bytes();
    }

    fn pass_over_from(&mut self, window: &Window, start: u64) {
        self.pass_over(window);
        self.passed_start = start;
    }

    /// What was passed over may have held groups with higher marks than those that were read. A mark is a reserve above the
    /// last record before it, and so many bytes hold only so many records.
    fn raise_mark(&mut self) {
        let outcome = &mut self.outcome;
        if outcome.discarded_bytes > 0 {
            let records_max = outcome.discarded_bytes / RECORD_HEADER_BYTES as u64;
            let last_max = outcome.last_sequence.max(self.passed_start).saturating_add(records_max);
            outcome.mark = outcome.mark.max(last_max.saturating_add(SEQUENCE_RESERVE));
        }
    }
}

fn read_header(window: &mut Window) -> Result<Result<FileHeader, BadHeader>> {
    Ok(window.array::<FILE_HEADER_BYTES>(0)?.map_or(Err(BadHeader::Invalid), FileHeader::decode))
}

fn bad_header(window: &Window) -> Error {
    Error::corrupt(window.path(), 0, "no valid journal header")
}

fn newer(window: &Window, format: u32) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{}: journal format {format} is not known", window.path()))
}

/// Whether there is nothing behind the header.
fn is_unused(window: &mut Window) -> Result<bool> {
    let mut offset = FILE_HEADER_BYTES as u64;
    while offset < window.file_bytes() {
        let chunk = window.get_some(offset)?;
        if last_used(chunk).is_some() {
            return Ok(false);
        }
        offset += chunk.len() as u64;
    }
    Ok(true)
}
