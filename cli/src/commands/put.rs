//! `ramus put`: one record.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ramus::limits::VALUE_BYTES_MAX;
use ramus::{Tree, Version};
use serde_json::Map;

use crate::args::When;
use crate::context::Context;
use crate::text::escape;
use crate::{json, keys};

/// Put a record, replacing what is there. Makes the database and the tree if they do not exist.
#[derive(Args)]
pub(crate) struct PutArgs {
    /// Directory of the database
    db: PathBuf,
    /// The key
    key: OsString,
    /// The value, or `-` to read it from standard input
    value: OsString,
    /// Fail if there is a record
    #[arg(long, conflicts_with = "if_version")]
    if_absent: bool,
    /// Fail unless the record that is there has this version
    #[arg(long, value_name = "N")]
    if_version: Option<Version>,
}

pub(crate) fn run(args: &PutArgs, context: &Context) -> Result<ExitCode> {
    let key = keys::key(&args.key)?;
    let value = value(&args.value)?;
    let db = context.write(&args.db, When::Sync)?;
    let tree = context.tree_to_fill(&db)?;
    let version = put(args, &tree, key, &value)?;
    db.close()?;
    if context.json() {
        let mut object = Map::new();
        json::add_bytes(&mut object, "key", key);
        object.insert("version".into(), version.into());
        let mut out = context.out();
        json::line(&mut out, object)?;
        out.flush()?;
    }
    context.note(|| format!("version {version}"));
    Ok(ExitCode::SUCCESS)
}

fn put(args: &PutArgs, tree: &Tree, key: &[u8], value: &[u8]) -> Result<Version> {
    if let Some(version) = args.if_version {
        return Ok(tree.compare_and_put(key, version, value)?);
    }
    if !args.if_absent {
        return Ok(tree.put(key, value)?);
    }
    if !tree.put_if_absent(key, value)? {
        bail!("there is a record of {} already", escape(key));
    }
    let record = tree.get_record(key)?;
    Ok(record.map_or(0, |record| record.version))
}

fn value(arg: &OsString) -> Result<Vec<u8>> {
    let mut value = arg.as_encoded_bytes().to_vec();
    if arg == "-" {
        value.clear();
        let limit = VALUE_BYTES_MAX as u64 + 1;
        std::io::stdin().lock().take(limit).read_to_end(&mut value).context("reading standard input")?;
    }
    if value.len() > VALUE_BYTES_MAX {
        bail!("the value is over the limit of {VALUE_BYTES_MAX} bytes");
    }
    Ok(value)
}
