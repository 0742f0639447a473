//! Replays a recorded history on a namespace and on the model, compares them on the way, and takes the times.
//!
//! A line is `commit-index TAB op TAB path TAB newpath`; op is one of mkdir, create, modify, mvdir, mv, unlink, rmdir.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::Model;
use crate::namespace::{Namespace, Result};

/// The listings are compared so many times, evenly over the history, and once more at its end with all else.
const COMPARISONS: usize = 200;
/// Moved directories are shown together up to so many entries each.
const SIZES: [u64; 5] = [3, 10, 30, 100, u64::MAX];

struct Line<'t> {
    commit: u64,
    op: &'t str,
    path: &'t str,
    new_path: &'t str,
}

/// What a replay came to.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: usize,
    pub comparisons: usize,
    /// Entries at the end, the root included.
    pub entries: usize,
    times: BTreeMap<String, Vec<Duration>>,
    /// Entries moved, the directory itself included, and the time.
    moves: Vec<(u64, Duration)>,
}

fn parse(line: &str) -> Option<Line<'_>> {
    let mut fields = line.split('\t');
    let commit = fields.next()?.parse().ok()?;
    let (op, path, new_path) = (fields.next()?, fields.next()?, fields.next().unwrap_or(""));
    let known = ["mkdir", "create", "modify", "mvdir", "mv", "unlink", "rmdir"].contains(&op);
    let right = known && op.starts_with("mv") != new_path.is_empty() && fields.next().is_none();
    right.then_some(Line { commit, op, path, new_path })
}

fn on_namespace(namespace: &Namespace, line: &Line<'_>) -> Result<()> {
    match line.op {
        "mkdir" => namespace.mkdir(line.path),
        "create" => namespace.create(line.path),
        "modify" => namespace.truncate(line.path, line.commit),
        "unlink" => namespace.unlink(line.path),
        "rmdir" => namespace.rmdir(line.path),
        _ => namespace.rename(line.path, line.new_path),
    }
}

fn on_model(model: &mut Model, line: &Line<'_>) -> Result<()> {
    let outcome = match line.op {
        "mkdir" => model.mkdir(line.path),
        "create" => model.create(line.path),
        "modify" => model.truncate(line.path, line.commit),
        "unlink" => model.unlink(line.path),
        "rmdir" => model.rmdir(line.path),
        _ => model.rename(line.path, line.new_path),
    };
    Ok(outcome?)
}

/// Replays all lines on an empty namespace. The error names the first line that went wrong, or the first difference.
pub fn replay(namespace: &Namespace, trace: &str) -> Result<Report, String> {
    let (mut model, mut report) = (Model::new(), Report::default());
    let lines: Vec<&str> = trace.lines().collect();
    let every = (lines.len() / (COMPARISONS + 1)).max(1);
    for (at, text) in lines.iter().enumerate() {
        let fail = |what: &dyn std::fmt::Display| format!("line {}, {text:?}: {what}", at + 1);
        let line = parse(text).ok_or_else(|| fail(&"is no operation"))?;
        let moved = match line.op {
            "mvdir" => 1 + namespace.usage(line.path).map_err(|error| fail(&error))?.entries,
            _ => 0,
        };
        let start = Instant::now();
        let outcome = on_namespace(namespace, &line);
        let time = start.elapsed();
        outcome.map_err(|error| fail(&error))?;
        on_model(&mut model, &line).map_err(|error| fail(&format_args!("the model: {error}")))?;
        report.times.entry(line.op.to_owned()).or_default().push(time);
        if moved > 0 {
            report.moves.push((moved, time));
        }
        if (at + 1) % every == 0 && report.comparisons < COMPARISONS {
            model.compare(namespace).map_err(|what| fail(&what))?;
            report.comparisons += 1;
        }
    }
    model.compare(namespace)?;
    model.compare_stats(namespace)?;
    let problems = namespace.fsck().map_err(|error| error.to_string())?;
    if let Some(problem) = problems.first() {
        return Err(format!("{} problems: {problem}", problems.len()));
    }
    report.lines = lines.len();
    report.entries = model.len();
    Ok(report)
}

/// Count, median, 99th percentile and maximum as a row.
fn row(what: &str, mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| match times.len() {
        0 => 0.0,
        n => times[(n * percent / 100).min(n - 1)].as_secs_f64() * 1e6,
    };
    format!("{what:<24} {:>8} {:>9.1} {:>9.1} {:>9.1}\n", times.len(), at(50), at(99), at(100))
}

impl Report {
    /// Tables of the times.
    pub fn show(&self) -> String {
        let mut text = format!(
            "{} operations, {} entries at the end; every listing was right {} times and at the end\n\n{:<24} {:>8} {:>9} {:>9} {:>9}\n",
            self.lines, self.entries, self.comparisons, "microseconds", "count", "p50", "p99", "max"
        );
        for (op, times) in &self.times {
            text += &row(op, times.clone());
        }
        text += "\nmvdir by entries moved\n";
        let mut least = 0;
        for most in SIZES {
            let inside = self.moves.iter().filter(|(entries, _)| (least..most).contains(entries));
            let times: Vec<Duration> = inside.map(|(_, time)| *time).collect();
            let what = match most {
                u64::MAX => format!("  {least} and more"),
                _ => format!("  {} to {}", least.max(1), most - 1),
            };
            text += &row(&what, times);
            least = most;
        }
        if let Some((entries, time)) = self.moves.iter().max() {
            text += &format!("the largest: {entries} entries in {:.1}\n", time.as_secs_f64() * 1e6);
        }
        text
    }
}
