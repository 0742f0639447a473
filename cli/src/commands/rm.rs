//! `ramus rm`: records by their keys, and directories.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use ramus::{Db, Tree};

use crate::context::Context;
use crate::keys;
use crate::text::escape;

/// Delete records, or with -r directories. One commit each; goes on after a key that is not there.
#[derive(Args)]
pub(crate) struct RmArgs {
    /// Directory of the database
    db: PathBuf,
    /// The keys
    #[arg(required = true)]
    keys: Vec<OsString>,
    /// Delete each key and all keys below it, however many, at once
    #[arg(short, long)]
    recursive: bool,
    /// Say nothing about keys that are not there
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(args: &RmArgs, context: &Context) -> Result<ExitCode> {
    let keys = args.keys.iter().map(|arg| keys::key(arg)).collect::<Result<Vec<_>>>()?;
    let db = context.change(&args.db)?;
    let tree = context.tree(&db)?;
    let mut code = ExitCode::SUCCESS;
    for key in keys {
        let deleted = if args.recursive { delete_all(&db, &tree, key)? } else { tree.delete(key)? };
        if !deleted && !args.force {
            eprintln!("ramus: {}", why_not(&tree, key)?);
            code = ExitCode::FAILURE;
        }
    }
    db.close()?;
    Ok(code)
}

/// Deletes a key and what is below it; false if there is neither.
fn delete_all(db: &Db, tree: &Tree, key: &[u8]) -> Result<bool> {
    if !tree.contains(key)? && !keys::is_directory(tree, key)? {
        return Ok(false);
    }
    db.batch(|batch| {
        batch.delete(tree, key);
        batch.delete_prefix(tree, keys::below(key, b'/'));
    })?;
    Ok(true)
}

fn why_not(tree: &Tree, key: &[u8]) -> Result<String> {
    Ok(match keys::is_directory(tree, key)? {
        true => format!("{} is a directory: -r deletes all keys below it", escape(key)),
        false => format!("there is no key {}", escape(key)),
    })
}
