//! Holds the byte tables of DESIGN.md against the constants of the code: an offset that moves must move in both.

use std::path::Path;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The offset constants of a source file: their names without the `AT` and the given prefixes, and their numbers.
fn offsets(source: &str, prefixes: &[&str]) -> Vec<(String, usize)> {
    let constants = source.lines().filter_map(|line| {
        let rest = line.trim_start_matches("pub(crate) ").strip_prefix("const ")?;
        let (name, value) = rest.split_once(": usize = ")?;
        let name = name.strip_prefix("AT_").or_else(|| name.strip_suffix("_AT"))?;
        let number = value.trim_end_matches(';').parse().ok()?;
        let bare = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        Some((bare.to_lowercase().replace('_', " "), number))
    });
    constants.collect()
}

/// The fenced block of the document that names the source file.
fn block<'d>(design: &'d str, file: &str) -> &'d str {
    design
        .split("```")
        .skip(1)
        .step_by(2)
        .find(|block| block.contains(&format!("({file})")))
        .unwrap_or_else(|| panic!("DESIGN.md has no byte table of {file}"))
}

fn hold(file: &str, prefixes: &[&str], least: usize) {
    let design = read("DESIGN.md");
    let table = block(&design, file);
    let constants = offsets(&read(file), prefixes);
    assert!(constants.len() >= least, "{file}: only {constants:?}");
    for (name, offset) in constants {
        let row = format!("{offset} {name}");
        let stands = table.match_indices(&row).any(|(at, _)| {
            !table[..at].ends_with(|before: char| before.is_ascii_digit())
                && !table[at + row.len()..].starts_with(|after: char| after.is_alphanumeric())
        });
        assert!(stands, "DESIGN.md lacks {row:?} of {file}");
    }
}

#[test]
fn the_byte_tables_are_those_of_the_code() {
    hold("src/art/header.rs", &[], 17);
    hold("src/store/superblock.rs", &[], 15);
    hold("src/store/block.rs", &[], 4);
    hold("src/journal/format.rs", &["FILE_", "GROUP_", "RECORD_"], 13);
}

#[test]
fn the_limits_are_those_of_the_code() {
    let design = read("DESIGN.md");
    let limits = design.split("## 9. Limits").nth(1).unwrap();
    for (text, value) in [
        ("8,192", ramus::limits::KEY_BYTES_MAX),
        ("4,096", ramus::limits::VALUE_BYTES_MAX),
        ("65,536", ramus::limits::TREES_MAX),
        ("16,777,215", ramus::limits::BLOBS_MAX - 1),
        ("255", ramus::limits::TREE_NAME_BYTES_MAX),
    ] {
        assert_eq!(text.replace(',', "").parse(), Ok(value));
        assert!(limits.contains(text), "the limits in DESIGN.md lack {text}");
    }
}
