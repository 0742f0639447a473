//! Keys as they are given on the command line: any bytes.

use std::ffi::OsStr;

use anyhow::{Result, bail};
use ramus::Tree;
use ramus::limits::KEY_BYTES_MAX;

use crate::text::escape;

/// The bytes of a key, within its limits.
pub(crate) fn key(arg: &OsStr) -> Result<&[u8]> {
    check(arg.as_encoded_bytes())
}

/// The key, if it is within its limits.
pub(crate) fn check(key: &[u8]) -> Result<&[u8]> {
    if key.is_empty() {
        bail!("the key is empty: keys have 1 to {KEY_BYTES_MAX} bytes");
    }
    if key.len() > KEY_BYTES_MAX {
        let start = escape(&key[..32]);
        bail!("the key of {} bytes that starts {start} is over the limit of {KEY_BYTES_MAX}", key.len());
    }
    Ok(key)
}

/// The prefix of all keys below the directory `key`.
pub(crate) fn below(key: &[u8], delimiter: u8) -> Vec<u8> {
    let mut prefix = key.to_vec();
    if !key.is_empty() && key.last() != Some(&delimiter) {
        prefix.push(delimiter);
    }
    prefix
}

/// Whether any key starts with `prefix`.
pub(crate) fn any_below(tree: &Tree, prefix: &[u8]) -> Result<bool> {
    Ok(tree.prefix(prefix).keys_only().limit(1).next_entry()?.is_some())
}

/// Whether `key` names a directory: keys lie below it.
pub(crate) fn is_directory(tree: &Tree, key: &[u8]) -> Result<bool> {
    any_below(tree, &below(key, b'/'))
}
