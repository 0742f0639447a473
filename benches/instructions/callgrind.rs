//! Runs the workload under callgrind and reads what it counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::baseline::Counts;

/// The function whose instructions count, as callgrind knows it.
const SECTION: &str = "instructions::workload::counted_section";
const ALLOCATORS: [&str; 4] = ["calloc", "malloc", "posix_memalign", "realloc"];

/// One counted section: instructions of the program itself and of all else, calls of the allocator.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) own: u64,
    pub(crate) elsewhere: u64,
    pub(crate) allocations: u64,
}

/// What an operation took, and, for information, its instructions in the C library.
pub(crate) struct Counted {
    pub(crate) operation: String,
    pub(crate) counts: Counts,
    pub(crate) elsewhere: f64,
}

/// Whether valgrind can be run.
pub(crate) fn is_there() -> bool {
    Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Counts what this program does when it is called with `argument`: it names each section on its standard output, with a
/// tab and the number of operations in it.
pub(crate) fn count(argument: &str) -> Result<Vec<Counted>, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let folder = tempfile::tempdir().map_err(|error| format!("a temporary directory: {error}"))?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no", "--combine-dumps=no"])
        .arg(format!("--zero-before={SECTION}"))
        .arg(format!("--dump-after={SECTION}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&program)
        .arg(argument)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the workload under valgrind ended with {}:\n{said}", output.status));
    }
    let named = String::from_utf8_lossy(&output.stdout);
    let named: Vec<(&str, u64)> =
        named.lines().filter_map(|line| line.split_once('\t')).filter_map(with_number).collect();
    let sections = sections(folder.path(), &program)?;
    if sections.len() != named.len() || named.is_empty() {
        return Err(format!("{} operations were named, {} counted", named.len(), sections.len()));
    }
    let each = |((name, times), section): ((&str, u64), Section)| {
        let per = |sum: u64| sum as f64 / times as f64;
        let counts = Counts { instructions: per(section.own), allocations: per(section.allocations) };
        Counted { operation: name.to_owned(), counts, elsewhere: per(section.elsewhere) }
    };
    Ok(named.into_iter().zip(sections).map(each).collect())
}

fn with_number<'n>((name, number): (&'n str, &str)) -> Option<(&'n str, u64)> {
    number.parse().ok().map(|number| (name, number))
}

/// The sections in the order in which they ran.
fn sections(folder: &Path, program: &Path) -> Result<Vec<Section>, String> {
    let mut parts = BTreeMap::new();
    let files = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for file in files {
        let path = file.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        // The rest of the program is in a part of its own.
        if text.lines().any(|line| line.starts_with("desc: Trigger: --dump-after")) {
            let number = text.lines().find_map(|line| line.strip_prefix("part: ")?.parse::<u32>().ok());
            parts
                .insert(number.ok_or("a part without a number")?, section(&text, &program.to_string_lossy()));
        }
    }
    Ok(parts.into_values().collect())
}

/// Sums one part up: lines of cost (line number, instructions) stand behind the object (`ob=`) that they are of. The line
/// behind `calls=` is the cost of the callee, which is counted where it arose.
pub(crate) fn section(text: &str, program: &str) -> Section {
    let (mut sum, mut is_own, mut callee, mut is_call) = (Section::default(), false, "", false);
    for line in text.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            is_own = object == program;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            callee = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            is_call = true;
            let times = calls.split(' ').next().and_then(|times| times.parse::<u64>().ok());
            if is_own && ALLOCATORS.contains(&callee) {
                sum.allocations += times.unwrap_or(0);
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
            if !std::mem::take(&mut is_call) {
                *(if is_own { &mut sum.own } else { &mut sum.elsewhere }) += cost;
            }
        }
    }
    sum
}
