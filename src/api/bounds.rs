//! Ranges of keys as they are given.

use std::ops::{Bound, RangeBounds};

use crate::error::{Error, Result};
use crate::limits::KEY_BYTES_MAX;
use crate::tree::successor;

/// From the first key to below the second; None: to the end.
pub(super) type Span = (Vec<u8>, Option<Vec<u8>>);

/// The bounds of a range. InvalidInput: it is inverted.
pub(super) fn bounds<K: AsRef<[u8]>>(range: impl RangeBounds<K>) -> Result<Span> {
    // The least key above another is that key with a zero byte behind it.
    let above = |key: &[u8]| [key, &[0]].concat();
    let low = match range.start_bound() {
        Bound::Included(key) => key.as_ref().to_vec(),
        Bound::Excluded(key) => above(key.as_ref()),
        Bound::Unbounded => Vec::new(),
    };
    let high = match range.end_bound() {
        Bound::Included(key) => Some(above(key.as_ref())),
        Bound::Excluded(key) => Some(key.as_ref().to_vec()),
        Bound::Unbounded => None,
    };
    if let (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) =
        (range.start_bound(), range.end_bound())
        && start.as_ref() > end.as_ref()
    {
        return Err(Error::invalid(format_args!(
            "the range is inverted: it starts at \"{}\" and ends at \"{}\"",
            low.escape_ascii(),
            high.as_deref().unwrap_or(&[]).escape_ascii()
        )));
    }
    Ok((low, high))
}

/// The same range with ends that are within the limit of keys. None: no key can be in it.
pub(super) fn within_limit((low, high): Span) -> Option<Span> {
    // No key is longer than the limit: what is above a longer end is above all that starts with the first part of it.
    let cut = |end: Vec<u8>| match end.get(..KEY_BYTES_MAX) {
        Some(start) if end.len() > KEY_BYTES_MAX => successor(start),
        _ => Some(end),
    };
    let (low, high) = (cut(low)?, high.and_then(cut));
    high.as_ref().is_none_or(|high| low < *high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_over_the_limit_keep_their_meaning() {
        let span = |range: (Bound<Vec<u8>>, Bound<Vec<u8>>)| bounds(range).map(within_limit);
        let over = |key: &[u8]| [key, b"x"].concat();
        let key = |bytes: &[u8]| bytes.to_vec();
        let longest = vec![7; KEY_BYTES_MAX];
        let (low, high) = span((Bound::Excluded(longest.clone()), Bound::Unbounded)).unwrap().unwrap();
        assert!(low > longest && low <= vec![8] && high.is_none());
        let (_, high) = span((Bound::Unbounded, Bound::Excluded(over(&longest)))).unwrap().unwrap();
        assert!(high.unwrap() > longest);
        let greatest = vec![0xFF; KEY_BYTES_MAX];
        assert_eq!(span((Bound::Included(over(&greatest)), Bound::Unbounded)).unwrap(), None);
        let to_the_end = span((Bound::Included(key(b"a")), Bound::Included(over(&greatest)))).unwrap();
        assert_eq!(to_the_end, Some((key(b"a"), None)));
        assert_eq!(span((Bound::Included(key(b"a")), Bound::Excluded(key(b"a")))).unwrap(), None);
        assert!(span((Bound::Included(key(b"b")), Bound::Excluded(key(b"a")))).is_err());
    }
}
