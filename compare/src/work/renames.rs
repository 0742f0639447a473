//! Files get other names.

use super::{Turn, Workload, seed, writes};
use crate::clock::timed;
use crate::random::Random;
use crate::results::Sample;
use crate::rows::{Row, by_name};
use crate::world::{Keys, World, parent};

pub const WORKLOADS: [Workload; 2] =
    [Workload { row: "rename-in", prepare: inside }, Workload { row: "rename-across", prepare: across }];

/// Renames each key that `name` has a new one for, there in measured time and back in other time.
fn renames<'w>(
    world: &'w World,
    row: &'static Row,
    round: u64,
    name: impl Fn(usize, &[u8], &mut Random) -> Option<Vec<u8>>,
) -> Turn<'w> {
    let mut random = Random::new(seed(row.name, round));
    let mut picked: Vec<usize> = (0..writes(world) / 2).map(|_| world.uniform(&mut random)).collect();
    picked.sort_unstable();
    picked.dedup();
    random.shuffle(&mut picked);
    let (mut old, mut new, mut kept) = (Keys::default(), Keys::default(), Vec::new());
    for (at, position) in picked.into_iter().enumerate() {
        if let Some(name) = name(at, &world.keys[position], &mut random) {
            old.push(&world.keys[position]);
            new.push(&name);
            kept.push(position);
        }
    }
    Box::new(move |_, engine| {
        let mut session = engine.session()?;
        let ((), times) =
            timed(|| (0..old.len()).try_for_each(|at| session.rename(old.get(at), new.get(at))))?;
        session.refresh()?;
        let mut wrong = 0;
        for (at, position) in kept.iter().enumerate() {
            let mut right = false;
            session.get(new.get(at), &mut |value| right = value == world.value(*position))?;
            let gone = !session.get(old.get(at), &mut |_| {})?;
            wrong += u64::from(!right || !gone);
        }
        (0..old.len()).try_for_each(|at| session.rename(new.get(at), old.get(at)))?;
        let renamed = old.len() as u64;
        Ok(Sample::of(row.measure, times, renamed).checked(renamed, wrong))
    })
}

fn inside(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let name = |_, key: &[u8], _: &mut Random| Some([key, b".renamed"].concat());
    Ok(renames(world, by_name("rename-in"), round, name))
}

/// Into the directory of another key, under a name of its own.
fn across(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let name = |at: usize, key: &[u8], random: &mut Random| {
        let other = &world.keys[world.uniform(random)];
        let (to, from) = (parent(other)?, parent(key).unwrap_or(0));
        Some([&other[..to], &key[from..], format!(".from-elsewhere-{at}").as_bytes()].concat())
    };
    Ok(renames(world, by_name("rename-across"), round, name))
}
