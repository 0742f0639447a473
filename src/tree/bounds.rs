//! Arithmetic on keys as bounds.

/// The least key that is above every key that starts with `prefix`; None when there is none (all bytes 0xFF).
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut bound = prefix[..=last].to_vec();
    bound[last] += 1;
    Some(bound)
}

/// How many leading bytes two keys share.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
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
    fn separators_are_short_and_between() {
        for (below, from) in [("a", "b"), ("usr/bin", "usr/bin/x"), ("abc", "abd"), ("", "q"), ("ab", "b")] {
            let cut = separator(below.as_bytes(), from.as_bytes());
            assert!(below.as_bytes() < cut && cut <= from.as_bytes());
        }
        assert_eq!(separator(b"lib/a-long-name", b"lib/b-long-name"), b"lib/b");
    }
}
