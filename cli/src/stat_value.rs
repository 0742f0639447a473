//! What an import stores for a file: its stat data, 40 bytes, numbers little endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | `st` |
//! | 2 | 1 | version of this layout: 1 |
//! | 3 | 1 | kind: `f` file, `d` directory, `l` symbolic link, `b` `c` devices, `p` pipe, `s` socket |
//! | 4 | 4 | permission bits |
//! | 8 | 4 | owner |
//! | 12 | 4 | group |
//! | 16 | 4 | hard links |
//! | 20 | 4 | nanoseconds of the time of last change |
//! | 24 | 8 | size in bytes |
//! | 32 | 8 | time of last change, seconds since 1970 |
//!
//! What follows is not ours. The target of a symbolic link is not stored.

use serde_json::{Map, Value};

use crate::units::date;

/// Length of the encoded form.
pub(crate) const BYTES: usize = 40;
const MAGIC: [u8; 3] = *b"st\x01";
const KINDS: &[u8] = b"fdlbcps";

/// Stat data of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatValue {
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) modified_nanos: u32,
    pub(crate) size: u64,
    pub(crate) modified: i64,
}

impl StatValue {
    pub(crate) fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..3].copy_from_slice(&MAGIC);
        bytes[3] = self.kind;
        bytes[4..8].copy_from_slice(&self.mode.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.uid.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.gid.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.links.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.modified_nanos.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.size.to_le_bytes());
        bytes[32..].copy_from_slice(&self.modified.to_le_bytes());
        bytes
    }

    /// The stat data in a value, if that is what it is.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = value.first_chunk()?;
        let word = |at: usize| Some(u32::from_le_bytes(*bytes[at..].first_chunk()?));
        let known = bytes[..3] == MAGIC && KINDS.contains(&bytes[3]);
        known.then_some(())?;
        Some(Self {
            kind: bytes[3],
            mode: word(4)?,
            uid: word(8)?,
            gid: word(12)?,
            links: word(16)?,
            modified_nanos: word(20)?,
            size: u64::from_le_bytes(*bytes[24..].first_chunk()?),
            modified: i64::from_le_bytes(*bytes[32..].first_chunk()?),
        })
    }

    #[cfg(unix)]
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let file_type = metadata.file_type();
        let kind = match () {
            () if file_type.is_dir() => b'd',
            () if file_type.is_symlink() => b'l',
            () if file_type.is_block_device() => b'b',
            () if file_type.is_char_device() => b'c',
            () if file_type.is_fifo() => b'p',
            () if file_type.is_socket() => b's',
            () => b'f',
        };
        Self {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            links: u32::try_from(metadata.nlink()).unwrap_or(u32::MAX),
            modified_nanos: metadata.mtime_nsec() as u32,
            size: metadata.len(),
            modified: metadata.mtime(),
        }
    }

    /// Elsewhere there are no owners, permission bits and links.
    #[cfg(not(unix))]
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        let kind = match () {
            () if metadata.is_dir() => b'd',
            () if metadata.is_symlink() => b'l',
            () => b'f',
        };
        let modified =
            metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = modified.unwrap_or_default();
        Self {
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            links: 1,
            modified_nanos: modified.subsec_nanos(),
            size: metadata.len(),
            modified: modified.as_secs() as i64,
        }
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == b'd'
    }

    /// Kind and permissions as `ls -l` writes them, such as `drwxr-xr-x`.
    pub(crate) fn mode_text(&self) -> String {
        let mut text = vec![if self.kind == b'f' { b'-' } else { self.kind }];
        for (shift, special, letter) in [(6, 0o4000, b's'), (3, 0o2000, b's'), (0, 0o1000, b't')] {
            let bits = self.mode >> shift;
            text.push(if bits & 4 != 0 { b'r' } else { b'-' });
            text.push(if bits & 2 != 0 { b'w' } else { b'-' });
            text.push(match (self.mode & special != 0, bits & 1 != 0) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => b'x',
                (false, false) => b'-',
            });
        }
        text.into_iter().map(char::from).collect()
    }

    /// The kind in a word.
    pub(crate) fn kind_text(&self) -> &'static str {
        match self.kind {
            b'd' => "directory",
            b'l' => "symbolic link",
            b'b' => "block device",
            b'c' => "character device",
            b'p' => "pipe",
            b's' => "socket",
            _ => "file",
        }
    }

    /// The time of last change, in UTC.
    pub(crate) fn modified_text(&self) -> String {
        date(self.modified)
    }

    pub(crate) fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("kind".into(), self.kind_text().into());
        object.insert("mode".into(), self.mode.into());
        object.insert("uid".into(), self.uid.into());
        object.insert("gid".into(), self.gid.into());
        object.insert("links".into(), self.links.into());
        object.insert("size".into(), self.size.into());
        object.insert("modified".into(), self.modified.into());
        object.insert("modified_nanos".into(), self.modified_nanos.into());
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: StatValue = StatValue {
        kind: b'd',
        mode: 0o1755,
        uid: 1000,
        gid: 0x0102_0304,
        links: 3,
        modified_nanos: 999_999_999,
        size: 4096,
        modified: -2,
    };

    #[test]
    fn golden_bytes() {
        let golden = b"st\x01d\xed\x03\0\0\xe8\x03\0\0\x04\x03\x02\x01\x03\0\0\0\xff\xc9\x9a\x3b\
            \0\x10\0\0\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(&STAT.encode(), golden);
        assert_eq!(StatValue::decode(golden), Some(STAT));
        assert_eq!(StatValue::decode(&[golden, &b"more"[..]].concat()), Some(STAT));
    }

    #[test]
    fn other_values_are_not_stat_data() {
        let good = STAT.encode();
        assert_eq!(StatValue::decode(&good[..39]), None);
        for at in 0..4 {
            let mut bad = good;
            bad[at] = b'?';
            assert_eq!(StatValue::decode(&bad), None);
        }
    }

    #[test]
    fn modes_read_as_in_ls() {
        assert_eq!(STAT.mode_text(), "drwxr-xr-t");
        assert_eq!(StatValue { kind: b'f', mode: 0o4640, ..STAT }.mode_text(), "-rwSr-----");
    }
}
