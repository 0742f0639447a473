//! The child that is killed while it writes, seen from the parent.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ramus::Tree;
use ramus::limits::KEY_BYTES_MAX;

use super::report::Report;
use super::value;
use super::writer::{self, ACK_BYTES, THREADS};

/// Paths beside which the child writes.
const BASES_MAX: usize = 20_000;
/// The child is killed after so many acknowledged writes, or after a time if that is sooner; but not before the first.
const ACKS: u64 = 20_000;
const TIME_MAX: Duration = Duration::from_secs(5);
const FIRST_ACK_MAX: Duration = Duration::from_secs(300);

/// What the child acknowledged before it died: the number of writes of each thread.
pub(super) struct Killed {
    acknowledged: [u64; THREADS],
}

/// What is there of the child's writes.
#[derive(Default)]
pub(super) struct Survivors {
    keys: Vec<Vec<u8>>,
}

/// The paths beside which the child writes.
pub(super) fn bases(sample: &[Vec<u8>]) -> &[Vec<u8>] {
    &sample[..sample.len().min(BASES_MAX)]
}

/// Starts the child, waits until it is in the middle of writing, and kills it.
pub(super) fn write_and_kill(
    dir: &Path,
    cache_bytes: u64,
    bases: &[Vec<u8>],
    report: &mut Report,
) -> Result<Killed> {
    let mut child = start(dir, cache_bytes)?;
    let outcome = watch(&mut child, bases);
    // Killed on an error, too: it must not outlive the demo.
    let killed = child.kill().context("killing the writing process");
    child.wait().context("waiting for the writing process")?;
    let (acks, mut acknowledged, mut total, time) = outcome?;
    killed?;
    for thread in acks {
        acknowledged[thread] += 1;
        total += 1;
    }
    report.row("durable put, 4 threads", total, time);
    Ok(Killed { acknowledged })
}

fn start(dir: &Path, cache_bytes: u64) -> Result<Child> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.arg("demo-writer").arg(dir).arg("--cache").arg(cache_bytes.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().context("starting the writing process")
}

type Watched = (Receiver<usize>, [u64; THREADS], u64, Duration);

/// Counts acknowledgements until it is time to kill.
fn watch(child: &mut Child, bases: &[Vec<u8>]) -> Result<Watched> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("the writing process has no pipes");
    };
    writer::send_bases(&mut input, bases)
        .map_err(not_a_closed_pipe)
        .context("talking to the writing process")?;
    drop(input);
    let (sender, acks) = channel();
    std::thread::spawn(move || receive(output, &sender));
    let mut acknowledged = [0; THREADS];
    let mut total = 0;
    let mut first: Option<Instant> = None;
    let begin = Instant::now();
    loop {
        let left = match first {
            Some(first) => TIME_MAX.saturating_sub(first.elapsed()),
            None => FIRST_ACK_MAX.saturating_sub(begin.elapsed()),
        };
        match acks.recv_timeout(left) {
            Ok(thread) => {
                first.get_or_insert_with(Instant::now);
                acknowledged[thread] += 1;
                total += 1;
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the writing process ended by itself"),
            Err(RecvTimeoutError::Timeout) if first.is_none() => bail!("the writing process does not write"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(first) = first.filter(|first| total >= ACKS || first.elapsed() >= TIME_MAX) {
            return Ok((acks, acknowledged, total, first.elapsed()));
        }
    }
}

/// A pipe that the child closed is an error of the child, not of whoever reads our output.
fn not_a_closed_pipe(error: std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// Passes on what the child acknowledges, to the end of the pipe: also what it held when the child died.
fn receive(mut output: impl Read, sender: &Sender<usize>) {
    let mut ack = [0; ACK_BYTES];
    while output.read_exact(&mut ack).is_ok() {
        let thread = usize::from(ack[0]);
        if thread >= THREADS || sender.send(thread).is_err() {
            return;
        }
    }
}

/// Verifies that of each thread's writes, which are made one after the other, all acknowledged ones are there, and at most
/// the one that was under way.
pub(super) fn verify(
    tree: &Tree,
    bases: &[Vec<u8>],
    killed: &Killed,
    report: &mut Report,
) -> Result<Survivors> {
    let mut survivors = Survivors::default();
    let (mut missing, mut wrong, mut extra) = (0u64, 0u64, 0u64);
    for (thread, &acknowledged) in killed.acknowledged.iter().enumerate() {
        for number in 0..acknowledged + 3 {
            let key = writer::key(bases, thread, number);
            match tree.get(&key)? {
                None => missing += u64::from(number < acknowledged),
                Some(found) => {
                    extra += u64::from(number > acknowledged);
                    wrong += u64::from(found != value::made_up(&key));
                    survivors.keys.push(key);
                }
            }
        }
    }
    let total: u64 = killed.acknowledged.iter().sum();
    report.acknowledged(total);
    report.verify("every acknowledged write is there", missing == 0 && wrong == 0, || {
        format!("of {total} acknowledged writes {missing} are missing, {wrong} have wrong values")
    });
    report.verify("nothing is there that was not written", extra == 0, || format!("{extra} writes too many"));
    Ok(survivors)
}

impl Survivors {
    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.keys.len() as u64
    }

    /// The sum of their hashes.
    pub(super) fn digest(&self) -> u64 {
        self.keys.iter().fold(0, |sum, key| sum.wrapping_add(value::hash(key)))
    }

    /// Deletes them, so that a database that is kept holds the paths only.
    pub(super) fn remove(&self, tree: &Tree) -> Result<()> {
        for key in &self.keys {
            tree.delete(key)?;
        }
        Ok(())
    }
}

/// Room that the child's keys need behind a path.
const _: () = assert!(KEY_BYTES_MAX > writer::SUFFIX_BYTES_MAX);
