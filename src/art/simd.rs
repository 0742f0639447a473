//! Search in a node's sorted key bytes: a vector version, a portable one, and a scalar oracle beside them.

use super::words::Words;

/// Keys compared at once.
const LANES: usize = 16;

/// The lanes of the first `n` keys.
#[inline(always)]
fn lanes(n: usize) -> u32 {
    (1 << n.min(LANES)) - 1
}

#[inline(always)]
fn load16(w: Words<'_>, offset: usize) -> (u64, u64) {
    (w.u64_at(offset), w.u64_at(offset + 8))
}

/// How many of the `count` sorted bytes at `offset` are below `byte`, and whether the next one equals it.
/// `count` is at most 48.
#[inline(always)]
pub(super) fn search(w: Words<'_>, offset: usize, count: usize, byte: u8) -> (usize, bool) {
    let mut base = 0;
    loop {
        let (low, high) = load16(w, offset + base);
        let (lt, eq) = compare16(low, high, byte);
        let valid = lanes(count - base);
        // Sorted keys: those below are the first ones.
        let below = (!(lt & valid)).trailing_zeros() as usize;
        if below < LANES || base + LANES >= count {
            return (base + below, eq & valid != 0);
        }
        base += LANES;
    }
}

/// Where `byte` is among the `count` bytes at `offset`. `count` is at most 48.
#[inline(always)]
pub(super) fn find(w: Words<'_>, offset: usize, count: usize, byte: u8) -> Option<usize> {
    let mut base = 0;
    loop {
        let (low, high) = load16(w, offset + base);
        let (_, eq) = compare16(low, high, byte);
        let found = eq & lanes(count - base);
        if found != 0 {
            return Some(base + found.trailing_zeros() as usize);
        }
        base += LANES;
        if base >= count {
            return None;
        }
    }
}

/// Bit masks of the bytes of `(low, high)` that are below `byte` and that equal it (SSE2, part of every x86-64).
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
fn compare16(low: u64, high: u64, byte: u8) -> (u32, u32) {
    use core::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8,
    };
    #[target_feature(enable = "sse2")]
    #[inline]
    fn inner(low: u64, high: u64, byte: u8) -> (u32, u32) {
        let keys = _mm_set_epi64x(high as i64, low as i64);
        let wanted = _mm_set1_epi8(byte as i8);
        let equal = _mm_movemask_epi8(_mm_cmpeq_epi8(keys, wanted)) as u32;
        let at_least = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(keys, wanted), keys)) as u32;
        (!at_least & 0xFFFF, equal)
    }
    // SAFETY: the target feature that `inner` asks for is enabled for the whole build, by the cfg above.
    unsafe { inner(low, high, byte) }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline(always)]
fn compare16(low: u64, high: u64, byte: u8) -> (u32, u32) {
    portable16(low, high, byte)
}

#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn portable16(low: u64, high: u64, byte: u8) -> (u32, u32) {
    let mut lt = 0;
    let mut eq = 0;
    for (i, key) in low.to_le_bytes().into_iter().chain(high.to_le_bytes()).enumerate() {
        lt |= u32::from(key < byte) << i;
        eq |= u32::from(key == byte) << i;
    }
    (lt, eq)
}

#[cfg(test)]
mod tests {
    use super::super::words::Scratch;
    use super::*;

    fn oracle(keys: &[u8], byte: u8) -> (usize, bool) {
        (keys.iter().filter(|&&k| k < byte).count(), keys.contains(&byte))
    }

    #[test]
    fn search_agrees_with_the_scalar_oracle() {
        let scratch = Scratch::new();
        for count in 0..=48usize {
            for stride in 1..=5usize {
                for offset in [4, 8, 20] {
                    let keys: Vec<u8> = (0..count).map(|i| (i * stride + 3) as u8).collect();
                    scratch.words().write(offset, &[0; 64]);
                    scratch.words().write(offset, &keys);
                    for byte in 0..=255 {
                        let found = search(scratch.words(), offset, count, byte);
                        assert_eq!(found, oracle(&keys, byte), "{keys:?} {byte}");
                        let at = find(scratch.words(), offset, count, byte);
                        assert_eq!(at, keys.iter().position(|&k| k == byte), "{keys:?} {byte}");
                    }
                }
            }
        }
    }

    #[test]
    fn vector_and_portable_comparison_agree() {
        let mut x = 0x9E37_79B9_7F4A_7C15u64;
        for _ in 0..2000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (low, high, byte) = (x, x.rotate_left(29) ^ 0x55, (x >> 40) as u8);
            assert_eq!(compare16(low, high, byte), portable16(low, high, byte));
        }
    }
}
