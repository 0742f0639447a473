//! The child: writes durably from several threads, and says of each write on standard output that it is done.
//!
//! Standard input holds the paths beside which it writes, each after its length (four bytes, little endian). An
//! acknowledgement is one byte, the thread's number: the writes of a thread follow each other, so its count says which.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use ramus::limits::{JOURNAL_BYTES_MIN, KEY_BYTES_MAX};
use ramus::{Durability, Tree};

use super::{CACHE_BYTES, value};
use crate::args::When;
use crate::context::Context;

pub(super) const THREADS: usize = 4;
pub(super) const ACK_BYTES: usize = 1;
pub(super) const SUFFIX_BYTES_MAX: usize = 32;

/// Writes durably until it is killed. For `ramus demo`.
#[derive(Args)]
pub(crate) struct WriterArgs {
    /// Directory of the database
    db: PathBuf,
}

pub(crate) fn run(args: &WriterArgs, context: &Context) -> Result<ExitCode> {
    let bases = receive_bases(&mut std::io::stdin().lock()).context("reading standard input")?;
    // A small journal, so that checkpoints run while it writes.
    let options = context.options(When::Sync).cache_bytes(context.cache_bytes(CACHE_BYTES));
    let db = options.durability(Durability::Sync).journal_bytes(JOURNAL_BYTES_MIN).open(&args.db)?;
    let tree = db.default_tree();
    let (tree, bases) = (&tree, &bases[..]);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS).map(|i| scope.spawn(move || write(tree, bases, i))).collect();
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(ExitCode::SUCCESS)
}

fn write(tree: &Tree, bases: &[Vec<u8>], thread: usize) -> Result<()> {
    for number in 0.. {
        let key = key(bases, thread, number);
        tree.put(&key, value::made_up(&key))?;
        let mut out = std::io::stdout().lock();
        out.write_all(&[thread as u8])?;
        out.flush()?;
    }
    Ok(())
}

/// The key of a thread's write: each goes to another place of the tree.
pub(super) fn key(bases: &[Vec<u8>], thread: usize, number: u64) -> Vec<u8> {
    let at = (number as usize).wrapping_mul(THREADS).wrapping_add(thread);
    let base = bases.get(at % bases.len().max(1)).map_or(&b"base"[..], |base| base);
    let room = KEY_BYTES_MAX - SUFFIX_BYTES_MAX;
    [&base[..base.len().min(room)], format!("~written-{thread}-{number}").as_bytes()].concat()
}

/// Sends the paths to the child.
pub(super) fn send_bases(out: &mut impl Write, bases: &[Vec<u8>]) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(out);
    for base in bases {
        out.write_all(&(base.len() as u32).to_le_bytes())?;
        out.write_all(base)?;
    }
    out.flush()
}

fn receive_bases(input: &mut impl Read) -> std::io::Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let mut bases = Vec::new();
    let mut rest = &bytes[..];
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let Some((base, after)) = after.split_at_checked(len) else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        bases.push(base.to_vec());
        rest = after;
    }
    Ok(bases)
}
