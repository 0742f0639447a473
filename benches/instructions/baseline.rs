//! The checked-in counts, and what a run is held against.
//!
//! A count is per operation. More than [`BOUND`] above its baseline fails; baselines only change by a re-base, which gives
//! a reason, and only where the count is out of bounds either way, so that small steps add up and are seen.
//!
//! Other compilers make other code: each release moves counts by some percent, one operation more than the next. With
//! another compiler than that of the baselines the bound is [`BOUND_OTHER_COMPILER`], as a guard that sleeps until someone
//! re-bases guards nothing. On another kind of processor nothing can be compared.

use std::fmt::Write;

pub(crate) const BOUND: f64 = 0.05;
pub(crate) const BOUND_OTHER_COMPILER: f64 = 0.20;
/// Fewer allocations than this, per operation, are no difference.
const ALLOCATIONS_SLACK: f64 = 0.02;

/// What was counted per operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Counts {
    /// Instructions of the program itself: not those of the C library.
    pub(crate) instructions: f64,
    /// Calls of the C library's allocator.
    pub(crate) allocations: f64,
}

/// The program that counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) version: String,
    pub(crate) target: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) operation: String,
    pub(crate) counts: Counts,
    /// Why the baseline is what it is.
    pub(crate) reason: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) compiler: Compiler,
    pub(crate) rows: Vec<Row>,
}

/// How a count compares with its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Within,
    Better,
    Worse,
    /// No baseline says what it was.
    New,
    /// Counted before, and not any more.
    Gone,
}

impl Verdict {
    pub(crate) fn fails(self) -> bool {
        matches!(self, Self::Worse | Self::New | Self::Gone)
    }
}

const HEAD: &str = "operation\tinstructions\tallocations\treason";

impl Baseline {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut named = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix('\t'));
            line.map(str::to_owned).ok_or_else(|| format!("a line of \"{name}\" and a tab is missing"))
        };
        let compiler = Compiler { version: named("compiler")?, target: named("target")? };
        if lines.next() != Some(HEAD) {
            return Err(format!("the head {HEAD:?} is missing"));
        }
        let rows = lines.map(|line| row(line).ok_or_else(|| format!("no row: {line:?}")));
        Ok(Self { compiler, rows: rows.collect::<Result<_, _>>()? })
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "# Instructions of the program itself, and allocations, per operation of benches/instructions.\n\
             # Changed by `cargo bench -p ramus --profile counted --bench instructions -- --rebase REASON` only.\n",
        );
        let Compiler { version, target } = &self.compiler;
        let _ = writeln!(text, "compiler\t{version}\ntarget\t{target}\n{HEAD}");
        for Row { operation, counts, reason } in &self.rows {
            let Counts { instructions, allocations } = counts;
            let _ = writeln!(text, "{operation}\t{instructions:.1}\t{allocations:.3}\t{reason}");
        }
        text
    }

    /// How far counts of this compiler may be above. None: they cannot be compared.
    pub(crate) fn bound(&self, compiler: &Compiler) -> Option<f64> {
        if self.compiler.target != compiler.target {
            return None;
        }
        Some(if self.compiler == *compiler { BOUND } else { BOUND_OTHER_COMPILER })
    }

    pub(crate) fn row(&self, operation: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.operation == operation)
    }

    /// Every operation that is counted or was, in the order of the counts.
    pub(crate) fn verdicts(&self, counted: &[(String, Counts)], bound: f64) -> Vec<(String, Verdict)> {
        let is_counted = |row: &&Row| counted.iter().any(|(name, _)| *name == row.operation);
        let gone = self.rows.iter().filter(|row| !is_counted(row));
        let compared = counted.iter().map(|(name, now)| {
            let verdict = self.row(name).map_or(Verdict::New, |row| compare(row.counts, *now, bound));
            (name.clone(), verdict)
        });
        compared.chain(gone.map(|row| (row.operation.clone(), Verdict::Gone))).collect()
    }

    /// The baselines after a re-base. With another compiler all counts are taken over.
    pub(crate) fn rebased(
        old: Option<&Self>,
        compiler: Compiler,
        counted: &[(String, Counts)],
        reason: &str,
    ) -> Self {
        let kept = old.filter(|old| old.compiler == compiler);
        let rows = counted.iter().map(|(operation, counts)| {
            let row = kept.and_then(|old| old.row(operation));
            match row.filter(|row| compare(row.counts, *counts, BOUND) == Verdict::Within) {
                Some(row) => row.clone(),
                None => Row { operation: operation.clone(), counts: *counts, reason: reason.to_owned() },
            }
        });
        Self { rows: rows.collect(), compiler }
    }
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.split('\t');
    let operation = cells.next().filter(|name| !name.is_empty())?.to_owned();
    let mut number = || cells.next()?.parse::<f64>().ok().filter(|number| number.is_finite());
    let counts = Counts { instructions: number()?, allocations: number()? };
    let reason = cells.next().filter(|reason| !reason.is_empty())?.to_owned();
    cells.next().is_none().then_some(Row { operation, counts, reason })
}

fn compare(before: Counts, now: Counts, bound: f64) -> Verdict {
    let above = |before: f64, now: f64, slack: f64| now > before * (1.0 + bound) + slack;
    let pairs = [
        (before.instructions, now.instructions, 0.0),
        (before.allocations, now.allocations, ALLOCATIONS_SLACK),
    ];
    if pairs.iter().any(|(before, now, slack)| above(*before, *now, *slack)) {
        Verdict::Worse
    } else if pairs.iter().any(|(before, now, slack)| above(*now, *before, *slack)) {
        Verdict::Better
    } else {
        Verdict::Within
    }
}
