//! What was measured, and what it says about the bars.

use std::collections::BTreeMap;

use crate::clock::Times;
use crate::engines::Kind;
use crate::rows::{Bar, Measure, ROWS, Row};

/// One turn of one engine in one row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// In the row's measure.
    pub figure: f64,
    /// Processor time of the caller and of the engine's own threads for an operation, where the figure is that of the caller.
    pub in_all: Option<f64>,
    pub answers: u64,
    pub wrong: u64,
}

impl Sample {
    /// `times` for `operations` of them.
    pub fn of(measure: Measure, times: Times, operations: u64) -> Self {
        let each = |nanos: f64| nanos / operations.max(1) as f64;
        match measure {
            Measure::Processor => Self {
                figure: each(times.thread_nanos),
                in_all: Some(each(times.thread_nanos + times.background_nanos)),
                ..Self::default()
            },
            _ => Self { figure: each(times.wall_nanos), ..Self::default() },
        }
    }

    pub fn checked(self, answers: u64, wrong: u64) -> Self {
        Self { answers, wrong, ..self }
    }
}

#[derive(Debug, Clone)]
pub enum Cell {
    Samples(Vec<Sample>),
    /// The engine does not take part, or could not; why.
    Out(String),
}

/// Whose column it is: an engine's, or the bare device's.
pub type Column = Option<Kind>;

/// A bar and how Ramus stands to it.
pub struct Verdict {
    pub bar: Bar,
    /// Ramus's figure over what the bar is measured by.
    pub ratio: f64,
    pub met: bool,
}

#[derive(Default)]
pub struct Results {
    cells: BTreeMap<(&'static str, Column), Cell>,
    /// What is to be known about a row: sizes, numbers of operations.
    notes: BTreeMap<&'static str, String>,
}

pub fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

impl Results {
    pub fn add(&mut self, row: &Row, column: Column, sample: Sample) {
        match self.cells.entry((row.name, column)).or_insert_with(|| Cell::Samples(Vec::new())) {
            Cell::Samples(samples) => samples.push(sample),
            Cell::Out(_) => {}
        }
    }

    pub fn leave_out(&mut self, row: &Row, column: Column, reason: impl Into<String>) {
        self.cells.insert((row.name, column), Cell::Out(reason.into()));
    }

    pub fn is_out(&self, row: &Row, column: Column) -> bool {
        matches!(self.cell(row, column), Some(Cell::Out(_)))
    }

    pub fn note(&mut self, row: &Row, note: impl Into<String>) {
        self.notes.insert(row.name, note.into());
    }

    pub fn note_of(&self, row: &Row) -> Option<&str> {
        self.notes.get(row.name).map(String::as_str)
    }

    pub fn cell(&self, row: &Row, column: Column) -> Option<&Cell> {
        self.cells.get(&(row.name, column))
    }

    /// The rows that somebody has a figure in.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let has = |row: &Row| {
            self.cells.iter().any(|((name, _), cell)| *name == row.name && matches!(cell, Cell::Samples(_)))
        };
        ROWS.iter().filter(move |row| has(row))
    }

    fn samples(&self, row: &Row, column: Column) -> &[Sample] {
        match self.cell(row, column) {
            Some(Cell::Samples(samples)) => samples,
            _ => &[],
        }
    }

    pub fn figure(&self, row: &Row, column: Column) -> Option<f64> {
        median(self.samples(row, column).iter().map(|sample| sample.figure).collect())
    }

    /// Processor time, that of the engine's own threads included.
    pub fn in_all(&self, row: &Row, column: Column) -> Option<f64> {
        median(self.samples(row, column).iter().filter_map(|sample| sample.in_all).collect())
    }

    /// The share of the answers that were wrong, if any was.
    pub fn wrong(&self, row: &Row, column: Column) -> Option<f64> {
        let samples = self.samples(row, column);
        let sum = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>();
        let wrong = sum(|sample| sample.wrong);
        (wrong > 0).then(|| wrong as f64 / sum(|sample| sample.answers).max(1) as f64)
    }

    /// The rival on disk that is best, among those that answer right.
    pub fn best_rival(&self, row: &Row) -> Option<(Kind, f64)> {
        let rivals = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Ramus && !kind.is_limit());
        let right = rivals.filter(|kind| self.wrong(row, Some(*kind)).is_none());
        let figures = right.filter_map(|kind| Some((kind, self.figure(row, Some(kind))?)));
        figures.min_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// How Ramus stands to the row's bars, as far as there is something to measure by. Wrong answers meet none.
    pub fn verdicts(&self, row: &Row) -> Vec<Verdict> {
        let Some(own) = self.figure(row, Some(Kind::Ramus)) else { return Vec::new() };
        let right = self.wrong(row, Some(Kind::Ramus)).is_none();
        let verdict = |bar: &Bar| {
            let (by, share) = match *bar {
                Bar::Of(rival, share) => (self.figure(row, Some(rival))?, share),
                Bar::OfBest(share) => (self.best_rival(row)?.1, share),
                Bar::OfFloor(share) => (self.figure(row, None)?, share),
                Bar::AtMost(most) => (most, 1.0),
            };
            let ratio = own / by;
            Some(Verdict { bar: *bar, ratio, met: right && ratio <= share })
        };
        row.bars.iter().filter_map(verdict).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::by_name;

    fn sample(figure: f64) -> Sample {
        Sample { figure, answers: 10, ..Sample::default() }
    }

    #[test]
    fn bars_are_held_against_medians_of_those_who_answer_right() {
        let mut results = Results::default();
        let row = by_name("rename-in");
        [3.0, 100.0, 4.0].iter().for_each(|&figure| results.add(row, Some(Kind::Ramus), sample(figure)));
        results.add(row, Some(Kind::Holt), Sample { wrong: 1, ..sample(5.0) });
        results.add(row, Some(Kind::Btreemap), sample(1.0));
        results.add(row, Some(Kind::Fjall), sample(8.0));
        assert_eq!(results.best_rival(row), Some((Kind::Fjall, 8.0)));
        let verdicts = results.verdicts(row);
        assert_eq!((verdicts[0].ratio, verdicts[0].met), (0.5, false));
        results.add(row, Some(Kind::Lmdb), sample(10.0));
        results.leave_out(row, Some(Kind::Fjall), "for the test");
        assert!(results.verdicts(row)[0].met);
        results.add(row, Some(Kind::Ramus), Sample { wrong: 1, ..sample(1.0) });
        assert!(!results.verdicts(row)[0].met);
    }
}
