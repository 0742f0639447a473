//! The chart: for each row how many times Ramus's figure each engine takes, on a logarithmic scale.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::engines::Kind;
use crate::results::Results;
use crate::rows::{Row, shown};

const WIDTH: i32 = 1000;
const TITLES: i32 = 330;
const BAR: i32 = 7;
const GAP: i32 = 12;
const HEAD: i32 = 70;

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Ramus => RGBColor(20, 20, 20),
        Kind::Holt => RGBColor(214, 110, 40),
        Kind::Rocksdb => RGBColor(200, 60, 60),
        Kind::Lmdb => RGBColor(60, 120, 200),
        Kind::Redb => RGBColor(150, 80, 180),
        Kind::Fjall => RGBColor(50, 160, 140),
        Kind::Sqlite => RGBColor(110, 110, 110),
        Kind::Btreemap => RGBColor(170, 170, 90),
        Kind::Blart => RGBColor(210, 150, 190),
    }
}

/// What a row shows: each engine's figure, and whether some of its answers were wrong.
struct Band {
    title: String,
    bars: Vec<(Kind, f64, bool)>,
}

fn bands(results: &Results, kinds: &[Kind]) -> Vec<Band> {
    let band = |row: &'static Row| {
        let figure = |kind: &Kind| {
            let figure = results.figure(row, Some(*kind))?;
            Some((*kind, figure, results.wrong(row, Some(*kind)).is_some()))
        };
        let own = results.figure(row, Some(Kind::Ramus))?;
        let title = format!("{} ({})", row.title, shown(own, row.measure));
        Some(Band { title, bars: kinds.iter().filter_map(figure).collect() })
    };
    results.rows().filter_map(band).collect()
}

/// Draws all rows that were measured.
pub fn svg(results: &Results, kinds: &[Kind], heading: &str, file: &Path) -> Result<()> {
    let bands = bands(results, kinds);
    let height = HEAD + bands.iter().map(|band| band.bars.len() as i32 * BAR + GAP).sum::<i32>() + 30;
    let area = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    draw(&area, &bands, kinds, heading, height).map_err(|error| anyhow!("drawing the chart: {error}"))?;
    area.present().map_err(|error| anyhow!("writing {}: {error}", file.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    area: &Area<'_>,
    bands: &[Band],
    kinds: &[Kind],
    heading: &str,
    height: i32,
) -> Result<(), Box<dyn std::error::Error>> {
    let text = |size: i32, colour: RGBColor, at: HPos| {
        let font = ("sans-serif", size).into_font();
        TextStyle { font, color: colour.to_backend_color(), pos: Pos::new(at, VPos::Center) }
    };
    area.fill(&WHITE)?;
    area.draw_text(heading, &text(14, BLACK, HPos::Left), (10, 16))?;
    for (at, kind) in kinds.iter().enumerate() {
        let x = 10 + at as i32 * 105;
        area.draw(&Rectangle::new([(x, 34), (x + 12, 44)], colour(*kind).filled()))?;
        area.draw_text(kind.name(), &text(12, BLACK, HPos::Left), (x + 16, 39))?;
    }
    let ratio = |band: &Band, figure: f64| {
        let own = band.bars.iter().find(|(kind, ..)| *kind == Kind::Ramus).map_or(figure, |(_, own, _)| *own);
        (figure / own).max(1e-3)
    };
    let ratios =
        bands.iter().flat_map(|band| band.bars.iter().map(move |(_, figure, _)| ratio(band, *figure)));
    let (low, high) = ratios.fold((0.1f64, 10f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let scale = f64::from(WIDTH - TITLES - 20) / (high - low);
    let x = |ratio: f64| TITLES + ((ratio.log10() - low) * scale) as i32;
    for decade in low as i32..=high as i32 {
        let at = x(10f64.powi(decade));
        let shade = if decade == 0 { RGBColor(120, 120, 120) } else { RGBColor(225, 225, 225) };
        area.draw(&PathElement::new(vec![(at, HEAD - 8), (at, height - 20)], shade))?;
        let label = match decade {
            0 => "Ramus".to_owned(),
            1.. => format!("×{}", 10f64.powi(decade)),
            _ => format!("÷{}", 10f64.powi(-decade)),
        };
        area.draw_text(&label, &text(11, RGBColor(90, 90, 90), HPos::Center), (at, HEAD - 14))?;
    }
    let mut y = HEAD;
    for band in bands {
        let tall = band.bars.len() as i32 * BAR;
        area.draw_text(&band.title, &text(11, BLACK, HPos::Right), (TITLES - 8, y + tall / 2))?;
        for (kind, figure, wrong) in &band.bars {
            let (from, to) = (x(1.0).min(x(ratio(band, *figure))), x(1.0).max(x(ratio(band, *figure))));
            // A bar of no length is still to be seen.
            let bar = [(from - 1, y + 1), (to + 1, y + BAR - 1)];
            let style = if *wrong { colour(*kind).mix(0.3).filled() } else { colour(*kind).filled() };
            area.draw(&Rectangle::new(bar, style))?;
            if *wrong {
                area.draw_text(
                    "wrong answers",
                    &text(9, RGBColor(180, 0, 0), HPos::Left),
                    (to + 5, y + BAR / 2),
                )?;
            }
            y += BAR;
        }
        y += GAP;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Sample;
    use crate::rows::by_name;

    #[test]
    fn every_engine_has_a_bar() {
        let mut results = Results::default();
        let kinds = [Kind::Ramus, Kind::Lmdb];
        for (kind, figure) in kinds.iter().zip([10.0, 1234.0]) {
            results.add(by_name("get-miss"), Some(*kind), Sample { figure, ..Sample::default() });
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chart.svg");
        svg(&results, &kinds, "heading", &file).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        assert!(
            text.contains("LMDB") && text.contains("get, no such key") && text.matches("<rect").count() >= 5
        );
    }
}
