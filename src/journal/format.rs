//! The bytes of a journal file: its header, group headers and record headers. Little endian.
//!
//! A group is what one write puts into the file: its header, records back to back, zeros up to a multiple of 8. The
//! headers of groups and records carry a checksum over the file's salt and the bytes, so nothing written for another
//! file is ever valid in this one.

use super::record::Kind;
use crate::limits::RECORD_BYTES_MAX;

/// First bytes of a journal file.
const FILE_MAGIC: [u8; 8] = *b"RAMUSJNL";
/// Version of the format that this code reads and writes.
const FORMAT: u32 = 1;
/// First bytes of a group.
const GROUP_MAGIC: u32 = 0x5052_474A;

/// Size of the header of a file, in bytes.
pub(super) const FILE_HEADER_BYTES: usize = 32;
/// Size of the header of a group, in bytes.
pub(super) const GROUP_HEADER_BYTES: usize = 40;
/// Size of the header of a record, in bytes.
pub(super) const RECORD_HEADER_BYTES: usize = 17;
/// Groups start at multiples of this offset.
pub(super) const GROUP_ALIGN: usize = 8;

const FILE_FORMAT_AT: usize = 8;
const FILE_CHECKSUM_AT: usize = 12;
const FILE_SALT_AT: usize = 16;
const FILE_START_AT: usize = 24;

const GROUP_CHECKSUM_AT: usize = 4;
const GROUP_PAYLOAD_AT: usize = 8;
const GROUP_RESERVED_AT: usize = 12;
const GROUP_FIRST_AT: usize = 16;
const GROUP_SYNCED_AT: usize = 24;
const GROUP_MARK_AT: usize = 32;

const RECORD_LENGTH_AT: usize = 4;
const RECORD_SEQUENCE_AT: usize = 8;
const RECORD_KIND_AT: usize = 16;

const _: () = {
    assert!(FILE_FORMAT_AT == FILE_MAGIC.len() && FILE_CHECKSUM_AT == FILE_FORMAT_AT + 4);
    assert!(FILE_SALT_AT == FILE_CHECKSUM_AT + 4 && FILE_START_AT == FILE_SALT_AT + 8);
    assert!(FILE_HEADER_BYTES == FILE_START_AT + 8 && FILE_HEADER_BYTES.is_multiple_of(GROUP_ALIGN));
    assert!(GROUP_PAYLOAD_AT == GROUP_CHECKSUM_AT + 4 && GROUP_RESERVED_AT == GROUP_PAYLOAD_AT + 4);
    assert!(GROUP_FIRST_AT == GROUP_RESERVED_AT + 4 && GROUP_SYNCED_AT == GROUP_FIRST_AT + 8);
    assert!(GROUP_MARK_AT == GROUP_SYNCED_AT + 8 && GROUP_HEADER_BYTES == GROUP_MARK_AT + 8);
    assert!(RECORD_LENGTH_AT == 4 && RECORD_SEQUENCE_AT == RECORD_LENGTH_AT + 4);
    assert!(RECORD_KIND_AT == RECORD_SEQUENCE_AT + 8 && RECORD_HEADER_BYTES == RECORD_KIND_AT + 1);
    assert!(RECORD_BYTES_MAX < u32::MAX as usize / 2);
};

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// `bytes` rounded up to where the next group may start.
pub(super) fn align(bytes: u64) -> u64 {
    bytes.next_multiple_of(GROUP_ALIGN as u64)
}

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// Goes into every checksum of the file.
    pub(super) salt: u64,
    /// The sequence after which the file starts.
    pub(super) start: u64,
}

