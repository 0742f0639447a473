//! A small namespace of directories and files, as POSIX has it, on a tree of full-path keys.
//!
//! ```text
//! cargo run --release --example filesystem                        a demonstration, in memory
//! cargo run --release --example filesystem -- --trace FILE        replays a history; `-` reads standard input
//! ```
//!
//! # The layout
//!
//! Every name is one record in the tree `names`. Its key is the full path, in which *two* slashes stand before each name;
//! a directory's own record has one slash more at its end. The root's own record is `/`.
//!
//! ```text
//! /            the root         //src//io/           the directory /src/io
//! //src/       /src             //src//io//mod.rs    the file /src/io/mod.rs
//! ```
//!
//! Let D be the key of a directory's own record. Then:
//!
//! - *All of the directory starts with D*, its own record and all below it, and nothing else does: names hold no slash, so the
//!   slash at the end of D cannot be part of a longer name. So a move of the directory is one `rename_prefix` of D, and the
//!   move onto an empty directory is the same with `Replace`.
//! - *Its entries start with D and a slash*, which its own record does not. With a single slash between names they would have
//!   no such prefix of their own. Now "the directory is empty" is one `expect_prefix_empty`, which the commit of an rmdir or of a
//!   rename checks against all other threads; no count of entries is kept that all creations in a directory would queue for.
//!   And `count_prefix` counts the entries without the directory.
//! - *A readdir is one listing* of that prefix with `/` as the delimiter. A file's key ends with its name, so it is a record; a
//!   directory's goes on with a slash, so it is a common prefix, whatever lies below. The kinds are known without a value.
//! - *A look-up is one or two reads, at any depth*: the key of the file, then that of the directory. The parts of the path are
//!   asked only to tell ENOENT from ENOTDIR.
//!
//! The price: a name could have two records, as a file and as a directory, so whatever makes a name expects both to be
//! absent; and a listing comes in the order of keys, in which a directory's name ends with a slash.
//!
//! A commit that makes an entry expects the version of the directory's own record. If that is there, so is all above: a
//! directory that is moved or removed takes its record with it, and rmdir takes none that has entries.
//!
//! A file's record holds its inode number and its size. When it gets a second name (link(2)), both names hold the number
//! only, and size and count of names go to one record in the tree `inodes`, in the same commit. Files with one name, nearly
//! all, need no second read. There are no contents, times, owners or permissions.

mod demo;
#[allow(dead_code, reason = "the tests use all of it, the replay a part")]
mod model;
mod namespace;
mod replay;

use std::io::Read;

use namespace::Namespace;
use ramus::{Db, Durability, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(demo::demo(&Namespace::open(&Db::in_memory()?)?)?),
        ["--trace", file] => {
            let mut trace = String::new();
            match file {
                "-" => drop(std::io::stdin().lock().read_to_string(&mut trace)?),
                _ => trace = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?,
            }
            let temporary = tempfile::tempdir()?;
            let batched = Durability::Batched { bytes: 64 << 10, interval: None };
            let db = Options::new().durability(batched).open(temporary.path().join("db"))?;
            println!("{}", replay::replay(&Namespace::open(&db)?, &trace)?.show());
            Ok(db.close()?)
        }
        _ => Err("usage: filesystem [--trace FILE]; FILE `-` is standard input".into()),
    }
}
