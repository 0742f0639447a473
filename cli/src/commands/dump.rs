//! `ramus dump`: all trees as text.
//!
//! The format, version 1, for `ramus load`: lines that end in a newline, fields separated by a tab, bytes written as in
//! [`text`](crate::text).
//!
//! ```text
//! ramus-dump 1
//! tree<TAB>NAME            the records that follow are in this tree
//! <TAB>KEY<TAB>VALUE       a record
//! end<TAB>RECORDS          the last line, with the number of all records
//! ```
//!
//! Versions are not in it: loaded records get new ones.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use ramus::{Db, Entry};

use crate::context::Context;
use crate::progress::Progress;
use crate::text::{escape, escape_into};

/// First line of a dump, without its end.
pub(crate) const HEADER: &str = "ramus-dump 1";
/// Entries between two looks at the progress.
const STEP: u64 = 4096;

/// Write all trees as text, for `ramus load`.
///
/// The first line is `ramus-dump 1`. A line `tree TAB NAME` starts a tree; its records follow, each a line
/// `TAB KEY TAB VALUE`; the last line is `end TAB NUMBER-OF-RECORDS`. Tab, newline, carriage return and backslash are
/// written \t \n \r \\, other unprintable bytes \xNN. Versions are not dumped.
#[derive(Args)]
pub(crate) struct DumpArgs {
    /// Directory of the database
    db: PathBuf,
    /// The file to write, whole or not at all; standard output without it or with `-`
    file: Option<PathBuf>,
}

pub(crate) fn run(args: &DumpArgs, context: &Context) -> Result<ExitCode> {
    let db = context.read(&args.db)?;
    match args.file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(file) => to(&db, context, file).with_context(|| format!("writing {}", file.display()))?,
        None => write_all(&db, context, &mut context.out())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A device or a pipe is written to as it is: only a file may be replaced. A symbolic link stays, what it names is written.
fn to(db: &Db, context: &Context, file: &Path) -> Result<()> {
    if std::fs::metadata(file).is_ok_and(|what| !what.is_file()) {
        return write_all(db, context, &mut BufWriter::new(File::options().write(true).open(file)?));
    }
    let named = std::fs::canonicalize(file);
    to_file(db, context, named.as_deref().unwrap_or(file))
}

/// Writes beside the file and renames it into place.
fn to_file(db: &Db, context: &Context, file: &Path) -> Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    if let Some(permissions) = default_permissions() {
        builder.permissions(permissions);
    }
    let mut out = BufWriter::new(builder.tempfile_in(dir)?);
    write_all(db, context, &mut out)?;
    let new = out.into_inner().map_err(|error| error.into_error())?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// Those of a new file; the system takes the user's mask off.
#[cfg(unix)]
fn default_permissions() -> Option<Permissions> {
    Some(std::os::unix::fs::PermissionsExt::from_mode(0o666))
}

#[cfg(not(unix))]
fn default_permissions() -> Option<Permissions> {
    None
}

fn write_all(db: &Db, context: &Context, out: &mut impl Write) -> Result<()> {
    let progress = Progress::new(context, "dump", None);
    let mut records = 0u64;
    let mut line = String::new();
    writeln!(out, "{HEADER}")?;
    for name in db.tree_names() {
        writeln!(out, "tree\t{}", escape(name.as_bytes()))?;
        for entry in db.existing_tree(&name)?.iter() {
            // Without a delimiter all entries are records.
            let Entry::Record { key, value, .. } = entry? else { continue };
            line.clear();
            line.push('\t');
            escape_into(&key, &mut line);
            line.push('\t');
            escape_into(&value, &mut line);
            writeln!(out, "{line}")?;
            records += 1;
            if records.is_multiple_of(STEP) {
                progress.set(records, records);
            }
        }
    }
    writeln!(out, "end\t{records}")?;
    out.flush()?;
    Ok(())
}
