//! Loads a list of paths (one a line on standard input), then reads, lists and renames some of them.
//!
//! `zstd -dc paths.zst | head -n 2000000 | cargo run --release --example paths`

use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Instant;

use ramus::{Db, Durability, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths: Vec<Vec<u8>> = std::io::stdin().lock().split(b'\n').collect::<Result<_, _>>()?;
    let temporary = tempfile::tempdir()?;
    let dir = temporary.path().join("db");
    shuffle(&mut paths, 1);
    let value = [7u8; 96];
    let batched = Durability::Batched { bytes: 64 << 10, interval: None };
    let db: Db = Options::new().durability(batched).cache_bytes(2 << 30).journal_bytes(1 << 30).open(&dir)?;
    let tree = db.default_tree();
    let per = |start: Instant, n: usize| start.elapsed().as_nanos() as f64 / n as f64;

    let start = Instant::now();
    for path in &paths {
        tree.put(path, value)?;
    }
    println!("put      {:8.0} ns", per(start, paths.len()));
    let map: BTreeMap<Vec<u8>, Vec<u8>> = paths.iter().map(|p| (p.clone(), value.to_vec())).collect();
    // Reads come in another order than the writes did.
    shuffle(&mut paths, 2);
    for _ in 0..2 {
        let start = Instant::now();
        let mut found = 0;
        for path in &paths {
            found += usize::from(tree.get(path)?.is_some());
        }
        println!("get      {:8.0} ns ({found} found)", per(start, paths.len()));
        let start = Instant::now();
        let mut found = 0;
        for path in &paths {
            found += usize::from(tree.get_with(path, |v| v.len() == 96)?.is_some());
        }
        println!("get_with {:8.0} ns ({found} found)", per(start, paths.len()));
        let start = Instant::now();
        let mut found = 0;
        for path in &paths {
            found += map.get(path).cloned().map_or(0, |v| usize::from(v.len() == 96));
        }
        println!("BTreeMap {:8.0} ns ({found} found)", per(start, paths.len()));
    }
    let start = Instant::now();
    let listed: usize = paths.iter().take(20_000).map(|p| tree.range(&p[..]..).limit(100).count()).sum();
    println!("list100  {:8.0} ns ({listed} items)", per(start, 20_000));
    let start = Instant::now();
    for path in &paths {
        tree.put(path, value)?;
    }
    println!("overwrite{:8.0} ns", per(start, paths.len()));
    let start = Instant::now();
    db.checkpoint()?;
    println!("checkpoint {:.0} ms", start.elapsed().as_millis());
    println!("{:#?}", db.survey()?);
    let start = Instant::now();
    db.compact()?;
    println!("compact {:.0} ms", start.elapsed().as_millis());
    println!("{:#?}", db.survey()?);
    let start = Instant::now();
    println!("{:?}", db.check()?);
    println!("check {:.0} ms", start.elapsed().as_millis());
    db.close()?;
    drop((tree, db));
    let start = Instant::now();
    let db = Db::open(&dir)?;
    println!("open {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    assert_eq!(db.default_tree().get(&paths[0])?.as_deref(), Some(&value[..]));
    Ok(())
}

/// A fixed shuffle, so that runs compare.
fn shuffle(paths: &mut [Vec<u8>], seed: u64) {
    let mut x = seed;
    for i in (1..paths.len()).rev() {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        paths.swap(i, (x >> 33) as usize % (i + 1));
    }
}
