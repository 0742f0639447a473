//! Imports a list of paths, one a line.

use anyhow::{Result, bail};
use ramus::limits::KEY_BYTES_MAX;
use ramus::{Db, Tree};

use super::marks::{Mark, Marks};
use super::{ImportArgs, Tally};
use crate::context::Context;
use crate::feeder::Feeder;
use crate::lines::Lines;
use crate::progress::Progress;
use crate::units::count;

pub(super) fn import(
    args: &ImportArgs,
    context: &Context,
    db: &Db,
    tree: &Tree,
    prefix: &[u8],
) -> Result<Tally> {
    let lines = Lines::open(&args.source, KEY_BYTES_MAX)?;
    let marks = Marks::open(db, &args.source, tree, prefix)?;
    let done = match &marks {
        Some(marks) if args.restart => marks.remove().map(|()| Mark::default())?,
        Some(marks) => marks.get()?.unwrap_or_default(),
        None => Mark::default(),
    };
    if done.complete {
        eprintln!("ramus: {} is imported already; --restart does it again", lines.name());
        return Ok(Tally { unchanged: done.lines, ..Tally::default() });
    }
    if done.lines > 0 {
        eprintln!("ramus: going on after line {} of {}", count(done.lines), lines.name());
    }
    put_lines(context, db, tree, prefix, lines, marks, done.lines)
}

fn put_lines(
    context: &Context,
    db: &Db,
    tree: &Tree,
    prefix: &[u8],
    mut lines: Lines,
    marks: Option<Marks>,
    done: u64,
) -> Result<Tally> {
    let progress = Progress::new(context, "import", lines.file_bytes());
    let mut feeder = Feeder::new(db, context.wants_sync());
    let mut tally = Tally { unchanged: done, ..Tally::default() };
    let mark = |lines, complete| marks.as_ref().map_or(Ok(()), |marks| marks.put(Mark { lines, complete }));
    let (mut line, mut key) = (Vec::new(), Vec::new());
    while lines.next(&mut line)? {
        if lines.number() <= done || line.is_empty() {
            continue;
        }
        if prefix.len() + line.len() > KEY_BYTES_MAX {
            let (name, number) = (lines.name(), lines.number());
            bail!("{name}: line {number}: the key is over the limit of {KEY_BYTES_MAX} bytes");
        }
        key.clear();
        key.extend_from_slice(prefix);
        key.extend_from_slice(&line);
        tally.put += 1;
        if feeder.put(tree, &key, b"")? {
            mark(lines.number(), false)?;
            progress.set(lines.read_bytes(), tally.put);
        }
    }
    mark(lines.number() - 1, true)?;
    Ok(tally)
}
