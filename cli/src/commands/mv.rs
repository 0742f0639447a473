//! `ramus mv`: one record to another key.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use ramus::{ErrorKind, IfExists, Tree};

use crate::context::Context;
use crate::keys;
use crate::stat_value::StatValue;
use crate::text::escape;

/// Move one record to another key, all or nothing. A directory, that is a key with keys below it, cannot be moved.
#[derive(Args)]
pub(crate) struct MvArgs {
    /// Directory of the database
    db: PathBuf,
    /// The key of the record
    source: OsString,
    /// Its new key; with a slash at its end the record keeps its name in that directory
    target: OsString,
    /// Replace the record that is at the new key
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(args: &MvArgs, context: &Context) -> Result<ExitCode> {
    let source = keys::key(&args.source)?;
    let target = target(source, keys::key(&args.target)?);
    keys::check(&target)?;
    let db = context.change(&args.db)?;
    let tree = context.tree(&db)?;
    check(&tree, source, &target)?;
    let if_exists = if args.force { IfExists::Replace } else { IfExists::Fail };
    match tree.rename(source, &target, if_exists) {
        Err(error) if error.kind() == ErrorKind::Exists => {
            bail!("there is a record of {} already; -f replaces it", escape(&target))
        }
        outcome => outcome?,
    };
    db.close()?;
    Ok(ExitCode::SUCCESS)
}

/// The new key: `dir/` takes the last name of the source.
fn target(source: &[u8], given: &[u8]) -> Vec<u8> {
    let name = source.rsplit(|&byte| byte == b'/').next().unwrap_or(source);
    match given.ends_with(b"/") {
        true => [given, name].concat(),
        false => given.to_vec(),
    }
}

fn check(tree: &Tree, source: &[u8], target: &[u8]) -> Result<()> {
    let there = tree.get(source)?;
    let may_be_directory = match &there {
        None => true,
        Some(value) => StatValue::decode(value).is_some_and(|stat| stat.is_directory()),
    };
    if may_be_directory && keys::is_directory(tree, source)? {
        bail!("{} is a directory: only single keys can be moved", escape(source));
    }
    if there.is_none() {
        bail!("there is no key {}", escape(source));
    }
    if keys::is_directory(tree, target)? {
        let target = escape(target);
        bail!("{target} is a directory: write {target}/ to move the record into it");
    }
    Ok(())
}
