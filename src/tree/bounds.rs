//! Arithmetic on keys as bounds.

/// The least key that is above every key that starts with `prefix`; None when there is none (all bytes 0xFF).
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut bound = prefix.to_vec();
    succeed(&mut bound).then_some(bound)
}

/// Makes a prefix its [`successor`]. False: there is none.
pub(super) fn succeed(prefix: &mut Vec<u8>) -> bool {
    let Some(last) = prefix.iter().rposition(|&byte| byte != 0xFF) else { return false };
    prefix.truncate(last + 1);
    prefix[last] += 1;
    true
}

/// How many leading bytes two keys share.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let most = a.len().min(b.len());
    let (a, b) = (&a[..most], &b[..most]);
    // Eight at a time: neighbouring keys share most of theirs.
    let differing = |a: &[u8; 8], b: &[u8; 8]| u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
    for (at, (x, y)) in a.as_chunks().0.iter().zip(b.as_chunks().0).enumerate() {
        let differing = differing(x, y);
        if differing != 0 {
            return at * 8 + differing.trailing_zeros() as usize / 8;
        }
    }
    // The last eight: those among them that were compared are the same.
    match (a.last_chunk(), b.last_chunk()) {
        (Some(x), Some(y)) => most - 8 + differing(x, y).trailing_zeros() as usize / 8,
        _ => a.iter().zip(b).take_while(|(x, y)| x == y).count(),
    }
}

/// The shortest key that is above `below` and at most `from`; `below < from`.
pub(crate) fn separator<'a>(below: &[u8], from: &'a [u8]) -> &'a [u8] {
    &from[..(common_prefix(below, from) + 1).min(from.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_bound_their_prefix() {
        assert_eq!(successor(b"usr/"), Some(b"usr0".to_vec()));
        assert_eq!(successor(b"a\xFF\xFF"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xFF"), None);
        assert_eq!(successor(b""), None);
    }

    #[test]
    fn keys_share_what_comes_before_the_first_difference() {
        let key: Vec<u8> = (0..40).collect();
        for (len, at) in (0..=40).flat_map(|len| (0..=len).map(move |at| (len, at))) {
            let mut other = key[..len].to_vec();
            other[at..].fill(0xFF);
            assert_eq!((common_prefix(&key, &other), common_prefix(&other, &key)), (at, at), "{len}");
        }
    }

    #[test]
    fn separators_are_short_and_between() {
        for (below, from) in [("a", "b"), ("usr/bin", "usr/bin/x"), ("abc", "abd"), ("", "q"), ("ab", "b")] {
            let cut = separator(below.as_bytes(), from.as_bytes());
            assert!(below.as_bytes() < cut && cut <= from.as_bytes());
        }
        assert_eq!(separator(b"lib/a-long-name", b"lib/b-long-name"), b"lib/b");
    }
}
