//! `ramus compact`: frees garbage and makes the data file as short as its contents.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::Map;

use crate::context::Context;
use crate::json;
use crate::units::size;

/// Free garbage, merge sparse blobs, and make the data file as short as its contents.
#[derive(Args)]
pub(crate) struct CompactArgs {
    /// Directory of the database
    db: PathBuf,
}

pub(crate) fn run(args: &CompactArgs, context: &Context) -> Result<ExitCode> {
    let db = context.change(&args.db)?;
    let before = db.stats().data_file_bytes;
    db.compact()?;
    let after = db.stats().data_file_bytes;
    db.close()?;
    let mut out = context.out();
    if context.json() {
        let numbers = [("data_file_bytes_before", before), ("data_file_bytes", after)];
        let object = numbers.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.into()));
        json::line(&mut out, Map::from_iter(object))?;
    } else {
        writeln!(out, "data file: {} before, {} now", size(before), size(after))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
