//! Blocks of the page table as they stand in the file. A block names its level, its index among the blocks of that
//! level and the database; its hash stands in its parent, the top one's in the superblock.

use super::bytes::{put_u32, put_u64, u32_at, u64_at};
use crate::limits::{BLOB_BYTES, BLOBS_MAX, BLOCK_BYTES};
use xxhash_rust::xxh3::xxh3_64;

/// Entries of a leaf block, children of an inner block.
pub(super) const FANOUT: usize = 255;
/// Most levels of a page table.
pub(super) const HEIGHT_MAX: u8 = 4;

const MAGIC: u32 = u32::from_le_bytes(*b"RTBL");
const LEVEL_AT: usize = 4;
const INDEX_AT: usize = 8;
const DATABASE_AT: usize = 12;
const SLOTS_AT: usize = 16;
const SLOT_BYTES: usize = 16;

const _: () = {
    assert!(SLOTS_AT + FANOUT * SLOT_BYTES == BLOCK_BYTES);
    assert!(FANOUT.pow(HEIGHT_MAX as u32) >= BLOBS_MAX && FANOUT.pow(HEIGHT_MAX as u32) <= u32::MAX as usize);
};

/// How many units `bytes` take.
pub(super) fn units(bytes: u32) -> u32 {
    bytes.div_ceil(BLOCK_BYTES as u32)
}

/// Where a table block stands, and the hash of its bytes. Unit 0 is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) unit: u32,
    pub(super) hash: u64,
}

/// Where an image stands, its length and the hash of its bytes. Unit 0 is no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Image {
    pub(super) unit: u32,
    pub(super) bytes: u32,
    pub(super) hash: u64,
}

impl Image {
    /// How many units the image takes.
    pub(super) fn units(&self) -> u32 {
        units(self.bytes)
    }
}

/// What a block says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    /// 0 for leaf blocks.
    pub(super) level: u8,
    /// The number of the block in its level.
    pub(super) index: u32,
    /// The low half of the database id.
    pub(super) database: u32,
}

/// Fills a block.
pub(super) struct Writer<'a> {
    block: &'a mut [u8],
}

impl<'a> Writer<'a> {
    /// Begins the block `name` in `block`, which is one block long.
    pub(super) fn new(block: &'a mut [u8], name: Name) -> Self {
        block.fill(0);
        put_u32(block, 0, MAGIC);
        block[LEVEL_AT] = name.level;
        put_u32(block, INDEX_AT, name.index);
        put_u32(block, DATABASE_AT, name.database);
        Self { block }
    }

    /// Puts an image into a leaf block.
    pub(super) fn image(&mut self, slot: usize, image: Image) {
        let at = SLOTS_AT + slot * SLOT_BYTES;
        put_u32(self.block, at, image.unit);
        put_u32(self.block, at + 4, image.bytes);
        put_u64(self.block, at + 8, image.hash);
    }

    /// Puts a child into an inner block.
    pub(super) fn child(&mut self, slot: usize, place: Place) {
        self.image(slot, Image { unit: place.unit, bytes: 0, hash: place.hash });
    }

    /// The hash of the block for its parent.
    pub(super) fn finish(self) -> u64 {
        xxh3_64(self.block)
    }
}