/// Why bytes are no [`FileHeader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Not what was written.
    Invalid,
    /// Of a format that this code does not know.
    Newer(u32),
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..FILE_FORMAT_AT].copy_from_slice(&FILE_MAGIC);
        bytes[FILE_FORMAT_AT..FILE_CHECKSUM_AT].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[FILE_SALT_AT..FILE_START_AT].copy_from_slice(&self.salt.to_le_bytes());
        bytes[FILE_START_AT..].copy_from_slice(&self.start.to_le_bytes());
        let checksum = Self::checksum(&bytes);
        bytes[FILE_CHECKSUM_AT..FILE_SALT_AT].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; FILE_HEADER_BYTES]) -> Result<Self, BadHeader> {
        if bytes[..FILE_FORMAT_AT] != FILE_MAGIC || u32_at(bytes, FILE_CHECKSUM_AT) != Self::checksum(bytes) {
            return Err(BadHeader::Invalid);
        }
        match u32_at(bytes, FILE_FORMAT_AT) {
            FORMAT => Ok(Self { salt: u64_at(bytes, FILE_SALT_AT), start: u64_at(bytes, FILE_START_AT) }),
            format => Err(BadHeader::Newer(format)),
        }
    }

    fn checksum(bytes: &[u8; FILE_HEADER_BYTES]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..FILE_CHECKSUM_AT]);
        hasher.update(&bytes[FILE_SALT_AT..]);
        hasher.finalize()
    }
}

/// The checksum of a file's groups and records: it has the salt in it already.
#[derive(Debug, Clone)]
pub(super) struct Checksum(crc32fast::Hasher);

impl Checksum {
    pub(super) fn new(salt: u64) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&salt.to_le_bytes());
        Self(hasher)
    }

    fn of(&self, parts: [&[u8]; 2]) -> u32 {
        let mut hasher = self.0.clone();
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finalize()
    }
}

/// The header of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHeader {
    /// Bytes of records, without padding.
    pub(super) payload_bytes: u32,
    /// The sequence of the first record; of the next one to come when the group is empty.
    pub(super) first_sequence: u64,
    /// Everything before this offset of the file was durable when the group was written.
    pub(super) synced_offset: u64,
    /// Once the group is durable, sequences below this number may be handed out.
    pub(super) sequence_mark: u64,
}

