//! Processes of their own, for what one process cannot show of several engines: its memory, its end, the bytes it writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::clock::{resident, traffic};
use crate::engine::Setup;
use crate::engines::Kind;
use crate::model::value_of;
use crate::options::{Child, Task};
use crate::paths;
use crate::random::Random;

/// What a process may take; it prints too little to fill a pipe.
const TIME: Duration = Duration::from_secs(400);
/// The version of the values that are put after a load.
pub const PUT_VERSION: u32 = 3;

/// The order in which `Task::Crash` and `Task::Written` put keys.
pub fn put_order(keys: usize, count: usize) -> impl Iterator<Item = usize> {
    let mut random = Random::new(99);
    (0..count).map(move |_| random.below(keys))
}

/// Starts this program for `task`, and reads the numbers that it prints.
pub fn run(task: &str, child: &Child) -> Result<(ExitStatus, BTreeMap<String, u64>)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(task).arg("--engine").arg(child.engine.to_string());
    command.arg("--at").arg(&child.at).arg("--list").arg(&child.list);
    command
        .arg("--cache-bytes")
        .arg(child.cache_bytes.to_string())
        .arg("--count")
        .arg(child.count.to_string());
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let started = Instant::now();
    while process.try_wait()?.is_none() {
        if started.elapsed() > TIME {
            process.kill()?;
            process.wait()?;
            bail!("it did not end within {} s", TIME.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = process.wait_with_output()?;
    let number = |line: &str| -> Result<(String, u64)> {
        let (name, number) = line.split_once(' ').with_context(|| format!("{task} said {line:?}"))?;
        Ok((name.to_owned(), number.parse()?))
    };
    let numbers = String::from_utf8(output.stdout)?.lines().map(number).collect::<Result<_>>()?;
    Ok((output.status, numbers))
}

/// Does what the process was started for.
pub fn perform(task: &Task) -> Result<()> {
    match task {
        Task::Space(child) => space(child),
        Task::Crash(child) => crash(child),
        Task::Written(child) => written(child),
    }
}

/// Bytes of the disk that the files below `dir` take.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

fn space(child: &Child) -> Result<()> {
    let keys = paths::read(&child.list)?;
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    Random::new(1).shuffle(&mut order);
    let before = resident()?;
    let mut engine = child.engine.open(&Setup::new(&child.at, child.cache_bytes))?;
    engine.load(
        &mut order.iter().map(|at| &keys[*at as usize]).map(|key| (&key[..], value_of(key, 0))),
        false,
    )?;
    engine.settle()?;
    let mut session = engine.session()?;
    for key in &keys {
        ensure!(session.get(key, &mut |_| {})?, "a key is not there");
    }
    drop(session);
    println!("memory {}", resident()?.saturating_sub(before));
    if !child.engine.is_limit() {
        let elsewhere = engine.compact()?;
        engine.close()?;
        println!("disk {}", disk_bytes(elsewhere.as_deref().unwrap_or(&child.at))?);
    }
    Ok(())
}

fn crash(child: &Child) -> Result<()> {
    let keys = paths::read(&child.list)?;
    let engine = child.engine.open(&Setup::new(&child.at, child.cache_bytes))?;
    let mut session = engine.session()?;
    for at in put_order(keys.len(), child.count) {
        session.put(&keys[at], &value_of(&keys[at], PUT_VERSION))?;
    }
    engine.hand_over()?;
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    anyhow::bail!("the process outlived its end")
}

fn written(child: &Child) -> Result<()> {
    let keys = paths::read(&child.list)?;
    let engine = child.engine.open(&Setup::new(&child.at, child.cache_bytes))?;
    engine.load(&mut keys.iter().map(|key| (&key[..], value_of(key, 0))), true)?;
    engine.settle()?;
    let before = traffic()?.written;
    let mut session = engine.session()?;
    for at in put_order(keys.len(), child.count) {
        session.put(&keys[at], &value_of(&keys[at], PUT_VERSION))?;
    }
    session.refresh()?;
    let mut wrong = 0;
    for at in put_order(keys.len(), child.count).take(1000) {
        let mut right = false;
        session.get(&keys[at], &mut |value| right = value == value_of(&keys[at], PUT_VERSION))?;
        wrong += u64::from(!right);
    }
    drop(session);
    engine.settle()?;
    println!("written {}\nwrong {wrong}", traffic()?.written - before);
    engine.close()
}

/// What a child is started with.
pub fn child(engine: Kind, at: &Path, list: &Path, cache_bytes: u64, count: usize) -> Child {
    Child { engine, at: at.to_owned(), list: list.to_owned(), cache_bytes, count }
}
