//! The superblock: the one block that names a checkpoint. Generation `n` stands in slot `n % 2`, so the one before it
//! survives the write of the next. The places of magic, format, flags and checksum are the same in every format.

use super::block::{HEIGHT_MAX, Image, Place};
use super::bytes::{put_u32, put_u64, u32_at, u64_at};
use crate::limits::{BLOBS_MAX, BLOCK_BYTES};
use xxhash_rust::xxh3::xxh3_64;

/// The format that this build reads and writes.
pub(super) const FORMAT: u32 = 1;
/// How many slots the file begins with, one block each.
pub(super) const SLOTS: usize = 2;
const MAGIC: &[u8; 8] = b"RAMUSDAT";

const FORMAT_AT: usize = 8;
const FLAGS_AT: usize = 12;
const DATABASE_AT: usize = 16;
const GENERATION_AT: usize = 24;
const SEQUENCE_AT: usize = 32;
const SEQUENCE_MARK_AT: usize = 40;
const ROOT_UNIT_AT: usize = 48;
const ROOT_HEIGHT_AT: usize = 52;
const ROOT_HASH_AT: usize = 56;
const ID_BOUND_AT: usize = 64;
const CATALOG_UNIT_AT: usize = 68;
const CATALOG_BYTES_AT: usize = 72;
const FILE_UNITS_AT: usize = 76;
const CATALOG_HASH_AT: usize = 80;
const RESERVED_AT: usize = 88;
const CHECKSUM_AT: usize = BLOCK_BYTES - 8;

const _: () = {
    assert!(FORMAT_AT == MAGIC.len() && FLAGS_AT == FORMAT_AT + 4 && DATABASE_AT == FLAGS_AT + 4);
    assert!(GENERATION_AT == DATABASE_AT + 8 && SEQUENCE_AT == GENERATION_AT + 8);
    assert!(SEQUENCE_MARK_AT == SEQUENCE_AT + 8 && ROOT_UNIT_AT == SEQUENCE_MARK_AT + 8);
    assert!(ROOT_HEIGHT_AT == ROOT_UNIT_AT + 4 && ROOT_HASH_AT == ROOT_HEIGHT_AT + 4);
    assert!(ID_BOUND_AT == ROOT_HASH_AT + 8 && CATALOG_UNIT_AT == ID_BOUND_AT + 4);
    assert!(CATALOG_BYTES_AT == CATALOG_UNIT_AT + 4 && FILE_UNITS_AT == CATALOG_BYTES_AT + 4);
    assert!(CATALOG_HASH_AT == FILE_UNITS_AT + 4 && RESERVED_AT == CATALOG_HASH_AT + 8);
    assert!(RESERVED_AT < CHECKSUM_AT);
};

/// What a checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Random, made with the database.
    pub(super) database_id: u64,
    /// The number of this checkpoint, from 1.
    pub(super) generation: u64,
    /// The last commit that the checkpoint holds.
    pub(super) sequence: u64,
    /// No commit above this one has been acknowledged without a newer durable mark.
    pub(super) sequence_mark: u64,
    /// Levels of the page table; 0 when it is empty.
    pub(super) height: u8,
    /// The top block of the page table, all zero when it is empty.
    pub(super) root: Place,
    /// Ids from here on were never used.
    pub(super) id_bound: u32,
    /// The catalog, all zero when it is empty.
    pub(super) catalog: Image,
    /// No extent of the checkpoint ends behind this unit.
    pub(super) file_units: u32,
}

/// What a slot holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Zeros: never written.
    Empty,
    /// No superblock, for the given reason.
    Damaged(&'static str),
    /// A superblock that this build cannot read, of this format with these flags.
    Newer {
        /// Its format.
        format: u32,
        /// Its flags.
        flags: u32,
    },
    /// A superblock.
    Valid(Superblock),
}

impl Superblock {
    /// The slot that this generation is written to.
    pub(super) fn slot(&self) -> usize {
        (self.generation % SLOTS as u64) as usize
    }

