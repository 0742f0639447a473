//! Gets, puts and deletes of single keys.

use anyhow::Result;

use super::{Turn, Workload, answered, digest_of, reads, seed, writes};
use crate::clock::timed;
use crate::engine::{Engine, Session, Value};
use crate::model::{Digest, value_of};
use crate::random::Random;
use crate::results::Sample;
use crate::rows::{Row, by_name};
use crate::world::{Keys, World};

pub const WORKLOADS: [Workload; 7] = [
    Workload { row: "get-uniform", prepare: uniform },
    Workload { row: "get-owned", prepare: owned },
    Workload { row: "get-zipf", prepare: zipf },
    Workload { row: "get-miss", prepare: miss },
    Workload { row: "put-overwrite", prepare: overwrite },
    Workload { row: "put-new", prepare: new },
    Workload { row: "create-delete", prepare: create_delete },
];

/// Keys that are there, picked by `pick`, and the digests of their values.
fn probes(world: &World, seed: u64, pick: fn(&World, &mut Random) -> usize) -> (Keys, Vec<Digest>) {
    let mut random = Random::new(seed);
    let (mut keys, mut expected) = (Keys::default(), Vec::new());
    for _ in 0..reads(world) {
        let at = pick(world, &mut random);
        keys.push(&world.keys[at]);
        expected.push(digest_of(Some(&world.value(at))));
    }
    (keys, expected)
}

fn lent<'w>(row: &'static Row, keys: Keys, expected: Vec<Digest>) -> Turn<'w> {
    Box::new(move |_, engine| {
        answered(row, engine, &expected, |session, at, digest| {
            session.get(keys.get(at), &mut |value| digest.value(value)).map(drop)
        })
    })
}

fn uniform(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let (keys, expected) = probes(world, seed("get", round), World::uniform);
    Ok(lent(by_name("get-uniform"), keys, expected))
}

fn owned(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let (keys, expected) = probes(world, seed("owned", round), World::uniform);
    Ok(Box::new(move |_, engine| {
        answered(by_name("get-owned"), engine, &expected, |session, at, digest| {
            let value = session.get_owned(keys.get(at))?;
            value.inspect(|value| digest.value(value));
            Ok(())
        })
    }))
}

fn zipf(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let (keys, expected) = probes(world, seed("zipf", round), World::popular);
    Ok(lent(by_name("get-zipf"), keys, expected))
}

fn miss(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let mut random = Random::new(seed("miss", round));
    let picked = (0..reads(world)).map(|_| &world.extra[random.below(world.extra.len())][..]);
    let keys: Keys = picked.collect();
    let expected = vec![Digest::NOTHING; keys.len()];
    Ok(lent(by_name("get-miss"), keys, expected))
}

/// Compares what is there with what was put, and says how much of it is wrong.
fn read_back(session: &mut dyn Session, keys: &Keys, values: &[Value]) -> Result<u64> {
    session.refresh()?;
    let mut wrong = 0;
    for (at, value) in values.iter().enumerate() {
        let mut right = false;
        session.get(keys.get(at), &mut |found| right = found == value)?;
        wrong += u64::from(!right);
    }
    Ok(wrong)
}

fn put_all(session: &mut dyn Session, keys: &Keys, values: &[Value]) -> Result<()> {
    values.iter().enumerate().try_for_each(|(at, value)| session.put(keys.get(at), value))
}

fn overwrite(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let mut random = Random::new(seed("overwrite", round));
    let mut picked: Vec<usize> = (0..writes(world)).map(|_| world.uniform(&mut random)).collect();
    picked.sort_unstable();
    picked.dedup();
    random.shuffle(&mut picked);
    let keys: Keys = picked.iter().map(|at| &world.keys[*at][..]).collect();
    let values: Vec<Value> = picked.iter().map(|at| world.replace(*at)).collect();
    Ok(Box::new(move |_, engine| {
        let mut session = engine.session()?;
        let ((), times) = timed(|| put_all(session.as_mut(), &keys, &values))?;
        let wrong = read_back(session.as_mut(), &keys, &values)?;
        let puts = values.len() as u64;
        Ok(Sample::of(by_name("put-overwrite").measure, times, puts).checked(puts, wrong))
    }))
}

/// Keys that are not there, each once, and values for them.
fn newcomers(world: &World, seed: u64) -> (Keys, Vec<Value>) {
    let mut random = Random::new(seed);
    let mut picked: Vec<&Vec<u8>> = world.extra.iter().collect();
    random.shuffle(&mut picked);
    picked.truncate(writes(world));
    let values = picked.iter().map(|key| value_of(key, 7)).collect();
    (picked.into_iter().map(|key| &key[..]).collect(), values)
}

fn new(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let (keys, values) = newcomers(world, seed("new", round));
    Ok(Box::new(move |_, engine| {
        let mut session = engine.session()?;
        let ((), times) = timed(|| put_all(session.as_mut(), &keys, &values))?;
        let wrong = read_back(session.as_mut(), &keys, &values)?;
        (0..keys.len()).try_for_each(|at| session.delete(keys.get(at)))?;
        let puts = values.len() as u64;
        Ok(Sample::of(by_name("put-new").measure, times, puts).checked(puts, wrong))
    }))
}

fn left(session: &mut dyn Session, keys: &Keys) -> Result<u64> {
    session.refresh()?;
    (0..keys.len()).try_fold(0, |left, at| Ok(left + u64::from(session.get(keys.get(at), &mut |_| {})?)))
}

fn create_delete(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let (keys, values) = newcomers(world, seed("create-delete", round));
    Ok(Box::new(move |_, engine: &dyn Engine| {
        let mut session = engine.session()?;
        let ((), times) = timed(|| {
            for (at, value) in values.iter().enumerate() {
                session.put(keys.get(at), value)?;
                session.delete(keys.get(at))?;
            }
            Ok(())
        })?;
        let wrong = left(session.as_mut(), &keys)?;
        let pairs = values.len() as u64;
        Ok(Sample::of(by_name("create-delete").measure, times, pairs).checked(pairs, wrong))
    }))
}
