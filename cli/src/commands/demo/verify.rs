//! One ordered scan over everything: count, order, and every value.

use std::time::Instant;

use anyhow::Result;
use ramus::{Entry, Tree};

use super::crash::Survivors;
use super::load::Loaded;
use super::report::Report;
use super::value;
use crate::context::Context;
use crate::progress::Progress;
use crate::units::count;

/// Entries between two looks at the progress.
const STEP: u64 = 4096;

/// What the scan saw.
#[derive(Default)]
struct Seen {
    entries: u64,
    digest: u64,
    out_of_order: u64,
    wrong_values: u64,
}

/// Verifies that the tree holds the loaded paths and the survivors, each once, in order, with its value, and nothing else.
pub(super) fn scan(
    context: &Context,
    tree: &Tree,
    loaded: &Loaded,
    survivors: &Survivors,
    report: &mut Report,
) -> Result<()> {
    let start = Instant::now();
    let expected = loaded.entries + survivors.count();
    let seen = see(context, tree, expected)?;
    report.row("verify (ordered scan)", seen.entries, start.elapsed());
    let digest = loaded.digest.wrapping_add(survivors.digest());
    let same = seen.entries == expected && seen.digest == digest;
    report.verify("every loaded path is there, nothing else", same, || {
        let (entries, expected) = (count(seen.entries), count(expected));
        format!("{entries} records were found, {expected} were expected; the sums of their hashes differ if these do not")
    });
    report.verify("the order is right", seen.out_of_order == 0, || {
        format!("{} keys are not above the one before", count(seen.out_of_order))
    });
    report.verify("every value is that of its path", seen.wrong_values == 0, || {
        format!("{} values are wrong", count(seen.wrong_values))
    });
    Ok(())
}

fn see(context: &Context, tree: &Tree, expected: u64) -> Result<Seen> {
    let progress = Progress::new(context, "verify", Some(expected));
    let (mut seen, mut last) = (Seen::default(), Vec::new());
    for entry in tree.iter() {
        // Without a delimiter all entries are records.
        let Entry::Record { key, value, .. } = entry? else { continue };
        seen.entries += 1;
        seen.digest = seen.digest.wrapping_add(value::hash(&key));
        seen.out_of_order += u64::from(key <= last);
        seen.wrong_values += u64::from(!value::belongs(&key, &value));
        last = key;
        if seen.entries.is_multiple_of(STEP) {
            progress.set(seen.entries, seen.entries);
        }
    }
    Ok(seen)
}
