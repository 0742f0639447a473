//! Gets with a cache far smaller than the data, and nothing of it in the system's page cache at the beginning of a round.
//!
//! Only the engine's own cache is held to that size. What the system keeps of the files besides is not: LMDB's map lives there altogether,
//! and so do the blocks that others read through it; holt reads past it.

use std::fs::File;
use std::path::Path;

use anyhow::Result;
use rustix::fs::{Advice, fadvise};

use super::{Run, digest_of, load, seed};
use crate::clock::{timed, traffic};
use crate::engine::Setup;
use crate::engines::Kind;
use crate::model::Digest;
use crate::random::Random;
use crate::results::Sample;
use crate::rows::by_name;
use crate::world::World;

pub const CACHE_BYTES: u64 = 64 << 20;
const GETS: usize = 3000;

/// Has the system forget what it holds of the files below `dir`.
fn forget(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            let file = File::open(path)?;
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

fn turn(world: &World, kind: Kind, setup: &Setup, round: u64) -> Result<(Sample, Sample)> {
    forget(&setup.dir)?;
    let mut random = Random::new(seed("cold", round));
    let picked: Vec<usize> = (0..GETS).map(|_| world.uniform(&mut random)).collect();
    let expected: Vec<Digest> = picked.iter().map(|at| digest_of(Some(&world.value(*at)))).collect();
    let engine = kind.open(setup)?;
    let mut session = engine.session()?;
    let (mut wrong, before) = (0, traffic()?.read);
    let ((), times) = timed(|| {
        for (at, expected) in picked.iter().zip(&expected) {
            let mut digest = Digest::NOTHING;
            session.get(&world.keys[*at], &mut |value| digest.value(value))?;
            wrong += u64::from(digest != *expected);
        }
        Ok(())
    })?;
    let read = traffic()?.read - before;
    drop(session);
    engine.close()?;
    let gets = GETS as u64;
    let time = Sample::of(by_name("cold-get").measure, times, gets).checked(gets, wrong);
    Ok((time, Sample { figure: read as f64 / GETS as f64, in_all: None, ..time }))
}

/// Loads databases of all the paths of `world` and asks them in turn.
pub fn run(run: &mut Run<'_>, world: &World) {
    let (time, bytes) = (by_name("cold-get"), by_name("cold-bytes"));
    let note =
        format!("{} keys, cache of 64 MiB, {GETS} gets after a drop of the page cache", world.keys.len());
    run.results.note(time, note);
    let mut ready = Vec::new();
    for kind in run.on_disk(&[time, bytes]) {
        run.says(time, kind, 0);
        let setup = Setup::new(&run.dir.join(format!("cold-{kind}")), run.args.cache_bytes());
        match load::loaded(kind, &setup, world, true).and_then(|(engine, _)| engine.close()) {
            Ok(()) => ready.push((kind, Setup { cache_bytes: CACHE_BYTES, ..setup.beyond_memory() })),
            Err(error) => run.took_part(time, kind, Err(error)),
        }
    }
    for round in 0..run.args.rounds {
        for (kind, setup) in &ready {
            if run.results.is_out(time, Some(*kind)) {
                continue;
            }
            run.says(time, *kind, round);
            match turn(world, *kind, setup, round) {
                Ok((took, read)) => {
                    run.took_part(time, *kind, Ok(took));
                    run.took_part(bytes, *kind, Ok(read));
                }
                Err(error) => run.took_part(time, *kind, Err(error)),
            }
        }
    }
    run.done(time);
}
