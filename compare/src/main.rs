//! Compares Ramus with its rivals: see `--help` and the README.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ramus_compare::engines::Kind;
use ramus_compare::options::Args;
use ramus_compare::results::Results;
use ramus_compare::rows::by_name;
use ramus_compare::work::{self, Fleet, Run, load};
use ramus_compare::world::World;
use ramus_compare::{chart, child, machine, paths, table};

fn main() -> Result<()> {
    let args = Args::parse();
    match &args.task {
        Some(task) => child::perform(task),
        None => compare(&args),
    }
}

fn heading(args: &Args, world: &World, load_before: &str) -> Vec<String> {
    vec![
        format!(
            "{} real paths, 96-byte values, caches of {} MiB; medians of {} rounds, engines in turns within one run; processor time of the calling thread unless said otherwise (\"in all\": with the engine's own threads, where that is much more). Every answer is compared with a sorted array's.",
            world.keys.len(),
            args.cache,
            args.rounds
        ),
        String::new(),
        format!(
            "Machine: {}. Load averages at the start {load_before}, now {}.",
            machine::facts(),
            machine::load()
        ),
    ]
}

fn compare(args: &Args) -> Result<()> {
    let dir = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            tempfile::tempdir_in(dir)
        }
        None => tempfile::tempdir(),
    }
    .context("making a directory for the databases")?;
    let bar = ProgressBar::no_length()
        .with_style(ProgressStyle::with_template("{elapsed_precise} {spinner} {msg}")?);
    bar.set_message("reading paths");
    let load_before = machine::load();
    let world = World::new(paths::read(&args.paths)?, args.keys)?;
    ensure!(
        !world.extra.is_empty(),
        "{}: no paths are left beside the {} that are put: use a longer list, or fewer --keys",
        args.paths.display(),
        args.keys
    );
    let kinds = args.kinds();
    // After every row, so that a run that is stopped leaves something.
    let report = |results: &Results| {
        if let Err(error) = files(args, &world, &kinds, results, &load_before) {
            eprintln!("writing what was measured so far: {error:#}");
        }
    };
    let mut run = Run {
        args,
        kinds: kinds.clone(),
        world: &world,
        dir: dir.path().to_owned(),
        results: Results::default(),
        bar,
        report: &report,
    };
    measure(&mut run, dir.path())?;
    run.bar.finish_and_clear();
    files(args, &world, &kinds, &run.results, &load_before)?;
    println!("{}", table::markdown(&run.results, &kinds, &heading(args, &world, &load_before)));
    let shortfalls = table::shortfalls(&run.results);
    if !shortfalls.is_empty() {
        println!("Bars not met:\n\n{shortfalls}");
    }
    Ok(())
}

/// Writes table and chart where they are wanted.
fn files(args: &Args, world: &World, kinds: &[Kind], results: &Results, load_before: &str) -> Result<()> {
    if let Some(file) = &args.markdown {
        let text = table::markdown(results, kinds, &heading(args, world, load_before));
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(file) = &args.svg {
        let title = format!("{} real paths: figure of each engine over that of Ramus", world.keys.len());
        chart::svg(results, kinds, &title, file)?;
    }
    Ok(())
}

fn notes(run: &mut Run<'_>) {
    let (records, names) = work::listings::sizes(run.world);
    run.results.note(by_name("list100"), format!("{records:.0} a call"));
    run.results.note(by_name("list-dir"), format!("{names:.0} a call"));
    for name in [
        "move-100",
        "move-10k",
        "move-100k",
        "move-1m",
        "delete-100",
        "delete-10k",
        "delete-1m",
        "count-100k",
    ] {
        if let Some(keys) = work::directories::mean_keys(run.world, name) {
            run.results.note(by_name(name), format!("{keys} keys"));
        }
    }
}

fn measure(run: &mut Run<'_>, dir: &Path) -> Result<()> {
    notes(run);
    let list = dir.join("keys");
    paths::write(&list, &run.world.keys)?;
    let warm: Vec<&work::Workload> = work::points::WORKLOADS
        .iter()
        .chain(&work::listings::WORKLOADS)
        .chain(&work::renames::WORKLOADS)
        .chain([&work::directories::COUNT])
        .chain(&work::directories::MOVES)
        .chain(&work::directories::DELETES)
        .collect();
    let needs_fleet = ["load-random", "load-sorted", "mixed-1", "mixed-2", "open-clean"];
    let mut needed = needs_fleet.into_iter().chain(warm.iter().map(|workload| workload.row));
    if needed.any(|row| run.args.wants(row)) {
        let fleet: Fleet = load::run(run);
        warm.iter().for_each(|workload| run.interleave(&fleet, workload));
        work::mixed::run(run, &fleet);
        for (kind, engine) in &fleet {
            if load::right(run.world, engine.as_ref())? > 0 {
                run.bar.println(format!("{} does not hold what it should at the end", kind.name()));
            }
        }
        work::opening::clean(run, fleet);
    }
    for kind in &run.kinds {
        let place = load::place(dir, *kind);
        if place.exists() {
            std::fs::remove_dir_all(place)?;
        }
    }
    work::durable::run(run)?;
    work::opening::killed(run, &list);
    work::space::space(run, &list);
    work::space::written(run, &list);
    if run.args.wants("cold-get") || run.args.wants("cold-bytes") {
        let paths = paths::read(&run.args.paths)?;
        let count = run.args.cold_keys.unwrap_or(paths.len());
        let world = World::new(paths, count)?;
        work::cold::run(run, &world);
    }
    Ok(())
}
