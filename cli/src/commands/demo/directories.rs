//! Times moves of directories, small ones and large ones.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ramus::limits::KEY_BYTES_MAX;
use ramus::{IfExists, Tree};

use super::report::Report;
use crate::text::escape;
use crate::units::count;

/// Directories that are counted to choose from.
const CANDIDATES_MAX: usize = 400;
/// A directory is moved so often there and back.
const ROUNDS: u32 = 5;

/// Moves directories of about 1, 10, 100 and so on keys, and the largest one, there and back.
pub(super) fn run(tree: &Tree, sample: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let mut sizes = Vec::new();
    for directory in candidates(sample) {
        sizes.push((tree.count_prefix(&directory)?.keys, directory));
    }
    sizes.sort();
    for (keys, directory) in choose(&sizes) {
        if let Some(time) = time_moves(tree, directory)? {
            report.row(format!("move {} keys", count(keys)), u64::from(2 * ROUNDS), time);
        }
    }
    Ok(())
}

/// Directories of all depths: those above the sample's paths, from the top.
fn candidates(sample: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    for depth in 0.. {
        let before = found.len();
        let share = CANDIDATES_MAX.saturating_sub(before) / 4 + 1;
        for path in sample {
            let slashes = (1..path.len()).filter(|&at| path[at] == b'/');
            found.extend(slashes.skip(depth).take(1).map(|at| path[..=at].to_vec()));
            if found.len() >= before + share {
                break;
            }
        }
        if found.len() == before || found.len() >= CANDIDATES_MAX {
            break;
        }
    }
    found
}

/// The smallest one of at least so many keys for each power of ten, and the largest of all.
fn choose(sizes: &[(u64, Vec<u8>)]) -> BTreeSet<(u64, &[u8])> {
    let powers = std::iter::successors(Some(1u64), |power| power.checked_mul(10));
    let smallest = powers.map_while(|power| sizes.iter().find(|(keys, _)| *keys >= power));
    smallest.chain(sizes.last()).map(|(keys, directory)| (*keys, &directory[..])).collect()
}

/// Moves a directory there and back; None if there is no free name for it.
fn time_moves(tree: &Tree, directory: &[u8]) -> Result<Option<Duration>> {
    let Some((_, name)) = directory.split_last() else { return Ok(None) };
    let target = [name, b"~moved/"].concat();
    // The keys below get longer by six bytes.
    if directory.len() > KEY_BYTES_MAX / 2 || tree.count_prefix(&target)?.keys > 0 {
        return Ok(None);
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for (from, to) in [(directory, &target[..]), (&target, directory)] {
            if let Err(error) = tree.rename_prefix(from, to, IfExists::Fail) {
                bail!("moving {} to {}: {error}", escape(from), escape(to));
            }
        }
    }
    Ok(Some(start.elapsed()))
}
