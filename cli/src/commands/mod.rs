//! One file a command: its arguments, and `run`.

pub(crate) mod check;
pub(crate) mod compact;
pub(crate) mod demo;
pub(crate) mod du;
pub(crate) mod dump;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod load;
pub(crate) mod ls;
pub(crate) mod mv;
pub(crate) mod put;
pub(crate) mod rm;
pub(crate) mod stat;
pub(crate) mod trees;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Command;
use crate::context::Context;

/// Runs a command. An error is one line for people and exit code 1.
pub(crate) fn run(command: Command, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(&args, context),
        Command::DemoWriter(args) => demo::run_writer(&args, context),
        Command::Import(args) => import::run(&args, context),
        Command::Ls(args) => ls::run(&args, context),
        Command::Du(args) => du::run(&args, context),
        Command::Get(args) => get::run(&args, context),
        Command::Put(args) => put::run(&args, context),
        Command::Rm(args) => rm::run(&args, context),
        Command::Mv(args) => mv::run(&args, context),
        Command::Stat(args) => stat::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Dump(args) => dump::run(&args, context),
        Command::Load(args) => load::run(&args, context),
        Command::Compact(args) => compact::run(&args, context),
        Command::Trees(args) => trees::run(&args, context),
    }
}
