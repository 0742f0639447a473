//! `ramus trees`: the names of all trees.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::Map;

use crate::context::Context;
use crate::json;
use crate::text::escape;

/// List the trees of a database.
#[derive(Args)]
pub(crate) struct TreesArgs {
    /// Directory of the database
    db: PathBuf,
}

pub(crate) fn run(args: &TreesArgs, context: &Context) -> Result<ExitCode> {
    let db = context.read(&args.db)?;
    let mut out = context.out();
    for name in db.tree_names() {
        if context.json() {
            json::line(&mut out, Map::from_iter([("tree".to_owned(), name.into())]))?;
        } else {
            writeln!(out, "{}", escape(name.as_bytes()))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
