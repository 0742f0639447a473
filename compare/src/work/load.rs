//! Loading: every engine gets all records, in random order or sorted, in the way it has for that.

use std::path::Path;

use anyhow::Result;

use super::{Fleet, Run};
use crate::clock::{Times, timed};
use crate::engine::{Engine, Setup, Value};
use crate::engines::Kind;
use crate::results::Sample;
use crate::rows::{Row, by_name};
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

/// Loads in both orders as often as is asked for, and keeps the databases of the last load in random order, which the other rows need.
pub fn run(run: &mut Run<'_>) -> Fleet {
    let mut fleet = Fleet::new();
    for (name, sorted) in [("load-sorted", true), ("load-random", false)] {
        let (row, wanted) = (by_name(name), run.args.wants(name));
        let loads = if wanted { run.args.loads.unwrap_or(run.args.rounds) } else { u64::from(!sorted) };
        if loads < 3 {
            run.results.note(row, format!("loads: {loads}"));
        }
        for round in 0..loads {
            for kind in run.kinds.clone() {
                if run.results.is_out(row, Some(kind)) {
                    continue;
                }
                run.says(row, kind, round);
                match turn(run, row, kind, sorted) {
                    Ok((sample, engine)) => {
                        if wanted {
                            run.results.add(row, Some(kind), sample);
                        }
                        if !sorted && round + 1 == loads {
                            fleet.push((kind, engine));
                        } else if let Err(error) = engine.close() {
                            run.took_part(row, kind, Err(error.context("closing")));
                        }
                    }
                    Err(error) => run.took_part(row, kind, Err(error)),
                }
            }
        }
        if wanted {
            run.done(row);
        }
    }
    fleet
}

/// One load, checked.
fn turn(run: &Run<'_>, row: &Row, kind: Kind, sorted: bool) -> Result<(Sample, Box<dyn Engine>)> {
    let setup = Setup::new(&place(&run.dir, kind), run.args.cache_bytes());
    let (engine, times) = loaded(kind, &setup, run.world, sorted)?;
    let wrong = right(run.world, engine.as_ref())?;
    Ok((Sample::of(row.measure, times, run.world.keys.len() as u64).checked(1, wrong), engine))
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
