//! The `ramus` program as a user runs it: a file for each thing users do.

mod bad_input;
mod demo;
mod dump;
mod import;
mod list;
mod records;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock};

use tempfile::TempDir;

/// A program that is being started has the files of this one until it runs, and with them the locks of a database that
/// is open here: none is being started while one is closed.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a program.
fn start(command: &mut Command) -> Child {
    let _guard = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// Closes a database that was opened in this process.
fn close(db: ramus::Db) {
    let _guard = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    drop(db);
}

/// A temporary directory to run the program in.
struct Place {
    dir: TempDir,
}

/// What a run came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ramus"));
        command.current_dir(self.dir.path()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(start(&mut self.command(args)).wait_with_output().unwrap())
    }

    fn run_with_input<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Ran {
        let mut child = start(self.command(args).stdin(Stdio::piped()));
        let mut pipe = child.stdin.take().unwrap();
        // A program that refuses its input may have closed it.
        let _ = pipe.write_all(input);
        drop(pipe);
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Runs it and expects success; returns standard output.
    #[track_caller]
    fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.run(args).ok()
    }

    /// Runs it and expects exit code 1 with one line that holds `what`.
    #[track_caller]
    fn fails<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, what: &str) {
        self.run(args).failed(what);
    }

    #[track_caller]
    fn put(&self, keys: &[&str]) {
        for key in keys {
            self.ok(["put", "db", key, key]);
        }
    }
}

impl Ran {
    fn of(output: std::process::Output) -> Self {
        let err = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), out: output.stdout, err }
    }

    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        String::from_utf8(self.out).unwrap()
    }

    #[track_caller]
    fn failed(self, what: &str) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with("ramus: ") && self.err.contains(what), "{what:?} in {self:?}");
    }
}

/// All keys of the default tree, with values.
fn all(db: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let db = ramus::Options::new().read_only(true).open(db).unwrap();
    let record = |entry: ramus::Result<ramus::Entry>| match entry.unwrap() {
        ramus::Entry::Record { key, value, .. } => (key, value),
        ramus::Entry::CommonPrefix(_) => unreachable!("there is no delimiter"),
    };
    let records = db.default_tree().iter().map(record).collect();
    close(db);
    records
}
