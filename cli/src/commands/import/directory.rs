//! Imports a directory with the stat data of all that is below it.

use std::path::Path;

use anyhow::{Context as _, Result};
use ramus::limits::KEY_BYTES_MAX;
use ramus::{Db, Tree};
use walkdir::{DirEntry, WalkDir};

use super::{ImportArgs, Tally};
use crate::context::Context;
use crate::feeder::Feeder;
use crate::progress::Progress;
use crate::stat_value::StatValue;

/// Entries between two looks at the progress.
const STEP: u64 = 1024;

pub(super) fn import(
    args: &ImportArgs,
    context: &Context,
    db: &Db,
    tree: &Tree,
    prefix: &[u8],
) -> Result<Tally> {
    let name = || format!("reading {}", args.source.to_string_lossy());
    let root = &std::fs::canonicalize(&args.source).with_context(name)?;
    std::fs::read_dir(root).with_context(name)?;
    let own = std::fs::canonicalize(&args.db)?;
    let progress = Progress::new(context, "import", None);
    let mut feeder = Feeder::new(db, context.wants_sync());
    let mut tally = Tally::default();
    let walk = WalkDir::new(root).min_depth(1).same_file_system(true).sort_by_file_name();
    for (seen, entry) in (1u64..).zip(walk) {
        let read = entry.and_then(|entry| Ok((entry.metadata()?, entry)));
        let (metadata, entry) = match read {
            Ok(read) => read,
            Err(error) => {
                context.note(|| format!("skipped: {error}"));
                tally.skipped += 1;
                continue;
            }
        };
        // The database itself changes while it is read.
        if entry.path().starts_with(&own) {
            continue;
        }
        let Some(key) = key(root, prefix, &entry) else {
            context.note(|| format!("skipped: {}: over {KEY_BYTES_MAX} bytes", entry.path().display()));
            tally.skipped += 1;
            continue;
        };
        let value = StatValue::of(&metadata).encode();
        match tree.get_with(&key, |there| there == value)? {
            Some(true) => tally.unchanged += 1,
            _ => {
                feeder.put(tree, &key, &value)?;
                tally.put += 1;
            }
        }
        if seen.is_multiple_of(STEP) {
            progress.set(seen, seen);
        }
    }
    Ok(tally)
}

/// The path relative to the root, below the prefix; none if that is too long.
fn key(root: &Path, prefix: &[u8], entry: &DirEntry) -> Option<Vec<u8>> {
    let path = entry.path().strip_prefix(root).ok()?;
    let key = [prefix, path.as_os_str().as_encoded_bytes()].concat();
    (key.len() <= KEY_BYTES_MAX).then_some(key)
}
