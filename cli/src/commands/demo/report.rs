//! What the demo prints: a table of times, sizes, and what was verified.

use std::borrow::Cow;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use ramus::{Stats, Waits};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::units::{count, nanos, size};

/// Collects the lines while the demo runs; `print` shows them.
pub(super) struct Report<'a> {
    context: &'a Context,
    rows: Vec<(Cow<'static, str>, u64, Duration)>,
    verdicts: Vec<Verdict>,
    sizes: Option<Stats>,
    acknowledged: u64,
    printed: bool,
}

struct Verdict {
    what: &'static str,
    /// What is wrong, if anything.
    problem: Option<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let (rows, verdicts) = (Vec::new(), Vec::new());
        Self { context, rows, verdicts, sizes: None, acknowledged: 0, printed: false }
    }

    /// Adds a row: `ops` operations in a time.
    pub(super) fn row(&mut self, what: impl Into<Cow<'static, str>>, ops: u64, time: Duration) {
        let what = what.into();
        self.context.note(|| format!("{what}: {} in {time:.3?}", count(ops)));
        self.rows.push((what, ops, time));
    }

    /// Adds a row for a single operation.
    pub(super) fn once<T>(
        &mut self,
        what: &'static str,
        operation: impl FnOnce() -> ramus::Result<T>,
    ) -> ramus::Result<T> {
        let start = Instant::now();
        let outcome = operation()?;
        self.row(what, 1, start.elapsed());
        Ok(outcome)
    }

    pub(super) fn sizes(&mut self, stats: &Stats) {
        self.sizes = Some(*stats);
    }

    pub(super) fn acknowledged(&mut self, writes: u64) {
        self.acknowledged = writes;
    }

    /// Adds a statement that was verified, or what is wrong with it.
    pub(super) fn verify(&mut self, what: &'static str, holds: bool, problem: impl FnOnce() -> String) {
        let problem = (!holds).then(problem);
        self.verdicts.push(Verdict { what, problem });
    }

    /// Whether the demo came to its end and all that was verified holds.
    pub(super) fn is_sound(&self) -> bool {
        self.printed && self.verdicts.iter().all(|verdict| verdict.problem.is_none())
    }

    pub(super) fn print(&mut self) -> Result<()> {
        self.printed = true;
        let mut out = self.context.out();
        match self.context.json() {
            true => self.print_json(&mut out)?,
            false => self.print_table(&mut out)?,
        }
        out.flush()?;
        Ok(())
    }

    fn print_table(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "{:<24} {:>12} {:>12} {:>14}", "what", "count", "time each", "a second")?;
        for (what, ops, time) in &self.rows {
            let (ops, time) = (*ops, *time);
            let each = nanos(time.as_nanos() as f64 / ops.max(1) as f64);
            let rate = match ops {
                0 | 1 => String::new(),
                _ => count((ops as f64 / time.as_secs_f64().max(1e-9)) as u64),
            };
            writeln!(out, "{what:<24} {:>12} {each:>12} {rate:>14}", count(ops))?;
        }
        writeln!(out)?;
        for (what, bytes, each) in self.size_rows() {
            let each = each.map_or(String::new(), |each| format!("{each:>8.1} bytes a record"));
            writeln!(out, "{:<24} {:>12} {each}", what, size(bytes))?;
        }
        writeln!(out)?;
        for (what, waits) in self.wait_rows() {
            let longest = match waits.total() {
                0 => String::new(),
                _ => format!("longest under {}", nanos(waits.longest().as_nanos() as f64)),
            };
            writeln!(out, "{:<24} {:>12} {longest}", what, count(waits.total()))?;
        }
        writeln!(out)?;
        let killed = count(self.acknowledged);
        writeln!(
            out,
            "A second process was killed with SIGKILL after {killed} acknowledged writes. Verified:"
        )?;
        for Verdict { what, problem } in &self.verdicts {
            match problem {
                None => writeln!(out, "  ok      {what}")?,
                Some(problem) => writeln!(out, "  FAILED  {what}: {problem}")?,
            }
        }
        Ok(())
    }

    /// How long writers were kept from their work by others.
    fn wait_rows(&self) -> Vec<(&'static str, Waits)> {
        let rows = |stats: Stats| {
            vec![
                ("gate closed", stats.gate_closures),
                ("waits at the gate", stats.gate_waits),
                ("waits for latches", stats.latch_waits),
            ]
        };
        self.sizes.map(rows).unwrap_or_default()
    }

    /// Name, bytes, and bytes for each record where that says something.
    fn size_rows(&self) -> Vec<(&'static str, u64, Option<f64>)> {
        let Some((stats, survey)) = self.sizes.and_then(|stats| Some((stats, stats.survey?))) else {
            return Vec::new();
        };
        let each = |bytes: u64| Some(bytes as f64 / survey.entries.max(1) as f64);
        let memory = stats.cache_used_bytes + stats.overhead_bytes;
        // The part of a database that is in memory says nothing about a record.
        let whole = stats.resident_blobs >= survey.leaf_blobs + survey.inner_blobs;
        let mut rows = vec![
            ("paths", survey.key_bytes, each(survey.key_bytes)),
            ("values", survey.value_bytes, each(survey.value_bytes)),
            ("data file", stats.data_file_bytes, each(stats.data_file_bytes)),
            ("database in memory", memory, each(memory).filter(|_| whole)),
        ];
        rows.extend(peak_memory_bytes().map(|bytes| ("process, at its peak", bytes, None)));
        rows
    }

    fn print_json(&self, out: &mut impl Write) -> std::io::Result<()> {
        let steps: Vec<Value> = self
            .rows
            .iter()
            .map(|(what, ops, time)| json!({"what": what.trim(), "count": ops, "nanos": time.as_nanos() as u64}))
            .collect();
        let sizes: Map<String, Value> = self
            .size_rows()
            .into_iter()
            .map(|(what, bytes, each)| (what.to_owned(), json!({"bytes": bytes, "bytes_each": each})))
            .collect();
        let waits: Map<String, Value> = self
            .wait_rows()
            .into_iter()
            .map(|(what, waits)| {
                (
                    what.to_owned(),
                    json!({"count": waits.total(), "counts_by_power_of_two_nanos": waits.counts}),
                )
            })
            .collect();
        let verdicts: Vec<Value> = self
            .verdicts
            .iter()
            .map(|v| json!({"what": v.what, "holds": v.problem.is_none(), "problem": v.problem}))
            .collect();
        let all = json!({
            "verified": self.is_sound(),
            "acknowledged": self.acknowledged,
            "steps": steps,
            "sizes": sizes,
            "waits": waits,
            "verdicts": verdicts,
        });
        writeln!(out, "{all}")
    }
}

/// The most memory this process has had, where the system says so.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
