//! The rules of the source: which layer may use which, where unsafe may stand and what it must say, that no file is dead
//! or over-long, and that every test file says what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string().replace('\\', "/")
}

/// The part of a line that is code.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

/// The layer of a file: its folder under `src`, or its name.
fn layer(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    let first = below.iter().next().unwrap().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The layers named in paths that begin with `crate::`, also in a group.
fn layers_used(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let code: String = text.lines().map(|line| code(line).to_owned() + "\n").collect();
    for part in code.split("crate::").skip(1) {
        let word = |text: &str| -> String {
            text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        match part.strip_prefix('{') {
            None => drop(used.insert(word(part))),
            Some(group) => {
                let (mut depth, mut start) = (0, true);
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            used.insert(word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

#[test]
fn no_layer_imports_upward_or_sideways() {
    // What serves all, and what the crate re-exports at its root from `error`.
    let common = ["error", "limits", "sync", "Result", "Error", "ErrorKind"];
    let below: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("api", &["engine", "tree", "journal", "buffer", "store", "io"][..]),
        ("engine", &["tree", "art", "buffer", "journal", "store", "io"]),
        ("tree", &["art", "buffer", "store"]),
        ("art", &[]),
        ("buffer", &["store"]),
        ("store", &["io"]),
        ("journal", &["io"]),
        ("io", &[]),
        ("error", &[]),
        ("limits", &[]),
        ("sync", &[]),
        ("lib", &["api", "engine", "journal", "io"]),
    ]);
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let layer = layer(&path);
        let Some(allowed) = below.get(layer.as_str()) else {
            wrong.push(format!("{}: no layer of DESIGN.md is called {layer}", shown(&path)));
            continue;
        };
        // Unit tests of a layer may set up what stands below it on whatever storage there is.
        let test = path.iter().any(|part| part == "tests" || part == "tests.rs");
        let text = read(&path);
        let (body, tests) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
        for (text, test) in [(body, test), (tests, true)] {
            for used in layers_used(text) {
                let fine = used == layer
                    || allowed.contains(&used.as_str())
                    || (common.contains(&used.as_str())
                        && (layer != "art" || used == "limits" || used == "sync"))
                    || (test
                        && ["store", "io", "journal", "buffer", "art", "limits"].contains(&used.as_str()))
                    || (layer == "api" && used.starts_with(char::is_uppercase));
                if !fine {
                    wrong.push(format!("{}: {layer} must not use {used}", shown(&path)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_reader_of_imports_sees_them_in_every_form() {
    let used = layers_used(
        "use crate::{a::B, c::{D, e}, f};\nlet x = crate::g::h(); // crate::no\npub(in crate::i) x",
    );
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["a", "c", "f", "g", "i"]);
}

/// What is taken from `sync` only, so that a model checker can stand in for it. `Arc` and `OnceLock` are not among it.
const BEHIND_DOORS: [&str; 14] = [
    "parking_lot",
    "std::sync::atomic",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::Barrier",
    "std::sync::Once ",
    "std::sync::mpsc",
    "std::sync::{",
    "std::hint::spin_loop",
    "std::thread_local",
    "std::thread::",
    "use std::thread;",
    "std::time::Instant",
];
/// These are the same behind every door, and unit tests may start threads of the system and have them wait.
const NOT_BEHIND_DOORS: [&str; 2] = ["std::thread::panicking", "std::thread::Result"];
const IN_TESTS: [&str; 4] =
    ["std::thread::scope", "std::thread::sleep", "std::thread::yield_now", "std::sync::{"];

#[test]
fn threads_and_what_they_share_come_through_the_doors() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")).into_iter().filter(|path| layer(path) != "sync") {
        let is_test = path.iter().any(|part| part == "tests" || part.to_string_lossy().ends_with("tests.rs"));
        let text = read(&path);
        let (body, tests) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
        for (text, is_test) in [(body, is_test), (tests, true)] {
            for line in text.lines() {
                let mut line = code(line).to_owned();
                for free in NOT_BEHIND_DOORS.iter().chain(IN_TESTS.iter().filter(|_| is_test)) {
                    line = line.replace(free, "");
                }
                if BEHIND_DOORS.iter().any(|word| line.contains(word)) {
                    wrong.push(format!("{}: not through sync: {}", shown(&path), line.trim()));
                }
            }
            // The macro of the prelude is hidden by the door's where that is imported.
            if text.contains("thread_local! {") && !text.contains("sync::thread_local;") {
                wrong.push(format!("{}: thread_local! not through sync", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_stands_where_it_may_and_says_why() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in rust_files(&root().join("src")) {
        let name = shown(&path);
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_unsafe =
                code(line).split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
            if !is_unsafe {
                continue;
            }
            seen += 1;
            if !name.starts_with("src/buffer/") && !["src/art/simd.rs", "src/art/words.rs"].contains(&&*name)
            {
                wrong.push(format!("{name}:{}: unsafe outside its fence", at + 1));
            }
            let said = lines[at.saturating_sub(8)..=at]
                .iter()
                .any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            if !said {
                wrong.push(format!("{name}:{}: unsafe without a SAFETY comment", at + 1));
            }
        }
    }
    assert!(seen > 0, "the search found no unsafe at all");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_over_long_or_unfinished() {
    let mut wrong = Vec::new();
    let folders = ["src", "tests", "examples", "benches", "cli/src"].map(|folder| root().join(folder));
    for path in folders.iter().filter(|folder| folder.exists()).flat_map(|folder| rust_files(folder)) {
        let text = read(&path);
        let name = shown(&path);
        let lines = text.lines().count();
        if lines > LINES_MAX && name.starts_with("src/") {
            wrong.push(format!("{name}: {lines} lines, over {LINES_MAX}"));
        }
        // Put together here, so that this file does not find itself.
        for word in ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!")) {
            if text.lines().any(|line| code(line).contains(&format!("{word}("))) {
                wrong.push(format!("{name}: {word}"));
            }
        }
        for word in ["TO", "FIX"].map(|word| word.to_owned() + if word == "TO" { "DO" } else { "ME" }) {
            if text.contains(&word) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = ["src", "tests", "examples", "benches", "cli/src"]
        .map(|folder| root().join(folder))
        .iter()
        .filter(|folder| folder.exists())
        .flat_map(|folder| rust_files(folder))
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| shown(&path))
        .collect();
    assert!(silent.is_empty(), "no head comment: {silent:#?}");
}

#[test]
fn no_source_file_is_dead() {
    let source = root().join("src");
    let mut reached = BTreeSet::from([source.join("lib.rs")]);
    let mut open = vec![source.join("lib.rs")];
    while let Some(path) = open.pop() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let parent = path.parent().unwrap().to_path_buf();
        let folder = if ["lib", "mod", "main"].contains(&&*name) { parent } else { parent.join(name) };
        for line in read(&path).lines() {
            let words: Vec<&str> = code(line).split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "mod") else { continue };
            let Some(module) = words.get(at + 1).and_then(|word| word.strip_suffix(';')) else { continue };
            for candidate in [folder.join(format!("{module}.rs")), folder.join(module).join("mod.rs")] {
                if candidate.exists() && reached.insert(candidate.clone()) {
                    open.push(candidate);
                }
            }
        }
    }
    let dead: Vec<String> =
        rust_files(&source).iter().filter(|path| !reached.contains(*path)).map(|path| shown(path)).collect();
    assert!(dead.is_empty(), "no `mod` leads to: {dead:#?}");
}