    /// The block as it stands in the file.
    pub(super) fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[..MAGIC.len()].copy_from_slice(MAGIC);
        put_u32(&mut block, FORMAT_AT, FORMAT);
        put_u64(&mut block, DATABASE_AT, self.database_id);
        put_u64(&mut block, GENERATION_AT, self.generation);
        put_u64(&mut block, SEQUENCE_AT, self.sequence);
        put_u64(&mut block, SEQUENCE_MARK_AT, self.sequence_mark);
        put_u32(&mut block, ROOT_UNIT_AT, self.root.unit);
        put_u32(&mut block, ROOT_HEIGHT_AT, self.height.into());
        put_u64(&mut block, ROOT_HASH_AT, self.root.hash);
        put_u32(&mut block, ID_BOUND_AT, self.id_bound);
        put_u32(&mut block, CATALOG_UNIT_AT, self.catalog.unit);
        put_u32(&mut block, CATALOG_BYTES_AT, self.catalog.bytes);
        put_u32(&mut block, FILE_UNITS_AT, self.file_units);
        put_u64(&mut block, CATALOG_HASH_AT, self.catalog.hash);
        let checksum = xxh3_64(&block);
        put_u64(&mut block, CHECKSUM_AT, checksum);
        block
    }

    /// Reads the block of slot `slot`.
    pub(super) fn decode(block: &[u8; BLOCK_BYTES], slot: usize) -> Slot {
        if block.iter().all(|&byte| byte == 0) {
            return Slot::Empty;
        }
        if &block[..MAGIC.len()] != MAGIC {
            return Slot::Damaged("no superblock of a Ramus database");
        }
        let mut unsealed = *block;
        put_u64(&mut unsealed, CHECKSUM_AT, 0);
        if xxh3_64(&unsealed) != u64_at(block, CHECKSUM_AT) {
            return Slot::Damaged("superblock checksum does not match");
        }
        let (format, flags) = (u32_at(block, FORMAT_AT), u32_at(block, FLAGS_AT));
        if format != FORMAT || flags != 0 {
            return Slot::Newer { format, flags };
        }
        Self::decode_fields(block, slot).map_or_else(Slot::Damaged, Slot::Valid)
    }

    fn decode_fields(block: &[u8; BLOCK_BYTES], slot: usize) -> Result<Self, &'static str> {
        let superblock = Self {
            database_id: u64_at(block, DATABASE_AT),
            generation: u64_at(block, GENERATION_AT),
            sequence: u64_at(block, SEQUENCE_AT),
            sequence_mark: u64_at(block, SEQUENCE_MARK_AT),
            height: u8::try_from(u32_at(block, ROOT_HEIGHT_AT)).unwrap_or(u8::MAX),
            root: Place { unit: u32_at(block, ROOT_UNIT_AT), hash: u64_at(block, ROOT_HASH_AT) },
            id_bound: u32_at(block, ID_BOUND_AT),
            catalog: Image {
                unit: u32_at(block, CATALOG_UNIT_AT),
                bytes: u32_at(block, CATALOG_BYTES_AT),
                hash: u64_at(block, CATALOG_HASH_AT),
            },
            file_units: u32_at(block, FILE_UNITS_AT),
        };
        if superblock.generation == 0 || superblock.slot() != slot {
            return Err("superblock stands in the other one's slot");
        }
        if superblock.height > HEIGHT_MAX {
            return Err("page table is too high");
        }
        if superblock.id_bound as usize > BLOBS_MAX {
            return Err("blob id bound is over the limit");
        }
        if (superblock.height == 0) != (superblock.root == Place::default()) {
            return Err("height and root of the page table disagree");
        }
        Ok(superblock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Superblock {
        Superblock {
            database_id: 0x0807_0605_0403_0201,
            generation: 3,
            sequence: 0x1112,
            sequence_mark: 0x2122,
            height: 2,
            root: Place { unit: 0x31, hash: 0x4142 },
            id_bound: 0x51,
            catalog: Image { unit: 0x61, bytes: 0x62, hash: 0x63 },
            file_units: 0x71,
        }
    }

    #[test]
    fn golden_bytes() {
        let block = example().encode();
        let mut expected = Vec::new();
        expected.extend_from_slice(b"RAMUSDAT\x01\0\0\0\0\0\0\0");
        expected.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        expected.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0x12, 0x11, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0x22, 0x21, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0x31, 0, 0, 0, 2, 0, 0, 0]);
        expected.extend_from_slice(&[0x42, 0x41, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0x51, 0, 0, 0, 0x61, 0, 0, 0, 0x62, 0, 0, 0, 0x71, 0, 0, 0]);
        expected.extend_from_slice(&[0x63, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&block[..RESERVED_AT], &expected[..]);
        assert!(block[RESERVED_AT..CHECKSUM_AT].iter().all(|&byte| byte == 0));
        assert_eq!(u64_at(&block, CHECKSUM_AT), GOLDEN_CHECKSUM);
    }

    const GOLDEN_CHECKSUM: u64 = 0xA7DC_A945_470B_B7DA;

    #[test]
    fn decodes_what_it_encodes_and_only_in_its_slot() {
        assert_eq!(Superblock::decode(&example().encode(), 1), Slot::Valid(example()));
        assert!(matches!(Superblock::decode(&example().encode(), 0), Slot::Damaged(_)));
        assert_eq!(Superblock::decode(&[0; BLOCK_BYTES], 0), Slot::Empty);
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let block = example().encode();
        for bit in 0..BLOCK_BYTES * 8 {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Superblock::decode(&flipped, 1), Slot::Damaged(_)), "bit {bit}");
        }
    }

    #[test]
    fn newer_formats_and_flags_are_named() {
        let mut block = example().encode();
        put_u32(&mut block, FORMAT_AT, 9);
        put_u32(&mut block, FLAGS_AT, 4);
        put_u64(&mut block, CHECKSUM_AT, 0);
        let checksum = xxh3_64(&block);
        put_u64(&mut block, CHECKSUM_AT, checksum);
        assert_eq!(Superblock::decode(&block, 1), Slot::Newer { format: 9, flags: 4 });
    }
}
