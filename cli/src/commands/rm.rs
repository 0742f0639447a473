//! `ramus rm`: records by their keys.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use ramus::Tree;

use crate::context::Context;
use crate::keys;
use crate::text::escape;

/// Delete records. One commit each; goes on after a key that is not there.
#[derive(Args)]
pub(crate) struct RmArgs {
    /// Directory of the database
    db: PathBuf,
    /// The keys
    #[arg(required = true)]
    keys: Vec<OsString>,
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
        if !tree.delete(key)? && !args.force {
            eprintln!("ramus: {}", why_not(&tree, key)?);
            code = ExitCode::FAILURE;
        }
    }
    db.close()?;
    Ok(code)
}

fn why_not(tree: &Tree, key: &[u8]) -> Result<String> {
    Ok(match keys::is_directory(tree, key)? {
        true => format!("{} is a directory: rm deletes single keys, not those below them", escape(key)),
        false => format!("there is no key {}", escape(key)),
    })
}
