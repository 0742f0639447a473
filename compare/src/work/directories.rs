//! Directories are moved, deleted and counted.

use anyhow::{Result, ensure};

use super::{Turn, Workload};
use crate::clock::{Times, timed};
use crate::engine::Engine;
use crate::results::Sample;
use crate::rows::by_name;
use crate::world::{Directory, World};

pub const COUNT: Workload = Workload { row: "count-100k", prepare: count };

pub const MOVES: [Workload; 4] = [
    Workload { row: "move-100", prepare: |world, _| moves(world, "move-100") },
    Workload { row: "move-10k", prepare: |world, _| moves(world, "move-10k") },
    Workload { row: "move-100k", prepare: |world, _| moves(world, "move-100k") },
    Workload { row: "move-1m", prepare: |world, _| moves(world, "move-1m") },
];

pub const DELETES: [Workload; 4] = [
    Workload { row: "delete-100", prepare: |world, _| deletes(world, "delete-100", "delete-100") },
    Workload { row: "delete-10k", prepare: |world, _| deletes(world, "delete-10k", "delete-10k") },
    Workload { row: "after-delete", prepare: |world, _| deletes(world, "delete-10k", "after-delete") },
    Workload { row: "delete-1m", prepare: |world, _| deletes(world, "delete-1m", "delete-1m") },
];

/// The directories of a row, by the end of its name: more of the small ones.
pub fn of<'w>(world: &'w World, row: &str) -> Result<Vec<&'w Directory>, String> {
    let (keys, count) = match row.rsplit('-').next() {
        Some("100") => (100, 20),
        Some("10k") => (10_000, 3),
        Some("100k") => (100_000, 1),
        _ => (1_000_000, 1),
    };
    let picked = world.directories_of(keys, count);
    match picked.is_empty() {
        true => Err(format!("these paths have no directory of about {keys} keys")),
        false => Ok(picked),
    }
}

/// What the directories of a row hold on average.
pub fn mean_keys(world: &World, row: &str) -> Option<usize> {
    let picked = of(world, row).ok()?;
    Some(picked.iter().map(|dir| dir.keys.len()).sum::<usize>() / picked.len())
}

/// Adds up what single calls took.
fn sum(into: &mut Times, times: Times) {
    into.thread_nanos += times.thread_nanos;
    into.background_nanos += times.background_nanos;
    into.wall_nanos += times.wall_nanos;
}

/// Whether the records of `dir` are all there under `path`: their number, and every hundredth by its value.
fn is_at(world: &World, engine: &dyn Engine, dir: &Directory, path: &[u8]) -> Result<bool> {
    let mut session = engine.session()?;
    let mut right = session.count(path)? == dir.keys.len() as u64;
    for at in dir.keys.clone().step_by(100) {
        let key = [path, &world.keys[at][dir.path.len()..]].concat();
        let mut same = false;
        session.get(&key, &mut |value| same = value == world.value(at))?;
        right &= same;
    }
    Ok(right)
}

/// Each directory is moved in measured time, and back in other time.
fn moves<'w>(world: &'w World, row: &'static str) -> Result<Turn<'w>, String> {
    let dirs = of(world, row)?;
    Ok(Box::new(move |_, engine| {
        let (mut all, mut wrong) = (Times::default(), 0);
        for (at, dir) in dirs.iter().enumerate() {
            let target = format!("srv/moved-{at}/").into_bytes();
            let mut session = engine.session()?;
            sum(&mut all, timed(|| session.rename_dir(&dir.path, &target))?.1);
            drop(session);
            let moved = is_at(world, engine, dir, &target)? && engine.session()?.count(&dir.path)? == 0;
            wrong += u64::from(!moved);
            engine.session()?.rename_dir(&target, &dir.path)?;
            ensure!(is_at(world, engine, dir, &dir.path)?, "the directory did not come back");
        }
        let moves = dirs.len() as u64;
        Ok(Sample::of(by_name(row).measure, all, moves).checked(moves, wrong))
    }))
}

/// Each directory is deleted, then the listing is asked for what comes after its beginning, then it is put back. `row` says which of the
/// first two is measured.
fn deletes<'w>(world: &'w World, dirs: &str, row: &'static str) -> Result<Turn<'w>, String> {
    let dirs = of(world, dirs)?;
    Ok(Box::new(move |_, engine| {
        let (mut deleting, mut listing, mut wrong) = (Times::default(), Times::default(), 0);
        for dir in &dirs {
            let mut session = engine.session()?;
            sum(&mut deleting, timed(|| session.delete_dir(&dir.path))?.1);
            session.refresh()?;
            let mut next = None;
            let above = &dir.path[..1];
            let list = || session.list_after(above, &dir.path, 1, &mut |key, _| next = Some(key.to_vec()));
            sum(&mut listing, timed(list)?.1);
            let expected = world.keys.get(dir.keys.end).filter(|key| key.starts_with(above));
            let gone = session.count(&dir.path)? == 0 && next.as_ref() == expected;
            wrong += u64::from(!gone);
            drop(session);
            let mut records = dir.keys.clone().map(|at| (&world.keys[at][..], world.value(at)));
            engine.load(&mut records, false)?;
            ensure!(is_at(world, engine, dir, &dir.path)?, "the directory could not be put back");
        }
        let deletes = dirs.len() as u64;
        let times = if row == "after-delete" { listing } else { deleting };
        Ok(Sample::of(by_name(row).measure, times, deletes).checked(deletes, wrong))
    }))
}

fn count(world: &World, _round: u64) -> Result<Turn<'_>, String> {
    const CALLS: u64 = 10;
    let dir = of(world, "count-100k")?[0];
    Ok(Box::new(move |_, engine| {
        let mut session = engine.session()?;
        let mut wrong = 0;
        let ((), times) = timed(|| {
            for _ in 0..CALLS {
                wrong += u64::from(session.count(&dir.path)? != dir.keys.len() as u64);
            }
            Ok(())
        })?;
        Ok(Sample::of(by_name("count-100k").measure, times, CALLS).checked(CALLS, wrong))
    }))
}
