//! `ramus check`: reads everything and says what is wrong.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use ramus::CheckReport;
use serde_json::Map;

use crate::context::Context;
use crate::json;
use crate::units::count;

/// Verify a database: checksums, structure, order, counts, space. Exits with 1 if anything is wrong.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Directory of the database
    db: PathBuf,
}

pub(crate) fn run(args: &CheckArgs, context: &Context) -> Result<ExitCode> {
    let report = context.read(&args.db)?.check()?;
    let mut out = context.out();
    match context.json() {
        true => print_json(&mut out, &report)?,
        false => print(&mut out, &report)?,
    }
    out.flush()?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(out: &mut impl Write, report: &CheckReport) -> std::io::Result<()> {
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    let verdict = match report.problems.len() {
        0 => "sound".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    let (trees, blobs, entries) = (count(report.trees), count(report.blobs), count(report.entries));
    writeln!(out, "{verdict}: {trees} trees, {blobs} blobs, {entries} records")
}

fn print_json(out: &mut impl Write, report: &CheckReport) -> std::io::Result<()> {
    let mut object = Map::new();
    object.insert("sound".into(), report.is_sound().into());
    object.insert("problems".into(), report.problems.clone().into());
    object.insert("trees".into(), report.trees.into());
    object.insert("blobs".into(), report.blobs.into());
    object.insert("entries".into(), report.entries.into());
    json::line(out, object)
}
