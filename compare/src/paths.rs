//! Lists of real paths.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The lines of a list, sorted, each once.
pub fn read(list: &Path) -> Result<Vec<Vec<u8>>> {
    let file = File::open(list).with_context(|| format!("opening the list of paths {}", list.display()))?;
    let reader: Box<dyn Read> = match list.extension().is_some_and(|extension| extension == "zst") {
        true => Box::new(zstd::Decoder::new(file)?),
        false => Box::new(file),
    };
    let lines = BufReader::with_capacity(1 << 20, reader).split(b'\n');
    let mut paths: Vec<Vec<u8>> = lines.collect::<std::io::Result<_>>()?;
    paths.retain(|path| !path.is_empty() && !path.contains(&0));
    if !paths.is_sorted() {
        paths.sort_unstable();
    }
    paths.dedup();
    Ok(paths)
}

/// `count` of the paths, evenly spread over the list.
pub fn sample(paths: Vec<Vec<u8>>, count: usize) -> Result<Vec<Vec<u8>>> {
    let all = paths.len();
    ensure!(count <= all, "the list has {all} paths, {count} are asked for");
    let mut taken = 0;
    let mut sample = Vec::with_capacity(count);
    for (at, path) in paths.into_iter().enumerate() {
        if taken < count && at as u128 == taken as u128 * all as u128 / count as u128 {
            sample.push(path);
            taken += 1;
        }
    }
    Ok(sample)
}

/// Writes a list, for a process of its own.
pub fn write(list: &Path, paths: &[Vec<u8>]) -> Result<()> {
    let mut file = std::io::BufWriter::new(File::create(list)?);
    for path in paths {
        file.write_all(path)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_the_list() {
        let paths: Vec<Vec<u8>> = (0..10u8).map(|at| vec![at]).collect();
        assert_eq!(sample(paths.clone(), 3).unwrap(), [[0], [3], [6]]);
        assert_eq!(sample(paths.clone(), 10).unwrap(), paths);
        assert!(sample(paths, 11).is_err());
    }
}
