//! Listings and other questions about neighbouring keys.

use super::{Turn, Workload, answered, digest_of, listings, reads, seed};
use crate::model::Digest;
use crate::random::Random;
use crate::rows::by_name;
use crate::world::{Keys, World, parent};

pub const WORKLOADS: [Workload; 3] = [
    Workload { row: "list100", prepare: list100 },
    Workload { row: "list-dir", prepare: list_dir },
    Workload { row: "longest-prefix", prepare: longest_prefix },
];

/// The most a listing shows.
pub const LIMIT: usize = 100;

/// The directory that a listing from `key` on is made in: that above the key's own. In the Debian lists 65 to 70 records come of that, up
/// to 100 asked for; of the key's own directory it would be 39.
pub fn listed_dir(key: &[u8]) -> Option<usize> {
    let own = parent(key)?;
    Some(parent(&key[..own - 1]).unwrap_or(own))
}

/// Up to `count` keys that are in a directory, at random.
fn keys_in_dirs(world: &World, seed: u64, count: usize) -> Vec<usize> {
    let mut random = Random::new(seed);
    let picked = (0..count).map(|_| world.uniform(&mut random));
    picked.filter(|at| parent(&world.keys[*at]).is_some()).collect()
}

fn list100(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let picked = keys_in_dirs(world, seed("list100", round), listings(world));
    let keys: Keys = picked.iter().map(|at| &world.keys[*at][..]).collect();
    let dirs: Vec<usize> = (0..keys.len()).map(|at| listed_dir(keys.get(at)).unwrap_or(0)).collect();
    let expected: Vec<Digest> = world.model(|model| {
        let answer = |at: usize| model.list_after(&keys.get(at)[..dirs[at]], keys.get(at), LIMIT).0;
        (0..keys.len()).map(answer).collect()
    });
    Ok(Box::new(move |_, engine| {
        answered(by_name("list100"), engine, &expected, |session, at, digest| {
            let key = keys.get(at);
            session.list_after(&key[..dirs[at]], key, LIMIT, &mut |key, value| digest.record(key, value))
        })
    }))
}

/// Records that a call of list100 shows, and names that one of list_dir shows, on average.
pub fn sizes(world: &World) -> (f64, f64) {
    let mean = |sizes: Vec<u64>| sizes.iter().sum::<u64>() as f64 / sizes.len().max(1) as f64;
    let picked = keys_in_dirs(world, seed("list100", 0), 1000);
    world.model(|model| {
        let records = picked.iter().map(|at| {
            let key = &world.keys[*at];
            model.list_after(&key[..listed_dir(key).unwrap_or(0)], key, LIMIT).1
        });
        let names = ancestors(world, 0, 1000).iter().map(|dir| model.list_dir(dir, LIMIT).1).collect();
        (mean(records.collect()), mean(names))
    })
}

/// Directories at random levels above keys at random.
fn ancestors(world: &World, round: u64, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed("list-dir", round));
    let keys = keys_in_dirs(world, seed("list-dir keys", round), count);
    let above = |at: usize| {
        let key = &world.keys[at];
        let ends: Vec<usize> = (0..key.len()).filter(|at| key[*at] == b'/').collect();
        key[..=ends[random.below(ends.len())]].to_vec()
    };
    keys.into_iter().map(above).collect()
}

fn list_dir(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let dirs: Keys = ancestors(world, round, listings(world)).iter().map(|dir| &dir[..]).collect();
    let expected: Vec<Digest> =
        world.model(|model| (0..dirs.len()).map(|at| model.list_dir(dirs.get(at), LIMIT).0).collect());
    Ok(Box::new(move |_, engine| {
        answered(by_name("list-dir"), engine, &expected, |session, at, digest| {
            session.list_dir(dirs.get(at), LIMIT, &mut |name| digest.key(name))
        })
    }))
}

/// Half of the questions are about something below a key that is there, half about a key that is not.
fn longest_prefix(world: &World, round: u64) -> Result<Turn<'_>, String> {
    let mut random = Random::new(seed("longest-prefix", round));
    let asked: Vec<Vec<u8>> = (0..reads(world) / 4)
        .map(|at| match at % 2 {
            0 => [&world.keys[world.uniform(&mut random)][..], b"/lib/part.so"].concat(),
            _ => world.extra[random.below(world.extra.len())].clone(),
        })
        .collect();
    let keys: Keys = asked.iter().map(|key| &key[..]).collect();
    let expected: Vec<Digest> = world.model(|model| {
        let answer = |key: &Vec<u8>| match model.longest_prefix(key) {
            None => digest_of(None),
            Some(at) => {
                let mut digest = Digest::NOTHING;
                digest.record(&world.keys[at], &world.value(at));
                digest
            }
        };
        asked.iter().map(answer).collect()
    });
    Ok(Box::new(move |_, engine| {
        answered(by_name("longest-prefix"), engine, &expected, |session, at, digest| {
            session.longest_prefix(keys.get(at), &mut |key, value| digest.record(key, value)).map(drop)
        })
    }))
}
