//! `ramus import`: a directory with its stat data, or a list of paths.

mod directory;
mod list;
mod marks;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Map;

use crate::args::When;
use crate::context::Context;
use crate::units::count;
use crate::{json, keys};

/// Import a directory or a list of paths.
///
/// A directory is walked without following symbolic links and without leaving its file system. The keys are paths relative
/// to it; the values are stat data, 40 bytes, little endian: `st`, 1 (version), kind (one of fdlbcps), permission bits
/// u32, uid u32, gid u32, links u32, mtime nanoseconds u32, size u64, mtime seconds i64. Run again, it puts what is new
/// or changed; records of files that are gone stay.
///
/// A list has one path a line; the values are empty. Interrupted, it goes on where it was when run again. A list on
/// standard input is read from the start each time.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// Directory of the database; made if it does not exist
    db: PathBuf,
    /// A directory, a file with a list (it may be Zstandard-compressed), or `-` for a list on standard input
    source: OsString,
    /// Put every key below this directory
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: OsString,
    /// The source is a list, whatever it looks like
    #[arg(long)]
    list: bool,
    /// Forget how far an earlier import of this list got
    #[arg(long)]
    restart: bool,
}

/// What an import did.
#[derive(Default)]
struct Tally {
    /// Records put.
    put: u64,
    /// Entries that were there already, as they are.
    unchanged: u64,
    /// Entries that could not be read.
    skipped: u64,
}

pub(crate) fn run(args: &ImportArgs, context: &Context) -> Result<ExitCode> {
    let is_list = args.list || args.source == "-" || {
        let name = args.source.to_string_lossy();
        !std::fs::metadata(&args.source).with_context(|| format!("opening {name}"))?.is_dir()
    };
    let prefix = keys::below(args.prefix.as_encoded_bytes(), b'/');
    let db = context.write(&args.db, When::Batched)?;
    let tree = context.tree_to_fill(&db)?;
    let imported = match is_list {
        true => list::import(args, context, &db, &tree, &prefix),
        false => directory::import(args, context, &db, &tree, &prefix),
    };
    // What was imported before an error is kept.
    let closed = db.close();
    let tally = imported?;
    closed?;
    report(context, &tally)?;
    Ok(ExitCode::SUCCESS)
}

fn report(context: &Context, tally: &Tally) -> std::io::Result<()> {
    let mut out = context.out();
    if context.json() {
        let numbers = [("put", tally.put), ("unchanged", tally.unchanged), ("skipped", tally.skipped)];
        let object = numbers.into_iter().map(|(name, number)| (name.to_owned(), number.into()));
        json::line(&mut out, Map::from_iter(object))?;
    } else {
        write!(out, "{} put, {} unchanged", count(tally.put), count(tally.unchanged))?;
        match tally.skipped {
            0 => writeln!(out)?,
            n => writeln!(out, ", {} skipped (unreadable; -v names them)", count(n))?,
        }
    }
    out.flush()
}