impl GroupHeader {
    pub(super) fn encode(&self, checksum: &Checksum) -> [u8; GROUP_HEADER_BYTES] {
        let mut bytes = [0; GROUP_HEADER_BYTES];
        bytes[GROUP_PAYLOAD_AT..GROUP_RESERVED_AT].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[GROUP_FIRST_AT..GROUP_SYNCED_AT].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[GROUP_SYNCED_AT..GROUP_MARK_AT].copy_from_slice(&self.synced_offset.to_le_bytes());
        bytes[GROUP_MARK_AT..].copy_from_slice(&self.sequence_mark.to_le_bytes());
        bytes[..GROUP_CHECKSUM_AT].copy_from_slice(&GROUP_MAGIC.to_le_bytes());
        let sum = checksum.of([&bytes[GROUP_PAYLOAD_AT..], &[]]);
        bytes[GROUP_CHECKSUM_AT..GROUP_PAYLOAD_AT].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None when the bytes are no group header of this file.
    pub(super) fn decode(bytes: &[u8; GROUP_HEADER_BYTES], checksum: &Checksum) -> Option<Self> {
        if !Self::may_start(bytes) {
            return None;
        }
        let sum = checksum.of([&bytes[GROUP_PAYLOAD_AT..], &[]]);
        (u32_at(bytes, GROUP_CHECKSUM_AT) == sum && u32_at(bytes, GROUP_RESERVED_AT) == 0).then(|| Self {
            payload_bytes: u32_at(bytes, GROUP_PAYLOAD_AT),
            first_sequence: u64_at(bytes, GROUP_FIRST_AT),
            synced_offset: u64_at(bytes, GROUP_SYNCED_AT),
            sequence_mark: u64_at(bytes, GROUP_MARK_AT),
        })
    }

    /// Whether a group header may start here: a quick look before [`GroupHeader::decode`].
    pub(super) fn may_start(bytes: &[u8]) -> bool {
        bytes.starts_with(&GROUP_MAGIC.to_le_bytes())
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Bytes of the record after its header.
    pub(super) length: usize,
    /// The record's place in the commit order.
    pub(super) sequence: u64,
}

impl RecordHeader {
    /// Reads the fields without checking the record.
    pub(super) fn peek(bytes: &[u8; RECORD_HEADER_BYTES]) -> Self {
        Self { length: u32_at(bytes, RECORD_LENGTH_AT) as usize, sequence: u64_at(bytes, RECORD_SEQUENCE_AT) }
    }
}

/// Appends a record to `out`.
pub(super) fn append_record(
    sequence: u64,
    kind: Kind,
    payload: &[u8],
    checksum: &Checksum,
    out: &mut Vec<u8>,
) {
    let mut header = [0; RECORD_HEADER_BYTES];
    header[RECORD_LENGTH_AT..RECORD_SEQUENCE_AT].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[RECORD_SEQUENCE_AT..RECORD_KIND_AT].copy_from_slice(&sequence.to_le_bytes());
    header[RECORD_KIND_AT] = kind as u8;
    let sum = checksum.of([&header[RECORD_LENGTH_AT..], payload]);
    header[..RECORD_LENGTH_AT].copy_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// Checks the bytes of a whole record; its kind and payload, or none when they are not what was written.
pub(super) fn check_record<'a>(record: &'a [u8], checksum: &Checksum) -> Option<(Kind, &'a [u8])> {
    let covered = record.get(RECORD_LENGTH_AT..)?;
    let kind = Kind::from_byte(*record.get(RECORD_KIND_AT)?)?;
    (u32_at(record, 0) == checksum.of([covered, &[]])).then_some((kind, &record[RECORD_HEADER_BYTES..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_1_is_these_bytes() {
        let header = FileHeader { salt: 0x0102_0304_0506_0708, start: 9 };
        let group =
            GroupHeader { payload_bytes: 20, first_sequence: 10, synced_offset: 32, sequence_mark: 99 };
        let checksum = Checksum::new(header.salt);
        let mut record = Vec::new();
        append_record(10, Kind::Delete, &[1, 2, 3], &checksum, &mut record);
        assert_eq!(hex(&header.encode()), "52414d55534a4e4c010000001adc850d08070605040302010900000000000000");
        assert_eq!(
            hex(&group.encode(&checksum)),
            "4a47525078c5e93614000000000000000a0000000000000020000000000000006300000000000000"
        );
        assert_eq!(hex(&record), "b2b36554030000000a0000000000000002010203");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn headers_come_back_and_no_flipped_bit_passes() {
        let header = FileHeader { salt: 77, start: u64::MAX };
        let group =
            GroupHeader { payload_bytes: 20, first_sequence: 1 << 40, synced_offset: 32, sequence_mark: 99 };
        let checksum = Checksum::new(header.salt);
        let mut record = Vec::new();
        append_record(10, Kind::Put, b"payload", &checksum, &mut record);
        assert_eq!(FileHeader::decode(&header.encode()), Ok(header));
        assert_eq!(GroupHeader::decode(&group.encode(&checksum), &checksum), Some(group));
        assert_eq!(GroupHeader::decode(&group.encode(&checksum), &Checksum::new(78)), None);
        assert_eq!(check_record(&record, &checksum), Some((Kind::Put, &b"payload"[..])));
        assert_eq!(check_record(&record, &Checksum::new(78)), None);
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&bytes), Err(BadHeader::Invalid));
        }
        for bit in 0..GROUP_HEADER_BYTES * 8 {
            let mut bytes = group.encode(&checksum);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHeader::decode(&bytes, &checksum), None);
        }
        for bit in 0..record.len() * 8 {
            let mut bytes = record.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check_record(&bytes, &checksum), None);
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = FileHeader { salt: 1, start: 2 }.encode();
        bytes[FILE_FORMAT_AT] = 2;
        let checksum = FileHeader::checksum(&bytes);
        bytes[FILE_CHECKSUM_AT..FILE_SALT_AT].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(FileHeader::decode(&bytes), Err(BadHeader::Newer(2)));
    }
}
