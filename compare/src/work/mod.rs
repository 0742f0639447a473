//! The workloads. Each family says what its rows are; here stands how the engines take turns in them.

pub mod cold;
pub mod directories;
pub mod durable;
pub mod listings;
pub mod load;
pub mod mixed;
pub mod opening;
pub mod points;
pub mod renames;
pub mod space;

use std::path::PathBuf;

use anyhow::Result;

use crate::clock::{timed, watch};
use crate::engine::{Engine, Session};
use crate::engines::Kind;
use crate::machine;
use crate::model::Digest;
use crate::options::Args;
use crate::results::{Results, Sample};
use crate::rows::{Row, by_name};
use crate::world::World;

/// Open engines that all hold the same.
pub type Fleet = Vec<(Kind, Box<dyn Engine>)>;

/// What one engine does in one turn.
pub type Turn<'w> = Box<dyn Fn(Kind, &dyn Engine) -> Result<Sample> + 'w>;

/// A row whose turns need nothing but an engine that holds the world.
pub struct Workload {
    pub row: &'static str,
    /// Makes the turn that all engines have in a round, or says why there can be none.
    pub prepare: for<'w> fn(&'w World, u64) -> Result<Turn<'w>, String>,
}

/// Everything of one run.
pub struct Run<'r> {
    pub args: &'r Args,
    pub kinds: Vec<Kind>,
    pub world: &'r World,
    /// Where databases are made.
    pub dir: PathBuf,
    pub results: Results,
    pub bar: indicatif::ProgressBar,
    /// Called when a row is done.
    pub report: &'r dyn Fn(&Results),
}

impl Run<'_> {
    /// Has every engine take its turn in every round, each time another one first.
    pub fn interleave(&mut self, fleet: &Fleet, workload: &Workload) {
        if !self.args.wants(workload.row) || fleet.is_empty() {
            return;
        }
        let row = by_name(workload.row);
        for round in 0..self.args.rounds {
            let turn = match (workload.prepare)(self.world, round) {
                Ok(turn) => turn,
                Err(reason) => {
                    fleet.iter().for_each(|(kind, _)| self.results.leave_out(row, Some(*kind), &reason));
                    return;
                }
            };
            for at in 0..fleet.len() {
                let (kind, engine) = &fleet[(at + round as usize) % fleet.len()];
                if self.results.is_out(row, Some(*kind)) {
                    continue;
                }
                self.says(row, *kind, round);
                let sample = turn(*kind, engine.as_ref()).and_then(|sample| engine.quiet().map(|()| sample));
                self.took_part(row, *kind, sample);
            }
        }
        self.done(row);
    }

    /// Says whose turn it is.
    pub fn says(&self, row: &Row, kind: Kind, round: u64) {
        watch(kind.threads());
        self.bar.set_message(format!("{}: {}, round {}", row.title, kind.name(), round + 1));
        self.bar.tick();
    }

    /// Keeps what a turn came to; an engine that fails is out of the row, with what it said.
    pub fn took_part(&mut self, row: &'static Row, kind: Kind, sample: Result<Sample>) {
        match sample {
            Ok(sample) => self.results.add(row, Some(kind), sample),
            Err(error) => {
                self.results.leave_out(row, Some(kind), format!("{} failed: {error:#}", kind.name()))
            }
        }
    }

    pub fn done(&mut self, row: &Row) {
        let said = format!("{} done: {}", machine::load(), row.title);
        // The bar says nothing where there is no terminal.
        if self.bar.is_hidden() {
            eprintln!("{said}");
        }
        self.bar.println(said);
        (self.report)(&self.results);
    }

    /// Rounds of what takes long.
    pub fn few_rounds(&self) -> u64 {
        self.args.rounds.min(3)
    }

    /// The engines that keep something on disk; the others are out of these rows.
    pub fn on_disk(&mut self, rows: &[&'static Row]) -> Vec<Kind> {
        for kind in self.kinds.iter().filter(|kind| kind.is_limit()) {
            rows.iter().for_each(|row| self.results.leave_out(row, Some(*kind), "in memory only"));
        }
        self.kinds.iter().copied().filter(|kind| !kind.is_limit()).collect()
    }
}

/// How many operations a turn has, by how many keys there are.
pub fn reads(world: &World) -> usize {
    (world.keys.len() / 10).clamp(20_000, 200_000)
}

pub fn writes(world: &World) -> usize {
    (world.keys.len() / 40).clamp(5_000, 50_000)
}

pub fn listings(world: &World) -> usize {
    (world.keys.len() / 400).clamp(1_000, 5_000)
}

/// A seed for each round of each row.
pub fn seed(row: &str, round: u64) -> u64 {
    row.bytes().fold(round + 1, |seed, byte| crate::random::mix(seed ^ u64::from(byte)))
}

/// Times an operation for each of the expected answers and compares the digests of what it shows with them.
pub fn answered(
    row: &Row,
    engine: &dyn Engine,
    expected: &[Digest],
    mut operation: impl FnMut(&mut dyn Session, usize, &mut Digest) -> Result<()>,
) -> Result<Sample> {
    let mut session = engine.session()?;
    let mut wrong = 0;
    let ((), times) = timed(|| {
        for (at, expected) in expected.iter().enumerate() {
            let mut digest = Digest::NOTHING;
            operation(session.as_mut(), at, &mut digest)?;
            wrong += u64::from(digest != *expected);
        }
        Ok(())
    })?;
    let operations = expected.len() as u64;
    Ok(Sample::of(row.measure, times, operations).checked(operations, wrong))
}

/// The digest of a value alone; that of nothing where there is none.
pub fn digest_of(value: Option<&[u8]>) -> Digest {
    let mut digest = Digest::NOTHING;
    value.inspect(|value| digest.value(value));
    digest
}
