//! Reading one journal file: its records in order, and the verdict on what is not a record.
//!
//! Where a group or record should be and is not, every valid group behind that place is asked how much of the file was
//! durable when it was written. A place before the highest answer is damaged; from there on it is the torn tail of the
//! last writes, or the end.

use super::Recovery;
use super::format::{
    Checksum, FILE_HEADER_BYTES, FileHeader, GROUP_ALIGN, GROUP_HEADER_BYTES, GroupHeader,
    RECORD_HEADER_BYTES, RecordHeader, align, check_record,
};
use super::record::{Kind, decode_bridge};
use super::window::Window;
use crate::error::{Error, Result};
use crate::limits::RECORD_BYTES_MAX;

/// Called with offset, sequence, kind and payload of each record.
pub(super) type Visit<'v> = dyn FnMut(u64, u64, Kind, &[u8]) -> Result<()> + 'v;

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its last group; zeros follow or nothing.
    Whole,
    /// With writes that a crash cut short.
    Torn,
    /// At damage, by choice.
    Cut,
}

/// What stands where a record should be.
enum Found {
    /// The record ends here.
    Record(u64),
    /// No valid record.
    Nothing,
    /// A valid record with a sequence that cannot be here.
    Stranger,
}

/// What follows a place without a record.
#[derive(Debug, Clone, Copy)]
struct Survey {
    /// What the groups there say was durable.
    synced_offset: u64,
    /// End of the last byte that is not zero.
    used: u64,
}

#[derive(Debug)]
pub(super) struct Scan {
    window: Window,
    checksum: Checksum,
    policy: Recovery,
    survey: Option<Survey>,
    end: End,
    /// Where reading ended.
    pub(super) end_offset: u64,
    /// The sequence of the last record, or the start of the file.
    pub(super) last_sequence: u64,
    /// The highest mark of any group.
    pub(super) mark: u64,
    /// Bytes that were not zero and not read as records.
    pub(super) discarded_bytes: u64,
    /// Whether damage was passed over.
    pub(super) damaged: bool,
    /// Whether reading ended inside a group.
    in_group: bool,
}

impl Scan {
    pub(super) fn new(window: Window, header: FileHeader, policy: Recovery) -> Self {
        Self {
            window,
            checksum: Checksum::new(header.salt),
            policy,
            survey: None,
            end: End::Whole,
            end_offset: FILE_HEADER_BYTES as u64,
            last_sequence: header.start,
            mark: 0,
            discarded_bytes: 0,
            damaged: false,
            in_group: false,
        }
    }

    /// Visits all records.
    pub(super) fn run(&mut self, visit: &mut Visit<'_>) -> Result<End> {
        let mut offset = Some(FILE_HEADER_BYTES as u64);
        while let Some(at) = offset {
            self.end_offset = at;
            offset = match self.group_at(at)? {
                Some(group) => self.group(at, group, visit)?,
                None => self.nothing_at(at, visit)?,
            };
        }
        Ok(self.end)
    }

    /// Whether the file could be written on from where reading ended, once it is cut there.
    pub(super) fn can_go_on(&self) -> bool {
        self.end != End::Cut && !self.damaged && !self.in_group
    }

    pub(super) fn path(&self) -> &str {
        self.window.path()
    }

    fn skips(&self) -> bool {
        self.policy == Recovery::SkipDamaged
    }

    /// A group that lies wholly in the file.
    fn group_at(&mut self, offset: u64) -> Result<Option<GroupHeader>> {
        let file_bytes = self.window.file_bytes();
        let Some(bytes) = self.window.array::<GROUP_HEADER_BYTES>(offset)? else { return Ok(None) };
        let group = GroupHeader::decode(bytes, &self.checksum);
        Ok(group.filter(|group| records_of(offset, group).1 <= file_bytes))
    }

    /// Reads a group; the place of the next one.
    fn group(&mut self, offset: u64, group: GroupHeader, visit: &mut Visit<'_>) -> Result<Option<u64>> {
        self.mark = self.mark.max(group.sequence_mark);
        if group.first_sequence != self.last_sequence + 1 && !self.skips() {
            return self.damage_at(offset, "a group that belongs elsewhere", visit);
        }
        let (mut at, end) = records_of(offset, &group);
        while at < end {
            match self.record_at(at, end, visit)? {
                Found::Record(next) => at = next,
                Found::Nothing => {
                    self.in_group = true;
                    return self.nothing_at(at, visit);
                }
                Found::Stranger => return self.damage_at(at, "a record that belongs elsewhere", visit),
            }
        }
        Ok(Some(align(end)))
    }

    fn record_at(&mut self, at: u64, end: u64, visit: &mut Visit<'_>) -> Result<Found> {
        let Some((header, next)) = self.header_at(at, end)? else { return Ok(Found::Nothing) };
        let skips = self.skips();
        let Some(bytes) = self.window.get(at, RECORD_HEADER_BYTES + header.length)? else {
            return Ok(Found::Nothing);
        };
        let Some((kind, payload)) = check_record(bytes, &self.checksum) else { return Ok(Found::Nothing) };
        let (last, is_bridge) = (self.last_sequence, kind == Kind::Bridge);
        let follows = header.sequence == last + 1 || (is_bridge && decode_bridge(payload) == Some(last));
        if (follows || skips) && header.sequence > last {
            if !is_bridge {
                visit(at, header.sequence, kind, payload)?;
            }
            self.last_sequence = header.sequence;
        } else if !skips {
            return Ok(Found::Stranger);
        }
        Ok(Found::Record(next))
    }

