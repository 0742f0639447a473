//! The command line as a whole; each command's own arguments stand in its file.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{check, compact, demo, du, dump, get, import, load, ls, mv, put, rm, stat, trees};
use crate::units::parse_size;

/// A durable, ordered map from paths to small values.
#[derive(Parser)]
#[command(name = "ramus", version, max_term_width = 100, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args)]
pub(crate) struct Global {
    /// Print JSON for programs: one object, or one a line. Bytes that are not UTF-8 stand in hex, under NAME_hex
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The tree to work on
    #[arg(long, global = true, value_name = "NAME", default_value = "default")]
    pub(crate) tree: String,
    /// Memory for the database, such as 64M or 2G (at least 4M) [default: 1G]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) cache: Option<u64>,
    /// When a write counts as done [default: sync; batched for import, load and demo, which end with a checkpoint]
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) durability: Option<When>,
    /// Say more on standard error
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// When it is on stable storage
    Sync,
    /// At once: a crash may lose the last ones, never one in the middle
    Batched,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    Demo(demo::DemoArgs),
    #[command(hide = true)]
    DemoWriter(demo::WriterArgs),
    Import(import::ImportArgs),
    Ls(ls::LsArgs),
    Du(du::DuArgs),
    Get(get::GetArgs),
    Put(put::PutArgs),
    Rm(rm::RmArgs),
    Mv(mv::MvArgs),
    Stat(stat::StatArgs),
    Check(check::CheckArgs),
    Dump(dump::DumpArgs),
    Load(load::LoadArgs),
    Compact(compact::CompactArgs),
    Trees(trees::TreesArgs),
}
