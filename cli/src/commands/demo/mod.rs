//! `ramus demo`: loads real paths, times what users do, is killed while it writes, and proves that nothing is lost.

mod crash;
mod directories;
mod load;
mod report;
mod sample;
mod source;
mod timing;
mod value;
mod verify;
mod writer;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ramus::{Db, Options};
use tempfile::TempDir;

pub(crate) use writer::{WriterArgs, run as run_writer};

use crate::args::When;
use crate::context::Context;
use load::Loaded;
use report::Report;

/// Cache unless `--cache` says otherwise.
const CACHE_BYTES: u64 = 1 << 30;

/// Load paths, time it, kill it while it writes, verify that nothing is lost.
///
/// Each path gets a value of 96 bytes. A second process writes durably from several threads and is killed with SIGKILL in
/// the middle; after that every acknowledged write and every loaded path must be there, with its value. Exits with 1 if
/// not.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// A list of paths, one a line: a file, a Zstandard-compressed file, or `-` for standard input; or a directory to walk
    /// [default: the file tree of this machine]
    paths: Option<OsString>,
    /// Where to put the database: a directory that is empty or does not exist. It is kept [default: a temporary one]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Keep the temporary database
    #[arg(long)]
    keep: bool,
    /// Load at most so many paths
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    max: u64,
}

pub(crate) fn run(args: &DemoArgs, context: &Context) -> Result<ExitCode> {
    let (dir, temporary) = place(args)?;
    let mut report = Report::new(context);
    let outcome = demo(args, context, &dir, &mut report);
    let sound = report.is_sound();
    if let Some(temporary) = temporary {
        let keep = args.keep || !sound;
        if keep {
            eprintln!("ramus: the database is kept in {}", temporary.keep().display());
        } else if let Err(error) = temporary.close() {
            eprintln!("ramus: removing the temporary database: {error}");
        }
    }
    outcome?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The database's directory, and what removes it.
fn place(args: &DemoArgs) -> Result<(PathBuf, Option<TempDir>)> {
    let Some(dir) = &args.dir else {
        let temporary = tempfile::Builder::new().prefix("ramus-demo-").tempdir();
        let temporary = temporary.context("making a temporary directory")?;
        return Ok((std::fs::canonicalize(temporary.path())?, Some(temporary)));
    };
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let dir = std::fs::canonicalize(dir)?;
    if std::fs::read_dir(&dir)?.next().is_some() {
        bail!("{}: not empty: the demo wants a directory of its own", dir.display());
    }
    Ok((dir, None))
}

fn demo(args: &DemoArgs, context: &Context, dir: &Path, report: &mut Report) -> Result<()> {
    let cache_bytes = context.cache_bytes(CACHE_BYTES);
    let options = context.options(When::Batched).cache_bytes(cache_bytes);
    let db = options.open(dir)?;
    let loaded = load::load(args, context, &db, dir, report)?;
    if loaded.entries == 0 {
        bail!("there are no paths to load");
    }
    report.once("checkpoint", || db.checkpoint())?;
    timing::run(&db, &loaded, report)?;
    report.once("checkpoint", || db.checkpoint())?;
    report.once("compact", || db.compact())?;
    report.sizes(&db.survey()?);
    db.close()?;
    drop(db);
    reopen(&options, dir, "open after close", report)?.close()?;
    crash_and_verify(context, dir, &options, &loaded, report)?;
    report.print()
}

fn reopen(options: &Options, dir: &Path, what: &'static str, report: &mut Report) -> Result<Db> {
    let start = Instant::now();
    let db = options.open(dir)?;
    report.row(what, 1, start.elapsed());
    Ok(db)
}

/// A child writes durably and is killed; then everything must be there.
fn crash_and_verify(
    context: &Context,
    dir: &Path,
    options: &Options,
    loaded: &Loaded,
    report: &mut Report,
) -> Result<()> {
    let bases = crash::bases(&loaded.sample);
    let killed = crash::write_and_kill(dir, context.cache_bytes(CACHE_BYTES), bases, report)?;
    let db = reopen(options, dir, "open after SIGKILL", report)?;
    let tree = db.default_tree();
    let survivors = crash::verify(&tree, bases, &killed, report)?;
    verify::scan(context, &tree, loaded, &survivors, report)?;
    let check = report.once("check", || db.check())?;
    report.verify("check finds no problem", check.is_sound(), || check.problems.join("; "));
    survivors.remove(&tree)?;
    Ok(db.close()?)
}
