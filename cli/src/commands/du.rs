//! `ramus du`: how much is below each directory.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use ramus::{Entry, PrefixStats, Tree};
use serde_json::Map;

use crate::context::Context;
use crate::text::escape;
use crate::units::{count, size};
use crate::{json, keys};

/// Count keys and bytes below directories.
///
/// One line for PREFIX as a whole, before it one for each directory in it, down to DEPTH. A directory's line counts all keys
/// that start with its name and a slash. Takes its numbers from the heads of blobs, so it does not read every record.
#[derive(Args)]
pub(crate) struct DuArgs {
    /// Directory of the database
    db: PathBuf,
    /// The directory, with or without its slash; or anything that keys start with
    prefix: Option<OsString>,
    /// How many levels of directories to show
    #[arg(short, long, value_name = "DEPTH", default_value_t = 1)]
    depth: usize,
}

pub(crate) fn run(args: &DuArgs, context: &Context) -> Result<ExitCode> {
    let db = context.read(&args.db)?;
    let tree = context.tree(&db)?;
    let given = args.prefix.as_ref().map_or(&[][..], |prefix| prefix.as_encoded_bytes());
    let below = keys::below(given, b'/');
    let prefix = if keys::any_below(&tree, &below)? { &below[..] } else { given };
    let mut printer = Printer { tree: &tree, json: context.json(), out: context.out() };
    if !printer.json {
        writeln!(printer.out, "{:>12} {:>12} {:>12}  below", "keys", "key bytes", "value bytes")?;
    }
    printer.level(prefix, args.depth)?;
    let whole = tree.count_prefix(prefix)?;
    if whole.keys == 0 && !given.is_empty() {
        bail!("there is no key that starts with {}", escape(given));
    }
    printer.line(prefix, whole)?;
    printer.out.flush()?;
    Ok(ExitCode::SUCCESS)
}

struct Printer<'a, W> {
    tree: &'a Tree,
    json: bool,
    out: W,
}

impl<W: Write> Printer<'_, W> {
    /// The lines of the directories in one, each after those in it.
    fn level(&mut self, prefix: &[u8], depth: usize) -> Result<()> {
        if depth == 0 {
            return Ok(());
        }
        for entry in self.tree.prefix(prefix).delimiter(b'/').keys_only() {
            let Entry::CommonPrefix(directory) = entry? else { continue };
            self.level(&directory, depth - 1)?;
            self.line(&directory, self.tree.count_prefix(&directory)?)?;
        }
        Ok(())
    }

    fn line(&mut self, prefix: &[u8], stats: PrefixStats) -> Result<()> {
        if self.json {
            let mut object = Map::new();
            json::add_bytes(&mut object, "prefix", prefix);
            object.insert("keys".into(), stats.keys.into());
            object.insert("key_bytes".into(), stats.key_bytes.into());
            object.insert("value_bytes".into(), stats.value_bytes.into());
            return Ok(json::line(&mut self.out, object)?);
        }
        let name = if prefix.is_empty() { "all".to_owned() } else { escape(prefix) };
        let (keys, key_bytes, value_bytes) =
            (count(stats.keys), size(stats.key_bytes), size(stats.value_bytes));
        Ok(writeln!(self.out, "{keys:>12} {key_bytes:>12} {value_bytes:>12}  {name}")?)
    }
}
