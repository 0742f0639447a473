//! A leaf of the ART: the rest of a key, and what it maps to.
//!
//! ```text
//! 0  u32  bits 0-13 suffix length, 14-26 value length, 27-28 version kind (0 none, 1 narrow, 2 wide),
//!         29 expiry follows (reserved), 30 value lies outside (reserved), 31 zero
//! 4       version: nothing, u32 (delta to the blob's version base) or u64
//!         suffix, value, zero padding to a multiple of four
//! ```

use super::header::Blob;
use super::pen::Pen;
use super::sketch::Place;
use super::words::Words;

const VALUE_SHIFT: u32 = 14;
const VERSION_SHIFT: u32 = 27;
const RESERVED: u32 = 0xE000_0000;

/// How the version is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VersionKind {
    None = 0,
    Narrow = 1,
    Wide = 2,
}

/// A leaf's header, decoded. Lengths are whatever the bytes say: at most 16,383 and 8,191.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaf {
    offset: usize,
    head: u32,
}

impl Leaf {
    #[inline(always)]
    pub(crate) fn at(w: Words<'_>, offset: usize) -> Self {
        Self { offset, head: w.u32_at(offset) }
    }

    #[inline(always)]
    pub(crate) fn suffix_len(self) -> usize {
        (self.head & 0x3FFF) as usize
    }

    #[inline(always)]
    pub(crate) fn value_len(self) -> usize {
        (self.head >> VALUE_SHIFT & 0x1FFF) as usize
    }

    #[inline(always)]
    fn version_bytes(self) -> usize {
        (self.head >> VERSION_SHIFT & 3) as usize * 4
    }

    #[inline(always)]
    pub(crate) fn suffix_at(self) -> usize {
        self.offset + 4 + self.version_bytes()
    }

    #[inline(always)]
    pub(crate) fn value_at(self) -> usize {
        self.suffix_at() + self.suffix_len()
    }

    /// Bytes that the leaf takes in the heap.
    pub(crate) fn bytes(self) -> usize {
        leaf_bytes(self.version_bytes(), self.suffix_len(), self.value_len())
    }

    /// The version, 0 where none is stored.
    #[inline]
    pub(crate) fn version(self, blob: Blob<'_>) -> u64 {
        match self.version_bytes() {
            4 => blob.version_base().wrapping_add(u64::from(blob.w.u32_at(self.offset + 4))),
            8 => u64::from(blob.w.u32_at(self.offset + 4)) | u64::from(blob.w.u32_at(self.offset + 8)) << 32,
            _ => 0,
        }
    }

    /// Whether a value of `value` bytes and the version of a commit soon after `sequence` fit in the leaf's place.
    pub(crate) fn takes(self, blob: Blob<'_>, value: usize, sequence: u64) -> bool {
        let distance = sequence.saturating_sub(blob.version_base());
        value <= self.value_len()
            && match self.version_bytes() {
                4 => distance < u64::from(u32::MAX / 2),
                bytes => bytes == 8 && distance > u64::from(u32::MAX),
            }
    }

    /// Whether the header uses bits or a version kind that this format does not.
    pub(super) fn is_unknown(self) -> bool {
        self.head & RESERVED != 0 || self.version_bytes() > 8
    }

    /// Whether a version is stored.
    pub(super) fn has_version(self) -> bool {
        self.version_bytes() != 0
    }
}

const fn leaf_bytes(version_bytes: usize, suffix: usize, value: usize) -> usize {
    (4 + version_bytes + suffix + value).next_multiple_of(4)
}

/// The most that a leaf with these lengths can take.
pub(crate) const fn leaf_bytes_max(suffix: usize, value: usize) -> usize {
    leaf_bytes(8, suffix, value)
}

fn version_kind(blob: Blob<'_>, version: Option<u64>) -> VersionKind {
    match version {
        None => VersionKind::None,
        Some(v) if v.checked_sub(blob.version_base()).is_some_and(|d| d <= u64::from(u32::MAX)) => {
            VersionKind::Narrow
        }
        Some(_) => VersionKind::Wide,
    }
}

fn head_of(kind: VersionKind, suffix: usize, value: usize) -> u32 {
    suffix as u32 | (value as u32) << VALUE_SHIFT | (kind as u32) << VERSION_SHIFT
}

