//! `ramus ls`: listings.
//!
//! A directory is whatever has keys below it. An imported tree also has a record for each directory; that record and the
//! keys below it are one line.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use ramus::{EntryRef, Scan, Tree, Version};
use serde_json::Map;

use crate::context::Context;
use crate::stat_value::StatValue;
use crate::text::{escape, escape_into};
use crate::{json, keys};

/// List keys.
///
/// `ls DB` lists the top level. If PREFIX is a directory (there are keys below PREFIX/), its contents are listed, with or
/// without the slash at the end; if it is a single key, that key. Anything else lists all that starts with PREFIX.
/// Names are relative to the listed directory, directories end in a slash; with -r full keys are printed. Unprintable
/// bytes are written as \xNN, a backslash as \\.
#[derive(Args)]
pub(crate) struct LsArgs {
    /// Directory of the database
    db: PathBuf,
    /// What to list
    prefix: Option<OsString>,
    /// List all keys below, in full
    #[arg(short, long)]
    recursive: bool,
    /// Print details: version, mode, links, owner, size and time of last change (UTC) for stat data, else the value's size
    #[arg(short, long)]
    long: bool,
    /// The byte that separates the names in a key
    #[arg(short, long, value_name = "C", default_value = "/", value_parser = parse_delimiter)]
    delimiter: u8,
    /// List what comes after this full key
    #[arg(long, value_name = "KEY")]
    after: Option<OsString>,
    /// List at most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// List from the last to the first
    #[arg(long)]
    reverse: bool,
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err("the delimiter is one byte".into()),
    }
}

/// What a PREFIX means.
enum Target {
    /// Keys that start with this are listed; names begin after so many bytes.
    Below(Vec<u8>, usize),
    /// One key.
    Single(Vec<u8>),
}

/// One line.
struct Line<'a> {
    key: &'a [u8],
    is_directory: bool,
    record: Option<(&'a [u8], Version)>,
}

pub(crate) fn run(args: &LsArgs, context: &Context) -> Result<ExitCode> {
    let db = context.read(&args.db)?;
    let tree = context.tree(&db)?;
    let prefix = args.prefix.as_ref().map_or(&[][..], |prefix| prefix.as_encoded_bytes());
    let mut lister =
        Lister { args, tree: &tree, json: context.json(), out: context.out(), text: String::new() };
    match target(args, &tree, prefix)? {
        Target::Single(key) => lister.single(&key)?,
        Target::Below(prefix, name_at) => lister.list(&prefix, name_at)?,
    }
    lister.out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn target(args: &LsArgs, tree: &Tree, prefix: &[u8]) -> Result<Target> {
    let below = keys::below(prefix, args.delimiter);
    if prefix.is_empty() || keys::any_below(tree, &below)? {
        let name_at = below.len();
        return Ok(Target::Below(below, name_at));
    }
    if tree.contains(prefix)? {
        return Ok(Target::Single(prefix.to_vec()));
    }
    if !keys::any_below(tree, prefix)? {
        bail!("there is no key {}, and none that starts with it", escape(prefix));
    }
    let name_at = prefix.iter().rposition(|&byte| byte == args.delimiter).map_or(0, |at| at + 1);
    Ok(Target::Below(prefix.to_vec(), name_at))
}

struct Lister<'a, W> {
    args: &'a LsArgs,
    tree: &'a Tree,
    json: bool,
    out: W,
    text: String,
}

