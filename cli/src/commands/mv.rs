//! `ramus mv`: one record to another key, or a directory to another name.

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

/// Move one record to another key, or with -r a directory with all keys below it, however many: all or nothing.
#[derive(Args)]
pub(crate) struct MvArgs {
    /// Directory of the database
    db: PathBuf,
    /// The key of the record, or the directory
    source: OsString,
    /// Its new key; with a slash at its end the record or directory keeps its name in that directory
    target: OsString,
    /// Move the key and all keys below it
    #[arg(short, long)]
    recursive: bool,
    /// Replace what is at the new key: the record, or with -r all keys below it too
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(args: &MvArgs, context: &Context) -> Result<ExitCode> {
    let source = keys::key(&args.source)?;
    if args.recursive {
        return move_directory(args, context, source);
    }
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

/// Moves what is below a key, and the record that it has itself, if there is one.
fn move_directory(args: &MvArgs, context: &Context, source: &[u8]) -> Result<ExitCode> {
    let source = source.strip_suffix(b"/").unwrap_or(source);
    let target = target(source, keys::key(&args.target)?);
    let [from, to] = [source, &target].map(|key| keys::below(key, b'/'));
    keys::check(&to)?;
    let db = context.change(&args.db)?;
    let tree = context.tree(&db)?;
    if from == to {
        bail!("{} is where it is to be moved to", escape(source));
    }
    if from.starts_with(&to) || to.starts_with(&from) {
        bail!("{} and {} lie inside each other", escape(source), escape(&target));
    }
    let (has_record, is_directory) = (tree.contains(source)?, keys::is_directory(&tree, source)?);
    if !has_record && !is_directory {
        bail!("there is no key {}", escape(source));
    }
    if !args.force && (tree.contains(&target)? || keys::any_below(&tree, &to)?) {
        bail!("there is {} already; -f replaces it and all below it", escape(&target));
    }
    let if_exists = if args.force { IfExists::Replace } else { IfExists::Fail };
    db.batch(|batch| {
        if has_record {
            batch.rename(&tree, source, &target, if_exists);
        } else {
            batch.delete(&tree, &target);
        }
        if is_directory {
            batch.rename_prefix(&tree, &from, &to, if_exists);
        } else {
            batch.delete_prefix(&tree, &to);
        }
    })?;
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
        bail!("{} is a directory: -r moves it with all keys below it", escape(source));
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
