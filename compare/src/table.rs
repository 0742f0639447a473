//! The table in Markdown.

use std::fmt::Write;

use crate::engines::Kind;
use crate::results::{Cell, Column, Results, Verdict};
use crate::rows::{Bar, Measure, Row, shown};

/// Processor time with that of the engine's own threads is shown too where it is this many times the caller's.
const BACKGROUND_SHOWN: f64 = 1.25;

fn percent(share: f64) -> String {
    if share < 0.01 { "under 1 %".to_owned() } else { format!("{:.0} %", share * 100.0) }
}

fn ratio(ratio: f64) -> String {
    let digits = if ratio >= 10.0 { 0 } else { 2 };
    if ratio < 0.1 { format!("1/{:.0}", 1.0 / ratio) } else { format!("{ratio:.digits$}") }
}

fn bar(verdict: &Verdict, row: &Row) -> String {
    let mark = if verdict.met { "✓" } else { "✗" };
    let share = |share: f64| if share < 0.05 { format!("1/{:.0}", 1.0 / share) } else { format!("{share}") };
    let at_most = match verdict.bar {
        Bar::Of(rival, most) => format!("{} {}", share(most), rival.name()),
        Bar::OfBest(most) => format!("{} of the best", share(most)),
        Bar::OfFloor(most) => format!("{} of the floor", share(most)),
        Bar::AtMost(most) => return format!("{mark} ≤ {}", shown(most, row.measure)),
    };
    format!("{mark} {} (≤ {at_most})", ratio(verdict.ratio))
}

/// Marks for what is said below the table, each text once.
#[derive(Default)]
struct Footnotes(Vec<String>);

impl Footnotes {
    fn mark(&mut self, text: String) -> usize {
        let at = self.0.iter().position(|other| *other == text).unwrap_or_else(|| {
            self.0.push(text);
            self.0.len() - 1
        });
        at + 1
    }
}

fn cell(results: &Results, row: &Row, column: Column, footnotes: &mut Footnotes) -> String {
    let Some(figure) = results.figure(row, column) else {
        return match results.cell(row, column) {
            Some(Cell::Out(reason)) => format!("– [{}]", footnotes.mark(reason.clone())),
            _ => "–".to_owned(),
        };
    };
    let mut text = shown(figure, row.measure);
    if let Some(all) = results.in_all(row, column).filter(|all| *all > figure * BACKGROUND_SHOWN) {
        let _ = write!(text, " ({} in all)", shown(all, row.measure));
    }
    if column.is_some_and(|kind| kind.copies(row.name)) {
        text += " (copied)";
    }
    if let Some(share) = results.wrong(row, column) {
        let _ = write!(text, ", **wrong: {}**", percent(share));
    }
    if column == Some(Kind::Ramus) { format!("**{text}**") } else { text }
}

fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Processor | Measure::Clock => "time",
        Measure::Bytes | Measure::BytesEach => "bytes",
    }
}

/// The table of all rows that were measured, with `heading` above it.
pub fn markdown(results: &Results, kinds: &[Kind], heading: &[String]) -> String {
    let mut text = heading.join("\n") + "\n\n| row |";
    kinds.iter().for_each(|kind| text += &format!(" {} |", kind.name()));
    text += " Ramus / best rival | bars |\n|---|";
    text += &"---:|".repeat(kinds.len() + 1);
    text += "---|\n";
    let mut footnotes = Footnotes::default();
    for row in results.rows() {
        let _ = write!(text, "| {}", row.title);
        if let Some(note) = results.note_of(row) {
            let _ = write!(text, " ({note})");
        }
        if let Some(floor) = results.figure(row, None) {
            let _ = write!(text, "; bare write and sync: {}", shown(floor, row.measure));
        }
        text += " |";
        for kind in kinds {
            let _ = write!(text, " {} |", cell(results, row, Some(*kind), &mut footnotes));
        }
        let own = results.figure(row, Some(Kind::Ramus));
        let best = results.best_rival(row).zip(own);
        let best = best.map(|((kind, figure), own)| format!("{} {}", ratio(own / figure), kind.name()));
        let bars: Vec<String> = results.verdicts(row).iter().map(|verdict| bar(verdict, row)).collect();
        let _ = writeln!(text, " {} | {} |", best.unwrap_or_else(|| "–".to_owned()), bars.join("; "));
    }
    for (at, footnote) in footnotes.0.iter().enumerate() {
        let _ = write!(text, "\n[{}] {footnote}\\", at + 1);
    }
    text.trim_end_matches('\\').to_owned() + "\n"
}

/// The bars that are not met, one a line.
pub fn shortfalls(results: &Results) -> String {
    let mut text = String::new();
    for row in results.rows() {
        for verdict in results.verdicts(row).iter().filter(|verdict| !verdict.met) {
            let own = results.figure(row, Some(Kind::Ramus)).unwrap_or(f64::NAN);
            let figures = format!("{} {}", unit(row.measure), shown(own, row.measure));
            let _ = writeln!(text, "- {}: {figures}, {}", row.title, bar(verdict, row));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Sample;
    use crate::rows::by_name;

    #[test]
    fn the_table_shows_figures_bars_and_what_is_wrong() {
        let mut results = Results::default();
        let row = by_name("list-dir");
        let sample = |figure, wrong| Sample { figure, in_all: Some(figure * 3.0), answers: 50, wrong };
        results.add(row, Some(Kind::Ramus), sample(15_000.0, 0));
        results.add(row, Some(Kind::Holt), sample(9_000.0, 19));
        results.add(row, Some(Kind::Lmdb), sample(25_000.0, 0));
        results.leave_out(row, Some(Kind::Fjall), "says why");
        results.add(by_name("list100"), Some(Kind::Holt), sample(8_000.0, 0));
        let kinds = [Kind::Ramus, Kind::Holt, Kind::Lmdb, Kind::Fjall];
        let text = markdown(&results, &kinds, &["# heading".to_owned()]);
        for part in [
            "**15.0 µs (45.0 µs in all)**",
            "| 8.00 µs (24.0 µs in all) (copied) |",
            "**wrong: 38 %**",
            "0.60 LMDB",
            "✗ 0.60 (≤ 0.5 LMDB)",
            "– [1]",
            "[1] says why",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(shortfalls(&results).contains("list_dir"));
    }
}
