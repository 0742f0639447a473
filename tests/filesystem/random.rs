//! Random calls, by one thread, against two oracles.

use std::collections::BTreeMap;

use ramus::io::MemoryStorage;

use super::{assert_whole, empty, errno, open_on, paths, random_path};
use crate::common::{Dice, assert_sound, cases, seed};
use crate::model::Model;
use crate::namespace::{Errno, Kind, Result, Stat};

#[test]
fn random_calls_are_those_of_the_model() {
    let seed = seed();
    for round in 0..cases(30) {
        let mut dice = Dice(seed ^ round);
        let storage = MemoryStorage::new();
        let (mut db, mut namespace) = open_on(&storage);
        let mut model = Model::new();
        // An inode number of the model is always the same one of the namespace.
        let mut inodes = BTreeMap::new();
        for step in 0..400u64 {
            let (path, other) = (random_path(&mut dice), random_path(&mut dice));
            let told = |outcome: Result<()>| outcome.map_err(|error| error.errno().expect("a refusal"));
            let (call, found, wanted) = match dice.below(16) {
                0..3 => ("mkdir", told(namespace.mkdir(&path)), model.mkdir(&path)),
                3..6 => ("create", told(namespace.create(&path)), model.create(&path)),
                6 => ("truncate", told(namespace.truncate(&path, step)), model.truncate(&path, step)),
                7..9 => ("link", told(namespace.link(&path, &other)), model.link(&path, &other)),
                9 => ("unlink", told(namespace.unlink(&path)), model.unlink(&path)),
                10 => ("rmdir", told(namespace.rmdir(&path)), model.rmdir(&path)),
                _ => ("rename", told(namespace.rename(&path, &other)), model.rename(&path, &other)),
            };
            assert_eq!(found, wanted, "round {round}, step {step}: {call} {path} {other}");
            let (found, wanted) = (namespace.stat(&path), model.stat(&path));
            match (found, wanted) {
                (Ok(found), Ok(wanted)) => {
                    let inode = *inodes.entry(wanted.inode).or_insert(found.inode);
                    assert_eq!(Stat { inode, ..wanted }, found, "round {round}: {path}");
                }
                (found, wanted) => assert_eq!(errno(found), wanted.unwrap_err(), "round {round}: {path}"),
            }
            if step % 80 == 79 {
                drop((namespace, db));
                (db, namespace) = open_on(&storage);
            }
            if step % 20 == 19 {
                model.compare(&namespace).unwrap();
                model.compare_stats(&namespace).unwrap();
                assert_whole(&namespace);
                for (path, kind) in model.paths().filter(|(_, kind)| *kind == Kind::Directory) {
                    let path = String::from_utf8(path).unwrap();
                    let usage = namespace.usage(&path).unwrap();
                    assert_eq!(Ok(usage.entries), model.entries_below(&path), "{path} {kind:?}");
                    assert_eq!(namespace.file_bytes(&path).ok(), model.file_bytes(&path).ok(), "{path}");
                }
            }
        }
        let mut numbers: Vec<u64> = inodes.values().copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), inodes.len(), "two inodes have one number");
        assert!(model.len() > 1, "nothing was left to compare");
        assert_sound(&db);
    }
}

/// The oracle that nobody here wrote: the same calls on a directory of the machine.
#[cfg(target_os = "linux")]
#[test]
fn random_calls_are_those_of_the_system() {
    use std::fs;
    let seed = seed();
    let number = |errno: Errno| match errno {
        Errno::Busy => 16,
        Errno::Exists => 17,
        Errno::Invalid => 22,
        Errno::IsDirectory => 21,
        Errno::NameTooLong => 36,
        Errno::NoEntry => 2,
        Errno::NotDirectory => 20,
        Errno::NotEmpty => 39,
        Errno::NotPermitted => 1,
    };
    for round in 0..cases(10) {
        let mut dice = Dice(seed ^ round);
        let temporary = tempfile::tempdir().unwrap();
        let namespace = empty();
        for step in 0..400 {
            let (path, other) = (random_path(&mut dice), random_path(&mut dice));
            let real = |path: &str| format!("{}{path}", temporary.path().display());
            let (call, found, wanted) = match dice.below(14) {
                0..3 => ("mkdir", namespace.mkdir(&path), fs::create_dir(real(&path))),
                3..6 => ("create", namespace.create(&path), fs::File::create_new(real(&path)).map(drop)),
                6..8 => ("link", namespace.link(&path, &other), fs::hard_link(real(&path), real(&other))),
                8 => ("unlink", namespace.unlink(&path), fs::remove_file(real(&path))),
                9 => ("rmdir", namespace.rmdir(&path), fs::remove_dir(real(&path))),
                _ => ("rename", namespace.rename(&path, &other), fs::rename(real(&path), real(&other))),
            };
            let found = found.map_err(|error| number(error.errno().expect("a refusal")));
            let wanted = wanted.map_err(|error| error.raw_os_error().expect("a number of the system"));
            // A file onto a directory that holds it: POSIX says EISDIR, Linux finds first that the directory is not empty.
            let either =
                call == "rename" && path.starts_with(&(other.trim_end_matches('/').to_owned() + "/"));
            let same = found == wanted || (either && found == Err(21) && wanted == Err(39));
            assert!(same, "round {round}, step {step}: {call} {path} {other}: {found:?}, not {wanted:?}");
        }
        let mut all = Vec::new();
        let mut open = vec![temporary.path().to_path_buf()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let shown = format!("/{}", path.strip_prefix(temporary.path()).unwrap().display());
                match path.is_dir() {
                    true => {
                        all.push(shown + "/");
                        open.push(path);
                    }
                    false => all.push(shown),
                }
            }
        }
        all.sort();
        assert_eq!(paths(&namespace), all, "round {round}");
    }
}