    /// The unchecked header of a record that would end at or before `end`, and where it would end.
    fn header_at(&mut self, at: u64, end: u64) -> Result<Option<(RecordHeader, u64)>> {
        let Some(bytes) = self.window.array::<RECORD_HEADER_BYTES>(at)? else { return Ok(None) };
        let header = RecordHeader::peek(bytes);
        if header.length > RECORD_BYTES_MAX {
            return Ok(None);
        }
        let next = at + (RECORD_HEADER_BYTES + header.length) as u64;
        Ok((next <= end).then_some((header, next)))
    }

    /// Decides about a place without a group or record.
    fn nothing_at(&mut self, at: u64, visit: &mut Visit<'_>) -> Result<Option<u64>> {
        self.end_offset = at;
        let survey = self.survey(at)?;
        if at < survey.synced_offset {
            return self.damage_at(at, "a record that was durable is not there", visit);
        }
        let left = survey.used.saturating_sub(at);
        self.discarded_bytes += left;
        self.end = if left > 0 { End::Torn } else { End::Whole };
        Ok(None)
    }

    fn damage_at(&mut self, at: u64, what: &str, visit: &mut Visit<'_>) -> Result<Option<u64>> {
        self.end_offset = at;
        self.damaged = true;
        match self.policy {
            Recovery::Strict => Err(Error::corrupt(self.window.path(), at, what)),
            Recovery::TruncateAtFirstError => {
                self.discarded_bytes += self.survey(at)?.used.saturating_sub(at);
                self.end = End::Cut;
                Ok(None)
            }
            Recovery::SkipDamaged => self.salvage(at, visit),
        }
    }

    /// Reads what valid records there are up to the next valid group; the place of that.
    fn salvage(&mut self, mut at: u64, visit: &mut Visit<'_>) -> Result<Option<u64>> {
        let next = self.next_group(align(at + 1))?;
        let end = next.unwrap_or(self.window.file_bytes());
        let sequence_end = self.last_sequence + 2 + (end - at.min(end)) / RECORD_HEADER_BYTES as u64;
        while at < end {
            let header = self.header_at(at, end)?.map(|(header, _)| header.sequence);
            let plausible =
                header.is_some_and(|sequence| (self.last_sequence + 1..sequence_end).contains(&sequence));
            match if plausible { self.record_at(at, end, visit)? } else { Found::Nothing } {
                Found::Record(next) => at = next,
                Found::Nothing | Found::Stranger => {
                    at += 1;
                    self.discarded_bytes += 1;
                }
            }
        }
        Ok(next)
    }

    fn next_group(&mut self, mut offset: u64) -> Result<Option<u64>> {
        while offset < self.window.file_bytes() {
            let chunk = self.window.get_some(offset)?;
            let places = chunk.chunks(GROUP_ALIGN).position(GroupHeader::may_start);
            let Some(place) = places else {
                offset += chunk.len() as u64;
                continue;
            };
            offset += (place * GROUP_ALIGN) as u64;
            if self.group_at(offset)?.is_some() {
                return Ok(Some(offset));
            }
            offset += GROUP_ALIGN as u64;
        }
        Ok(None)
    }

    /// Looks at all of the file from `at`. Done once: a group between two places says nothing about the later one, as
    /// what it knows to be durable ends before it.
    fn survey(&mut self, at: u64) -> Result<Survey> {
        if let Some(survey) = self.survey {
            return Ok(survey);
        }
        let mut survey = Survey { synced_offset: 0, used: self.used_end(at)? };
        let mut offset = align(at);
        while let Some(found) = self.next_group(offset)? {
            if let Some(group) = self.group_at(found)? {
                survey.synced_offset = survey.synced_offset.max(group.synced_offset);
                self.mark = self.mark.max(group.sequence_mark);
            }
            offset = found + GROUP_ALIGN as u64;
        }
        self.survey = Some(survey);
        Ok(survey)
    }

    fn used_end(&mut self, mut offset: u64) -> Result<u64> {
        let mut used = offset;
        while offset < self.window.file_bytes() {
            let chunk = self.window.get_some(offset)?;
            if let Some(last) = last_used(chunk) {
                used = offset + last as u64 + 1;
            }
            offset += chunk.len() as u64;
        }
        Ok(used)
    }
}

/// Index of the last byte that is not zero.
pub(super) fn last_used(bytes: &[u8]) -> Option<usize> {
    let pieces = bytes.chunks(64).rposition(|piece| piece.iter().fold(0, |all, byte| all | byte) != 0)?;
    let end = bytes.len().min((pieces + 1) * 64);
    bytes[..end].iter().rposition(|byte| *byte != 0)
}

/// Where the records of a group start and end.
fn records_of(offset: u64, group: &GroupHeader) -> (u64, u64) {
    let start = offset + GROUP_HEADER_BYTES as u64;
    (start, start + u64::from(group.payload_bytes))
}
