//! Loads the paths as a stream: only a sample of them stays in memory.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use ramus::{Db, Tree};

use super::DemoArgs;
use super::report::Report;
use super::sample::Sampler;
use super::source::Source;
use super::value::{BYTES, hash};
use crate::context::Context;
use crate::progress::Progress;

/// Paths read before they are put, so that the time of the puts is theirs alone.
const CHUNK: usize = 1024;

/// What was loaded.
#[derive(Default)]
pub(super) struct Loaded {
    /// Different paths.
    pub(super) entries: u64,
    /// The sum of their hashes.
    pub(super) digest: u64,
    /// Some of them, evenly from all.
    pub(super) sample: Vec<Vec<u8>>,
}

/// A path and its value.
type Pair = (Vec<u8>, [u8; BYTES]);

pub(super) fn load(
    args: &DemoArgs,
    context: &Context,
    db: &Db,
    own: &Path,
    report: &mut Report,
) -> Result<Loaded> {
    let mut source = Source::open(args.paths.as_deref(), own)?;
    let progress = Progress::new(context, "load", source.total());
    let tree = db.default_tree();
    let mut chunk: Vec<Pair> = vec![(Vec::new(), [0; BYTES]); CHUNK];
    let (mut loaded, mut sampler) = (Loaded::default(), Sampler::default());
    let (mut left, mut time) = (args.max, Duration::ZERO);
    loop {
        let wanted = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
        let read = fill(&mut source, &mut chunk[..wanted])?;
        if read == 0 {
            break;
        }
        left -= read as u64;
        time += put(&tree, &chunk[..read], &mut loaded, &mut sampler)?;
        progress.set(source.position(), loaded.entries);
    }
    report.row("load (put)", loaded.entries, time);
    loaded.sample = sampler.finish();
    Ok(loaded)
}

fn fill(source: &mut Source, chunk: &mut [Pair]) -> Result<usize> {
    for (i, (path, value)) in chunk.iter_mut().enumerate() {
        match source.next(path)? {
            Some(next) => *value = next,
            None => return Ok(i),
        }
    }
    Ok(chunk.len())
}

fn put(tree: &Tree, chunk: &[Pair], loaded: &mut Loaded, sampler: &mut Sampler) -> Result<Duration> {
    let mut new = [false; CHUNK];
    let start = Instant::now();
    for ((path, value), new) in chunk.iter().zip(&mut new) {
        *new = tree.put_if_absent(path, value)?;
    }
    let time = start.elapsed();
    for ((path, _), _) in chunk.iter().zip(new).filter(|(_, new)| *new) {
        loaded.entries += 1;
        loaded.digest = loaded.digest.wrapping_add(hash(path));
        sampler.add(path);
    }
    Ok(time)
}
