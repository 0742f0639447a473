//! The 96-byte values of the demo: 40 bytes of stat data, then 56 that follow from the path, so that a value found under
//! another path than its own is noticed.

use crate::stat_value::{BYTES as STAT_BYTES, StatValue};

/// Length of a value.
pub(super) const BYTES: usize = 96;

/// FNV-1a, with a last mix so that all bits depend on all bytes.
pub(super) fn hash(path: &[u8]) -> u64 {
    let fnv = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(path.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// The finisher of SplitMix64.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The value of a path whose stat data is known.
pub(super) fn with_stat(path: &[u8], stat: &StatValue) -> [u8; BYTES] {
    let mut value = [0; BYTES];
    value[..STAT_BYTES].copy_from_slice(&stat.encode());
    let hash = hash(path);
    for (i, word) in value[STAT_BYTES..].chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&mix(hash.wrapping_add(i as u64)).to_le_bytes());
    }
    value
}

/// The value of a path of which nothing is known but its name: made-up stat data that follows from it.
pub(super) fn made_up(path: &[u8]) -> [u8; BYTES] {
    let hash = hash(path);
    let stat = StatValue {
        kind: b'f',
        mode: 0o644,
        uid: (hash >> 60) as u32,
        gid: (hash >> 60) as u32,
        links: 1,
        modified_nanos: (hash % 1_000_000_000) as u32,
        size: hash >> 44,
        modified: 1_600_000_000 + (hash >> 37) as i64 % 100_000_000,
    };
    with_stat(path, &stat)
}

/// Whether a value is that of the path.
pub(super) fn belongs(path: &[u8], value: &[u8]) -> bool {
    StatValue::decode(value).is_some_and(|stat| with_stat(path, &stat) == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_its_path_only() {
        let value = made_up(b"usr/bin/ls");
        assert!(belongs(b"usr/bin/ls", &value));
        assert!(!belongs(b"usr/bin/lt", &value));
        assert!(!belongs(b"usr/bin/ls", &value[..95]));
        let mut damaged = value;
        damaged[95] ^= 1;
        assert!(!belongs(b"usr/bin/ls", &damaged));
    }
}
