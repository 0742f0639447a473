//! Time and bytes of this process.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// What something took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Processor time of the calling thread.
    pub thread_nanos: f64,
    /// That of the threads that are watched.
    pub background_nanos: f64,
    pub wall_nanos: f64,
}

/// What the names of the threads begin with that work for the engine whose turn it is.
static WATCHED: Mutex<&[&str]> = Mutex::new(&[]);

/// Says whose processor time `timed` is to count besides that of its caller: other engines in the process may be at work too.
pub fn watch(threads: &'static [&'static str]) {
    *WATCHED.lock().expect("no thread panicked") = threads;
}

/// Processor time so far of the threads that are watched. Those that have ended are not in it.
fn background_nanos() -> Result<f64> {
    let watched = *WATCHED.lock().expect("no thread panicked");
    let mut sum = 0.0;
    if watched.is_empty() {
        return Ok(sum);
    }
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // A thread may end between the two.
        let (Ok(name), Ok(spent)) =
            (std::fs::read_to_string(task.join("comm")), std::fs::read_to_string(task.join("schedstat")))
        else {
            continue;
        };
        if watched.iter().any(|beginning| name.starts_with(beginning)) {
            let nanos = spent.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok());
            sum += nanos.context("the format of schedstat")?;
        }
    }
    Ok(sum)
}

/// Has the allocator put away what others have freed. That of glibc leaves millions of small blocks to whoever next asks for one of
/// some size, ten thousand of them a call, which took 100 ms of the next engine's time after a rename of a large directory.
fn tidy_allocator() {
    let mut quick = 0;
    for _ in 0..10_000 {
        let started = Instant::now();
        std::hint::black_box(Vec::<u8>::with_capacity(32 << 10));
        quick = if started.elapsed() < Duration::from_micros(2) { quick + 1 } else { 0 };
        if quick == 4 {
            return;
        }
    }
}

/// Runs `work` and says what it took.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Times)> {
    tidy_allocator();
    let background = background_nanos()?;
    let (wall, before) = (Instant::now(), thread_nanos());
    let done = work()?;
    let (after, wall) = (thread_nanos(), wall.elapsed());
    let times = Times {
        thread_nanos: after - before,
        background_nanos: (background_nanos()? - background).max(0.0),
        wall_nanos: wall.as_nanos() as f64,
    };
    Ok((done, times))
}

/// Processor time of the calling thread so far, in nanoseconds.
pub fn thread_nanos() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
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
