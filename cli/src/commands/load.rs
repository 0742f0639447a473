//! `ramus load`: reads what [`dump`](super::dump) wrote.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use ramus::limits::{KEY_BYTES_MAX, TREE_NAME_BYTES_MAX, VALUE_BYTES_MAX};
use ramus::{BulkLoad, Db, WriteOptions};

use super::dump::HEADER;
use crate::args::When;
use crate::context::Context;
use crate::keys;
use crate::lines::Lines;
use crate::progress::Progress;
use crate::text::{escape, unescape};
use crate::units::count;

/// The longest record line: every byte as `\xNN`, and two tabs.
const LINE_BYTES_MAX: usize = 4 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) + 2;

/// Load what `ramus dump` wrote, into a new database or over the records of one.
///
/// A file is verified to its end before anything is loaded. Standard input and pipes are loaded as they come: after an error the
/// records before it are there.
#[derive(Args)]
pub(crate) struct LoadArgs {
    /// Directory of the database; made if it does not exist
    db: PathBuf,
    /// The file to read (it may be Zstandard-compressed); standard input without it or with `-`
    file: Option<PathBuf>,
}

pub(crate) fn run(args: &LoadArgs, context: &Context) -> Result<ExitCode> {
    let source = args.file.as_ref().map_or(OsStr::new("-"), |file| file.as_os_str());
    if std::fs::metadata(source).is_ok_and(|what| what.is_file()) {
        read(Lines::open(source, LINE_BYTES_MAX)?, &mut Verify)?;
    }
    let lines = Lines::open(source, LINE_BYTES_MAX)?;
    let db = context.write(&args.db, When::Batched)?;
    let progress = Progress::new(context, "load", lines.file_bytes());
    let mut load = Load { db: &db, bulk: None, last: Vec::new(), progress, records: 0 };
    let outcome = read(lines, &mut load);
    // What was read before an error is kept.
    let loaded = load.finish();
    drop(load);
    let closed = db.close();
    let records = outcome?;
    loaded?;
    closed?;
    context.note(|| format!("{} records", count(records)));
    Ok(ExitCode::SUCCESS)
}

/// What is done with a dump while it is read.
trait Sink {
    fn tree(&mut self, name: &str) -> Result<()>;
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()>;
    fn progress(&mut self, read_bytes: u64);
}

/// Nothing: the reading verifies.
struct Verify;

impl Sink for Verify {
    fn tree(&mut self, _name: &str) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Ok(())
    }

    fn progress(&mut self, _read_bytes: u64) {}
}

/// Loads the records, of each tree in the order of keys: a dump has them so.
struct Load<'a> {
    db: &'a Db,
    bulk: Option<BulkLoad>,
    /// The last key of the tree.
    last: Vec<u8>,
    progress: Progress,
    records: u64,
}

impl Load<'_> {
    /// Commits what is still to be committed.
    fn finish(&mut self) -> Result<()> {
        if let Some(bulk) = &mut self.bulk {
            bulk.finish()?;
        }
        self.last.clear();
        Ok(())
    }
}

impl Sink for Load<'_> {
    fn tree(&mut self, name: &str) -> Result<()> {
        self.finish()?;
        self.bulk = Some(self.db.tree(name)?.bulk_loader(WriteOptions::new()));
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.last.as_slice() >= key {
            // Somebody has edited it: what is out of order begins anew.
            self.finish()?;
        }
        let Some(bulk) = &mut self.bulk else { bail!("a record before the first tree") };
        bulk.push(key, value)?;
        self.last.clear();
        self.last.extend_from_slice(key);
        self.records += 1;
        Ok(())
    }

    fn progress(&mut self, read_bytes: u64) {
        self.progress.set(read_bytes, self.records);
    }
}

/// What a line says.
enum Line {
    Tree(String),
    Record(Vec<u8>, Vec<u8>),
    End(u64),
}

/// Reads a whole dump. Returns the number of records.
fn read(mut lines: Lines, sink: &mut impl Sink) -> Result<u64> {
    let mut line = Vec::new();
    if !lines.next(&mut line)? || line != HEADER.as_bytes() {
        bail!("{}: line 1: not a dump: a dump starts with {HEADER:?}", lines.name());
    }
    let (mut records, mut end, mut in_tree) = (0u64, None, false);
    while lines.next(&mut line)? {
        let at = |error: anyhow::Error| anyhow!("{}: line {}: {error:#}", lines.name(), lines.number());
        if end.is_some() {
            return Err(at(anyhow!("there is more after the end line")));
        }
        match parse(&line).map_err(at)? {
            Line::Tree(name) => {
                in_tree = true;
                sink.tree(&name).map_err(at)?;
            }
            Line::Record(..) if !in_tree => return Err(at(anyhow!("a record before the first tree line"))),
            Line::Record(key, value) => {
                records += 1;
                sink.record(&key, &value).map_err(at)?;
            }
            Line::End(number) if number == records => end = Some(number),
            Line::End(number) => {
                return Err(at(anyhow!("the end line counts {number} records, there are {records}")));
            }
        }
        if lines.number().is_multiple_of(1024) {
            sink.progress(lines.read_bytes());
        }
    }
    end.ok_or_else(|| anyhow!("{}: line {}: the end line is missing", lines.name(), lines.number()))
}

fn parse(line: &[u8]) -> Result<Line> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
    let bytes = |field: &[u8]| unescape(field).map_err(|error| anyhow!(error));
    match fields[..] {
        [b"", key, value] => {
            let (key, value) = (bytes(key)?, bytes(value)?);
            keys::check(&key)?;
            if value.len() > VALUE_BYTES_MAX {
                bail!("the value of {} bytes is over the limit of {VALUE_BYTES_MAX}", value.len());
            }
            Ok(Line::Record(key, value))
        }
        [b"tree", name] => {
            let name =
                String::from_utf8(bytes(name)?).map_err(|_| anyhow!("the tree's name is not UTF-8"))?;
            if name.is_empty() || name.len() > TREE_NAME_BYTES_MAX {
                bail!("a tree's name has 1 to {TREE_NAME_BYTES_MAX} bytes");
            }
            Ok(Line::Tree(name))
        }
        [b"end", number] => match std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()) {
            Some(number) => Ok(Line::End(number)),
            None => bail!("the end line has no number"),
        },
        _ => bail!("neither a tree, a record nor the end: {}", escape(&line[..line.len().min(60)])),
    }
}
