//! Puts that wait for stable storage, from one, eight and sixty-four threads, and beside them a bare loop that writes as many bytes into a file
//! that is there already and syncs them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Run;
use crate::engine::{Engine, Setup, Value};
use crate::engines::Kind;
use crate::model::value_of;
use crate::random::Random;
use crate::results::Sample;
use crate::rows::{Row, by_name};
use crate::world::World;

const THREADS: [(&str, usize); 3] = [("durable-1", 1), ("durable-8", 8), ("durable-64", 64)];
const TURN: Duration = Duration::from_millis(200);
/// What waits for disks varies: rounds there are at least.
const ROUNDS_MIN: u64 = 9;
/// A put of a path of 64 bytes with what a journal says about it.
const RAW_BYTES: usize = 200;
const RAW_FILE_BYTES: u64 = 8 << 20;
const KEYS: usize = 20_000;

/// Nanoseconds of one write and sync.
fn floor(file: &File) -> Result<f64> {
    let bytes = [7; RAW_BYTES];
    let (started, mut done) = (Instant::now(), 0u64);
    while started.elapsed() < TURN {
        file.write_all_at(&bytes, done * RAW_BYTES as u64 % (RAW_FILE_BYTES - RAW_BYTES as u64))?;
        file.sync_data()?;
        done += 1;
    }
    Ok(started.elapsed().as_nanos() as f64 / done as f64)
}

/// What one put took on the clock, all threads together, and how many of them cannot be read back.
fn turn(engine: &dyn Engine, world: &World, threads: usize, round: u64) -> Result<Sample> {
    let (stop, barrier) = (AtomicBool::new(false), Barrier::new(threads + 1));
    let (done, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
    let put = |thread: usize| -> Result<()> {
        let session = engine.session();
        barrier.wait();
        let mut session = session?;
        let mut random = Random::new(round * 64 + thread as u64);
        let mut last: Option<(usize, Value)> = None;
        let mut mine = 0;
        while !stop.load(Relaxed) {
            // Each thread has keys of its own.
            let at = random.below(KEYS / THREADS[2].1) * THREADS[2].1 + thread;
            let key = &world.keys[at % world.keys.len()];
            let value = value_of(key, mine);
            session.put(key, &value)?;
            last = Some((at, value));
            mine += 1;
        }
        done.fetch_add(u64::from(mine), Relaxed);
        session.refresh()?;
        if let Some((at, value)) = last {
            let mut right = false;
            session.get(&world.keys[at % world.keys.len()], &mut |found| right = found == value)?;
            wrong.fetch_add(u64::from(!right), Relaxed);
        }
        Ok(())
    };
    let nanos = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || put(thread))).collect();
        barrier.wait();
        let started = Instant::now();
        std::thread::sleep(TURN);
        stop.store(true, Relaxed);
        let outcomes = handles.into_iter().map(|handle| handle.join().expect("no thread panics"));
        outcomes.collect::<Result<Vec<()>>>()?;
        anyhow::Ok(started.elapsed().as_nanos() as f64)
    })?;
    let puts = done.into_inner();
    anyhow::ensure!(puts > 0, "no put ended");
    let figure = nanos / puts as f64;
    Ok(Sample { figure, ..Sample::default() }.checked(threads as u64, wrong.into_inner()))
}

fn prepared(kind: Kind, dir: &Path, world: &World, cache_bytes: u64) -> Result<Box<dyn Engine>> {
    let engine = kind.open(&Setup::new(dir, cache_bytes).durable())?;
    let mut records = (0..KEYS.min(world.keys.len())).map(|at| (&world.keys[at][..], world.value(at)));
    engine.load(&mut records, true)?;
    engine.settle()?;
    Ok(engine)
}

pub fn run(run: &mut Run<'_>) -> Result<()> {
    let rows: Vec<(&'static Row, usize)> = THREADS.map(|(name, threads)| (by_name(name), threads)).to_vec();
    if !rows.iter().any(|(row, _)| run.args.wants(row.name)) {
        return Ok(());
    }
    let dir = run.dir.join("durable");
    std::fs::create_dir_all(&dir)?;
    let file = File::create_new(dir.join("bare"))?;
    file.write_all_at(&vec![0; RAW_FILE_BYTES as usize], 0)?;
    file.sync_all()?;
    let mut engines = Vec::new();
    for kind in run.on_disk(&rows.iter().map(|(row, _)| *row).collect::<Vec<_>>()) {
        match prepared(kind, &dir.join(kind.to_string()), run.world, run.args.cache_bytes()) {
            Ok(engine) => engines.push((kind, engine)),
            Err(error) => rows.iter().for_each(|(row, _)| {
                run.results.leave_out(row, Some(kind), format!("{} failed: {error:#}", kind.name()));
            }),
        }
    }
    for (row, threads) in rows {
        if !run.args.wants(row.name) {
            continue;
        }
        for round in 0..run.args.rounds.max(ROUNDS_MIN) {
            let figure = floor(&file)?;
            run.results.add(row, None, Sample { figure, ..Sample::default() });
            for (kind, engine) in &engines {
                if run.results.is_out(row, Some(*kind)) {
                    continue;
                }
                run.says(row, *kind, round);
                let sample = turn(engine.as_ref(), run.world, threads, round);
                run.took_part(row, *kind, sample);
                engine.quiet()?;
            }
        }
        run.done(row);
    }
    engines.into_iter().try_for_each(|(_, engine)| engine.close())?;
    Ok(std::fs::remove_dir_all(dir)?)
}
