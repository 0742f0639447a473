//! The `ramus` command-line tool.

mod args;
mod commands;
mod context;
mod feeder;
mod json;
mod keys;
mod lines;
mod progress;
mod stat_value;
mod text;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::context::Context;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = Context::new(cli.global);
    match commands::run(cli.command, &context) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ramus: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whoever read the output has seen enough (`ramus ls | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_io = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(of_io))
}

/// The error with its causes. A library error says its cause itself.
fn one_line(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        parts.push(cause.to_string().replace('\n', " "));
        if cause.is::<ramus::Error>() {
            break;
        }
    }
    parts.join(": ")
}