fn write_at(
    blob: Blob<'_>,
    offset: usize,
    kind: VersionKind,
    version: u64,
    suffix: usize,
    value: usize,
) -> usize {
    blob.w.set_u32(offset, head_of(kind, suffix, value));
    match kind {
        VersionKind::None => {}
        VersionKind::Narrow => blob.w.set_u32(offset + 4, version.wrapping_sub(blob.version_base()) as u32),
        VersionKind::Wide => blob.w.set_u64(offset + 4, version),
    }
    offset + 4 + kind as usize * 4
}

/// Allocates and writes a leaf; None when the heap has no room.
pub(super) fn create(blob: Blob<'_>, suffix: &[u8], version: Option<u64>, value: &[u8]) -> Option<usize> {
    let kind = version_kind(blob, version);
    let bytes = leaf_bytes(kind as usize * 4, suffix.len(), value.len());
    let offset = blob.allocate(bytes)?;
    let at = write_at(blob, offset, kind, version.unwrap_or(0), suffix.len(), value.len());
    blob.w.write(at, suffix);
    blob.w.write(at + suffix.len(), value);
    Some(offset)
}

/// Size of a leaf whose version is near the blob's version base.
pub(super) const fn narrow_bytes(suffix: usize, value: usize) -> usize {
    leaf_bytes(VersionKind::Narrow as usize * 4, suffix, value)
}

/// Writes the leaf of a record, to which `above` bytes of its key lead, with the blob's version base as its version.
#[inline(always)]
pub(super) fn write_narrow(pen: &mut Pen<'_>, text: &[u8], place: Place, above: usize) {
    let (suffix, value) = (&place.key(text)[above..], place.value(text));
    pen.put(&u64::from(head_of(VersionKind::Narrow, suffix.len(), value.len())).to_le_bytes());
    pen.put(suffix);
    pen.put(value);
    pen.align();
}

/// Size of the leaf that [`copy`] would make of `from`, with `suffix` bytes of suffix and versions deltas to `base`.
pub(super) fn copied_bytes(blob: Blob<'_>, from: Leaf, suffix: usize, base: u64) -> usize {
    let version_bytes = match from.has_version() {
        false => 0,
        true if from.version(blob).wrapping_sub(base) <= u64::from(u32::MAX) => 4,
        true => 8,
    };
    leaf_bytes(version_bytes, suffix, from.value_len())
}

/// Copies `from` of `source` to `offset` of `blob`, its suffix put behind `lead` after `strip` bytes of it are cut off.
pub(super) fn copy(blob: Blob<'_>, offset: usize, source: Blob<'_>, from: Leaf, lead: &[u8], strip: usize) {
    let version = from.has_version().then(|| from.version(source));
    let kind = version_kind(blob, version);
    let kept = from.suffix_len().saturating_sub(strip);
    let at = write_at(blob, offset, kind, version.unwrap_or(0), lead.len() + kept, from.value_len());
    blob.w.write(at, lead);
    blob.w.copy(at + lead.len(), source.w, from.suffix_at() + strip, kept + from.value_len());
}

/// Overwrites version and value where they fit into the leaf's place; false when they do not.
pub(super) fn overwrite(blob: Blob<'_>, leaf: Leaf, version: Option<u64>, value: &[u8]) -> bool {
    let kind = version_kind(blob, version);
    let (old, suffix) = (leaf.bytes(), leaf.suffix_len());
    if kind as usize * 4 != leaf.version_bytes() {
        return false;
    }
    let new = leaf_bytes(kind as usize * 4, suffix, value.len());
    if new > old {
        return false;
    }
    let at = write_at(blob, leaf.offset, kind, version.unwrap_or(0), suffix, value.len());
    blob.w.write(at + suffix, value);
    if new < old {
        blob.release(leaf.offset + new, old - new);
    }
    true
}

/// Cuts `strip` bytes off the front of the leaf's suffix, in place.
pub(super) fn trim(blob: Blob<'_>, leaf: Leaf, strip: usize) {
    let old = leaf.bytes();
    let kept = leaf.suffix_len().saturating_sub(strip);
    let at = leaf.suffix_at();
    blob.w.move_down(at, at + strip, kept + leaf.value_len());
    blob.w.set_u32(leaf.offset, leaf.head & !0x3FFF | kept as u32);
    let new = Leaf::at(blob.w, leaf.offset).bytes();
    if new < old {
        blob.release(leaf.offset + new, old - new);
    }
}
