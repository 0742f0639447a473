//! What a file server does: of a hundred operations 75 are stat (a get), 10 list a directory from a key on (as list100), 6 create, 6 delete, 3
//! rename. Each is a commit of its own, and each read sees the latest. Created files have names that no path has, in real directories.

use std::sync::Barrier;
use std::time::Instant;

use anyhow::Result;

use super::listings::{LIMIT, listed_dir};
use super::{Fleet, Run, seed, writes};
use crate::clock::{Times, thread_nanos, timed};
use crate::engine::{Engine, Session, Value};
use crate::model::{Digest, value_of};
use crate::random::Random;
use crate::results::Sample;
use crate::rows::by_name;
use crate::world::{Keys, World, parent};

/// What no real path has in it.
const MARK: &str = "/.made-in-the-mix-";

enum Operation {
    Stat(Digest),
    /// In the directory whose prefix has this length.
    List(usize, Digest),
    Create(Box<Value>),
    Delete,
    /// To the name that follows.
    Rename,
    /// Part of a rename.
    Target,
}

/// The operations of one thread, with the right answers as far as they depend on nobody else.
struct Script {
    keys: Keys,
    operations: Vec<Operation>,
    /// Made and not deleted: for the end.
    remain: Vec<Vec<u8>>,
    /// How many the operations are, a rename being one.
    count: u64,
}

fn script(world: &World, round: u64, thread: usize) -> Script {
    let mut random = Random::new(seed("mixed", round) ^ thread as u64);
    let (mut keys, mut operations) = (Keys::default(), Vec::new());
    let mut mine: Vec<Vec<u8>> = Vec::new();
    let count = writes(world) as u64;
    let mut made = 0;
    for _ in 0..count {
        let at = world.uniform(&mut random);
        let key = &world.keys[at];
        match random.below(100) {
            0..75 => {
                keys.push(key);
                operations.push(Operation::Stat(super::digest_of(Some(&world.value(at)))));
            }
            75..85 => {
                let dir = listed_dir(key).unwrap_or(0);
                keys.push(key);
                let listed = world.model(|model| model.list_after(&key[..dir], key, LIMIT).0);
                operations.push(Operation::List(dir, listed));
            }
            91..97 if !mine.is_empty() => {
                let name = mine.swap_remove(random.below(mine.len()));
                keys.push(&name);
                operations.push(Operation::Delete);
            }
            97.. if !mine.is_empty() => {
                let which = random.below(mine.len());
                let renamed = [&mine[which][..], b".r"].concat();
                keys.push(&mine[which]);
                keys.push(&renamed);
                operations.extend([Operation::Rename, Operation::Target]);
                mine[which] = renamed;
            }
            _ => {
                made += 1;
                let dir = parent(key).map_or(0, |end| end - 1);
                let name = [&key[..dir], format!("{MARK}{thread}-{made}").as_bytes()].concat();
                keys.push(&name);
                operations.push(Operation::Create(Box::new(value_of(&name, 0))));
                mine.push(name);
            }
        }
    }
    Script { keys, operations, remain: mine, count }
}

/// Runs a script; gives how many answers were wrong.
fn play(script: &Script, session: &mut dyn Session) -> Result<u64> {
    let mut wrong = 0;
    for (at, operation) in script.operations.iter().enumerate() {
        let key = script.keys.get(at);
        match operation {
            Operation::Stat(expected) => {
                session.refresh()?;
                let mut digest = Digest::NOTHING;
                session.get(key, &mut |value| digest.value(value))?;
                wrong += u64::from(digest != *expected);
            }
            Operation::List(dir, expected) => {
                session.refresh()?;
                let (mut digest, mut disturbed) = (Digest::NOTHING, false);
                session.list_after(&key[..*dir], key, LIMIT, &mut |key, value| {
                    digest.record(key, value);
                    disturbed |= is_made(key);
                })?;
                // What the mix itself has made may come into a listing; those are not compared.
                wrong += u64::from(digest != *expected && !disturbed);
            }
            Operation::Create(value) => session.put(key, value)?,
            Operation::Delete => session.delete(key)?,
            Operation::Rename => session.rename(key, script.keys.get(at + 1))?,
            Operation::Target => {}
        }
    }
    Ok(wrong)
}

fn is_made(key: &[u8]) -> bool {
    key.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

/// Looks for what should be left, and deletes it.
fn tidy(script: &Script, session: &mut dyn Session) -> Result<u64> {
    session.refresh()?;
    let mut wrong = 0;
    for name in &script.remain {
        let mut right = false;
        session.get(name, &mut |_| right = true)?;
        wrong += u64::from(!right);
    }
    script.remain.iter().try_for_each(|name| session.delete(name))?;
    Ok(wrong)
}

/// Threads that begin at the same time, and what they took together.
fn together(engine: &dyn Engine, scripts: &[Script]) -> Result<(u64, Times)> {
    let barrier = Barrier::new(scripts.len());
    std::thread::scope(|scope| {
        let thread = |script| {
            let barrier = &barrier;
            move || -> Result<(u64, f64, Instant, Instant)> {
                let session = engine.session();
                barrier.wait();
                let (mut session, started, before) = (session?, Instant::now(), thread_nanos());
                let wrong = play(script, session.as_mut())?;
                let (took, ended) = (thread_nanos() - before, Instant::now());
                Ok((wrong + tidy(script, session.as_mut())?, took, started, ended))
            }
        };
        let threads: Vec<_> = scripts.iter().map(|script| scope.spawn(thread(script))).collect();
        let (mut wrong, mut times, mut from, mut to) = (0, Times::default(), None, None);
        for thread in threads {
            let (missed, took, started, ended) = thread.join().expect("no thread panics")?;
            wrong += missed;
            times.thread_nanos += took;
            from = from.into_iter().chain([started]).min();
            to = to.into_iter().chain([ended]).max();
        }
        times.wall_nanos = from.zip(to).map_or(0.0, |(from, to)| (to - from).as_nanos() as f64);
        Ok((wrong, times))
    })
}

pub fn run(run: &mut Run<'_>, fleet: &Fleet) {
    for (name, threads) in [("mixed-1", 1), ("mixed-2", 2)] {
        let row = by_name(name);
        if !run.args.wants(name) {
            continue;
        }
        for round in 0..run.args.rounds {
            let scripts: Vec<Script> = (0..threads).map(|thread| script(run.world, round, thread)).collect();
            let count = scripts.iter().map(|script| script.count).sum::<u64>();
            for at in 0..fleet.len() {
                let (kind, engine) = &fleet[(at + round as usize) % fleet.len()];
                if threads > 1 && kind.is_limit() {
                    run.results.leave_out(row, Some(*kind), "a map for one thread at a time");
                }
                if run.results.is_out(row, Some(*kind)) {
                    continue;
                }
                run.says(row, *kind, round);
                let sample = turn(engine.as_ref(), &scripts)
                    .map(|(wrong, times)| Sample::of(row.measure, times, count).checked(count, wrong));
                run.took_part(row, *kind, sample);
            }
        }
        run.done(row);
    }
}

fn turn(engine: &dyn Engine, scripts: &[Script]) -> Result<(u64, Times)> {
    let outcome = match scripts {
        [script] => {
            let mut session = engine.session()?;
            let (wrong, times) = timed(|| play(script, session.as_mut()))?;
            (wrong + tidy(script, session.as_mut())?, times)
        }
        _ => together(engine, scripts)?,
    };
    engine.quiet()?;
    Ok(outcome)
}
