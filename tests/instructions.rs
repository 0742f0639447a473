//! The guard on instruction counts (`benches/instructions`): what it calls worse, what a re-base changes, and how it reads
//! callgrind's output. The counting itself runs in `.ci/run`.
#![allow(dead_code, reason = "a part of the benchmark only")]

#[path = "../benches/instructions/baseline.rs"]
mod baseline;
#[path = "../benches/instructions/callgrind.rs"]
mod callgrind;

use baseline::{BOUND, BOUND_OTHER_COMPILER, Baseline, Compiler, Counts, Verdict};
use callgrind::{Section, section};

fn compiler(version: &str) -> Compiler {
    Compiler { version: version.to_owned(), target: "x86_64-unknown-linux-gnu".to_owned() }
}

fn counted(counts: &[(&str, f64, f64)]) -> Vec<(String, Counts)> {
    let counts = counts.iter();
    counts
        .map(|(name, instructions, allocations)| {
            ((*name).to_owned(), Counts { instructions: *instructions, allocations: *allocations })
        })
        .collect()
}

fn first(counts: &[(&str, f64, f64)]) -> Baseline {
    Baseline::rebased(None, compiler("rustc 1"), &counted(counts), "first")
}

fn verdict(before: (f64, f64), now: (f64, f64), bound: f64) -> Verdict {
    let verdicts = first(&[("get", before.0, before.1)]).verdicts(&counted(&[("get", now.0, now.1)]), bound);
    assert_eq!(verdicts.len(), 1);
    verdicts[0].1
}

#[test]
fn more_than_the_bound_fails() {
    for (now, expected) in [
        (1_000.0, Verdict::Within),
        (1_049.0, Verdict::Within),
        (1_051.0, Verdict::Worse),
        (960.0, Verdict::Within),
        (940.0, Verdict::Better),
    ] {
        assert_eq!(verdict((1_000.0, 2.0), (now, 2.0), BOUND), expected, "{now}");
    }
    assert!(Verdict::Worse.fails() && !Verdict::Within.fails() && !Verdict::Better.fails());
}

#[test]
fn one_more_allocation_fails_and_better_instructions_do_not_make_up_for_it() {
    assert_eq!(verdict((1_000.0, 0.0), (1_000.0, 1.0), BOUND), Verdict::Worse);
    assert_eq!(verdict((1_000.0, 4.0), (500.0, 5.0), BOUND), Verdict::Worse);
    assert_eq!(verdict((1_000.0, 4.0), (1_000.0, 3.0), BOUND), Verdict::Better);
    // A rare one, as when a buffer grows once in a run.
    assert_eq!(verdict((1_000.0, 0.0), (1_000.0, 0.01), BOUND), Verdict::Within);
}

#[test]
fn operations_without_a_baseline_and_baselines_without_an_operation_fail() {
    let baseline = first(&[("get", 10.0, 0.0), ("put", 20.0, 0.0)]);
    let verdicts = baseline.verdicts(&counted(&[("get", 10.0, 0.0), ("list", 30.0, 0.0)]), BOUND);
    let expected = [("get", Verdict::Within), ("list", Verdict::New), ("put", Verdict::Gone)];
    assert_eq!(verdicts, expected.map(|(name, verdict)| (name.to_owned(), verdict)));
    assert!(Verdict::New.fails() && Verdict::Gone.fails());
}

#[test]
fn another_compiler_has_a_wider_bound_and_another_processor_none() {
    let baseline = first(&[("get", 10.0, 0.0)]);
    assert_eq!(baseline.bound(&compiler("rustc 1")), Some(BOUND));
    assert_eq!(baseline.bound(&compiler("rustc 2")), Some(BOUND_OTHER_COMPILER));
    let other = Compiler { target: "aarch64-unknown-linux-gnu".to_owned(), ..compiler("rustc 1") };
    assert_eq!(baseline.bound(&other), None);
    assert_eq!(verdict((1_000.0, 0.0), (1_100.0, 0.0), BOUND_OTHER_COMPILER), Verdict::Within);
    assert_eq!(verdict((1_000.0, 0.0), (1_210.0, 0.0), BOUND_OTHER_COMPILER), Verdict::Worse);
}

#[test]
fn a_rebase_takes_over_what_is_out_of_bounds_only() {
    let old =
        first(&[("get", 1_000.0, 0.0), ("put", 1_000.0, 0.0), ("list", 1_000.0, 0.0), ("gone", 1.0, 0.0)]);
    let now =
        counted(&[("get", 1_040.0, 0.0), ("put", 1_200.0, 0.0), ("list", 900.0, 0.0), ("new", 5.0, 0.0)]);
    let new = Baseline::rebased(Some(&old), compiler("rustc 1"), &now, "checks more");
    let rows: Vec<_> =
        new.rows.iter().map(|row| (&*row.operation, row.counts.instructions, &*row.reason)).collect();
    assert_eq!(
        rows,
        [
            ("get", 1_000.0, "first"),
            ("put", 1_200.0, "checks more"),
            ("list", 900.0, "checks more"),
            ("new", 5.0, "checks more"),
        ]
    );
    // So what grows by a little each time is found in the end.
    assert_eq!(new.verdicts(&counted(&[("get", 1_060.0, 0.0)]), BOUND)[0].1, Verdict::Worse);
    let other = Baseline::rebased(Some(&old), compiler("rustc 2"), &now, "rustc 2");
    assert!(other.rows.iter().all(|row| row.reason == "rustc 2") && other.compiler == compiler("rustc 2"));
}

#[test]
fn what_is_written_is_read_and_nothing_else() {
    let baseline = first(&[("get", 1_000.5, 0.25), ("put", 20.0, 1.125)]);
    let text = baseline.text();
    assert_eq!(Baseline::parse(&text), Ok(baseline));
    let checked_in = std::fs::read_to_string("benches/instructions/baseline.tsv").unwrap();
    let checked_in_rows = Baseline::parse(&checked_in).unwrap().rows;
    assert!(checked_in_rows.len() >= 10, "the ten main operations have baselines");
    for wrong in [
        text.replace("compiler\t", "compiled\t"),
        text.replace("target\t", ""),
        text.replace("reason\n", "why\n"),
        text.replace("1000.5", "many"),
        text.replace("1000.5", "NaN"),
        text.replace("\tfirst", ""),
        text.replace("\tfirst", "\tfirst\tand more"),
        text.replace("first\n", "fi\nrst\n"),
    ] {
        assert_ne!(wrong, text);
        assert!(Baseline::parse(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn costs_are_summed_by_the_object_they_arise_in() {
    let part = "desc: Trigger: --dump-after=section\nevents: Ir\nsummary: 1\n\n\
        ob=/bin/program\nfl=a.rs\nfn=one\n10 7\n11 3\ncfi=b.rs\ncfn=two\ncalls=4 20\n12 1000\n13 5\n\
        cob=/lib/libc.so\ncfi=???\ncfn=malloc\ncalls=2 0\n14 400\nfi=c.rs\n15 1\n\n\
        ob=/lib/libc.so\nfl=???\nfn=malloc\n0 300\ncfn=malloc\ncalls=9 0\n0 100\n\n\
        ob=/bin/program\nfl=b.rs\nfn=two\n20 1000\ntotals: 1\n";
    let expected = Section { own: 7 + 3 + 5 + 1 + 1_000, elsewhere: 300, allocations: 2 };
    assert_eq!(section(part, "/bin/program"), expected);
}
