//! Made-up paths that are the same everywhere: directories of a few and of many files, long common beginnings, names
//! that share their first syllables and their ends.

use super::common::Random;

const SYLLABLES: [&str; 24] = [
    "an", "ber", "con", "da", "el", "fon", "ge", "hu", "in", "ker", "lib", "mo", "net", "or", "py", "qua",
    "ra", "sys", "to", "un", "ver", "win", "xml", "zo",
];
const ENDS: [&str; 8] = [".gz", ".h", ".html", ".png", ".py", ".so.1", ".txt", ""];
/// Levels of directories.
const DEPTH: usize = 5;

/// About a hundred thousand paths, sorted, each once.
pub(crate) fn made_up() -> Vec<Vec<u8>> {
    let (mut random, mut paths) = (Random(17), Vec::new());
    fill("", 0, &mut random, &mut paths);
    paths.sort();
    paths.dedup();
    paths
}

/// The directory of a path, with its slash.
pub(crate) fn directory(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    &path[..end]
}

fn fill(directory: &str, depth: usize, random: &mut Random, paths: &mut Vec<Vec<u8>>) {
    let directories = match depth {
        0 => 8,
        1 => 12,
        DEPTH => 0,
        _ => random.below(8),
    };
    for _ in 0..directories {
        fill(&format!("{directory}{}/", name(random)), depth + 1, random, paths);
    }
    if depth < 2 {
        return;
    }
    // One in sixteen is large.
    let files = if random.below(16) == 0 { 40 + random.below(400) } else { 1 + random.below(14) };
    let stem = name(random);
    for number in 0..files {
        let own = if random.below(3) == 0 { format!("{stem}-{number}") } else { name(random) };
        paths.push(format!("{directory}{own}{}", ENDS[random.below(ENDS.len())]).into_bytes());
    }
}

fn name(random: &mut Random) -> String {
    let mut name = String::new();
    for _ in 0..2 + random.below(4) {
        name.push_str(SYLLABLES[random.below(SYLLABLES.len())]);
    }
    if random.below(4) == 0 {
        name.push_str(&format!("-{}.{}", random.below(9), random.below(30)));
    }
    name
}