/// A block that hashes to what its parent says and names itself as expected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    block: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks hash and name of `block`, which is one block long.
    pub(super) fn new(block: &'a [u8], name: Name, hash: u64) -> Result<Self, &'static str> {
        if block.len() != BLOCK_BYTES || xxh3_64(block) != hash {
            return Err("page table block does not match its hash");
        }
        let header = (u32_at(block, 0), u32_at(block, LEVEL_AT));
        let place = (u32_at(block, INDEX_AT), u32_at(block, DATABASE_AT));
        if header != (MAGIC, name.level.into()) || place != (name.index, name.database) {
            return Err("page table block names itself as another");
        }
        Ok(Self { block })
    }

    fn slots(self) -> impl Iterator<Item = (usize, Image)> + 'a {
        (0..FANOUT).filter_map(move |slot| {
            let at = SLOTS_AT + slot * SLOT_BYTES;
            let image = Image {
                unit: u32_at(self.block, at),
                bytes: u32_at(self.block, at + 4),
                hash: u64_at(self.block, at + 8),
            };
            (image != Image::default()).then_some((slot, image))
        })
    }

    /// The images of a leaf block, none longer than a blob, none empty.
    pub(super) fn images(self) -> impl Iterator<Item = Result<(usize, Image), &'static str>> + 'a {
        self.slots().map(|(slot, image)| {
            if image.bytes == 0 || image.bytes as usize > BLOB_BYTES {
                return Err("length of a blob's image is out of range");
            }
            Ok((slot, image))
        })
    }

    /// The children of an inner block.
    pub(super) fn children(self) -> impl Iterator<Item = (usize, Place)> + 'a {
        self.slots().map(|(slot, image)| (slot, Place { unit: image.unit, hash: image.hash }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name = Name { level: 0, index: 0x0102, database: 0x0A0B_0C0D };

    #[test]
    fn golden_bytes_of_a_leaf() {
        let mut block = [0xEE; BLOCK_BYTES];
        let mut writer = Writer::new(&mut block, NAME);
        writer.image(1, Image { unit: 0x11, bytes: 0x22, hash: 0x33 });
        writer.finish();
        let mut expected = vec![0; BLOCK_BYTES];
        expected[..16].copy_from_slice(b"RTBL\0\0\0\0\x02\x01\0\0\x0D\x0C\x0B\x0A");
        expected[32..48].copy_from_slice(&[0x11, 0, 0, 0, 0x22, 0, 0, 0, 0x33, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&block[..], &expected[..]);
    }

    #[test]
    fn golden_bytes_of_an_inner_block() {
        let mut block = [0xEE; BLOCK_BYTES];
        let mut writer = Writer::new(&mut block, Name { level: 2, ..NAME });
        writer.child(254, Place { unit: 0x11, hash: 0x3344 });
        writer.finish();
        let mut expected = vec![0; BLOCK_BYTES];
        expected[..16].copy_from_slice(b"RTBL\x02\0\0\0\x02\x01\0\0\x0D\x0C\x0B\x0A");
        expected[4080..].copy_from_slice(&[0x11, 0, 0, 0, 0, 0, 0, 0, 0x44, 0x33, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&block[..], &expected[..]);
    }

    #[test]
    fn reads_what_it_writes_under_its_own_name_only() {
        let image = Image { unit: 9, bytes: 65_536, hash: 7 };
        let mut block = [0; BLOCK_BYTES];
        let mut writer = Writer::new(&mut block, NAME);
        writer.image(7, image);
        let hash = writer.finish();
        let reader = Reader::new(&block, NAME, hash).expect("reads");
        assert_eq!(reader.images().collect::<Result<Vec<_>, _>>(), Ok(vec![(7, image)]));
        assert!(Reader::new(&block, Name { index: 1, ..NAME }, hash).is_err());
        assert!(Reader::new(&block, Name { level: 1, ..NAME }, hash).is_err());
        assert!(Reader::new(&block, Name { database: 1, ..NAME }, hash).is_err());
        block[4000] ^= 1;
        assert!(Reader::new(&block, NAME, hash).is_err());
    }

    #[test]
    fn lengths_out_of_range_are_refused() {
        for bytes in [0, BLOB_BYTES as u32 + 1, u32::MAX] {
            let mut block = [0; BLOCK_BYTES];
            let mut writer = Writer::new(&mut block, NAME);
            writer.image(0, Image { unit: 9, bytes, hash: 7 });
            let hash = writer.finish();
            let reader = Reader::new(&block, NAME, hash).expect("reads");
            assert!(reader.images().any(|image| image.is_err()), "{bytes}");
        }
    }
}
