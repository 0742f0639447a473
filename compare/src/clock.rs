//! Time and bytes of this process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// What something took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub thread_nanos: f64,
    pub process_nanos: f64,
    pub wall_nanos: f64,
}

fn nanos(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Runs `work` and says what it took: processor time of this thread, that of all threads of the process, time on the clock.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Times)> {
    let clocks = || (nanos(ClockId::ThreadCPUTime), nanos(ClockId::ProcessCPUTime));
    let (wall, before) = (Instant::now(), clocks());
    let done = work()?;
    let (after, wall) = (clocks(), wall.elapsed());
    let times = Times {
        thread_nanos: after.0 - before.0,
        process_nanos: after.1 - before.1,
        wall_nanos: wall.as_nanos() as f64,
    };
    Ok((done, times))
}

/// Processor time of the calling thread so far, in nanoseconds.
pub fn thread_nanos() -> f64 {
    nanos(ClockId::ThreadCPUTime)
}

/// What the process has read from and written to block devices so far, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    pub read: u64,
    pub written: u64,
}

pub fn traffic() -> Result<Traffic> {
    let text = std::fs::read_to_string("/proc/self/io").context("the counts of I/O need Linux")?;
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).with_context(|| format!("no {name} in /proc/self/io"))
    };
    Ok(Traffic { read: number("read_bytes:")?, written: number("write_bytes:")? })
}

/// Resident memory of the process, mapped files included, in bytes.
pub fn resident() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("the resident memory needs Linux")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// Waits until `idle` says so; gives up after five minutes.
pub fn wait_until(what: &str, mut idle: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !idle()? {
        anyhow::ensure!(started.elapsed() < Duration::from_secs(300), "{what} did not come to rest");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
