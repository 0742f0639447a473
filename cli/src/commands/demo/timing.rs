//! Times what users do, on the sample.

use std::time::Instant;

use anyhow::{Result, bail};
use ramus::limits::KEY_BYTES_MAX;
use ramus::{Db, ErrorKind, IfExists, Tree};

use super::directories;
use super::load::Loaded;
use super::report::Report;
use crate::text::escape;

const LISTINGS_MAX: usize = 20_000;
const RENAMES_MAX: usize = 50_000;
/// Entries of a directory that are listed.
const DIRECTORY_MAX: usize = 1000;

pub(super) fn run(db: &Db, loaded: &Loaded, report: &mut Report) -> Result<()> {
    let tree = db.default_tree();
    gets(&tree, &loaded.sample, report)?;
    misses(&tree, &loaded.sample, report)?;
    let some = &loaded.sample[..loaded.sample.len().min(LISTINGS_MAX)];
    list_100(&tree, some, report)?;
    list_directories(&tree, some, report)?;
    renames(&tree, &loaded.sample[..loaded.sample.len().min(RENAMES_MAX)], report)?;
    directories::run(&tree, &loaded.sample, report)
}

fn gets(tree: &Tree, sample: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let start = Instant::now();
    for path in sample {
        if tree.get(path)?.is_none() {
            bail!("{} was loaded, but is not there", escape(path));
        }
    }
    report.row("get, hit", sample.len() as u64, start.elapsed());
    Ok(())
}

/// A path that is not there, next to one that is.
fn absent(tree: &Tree, path: &[u8]) -> Result<Option<Vec<u8>>> {
    let near = [path, b"~"].concat();
    let usable = near.len() <= KEY_BYTES_MAX && !tree.contains(&near)?;
    Ok(usable.then_some(near))
}

fn all_absent(tree: &Tree, sample: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
    sample.iter().map(|path| absent(tree, path)).collect()
}

fn misses(tree: &Tree, sample: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let absent = all_absent(tree, sample)?;
    let absent: Vec<&Vec<u8>> = absent.iter().flatten().collect();
    let start = Instant::now();
    for path in &absent {
        if tree.get(path)?.is_some() {
            bail!("{} was never put, but is there", escape(path));
        }
    }
    report.row("get, miss", absent.len() as u64, start.elapsed());
    Ok(())
}

fn list_100(tree: &Tree, sample: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let start = Instant::now();
    for path in sample {
        for entry in tree.range(&path[..]..).limit(100) {
            entry?;
        }
    }
    report.row("list 100 records", sample.len() as u64, start.elapsed());
    Ok(())
}

fn list_directories(tree: &Tree, sample: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let (start, mut names) = (Instant::now(), 0);
    for path in sample {
        let directory = path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        for entry in tree.prefix(&path[..directory]).delimiter(b'/').limit(DIRECTORY_MAX) {
            entry?;
            names += 1;
        }
    }
    let time = start.elapsed();
    report.row("list a directory", sample.len() as u64, time);
    report.row("  of it, each name", names, time);
    Ok(())
}

/// Renames there and back, so that the data stays as it was loaded.
fn renames(tree: &Tree, sample: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let targets = all_absent(tree, sample)?;
    let pairs: Vec<_> = sample.iter().zip(&targets).filter_map(|(a, b)| Some((a, b.as_ref()?))).collect();
    let start = Instant::now();
    for (path, target) in &pairs {
        rename(tree, path, target)?;
    }
    for (path, target) in &pairs {
        rename(tree, target, path)?;
    }
    report.row("rename", 2 * pairs.len() as u64, start.elapsed());
    Ok(())
}

fn rename(tree: &Tree, from: &[u8], to: &[u8]) -> Result<()> {
    match tree.rename(from, to, IfExists::Fail) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Exists) => {
            bail!("renaming {} to {}: {error}", escape(from), escape(to))
        }
        outcome => {
            outcome?;
            Ok(())
        }
    }
}
