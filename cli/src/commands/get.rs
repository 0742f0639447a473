//! `ramus get`: one value.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use ramus::Record;
use serde_json::Map;

use crate::context::Context;
use crate::stat_value::StatValue;
use crate::text::escape;
use crate::{json, keys};

/// Print the value of a key: as it is into a file or pipe, readable on a terminal.
#[derive(Args)]
pub(crate) struct GetArgs {
    /// Directory of the database
    db: PathBuf,
    /// The key
    key: OsString,
}

pub(crate) fn run(args: &GetArgs, context: &Context) -> Result<ExitCode> {
    let key = keys::key(&args.key)?;
    let db = context.read(&args.db)?;
    let tree = context.tree(&db)?;
    let Some(record) = tree.get_record(key)? else {
        if keys::is_directory(&tree, key)? {
            bail!("{} is a directory: there are keys below it, but no value of its own", escape(key));
        }
        bail!("there is no key {}", escape(key));
    };
    let mut out = context.out();
    if context.json() {
        print_json(&mut out, key, &record)?;
    } else if context.for_people() {
        print_for_people(&mut out, &record.value)?;
    } else {
        out.write_all(&record.value)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn print_json(out: &mut impl Write, key: &[u8], record: &Record) -> std::io::Result<()> {
    let mut object = Map::new();
    json::add_bytes(&mut object, "key", key);
    object.insert("version".into(), record.version.into());
    json::add_bytes(&mut object, "value", &record.value);
    if let Some(stat) = StatValue::decode(&record.value) {
        object.insert("stat".into(), stat.json());
    }
    json::line(out, object)
}

fn print_for_people(out: &mut impl Write, value: &[u8]) -> std::io::Result<()> {
    let Some(stat) = StatValue::decode(value) else {
        return match std::str::from_utf8(value) {
            Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') => {
                writeln!(out, "{}", text.strip_suffix('\n').unwrap_or(text))
            }
            _ => writeln!(out, "{}", escape(value)),
        };
    };
    writeln!(out, "kind      {}", stat.kind_text())?;
    writeln!(out, "mode      {} ({:04o})", stat.mode_text(), stat.mode)?;
    writeln!(out, "owner     {}:{}", stat.uid, stat.gid)?;
    writeln!(out, "links     {}", stat.links)?;
    writeln!(out, "size      {}", stat.size)?;
    writeln!(out, "modified  {} UTC", stat.modified_text())
}
