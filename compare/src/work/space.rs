//! Memory, disk, and bytes written, each in a process of its own.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Run;
use crate::child;
use crate::engines::Kind;
use crate::results::Sample;
use crate::rows::by_name;

fn one(
    task: &str,
    kind: Kind,
    run: &Run<'_>,
    list: &Path,
    count: usize,
) -> Result<std::collections::BTreeMap<String, u64>> {
    let dir = run.dir.join(format!("{task}-{kind}"));
    std::fs::create_dir_all(&dir)?;
    let child = child::child(kind, &dir.join("db"), list, run.args.cache_bytes(), count);
    let (status, numbers) = child::run(task, &child)?;
    std::fs::remove_dir_all(dir)?;
    ensure!(status.success(), "the process ended with {status}");
    Ok(numbers)
}

/// Once for each engine: these figures hardly vary.
pub fn space(run: &mut Run<'_>, list: &Path) {
    let (disk, memory) = (by_name("space-disk"), by_name("space-memory"));
    if !run.args.wants("space-disk") && !run.args.wants("space-memory") {
        return;
    }
    run.results
        .note(memory, "growth of resident memory, LMDB's and SQLite's mapped files included; one load");
    run.results.note(disk, "one load");
    run.on_disk(&[disk]);
    for kind in run.kinds.clone() {
        run.says(memory, kind, 0);
        let numbers = one("space", kind, run, list, 0);
        for (row, name) in [(disk, "disk"), (memory, "memory")] {
            if run.results.is_out(row, Some(kind)) {
                continue;
            }
            let number = numbers.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"));
            let figure = number.and_then(|numbers| numbers.get(name).copied().context("no figure came"));
            run.took_part(
                row,
                kind,
                figure.map(|bytes| Sample { figure: bytes as f64, ..Sample::default() }),
            );
        }
        (run.report)(&run.results);
    }
    run.done(memory);
}

/// Random puts over what is there, with all that a checkpoint, flush or compaction writes for them until all is settled.
pub fn written(run: &mut Run<'_>, list: &Path) {
    let row = by_name("written-bytes");
    if !run.args.wants(row.name) {
        return;
    }
    let count = run.world.keys.len() * 3 / 2;
    run.results.note(row, format!("{count} puts, one run"));
    for kind in run.on_disk(&[row]) {
        run.says(row, kind, 0);
        let sample = one("written", kind, run, list, count).and_then(|numbers| {
            let bytes = *numbers.get("written").context("no figure came")?;
            let wrong = *numbers.get("wrong").context("no check was made")?;
            let figure = bytes as f64 / count as f64;
            Ok(Sample { figure, ..Sample::default() }.checked(1000, wrong))
        });
        run.took_part(row, kind, sample);
        (run.report)(&run.results);
    }
    run.done(row);
}
