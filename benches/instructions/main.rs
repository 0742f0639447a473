//! Guards the main operations against getting slower: counts their instructions under valgrind's callgrind, which are the same
//! from run to run where times are not, and holds them against `benches/instructions/baseline.tsv`.
//!
//! `cargo bench -p ramus --profile counted --bench instructions` fails if an operation takes over 5 % more than its baseline.
//! If that is meant, the same with `-- --rebase REASON` takes the counts over that are out of bounds, and keeps the reason
//! beside them.
//!
//! Only the program's own instructions are compared, and how often it allocates. The C library picks its copying and
//! comparing functions by the processor, and its allocator changes with its version: both are shown but not held.

mod baseline;
mod callgrind;
#[path = "../common/mod.rs"]
mod common;
mod paths;
mod workload;

use std::path::Path;
use std::process::{Command, ExitCode};

use baseline::{BOUND, Baseline, Compiler, Counts, Verdict};
use callgrind::Counted;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.tsv");
const PROFILE: &str = "counted";
const COMMAND: &str = "cargo bench -p ramus --profile counted --bench instructions";
/// Asks this program for the workload alone.
const WORKLOAD: &str = "--workload";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == WORKLOAD) {
        workload::run();
        return ExitCode::SUCCESS;
    }
    if let Some(why) = no_count() {
        println!("instructions are not counted: {why}");
        return ExitCode::SUCCESS;
    }
    let reason = arguments.iter().skip_while(|argument| *argument != "--rebase").nth(1);
    match guard(reason.map(String::as_str)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Why there is nothing to be had from a run of this program.
fn no_count() -> Option<String> {
    let program = std::env::current_exe().ok();
    // Cargo names the folder of a build after its profile.
    if !program.is_some_and(|program| program.iter().any(|part| part == PROFILE)) {
        return Some(format!("this is another build than that of {COMMAND}"));
    }
    (!callgrind::is_there()).then(|| "valgrind is not there".to_owned())
}

/// Counts, then compares or re-bases. False: something got slower.
fn guard(rebase: Option<&str>) -> Result<bool, String> {
    let compiler = compiler()?;
    let counted = callgrind::count(WORKLOAD)?;
    let counts: Vec<(String, Counts)> =
        counted.iter().map(|counted| (counted.operation.clone(), counted.counts)).collect();
    let old = match std::fs::read_to_string(FILE) {
        Ok(text) => Some(Baseline::parse(&text).map_err(|error| format!("{FILE}: {error}"))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("{FILE}: {error}")),
    };
    if let Some(reason) = rebase {
        let new = Baseline::rebased(old.as_ref(), compiler, &counts, reason.trim());
        let text = new.text();
        // What cannot be read back, as for a reason of several lines, is not written.
        Baseline::parse(&text).map_err(|error| format!("the reason will not do: {error}"))?;
        std::fs::write(FILE, text).map_err(|error| format!("{FILE}: {error}"))?;
        show(&new, &counted, BOUND);
        return Ok(true);
    }
    let old = old.ok_or_else(|| format!("{FILE}: not there; --rebase REASON makes it"))?;
    let Some(bound) = old.bound(&compiler) else {
        println!(
            "instructions are not compared: they are for {}, not {}",
            old.compiler.target, compiler.target
        );
        return Ok(true);
    };
    if old.compiler != compiler {
        let (theirs, ours) = (&old.compiler.version, &compiler.version);
        println!("the baselines are of {theirs}, this is {ours}: the bound is wider; re-base");
    }
    Ok(show(&old, &counted, bound))
}

/// Prints the comparison. False: something is out of bounds.
fn show(baseline: &Baseline, counted: &[Counted], bound: f64) -> bool {
    println!(
        "{:<16} {:>12} {:>12} {:>7} {:>8} {:>10}",
        "per operation", "baseline", "instructions", "", "allocs", "C library"
    );
    let counts: Vec<(String, Counts)> =
        counted.iter().map(|counted| (counted.operation.clone(), counted.counts)).collect();
    let verdicts = baseline.verdicts(&counts, bound);
    for (name, verdict) in &verdicts {
        let before = baseline.row(name).map(|row| row.counts);
        let now = counted.iter().find(|counted| counted.operation == *name);
        let change = before.zip(now).map(|(before, now)| {
            let percent = (now.counts.instructions / before.instructions - 1.0) * 100.0;
            if percent.abs() < 0.05 { String::new() } else { format!("{percent:+.1}%") }
        });
        let number =
            |number: Option<f64>, digits: usize| number.map_or(String::new(), |n| format!("{n:.digits$}"));
        println!(
            "{name:<16} {:>12} {:>12} {:>7} {:>8} {:>10}{}",
            number(before.map(|counts| counts.instructions), 1),
            number(now.map(|now| now.counts.instructions), 1),
            change.unwrap_or_default(),
            number(now.map(|now| now.counts.allocations), 2),
            number(now.map(|now| now.elsewhere), 1),
            remark(*verdict, before, now),
        );
    }
    let fails = verdicts.iter().any(|(_, verdict)| verdict.fails());
    if fails {
        println!("\nOver the bound of {:.0} %. Make it faster, or, if it is meant:", bound * 100.0);
    } else if verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Better) {
        println!("\nBetter by over {:.0} %: to keep it, re-base.", bound * 100.0);
    }
    if verdicts.iter().any(|(_, verdict)| *verdict != Verdict::Within) {
        println!("    {COMMAND} -- --rebase \"REASON\"");
    }
    !fails
}

fn remark(verdict: Verdict, before: Option<Counts>, now: Option<&Counted>) -> String {
    let allocations = before.map_or(0.0, |counts| counts.allocations);
    let allocated = now.map_or(0.0, |now| now.counts.allocations);
    match verdict {
        Verdict::Within => String::new(),
        Verdict::New => "  no baseline".to_owned(),
        Verdict::Gone => "  is not counted any more".to_owned(),
        Verdict::Worse => format!("  WORSE (allocations were {allocations:.2}, are {allocated:.2})"),
        Verdict::Better => format!("  better (allocations were {allocations:.2}, are {allocated:.2})"),
    }
}

/// The compiler on the path, which made this program.
fn compiler() -> Result<Compiler, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(Path::new(&rustc)).arg("-vV").output();
    let output = output.map_err(|error| format!("{}: {error}", rustc.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let target = text.lines().find_map(|line| line.strip_prefix("host: "));
    let version = text.lines().next().filter(|line| line.starts_with("rustc "));
    match (version, target) {
        (Some(version), Some(target)) => {
            Ok(Compiler { version: version.to_owned(), target: target.to_owned() })
        }
        _ => Err(format!("{}: says no version", rustc.display())),
    }
}