impl<W: Write> Lister<'_, W> {
    fn scan(&self, prefix: &[u8]) -> Scan {
        let mut scan = self.tree.prefix(prefix);
        if !self.args.recursive {
            scan = scan.delimiter(self.args.delimiter);
        }
        if let Some(after) = &self.args.after {
            scan = scan.start_after(after.as_encoded_bytes());
        }
        if self.args.reverse { scan.reverse() } else { scan }
    }

    fn list(&mut self, prefix: &[u8], name_at: usize) -> Result<()> {
        let name_at = if self.args.recursive { 0 } else { name_at };
        let mut left = self.args.limit.unwrap_or(usize::MAX);
        let mut scan = self.scan(prefix);
        while left > 0 {
            let Some(entry) = scan.next_entry()? else { break };
            left -= usize::from(self.entry(entry, name_at)?);
        }
        Ok(())
    }

    /// Prints an entry; false if it shows under another.
    fn entry(&mut self, entry: EntryRef<'_>, name_at: usize) -> Result<bool> {
        match entry {
            EntryRef::Record { key, value, version } => {
                let is_directory = StatValue::decode(value).is_some_and(|stat| stat.is_directory());
                let rolls_up = is_directory && !self.args.recursive;
                if rolls_up && keys::any_below(self.tree, &keys::below(key, self.args.delimiter))? {
                    return Ok(false);
                }
                self.line(&Line { key, is_directory, record: Some((value, version)) }, name_at)?;
            }
            EntryRef::CommonPrefix(prefix) => {
                let own = self.directory_record(prefix)?;
                let record = own.as_ref().map(|record| (&record.value[..], record.version));
                self.line(&Line { key: prefix, is_directory: true, record }, name_at)?;
            }
        }
        Ok(true)
    }

    /// The record that an imported directory has beside the keys below it.
    fn directory_record(&self, prefix: &[u8]) -> Result<Option<ramus::Record>> {
        let Some((_, key)) = prefix.split_last() else { return Ok(None) };
        let record = if key.is_empty() { None } else { self.tree.get_record(key)? };
        let of_directory = |value: &[u8]| StatValue::decode(value).is_some_and(|stat| stat.is_directory());
        Ok(record.filter(|record| of_directory(&record.value)))
    }

    fn single(&mut self, key: &[u8]) -> Result<()> {
        let Some(record) = self.tree.get_record(key)? else {
            bail!("there is no key {}", escape(key));
        };
        let is_directory = StatValue::decode(&record.value).is_some_and(|stat| stat.is_directory());
        self.line(&Line { key, is_directory, record: Some((&record.value, record.version)) }, 0)
    }

    fn line(&mut self, line: &Line<'_>, name_at: usize) -> Result<()> {
        if self.json {
            return Ok(json::line(&mut self.out, json_line(line))?);
        }
        self.text.clear();
        if self.args.long {
            long_columns(line, &mut self.text);
        }
        escape_into(&line.key[name_at.min(line.key.len())..], &mut self.text);
        if line.is_directory && line.key.last() != Some(&self.args.delimiter) {
            escape_into(&[self.args.delimiter], &mut self.text);
        }
        Ok(writeln!(self.out, "{}", self.text)?)
    }
}

fn long_columns(line: &Line<'_>, text: &mut String) {
    use std::fmt::Write as _;
    // Writing to a string does not fail.
    let _ = match line.record.map(|(value, version)| (StatValue::decode(value), value, version)) {
        None => write!(text, "{:>10}  {:10}  {:>3}  {:>11}  {:>12}  {:19}  ", "-", "-", "-", "-", "-", "-"),
        Some((None, value, version)) => {
            let bytes = value.len();
            write!(text, "{version:>10}  {:10}  {:>3}  {:>11}  {bytes:>12}  {:19}  ", "-", "-", "-", "-")
        }
        Some((Some(stat), _, version)) => {
            let (mode, links, size, time) = (stat.mode_text(), stat.links, stat.size, stat.modified_text());
            let owner = format!("{}:{}", stat.uid, stat.gid);
            write!(text, "{version:>10}  {mode:10}  {links:>3}  {owner:>11}  {size:>12}  {time:19}  ")
        }
    };
}

fn json_line(line: &Line<'_>) -> Map<String, serde_json::Value> {
    let mut object = Map::new();
    json::add_bytes(&mut object, "key", line.key);
    object.insert("directory".into(), line.is_directory.into());
    if let Some((value, version)) = line.record {
        object.insert("version".into(), version.into());
        object.insert("value_bytes".into(), value.len().into());
        if let Some(stat) = StatValue::decode(value) {
            object.insert("stat".into(), stat.json());
        }
    }
    object
}
