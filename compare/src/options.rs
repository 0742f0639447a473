//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::engines::Kind;

/// Runs the same metadata workloads on Ramus and its rivals, interleaved, verifies every answer, and prints a table in Markdown.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Records in the databases.
    #[arg(long, default_value_t = 2_000_000)]
    pub keys: usize,
    /// The list of paths: one a line, sorted or not, `.zst` or plain. Every k-th is taken.
    #[arg(long, env = "RAMUS_PATHS", default_value = "../shared/data/debian-paths.txt.zst")]
    pub paths: PathBuf,
    /// Engines, in the table's order; Ramus is always among them.
    #[arg(long, value_delimiter = ',', default_values_t = Kind::ALL)]
    pub engines: Vec<Kind>,
    /// Rows: those whose names contain one of these. All without it.
    #[arg(long, value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Turns of every engine in every row; at least three make a median.
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
    /// Loads in each order; as many as rounds without it.
    #[arg(long)]
    pub loads: Option<u64>,
    /// Memory of each engine's own cache, in MiB.
    #[arg(long, default_value_t = 4096)]
    pub cache: u64,
    /// Records of the rows with a cold cache; all paths of the list without it.
    #[arg(long)]
    pub cold_keys: Option<usize>,
    /// Where the databases are made; they are removed at the end. The system's temporary directory without it.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Writes the table here too, after every row.
    #[arg(long)]
    pub markdown: Option<PathBuf>,
    /// Draws the chart here, after every row.
    #[arg(long)]
    pub svg: Option<PathBuf>,
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What a process of its own is needed for; the program starts itself for that.
#[derive(Debug, Clone, Subcommand)]
#[command(hide = true)]
pub enum Task {
    /// Loads at random and prints the memory and the disk that takes.
    #[command(hide = true)]
    Space(Child),
    /// Puts records and is killed.
    #[command(hide = true)]
    Crash(Child),
    /// Overwrites at random and prints the bytes that were written.
    #[command(hide = true)]
    Written(Child),
}

#[derive(Debug, Clone, clap::Args)]
pub struct Child {
    #[arg(long)]
    pub engine: Kind,
    #[arg(long)]
    pub at: PathBuf,
    /// The keys, sorted, one a line.
    #[arg(long)]
    pub list: PathBuf,
    #[arg(long)]
    pub cache_bytes: u64,
    #[arg(long)]
    pub count: usize,
}

impl Args {
    pub fn cache_bytes(&self) -> u64 {
        self.cache << 20
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| row.contains(part.as_str()))
    }

    /// The engines in the table's order, each once.
    pub fn kinds(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| *kind == Kind::Ramus || self.engines.contains(kind)).collect()
    }
}
