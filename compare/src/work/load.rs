//! Loading: every engine gets all records, in random order or sorted, in the way it has for that.

use std::path::Path;

use anyhow::Result;

use super::{Fleet, Run};
use crate::clock::{Times, timed};
use crate::engine::{Engine, Setup, Value};
use crate::engines::Kind;
use crate::results::Sample;
use crate::rows::by_name;
use crate::world::World;

/// The world's records, sorted or in random order.
pub fn records<'w>(world: &'w World, sorted: bool) -> Box<dyn Iterator<Item = (&'w [u8], Value)> + 'w> {
    let record = |at: usize| (&world.keys[at][..], world.value(at));
    match sorted {
        true => Box::new((0..world.keys.len()).map(record)),
        false => Box::new(world.order.iter().map(move |at| record(*at as usize))),
    }
}

/// A new database with the world's records, all at their place, and what that took.
pub fn loaded(kind: Kind, setup: &Setup, world: &World, sorted: bool) -> Result<(Box<dyn Engine>, Times)> {
    if setup.dir.exists() {
        std::fs::remove_dir_all(&setup.dir)?;
    }
    let engine = kind.open(setup)?;
    let mut records = records(world, sorted);
    let ((), times) = timed(|| {
        engine.load(&mut records, sorted)?;
        engine.settle()
    })?;
    engine.quiet()?;
    Ok((engine, times))
}

/// Where the database of the long-lived fleet lies.
pub fn place(dir: &Path, kind: Kind) -> std::path::PathBuf {
    dir.join(kind.to_string())
}

/// Loads in both orders as often as there are rounds, and keeps the databases of the last load in random order.
pub fn run(run: &mut Run<'_>) -> Fleet {
    let mut fleet = Fleet::new();
    let kinds = run.kinds.clone();
    for (name, sorted) in [("load-sorted", true), ("load-random", false)] {
        let row = by_name(name);
        let rounds = match (run.args.wants(name), sorted) {
            (true, _) => run.args.rounds,
            (false, true) => 0,
            // The other rows need the databases.
            (false, false) => 1,
        };
        for round in 0..rounds {
            for kind in kinds
                .iter()
                .filter(|kind| fleet.len() < kinds.len() && !run.results.is_out(row, Some(**kind)))
                .copied()
                .collect::<Vec<_>>()
            {
                run.says(row, kind, round);
                let setup = Setup::new(&place(&run.dir, kind), run.args.cache_bytes());
                match loaded(kind, &setup, run.world, sorted) {
                    Ok((engine, times)) => {
                        if run.args.wants(name) {
                            let sample = Sample::of(row.measure, times, run.world.keys.len() as u64);
                            let sample =
                                right(run.world, engine.as_ref()).map(|wrong| sample.checked(1, wrong));
                            run.took_part(row, kind, sample);
                        }
                        if !sorted && round + 1 == rounds {
                            fleet.push((kind, engine));
                        } else if let Err(error) = engine.close() {
                            run.took_part(row, kind, Err(error));
                        }
                    }
                    Err(error) => run.took_part(row, kind, Err(error)),
                }
            }
        }
        if run.args.wants(name) {
            run.done(row);
        }
    }
    fleet
}

/// Zero if the engine holds the world's records and nothing else, one if not.
pub fn right(world: &World, engine: &dyn Engine) -> Result<u64> {
    let mut session = engine.session()?;
    let (mut at, mut right) = (0, true);
    let mut after = Vec::new();
    // In pieces, so that an engine that reads its snapshots in pieces is not asked for more than it is made for.
    loop {
        let start = at;
        let from = std::mem::take(&mut after);
        session.list_after(b"", &from, 100_000, &mut |key, value| {
            right &= at < world.keys.len() && key == &world.keys[at][..] && value == world.value(at);
            at += 1;
        })?;
        if at == start || !right {
            break;
        }
        after.clone_from(&world.keys[at - 1]);
    }
    Ok(u64::from(!right || at != world.keys.len()))
}
