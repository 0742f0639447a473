//! Opening: after a close in order, and after a kill.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};

use super::{Fleet, Run, load};
use crate::child::{self, PUT_VERSION, put_order};
use crate::clock::timed;
use crate::engine::{Engine, Setup};
use crate::engines::Kind;
use crate::model::value_of;
use crate::results::Sample;
use crate::rows::{Row, by_name};

/// Rounds of opens after a close, at least: they take little and vary.
const ROUNDS_MIN: u64 = 7;

/// Opens and gets a key; gives the sample and the open engine.
fn opened(
    row: &Row,
    kind: Kind,
    setup: &Setup,
    key: &[u8],
    value: &[u8],
) -> Result<(Sample, Box<dyn Engine>)> {
    let mut right = false;
    let (engine, times) = timed(|| {
        let engine = kind.open(setup)?;
        engine.session()?.get(key, &mut |found| right = found == value)?;
        Ok(engine)
    })?;
    Ok((Sample::of(row.measure, times, 1).checked(1, u64::from(!right)), engine))
}

/// Closes the fleet's databases and opens each in turn.
pub fn clean(run: &mut Run<'_>, fleet: Fleet) {
    let row = by_name("open-clean");
    let on_disk = if run.args.wants(row.name) { run.on_disk(&[row]) } else { Vec::new() };
    for (kind, engine) in fleet {
        if let Err(error) = engine.close() {
            run.took_part(row, kind, Err(error.context("closing")));
        }
    }
    for round in 0..run.args.rounds.max(ROUNDS_MIN) {
        for kind in &on_disk {
            if run.results.is_out(row, Some(*kind)) {
                continue;
            }
            run.says(row, *kind, round);
            let setup = Setup::new(&load::place(&run.dir, *kind), run.args.cache_bytes());
            let at = (round as usize * 7919) % run.world.keys.len();
            let sample = opened(row, *kind, &setup, &run.world.keys[at], &run.world.value(at));
            let sample = sample.and_then(|(sample, engine)| engine.close().map(|()| sample));
            run.took_part(row, *kind, sample);
        }
    }
    if !on_disk.is_empty() {
        run.done(row);
    }
}

/// A process puts records, hands them to the system, and is killed; what takes time is the open after that.
pub fn killed(run: &mut Run<'_>, list: &Path) {
    let row = by_name("open-killed");
    if !run.args.wants(row.name) {
        return;
    }
    let count = run.world.keys.len().min(200_000);
    if count < 200_000 {
        run.results.note(row, format!("{count} of them"));
    }
    let on_disk = run.on_disk(&[row]);
    for round in 0..run.few_rounds() {
        for kind in &on_disk {
            if run.results.is_out(row, Some(*kind)) {
                continue;
            }
            run.says(row, *kind, round);
            let sample = after_kill(run, row, *kind, list, count);
            run.took_part(row, *kind, sample);
        }
    }
    run.done(row);
}

fn after_kill(run: &Run<'_>, row: &Row, kind: Kind, list: &Path, count: usize) -> Result<Sample> {
    let dir = run.dir.join(format!("killed-{kind}"));
    std::fs::create_dir_all(&dir)?;
    let setup = Setup::new(&dir.join("db"), run.args.cache_bytes());
    let child = child::child(kind, &setup.dir, list, setup.cache_bytes, count);
    let (status, _) = child::run("crash", &child)?;
    ensure!(
        std::os::unix::process::ExitStatusExt::signal(&status) == Some(9),
        "the process ended with {status}"
    );
    let keys = &run.world.keys;
    let put: BTreeSet<usize> = put_order(keys.len(), count).collect();
    let first = &keys[*put.first().unwrap_or(&0)];
    let (sample, engine) = opened(row, kind, &setup, first, &value_of(first, PUT_VERSION))?;
    let mut session = engine.session()?;
    let mut wrong = 0;
    for at in &put {
        let mut right = false;
        session.get(&keys[*at], &mut |found| right = found == value_of(&keys[*at], PUT_VERSION))?;
        wrong += u64::from(!right);
    }
    drop(session);
    engine.close()?;
    std::fs::remove_dir_all(dir)?;
    Ok(sample.checked(put.len() as u64, wrong))
}
