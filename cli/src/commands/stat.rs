//! `ramus stat`: numbers about a database.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use ramus::Stats;
use serde_json::Map;

use crate::context::Context;
use crate::json;
use crate::units::{count, size};

/// Print numbers about a database.
#[derive(Args)]
pub(crate) struct StatArgs {
    /// Directory of the database
    db: PathBuf,
    /// Read all of it, for the numbers of records and bytes
    #[arg(long)]
    survey: bool,
}

/// How a number is shown to people.
enum Unit {
    Count,
    Bytes,
}

type Row = (&'static str, u64, Unit);

pub(crate) fn run(args: &StatArgs, context: &Context) -> Result<ExitCode> {
    let db = context.read(&args.db)?;
    let stats = if args.survey { db.survey()? } else { db.stats() };
    let rows = rows(&stats, db.tree_names().len() as u64);
    let mut out = context.out();
    if context.json() {
        let object = rows.into_iter().map(|(name, number, _)| (name.replace(' ', "_"), number.into()));
        json::line(&mut out, Map::from_iter(object))?;
    } else {
        for (name, number, unit) in rows {
            let shown = match unit {
                Unit::Count => count(number),
                Unit::Bytes => size(number),
            };
            writeln!(out, "{:<26} {shown:>16}", name.trim_end_matches(" bytes"))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn rows(stats: &Stats, trees: u64) -> Vec<Row> {
    use Unit::{Bytes, Count};
    let mut rows = vec![
        ("trees", trees, Count),
        ("last version", stats.last_version, Count),
        ("data file bytes", stats.data_file_bytes, Bytes),
        ("free bytes", stats.free_bytes, Bytes),
        ("journal bytes", stats.journal_bytes, Bytes),
        ("recovered records", stats.recovered_records, Count),
        ("recovered discarded bytes", stats.recovered_discarded_bytes, Bytes),
        ("cache bytes", stats.cache_bytes, Bytes),
        ("cache used bytes", stats.cache_used_bytes, Bytes),
        ("overhead bytes", stats.overhead_bytes, Bytes),
        ("resident blobs", stats.resident_blobs, Count),
        ("blob reads", stats.blob_reads, Count),
        ("reclaimed blobs", stats.reclaimed_blobs, Count),
    ];
    if let Some(survey) = &stats.survey {
        rows.extend([
            ("entries", survey.entries, Count),
            ("key bytes", survey.key_bytes, Bytes),
            ("value bytes", survey.value_bytes, Bytes),
            ("leaf blobs", survey.leaf_blobs, Count),
            ("inner blobs", survey.inner_blobs, Count),
            ("height", survey.height, Count),
            ("live bytes", survey.live_bytes, Bytes),
            ("garbage bytes", survey.garbage_bytes, Bytes),
            ("sparse leaf blobs", survey.sparse_leaf_blobs, Count),
            ("mounts", survey.mounts, Count),
            ("limb depth", survey.limb_depth, Count),
        ]);
    }
    rows
}
