//! The rows of the table, and the bars that Ramus is to meet in them.

use crate::engines::Kind::{self, Btreemap, Fjall, Holt, Lmdb, Rocksdb};

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Nanoseconds of the calling thread's processor time for an operation.
    Processor,
    /// Nanoseconds on the clock for an operation.
    Clock,
    /// Bytes in all.
    Bytes,
    /// Bytes for an operation.
    BytesEach,
}

/// What Ramus's figure is to be, at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// This share of a rival's.
    Of(Kind, f64),
    /// This share of the best rival's: on disk, and right.
    OfBest(f64),
    /// This multiple of what the bare device takes.
    OfFloor(f64),
    /// This, in the row's unit.
    AtMost(f64),
}

pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    pub measure: Measure,
    pub bars: &'static [Bar],
}

const fn row(name: &'static str, title: &'static str, measure: Measure, bars: &'static [Bar]) -> Row {
    Row { name, title, measure, bars }
}

use Bar::{AtMost, Of, OfBest, OfFloor};
use Measure::{Bytes, BytesEach, Clock, Processor};

pub const ROWS: &[Row] = &[
    row("load-random", "load, random order", Processor, &[Of(Fjall, 0.9)]),
    row("load-sorted", "load, sorted", Processor, &[Of(Lmdb, 1.0)]),
    row("get-uniform", "get, uniform, value lent", Processor, &[Of(Lmdb, 0.7), Of(Btreemap, 0.7)]),
    row("get-owned", "get, uniform, value copied", Processor, &[Of(Holt, 0.35)]),
    row("get-zipf", "get, Zipf 0.99, value lent", Processor, &[Of(Lmdb, 0.8)]),
    row("get-miss", "get, no such key", Processor, &[Of(Lmdb, 0.7), Of(Rocksdb, 1.0)]),
    row(
        "put-overwrite",
        "put, overwrite (batched)",
        Processor,
        &[Of(Fjall, 0.9), Of(Holt, 0.35), Of(Rocksdb, 0.35), Of(Lmdb, 0.1)],
    ),
    row(
        "put-new",
        "put, new (batched)",
        Processor,
        &[Of(Fjall, 0.9), Of(Holt, 0.35), Of(Rocksdb, 0.35), Of(Lmdb, 0.1)],
    ),
    row("create-delete", "create and delete, a pair", Processor, &[]),
    row("list100", "list100: up to 100 records of a directory after a key", Processor, &[Of(Lmdb, 0.7)]),
    row("list-dir", "list_dir: up to 100 names, delimiter", Processor, &[Of(Lmdb, 0.5)]),
    row("longest-prefix", "longest prefix", Processor, &[]),
    row("rename-in", "rename a file in its directory", Processor, &[OfBest(0.4)]),
    row("rename-across", "rename a file across directories", Processor, &[OfBest(0.4)]),
    row("move-100", "rename a directory of 10²", Processor, &[OfBest(1.0 / 5.0)]),
    row("move-10k", "rename a directory of 10⁴", Processor, &[OfBest(1.0 / 100.0)]),
    row("move-100k", "rename a directory of 10⁵", Processor, &[OfBest(1.0 / 500.0)]),
    row("move-1m", "rename a directory of 10⁶", Processor, &[OfBest(1.0 / 5000.0)]),
    row("delete-100", "delete a directory of 10²", Processor, &[]),
    row("delete-10k", "delete a directory of 10⁴", Processor, &[Of(Rocksdb, 1.0)]),
    row("delete-1m", "delete a directory of 10⁶", Processor, &[]),
    row("after-delete", "first listing across a deleted directory of 10⁴", Processor, &[Of(Rocksdb, 1.0)]),
    row("count-100k", "count below a directory of 10⁵", Processor, &[Of(Lmdb, 1.0 / 30.0)]),
    row("mixed-1", "mix, 1 thread", Processor, &[Of(Lmdb, 0.5)]),
    row("mixed-2", "mix, 2 threads, on the clock", Clock, &[]),
    row("durable-1", "durable put, 1 thread, on the clock", Clock, &[OfFloor(1.1)]),
    row("durable-8", "durable put, 8 threads, on the clock", Clock, &[Of(Rocksdb, 1.0)]),
    row("durable-64", "durable put, 64 threads, on the clock", Clock, &[]),
    row("open-clean", "open after a close, and first get, on the clock", Clock, &[AtMost(10e6)]),
    row("open-killed", "open after a kill, 200 k puts in the journal, on the clock", Clock, &[AtMost(300e6)]),
    row("space-disk", "disk, after compaction", Bytes, &[Of(Lmdb, 0.6), Of(Rocksdb, 1.1)]),
    row("space-memory", "memory, all cached", Bytes, &[Of(Btreemap, 0.6)]),
    row("written-bytes", "bytes written for a random put", BytesEach, &[Of(Lmdb, 0.5)]),
    row("cold-get", "cold get, on the clock", Clock, &[Of(Lmdb, 1.3)]),
    row("cold-bytes", "bytes read for a cold get", BytesEach, &[AtMost((64 << 10) as f64)]),
];

pub fn by_name(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).expect("workloads name rows that there are")
}

/// A figure with a unit that suits it.
pub fn shown(figure: f64, measure: Measure) -> String {
    let (units, base): (&[&str], f64) = match measure {
        Processor | Clock => (&["ns", "µs", "ms", "s"], 1000.0),
        Bytes | BytesEach => (&["B", "KiB", "MiB", "GiB"], 1024.0),
    };
    let mut figure = figure;
    let mut unit = 0;
    while figure >= base * 0.9995 && unit + 1 < units.len() {
        figure /= base;
        unit += 1;
    }
    let digits = if unit == 0 || figure >= 99.95 { 0 } else { 1 + usize::from(figure < 9.995) };
    format!("{figure:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let cases =
            [(7.4, "7 ns"), (999.0, "999 ns"), (1234.0, "1.23 µs"), (12_345.0, "12.3 µs"), (3e9, "3.00 s")];
        cases.iter().for_each(|&(figure, text)| assert_eq!(shown(figure, Processor), text));
        assert_eq!(shown(250.0 * 1048576.0, Bytes), "250 MiB");
    }

    #[test]
    fn names_are_given_once() {
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }
}
