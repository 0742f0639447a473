//! The example `filesystem`: the rules of POSIX one by one, random calls against its model and against the file system of the
//! machine, threads that work at the same time, and the replay of a history.

mod common;
#[path = "../examples/filesystem/model.rs"]
mod model;
#[path = "../examples/filesystem/namespace/mod.rs"]
mod namespace;
#[path = "../examples/filesystem/replay.rs"]
mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Dice, assert_sound, cases, watched};
use model::Model;
use namespace::{DirEntry, Errno, Kind, Namespace, Result};
use ramus::io::{MemoryStorage, Storage};
use ramus::{Db, Durability, Options};

fn empty() -> Namespace {
    Namespace::open(&Db::in_memory().unwrap()).unwrap()
}

/// A namespace with some directories (their names end with a slash) and files.
fn with(paths: &[&str]) -> Namespace {
    let namespace = empty();
    for path in paths {
        match path.ends_with('/') {
            true => namespace.mkdir(path).unwrap(),
            false => namespace.create(path).unwrap(),
        }
    }
    namespace
}

#[track_caller]
fn errno<T: std::fmt::Debug>(outcome: Result<T>) -> Errno {
    let error = outcome.expect_err("the call is refused");
    error.errno().unwrap_or_else(|| panic!("{error}"))
}

/// All paths, in order; directories end with a slash.
fn paths(namespace: &Namespace) -> Vec<String> {
    let (mut all, mut open) = (Vec::new(), vec!["/".to_owned()]);
    while let Some(directory) = open.pop() {
        for DirEntry { name, kind } in namespace.readdir(&directory).unwrap() {
            let path = format!("{directory}{}", String::from_utf8(name).unwrap());
            match kind {
                Kind::File => all.push(path),
                Kind::Directory => {
                    all.push(path.clone() + "/");
                    open.push(path + "/");
                }
            }
        }
    }
    all.sort();
    all
}

#[track_caller]
fn assert_whole(namespace: &Namespace) {
    let problems = namespace.fsck().unwrap();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_new_namespace_has_an_empty_root() {
    let namespace = empty();
    assert_eq!(namespace.readdir("/").unwrap(), []);
    assert_eq!(namespace.stat("/").unwrap().kind, Kind::Directory);
    assert_eq!(namespace.usage("/").unwrap().entries, 0);
    assert_whole(&namespace);
}

#[test]
fn readdir_gives_each_entry_once_with_its_kind() {
    // `a-` and `a.` sort between `a` and `a/`, `a0` after: none of them belongs to the directory `a`.
    let namespace = with(&["/a/", "/a-", "/a.", "/a0/", "/a/x", "/a/y/", "/a/y/z", "/a0/x"]);
    let list = |path| -> Vec<(String, Kind)> {
        let entries = namespace.readdir(path).unwrap().into_iter();
        entries.map(|e| (String::from_utf8(e.name).unwrap(), e.kind)).collect()
    };
    let entry = |name: &str, kind| (name.to_owned(), kind);
    let (file, directory) = (Kind::File, Kind::Directory);
    assert_eq!(
        list("/"),
        [entry("a-", file), entry("a.", file), entry("a", directory), entry("a0", directory)]
    );
    assert_eq!(list("/a"), [entry("x", file), entry("y", directory)]);
    assert_eq!(list("a/y/"), [entry("z", file)]);
    assert_eq!(errno(namespace.readdir("/a/x")), Errno::NotDirectory);
    assert_eq!(errno(namespace.readdir("/b")), Errno::NoEntry);
    assert_eq!(errno(namespace.readdir("/a/x/b")), Errno::NotDirectory);
}

#[test]
fn names_and_paths_have_limits_and_any_other_bytes() {
    let namespace = empty();
    assert_eq!(errno(namespace.create("")), Errno::NoEntry);
    assert_eq!(errno(namespace.create("/a/../b")), Errno::Invalid);
    assert_eq!(errno(namespace.create(b"/a\0b")), Errno::Invalid);
    assert_eq!(errno(namespace.create([b'x'; 256])), Errno::NameTooLong);
    namespace.create([b'x'; 255]).unwrap();
    namespace.mkdir([0xff, 0x01]).unwrap();
    namespace.create(b"//\xff\x01///\xfe").unwrap();
    assert_eq!(namespace.readdir([0xff, 0x01]).unwrap(), [DirEntry { name: vec![0xfe], kind: Kind::File }]);
    // The deepest path there is: 2,047 directories with names of one byte and a file.
    let mut path = String::new();
    for _ in 0..2047 {
        path += "d/";
        namespace.mkdir(&path).unwrap();
    }
    namespace.create(path.clone() + "f").unwrap();
    assert_eq!(errno(namespace.mkdir(path.clone() + "ff")), Errno::NameTooLong);
    assert_eq!(namespace.usage("/d").unwrap().entries, 2047);
    assert_whole(&namespace);
}

#[test]
fn a_name_is_made_once_and_in_a_directory_only() {
    let namespace = with(&["/d/", "/f"]);
    for path in ["/d", "/f"] {
        assert_eq!(errno(namespace.mkdir(path)), Errno::Exists);
        assert_eq!(errno(namespace.create(path)), Errno::Exists);
    }
    assert_eq!(errno(namespace.mkdir("/")), Errno::Exists);
    assert_eq!(errno(namespace.create("/x/y")), Errno::NoEntry);
    assert_eq!(errno(namespace.mkdir("/x/y/z")), Errno::NoEntry);
    assert_eq!(errno(namespace.mkdir("/f/y")), Errno::NotDirectory);
    assert_eq!(errno(namespace.create("/f/y/z")), Errno::NotDirectory);
    assert_eq!(errno(namespace.create("/g/")), Errno::IsDirectory);
    assert_eq!(paths(&namespace), ["/d/", "/f"]);
}

#[test]
fn stat_knows_kind_size_and_a_lasting_inode() {
    let namespace = with(&["/d/", "/f", "/g"]);
    let [d, f, g] = ["/d", "/f", "/g"].map(|path| namespace.stat(path).unwrap());
    assert_eq!((d.kind, f.kind), (Kind::Directory, Kind::File));
    assert!(d.inode != f.inode && f.inode != g.inode && d.inode != g.inode);
    namespace.truncate("/f", 77).unwrap();
    namespace.rename("/f", "/d/f").unwrap();
    namespace.link("/d/f", "/h").unwrap();
    let moved = namespace.stat("/d/f").unwrap();
    assert_eq!((moved.inode, moved.size, moved.links), (f.inode, 77, 2));
    assert_eq!(errno(namespace.stat("/f")), Errno::NoEntry);
    assert_eq!(errno(namespace.stat("/g/")), Errno::NotDirectory);
    assert_eq!(errno(namespace.truncate("/d", 1)), Errno::IsDirectory);
}

#[test]
fn rmdir_takes_empty_directories_only() {
    let namespace = with(&["/d/", "/d/e/", "/d/e/f", "/g"]);
    assert_eq!(errno(namespace.rmdir("/")), Errno::Busy);
    assert_eq!(errno(namespace.rmdir("/g")), Errno::NotDirectory);
    assert_eq!(errno(namespace.rmdir("/x")), Errno::NoEntry);
    assert_eq!(errno(namespace.rmdir("/d")), Errno::NotEmpty);
    assert_eq!(errno(namespace.rmdir("/d/e")), Errno::NotEmpty);
    assert_eq!(errno(namespace.unlink("/d/e")), Errno::IsDirectory);
    namespace.unlink("/d/e/f").unwrap();
    namespace.rmdir("/d/e/").unwrap();
    namespace.rmdir("/d").unwrap();
    assert_eq!(errno(namespace.unlink("/d/e/f")), Errno::NoEntry);
    assert_eq!(paths(&namespace), ["/g"]);
}

#[test]
fn a_renamed_file_replaces_a_file() {
    let namespace = with(&["/d/", "/f", "/g"]);
    namespace.truncate("/f", 5).unwrap();
    namespace.rename("/f", "/g").unwrap();
    assert_eq!(namespace.stat("/g").unwrap().size, 5);
    namespace.rename("/g", "/d/new").unwrap();
    namespace.rename("/d/new", "/d/new").unwrap();
    assert_eq!(paths(&namespace), ["/d/", "/d/new"]);
    assert_whole(&namespace);
}

#[test]
fn a_renamed_directory_takes_all_below_along() {
    let namespace = with(&["/a/", "/a/b/", "/a/b/c", "/a/d", "/ab", "/a-/", "/e/"]);
    let inode = namespace.stat("/a/b").unwrap().inode;
    namespace.rename("/a", "/e/f").unwrap();
    assert_eq!(paths(&namespace), ["/a-/", "/ab", "/e/", "/e/f/", "/e/f/b/", "/e/f/b/c", "/e/f/d"]);
    assert_eq!(namespace.stat("/e/f/b").unwrap().inode, inode);
    namespace.rename("/e/f/", "/e/f").unwrap();
    namespace.rename("/e/f/b", "/b/").unwrap();
    namespace.rename("/e", "/ee").unwrap();
    assert_eq!(paths(&namespace), ["/a-/", "/ab", "/b/", "/b/c", "/ee/", "/ee/f/", "/ee/f/d"]);
    assert_whole(&namespace);
}

#[test]
fn a_directory_is_renamed_onto_an_empty_one_only() {
    let namespace = with(&["/a/", "/a/x", "/empty/", "/full/", "/full/y", "/file"]);
    let inode = namespace.stat("/a").unwrap().inode;
    assert_eq!(errno(namespace.rename("/a", "/full")), Errno::NotEmpty);
    assert_eq!(errno(namespace.rename("/a", "/file")), Errno::NotDirectory);
    assert_eq!(errno(namespace.rename("/file", "/empty")), Errno::IsDirectory);
    assert_eq!(errno(namespace.rename("/file", "/full")), Errno::IsDirectory);
    namespace.rename("/a", "/empty").unwrap();
    assert_eq!(namespace.stat("/empty").unwrap().inode, inode);
    namespace.mkdir("/a").unwrap();
    namespace.rename("/a", "/full/y2").unwrap();
    assert_eq!(paths(&namespace), ["/empty/", "/empty/x", "/file", "/full/", "/full/y", "/full/y2/"]);
    assert_whole(&namespace);
}

#[test]
fn a_rename_into_itself_or_of_nothing_is_refused() {
    let namespace = with(&["/a/", "/a/b/", "/a/b/f", "/f"]);
    assert_eq!(errno(namespace.rename("/a", "/a/x")), Errno::Invalid);
    assert_eq!(errno(namespace.rename("/a", "/a/b/x")), Errno::Invalid);
    assert_eq!(errno(namespace.rename("/a", "/a/b")), Errno::Invalid);
    assert_eq!(errno(namespace.rename("/a/b", "/a")), Errno::NotEmpty);
    assert_eq!(errno(namespace.rename("/a/b/f", "/a")), Errno::IsDirectory);
    assert_eq!(errno(namespace.rename("/x", "/y")), Errno::NoEntry);
    assert_eq!(errno(namespace.rename("/x/y", "/y")), Errno::NoEntry);
    assert_eq!(errno(namespace.rename("/f/y", "/y")), Errno::NotDirectory);
    assert_eq!(errno(namespace.rename("/f", "/x/y")), Errno::NoEntry);
    assert_eq!(errno(namespace.rename("/a", "/x/y")), Errno::NoEntry);
    assert_eq!(errno(namespace.rename("/a", "/f/y")), Errno::NotDirectory);
    assert_eq!(errno(namespace.rename("/", "/y")), Errno::Busy);
    assert_eq!(errno(namespace.rename("/a", "/")), Errno::Busy);
    assert_eq!(errno(namespace.rename("/f", "/y/")), Errno::NotDirectory);
    // A name that only begins like another is not inside it.
    namespace.rename("/a", "/ab").unwrap();
    assert_eq!(paths(&namespace), ["/ab/", "/ab/b/", "/ab/b/f", "/f"]);
}

#[test]
fn linked_names_share_one_inode_until_the_last_is_gone() {
    let db = Db::in_memory().unwrap();
    let namespace = Namespace::open(&db).unwrap();
    let shared = || db.tree("inodes").unwrap().iter().count();
    namespace.mkdir("/d").unwrap();
    namespace.create("/f").unwrap();
    namespace.truncate("/f", 10).unwrap();
    assert_eq!(shared(), 0);
    namespace.link("/f", "/d/g").unwrap();
    namespace.link("/d/g", "/h").unwrap();
    namespace.truncate("/h", 11).unwrap();
    let stats = ["/f", "/d/g", "/h"].map(|path| namespace.stat(path).unwrap());
    assert!(stats.iter().all(|stat| *stat == stats[0]));
    assert_eq!((stats[0].links, stats[0].size, shared()), (3, 11, 1));
    assert_eq!(namespace.file_bytes("/").unwrap(), 11);
    assert_eq!(errno(namespace.link("/d", "/x")), Errno::NotPermitted);
    assert_eq!(errno(namespace.link("/f", "/d")), Errno::Exists);
    assert_eq!(errno(namespace.link("/f", "/f")), Errno::Exists);
    assert_eq!(errno(namespace.link("/x", "/y")), Errno::NoEntry);
    assert_eq!(errno(namespace.link("/f", "/x/y")), Errno::NoEntry);
    // Two names of one file: a rename leaves both.
    namespace.rename("/f", "/h").unwrap();
    assert_eq!(namespace.stat("/f").unwrap().links, 3);
    // A directory move takes a name along; a replaced name is one less.
    namespace.rename("/d", "/e").unwrap();
    assert_eq!(namespace.stat("/e/g").unwrap(), stats[0]);
    namespace.create("/plain").unwrap();
    namespace.rename("/plain", "/f").unwrap();
    assert_eq!((namespace.stat("/h").unwrap().links, namespace.stat("/f").unwrap().links), (2, 1));
    namespace.unlink("/h").unwrap();
    assert_eq!((namespace.stat("/e/g").unwrap().links, shared()), (1, 1));
    namespace.rename("/f", "/e/g").unwrap();
    assert_eq!(shared(), 0);
    assert_eq!(paths(&namespace), ["/e/", "/e/g"]);
    assert_whole(&namespace);
}

#[test]
fn usage_counts_what_is_below() {
    let namespace = with(&["/d/", "/d/e/", "/d/e/f", "/d2/", "/d2/f"]);
    let usage = namespace.usage("/d").unwrap();
    // `//d//e/` with 9 bytes, `//d//e//f` with 17.
    assert_eq!((usage.entries, usage.bytes), (2, 7 + 9 + 9 + 17));
    assert_eq!(namespace.usage("/").unwrap().entries, 5);
    assert_eq!(namespace.usage("/d/e").unwrap().entries, 1);
    assert_eq!(errno(namespace.usage("/d/e/f")), Errno::NotDirectory);
    namespace.truncate("/d/e/f", 1000).unwrap();
    namespace.truncate("/d2/f", 10).unwrap();
    assert_eq!((namespace.file_bytes("/").unwrap(), namespace.file_bytes("/d").unwrap()), (1010, 1000));
    assert_eq!(namespace.usage("/d").unwrap(), usage);
}

#[test]
fn the_check_finds_what_breaks_the_rules() {
    // What becomes of a sound namespace: these names go, and this name gets the record of that one.
    type Case = (&'static [&'static str], Option<(&'static str, &'static str)>, &'static str);
    let cases: [Case; 9] = [
        (&["//d/"], None, "an entry of no directory"),
        (&[], Some(("//x//f", "//m")), "an entry of no directory"),
        (&[], Some(("//d", "//d//f")), "both a file and a directory"),
        (&[], Some(("//x", "//d/")), "a record of the wrong kind"),
        (&[], Some(("//x", "//d//f")), "an inode number given twice"),
        (&[], Some(("//x", "//l")), "counts -1 names too many"),
        (&["//l"], None, "counts 1 names too many"),
        (&["//l", "//m"], None, "has no name"),
        (&["/"], Some(("x", "//d//f")), "not below the root"),
    ];
    for (gone, copied, wanted) in cases {
        let db = Db::in_memory().unwrap();
        let namespace = Namespace::open(&db).unwrap();
        namespace.mkdir("/d").unwrap();
        ["/d/f", "/l"].iter().for_each(|path| namespace.create(path).unwrap());
        namespace.link("/l", "/m").unwrap();
        assert_whole(&namespace);
        let names = db.tree("names").unwrap();
        if let Some((to, from)) = copied {
            names.put(to, names.get(from).unwrap().unwrap()).unwrap();
        }
        for key in gone {
            assert!(names.delete(key).unwrap());
        }
        let problems = namespace.fsck().unwrap();
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted}: {problems:?}");
        let root_gone = problems.iter().any(|problem| problem == "no root");
        assert_eq!(root_gone, gone.contains(&"/"), "{problems:?}");
    }
}

/// A path of up to four short names, so that calls meet; now and then with a slash at its end.
fn random_path(dice: &mut Dice) -> String {
    let depth = 1 + dice.below(4);
    let mut path = String::new();
    for _ in 0..depth {
        path += "/";
        path += ["a", "b", "a-", "a0", "long name"][dice.below(5)];
    }
    if dice.below(12) == 0 {
        path += "/";
    }
    path
}

fn open_on(storage: &MemoryStorage) -> (Db, Namespace) {
    let options = Options::new().storage(Arc::new(storage.clone()) as Arc<dyn Storage>).background(false);
    let batched = Durability::Batched { bytes: 1 << 14, interval: None };
    let db = options.cache_bytes(4 << 20).journal_bytes(1 << 20).durability(batched).open("").unwrap();
    let namespace = Namespace::open(&db).unwrap();
    (db, namespace)
}

#[test]
fn random_calls_are_those_of_the_model() {
    let seed = common::seed();
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
                    assert_eq!(namespace::Stat { inode, ..wanted }, found, "round {round}: {path}");
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
    let seed = common::seed();
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

#[test]
fn threads_keep_the_rules() {
    let seed = common::seed();
    let storage = MemoryStorage::new();
    let (db, namespace) = open_on(&storage);
    let (done, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    watched("filesystem threads", || {
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (namespace, done, refused) = (&namespace, &done, &refused);
                scope.spawn(move || {
                    let mut dice = Dice(seed ^ thread);
                    for step in 0..cases(1500) {
                        let (path, other) = (random_path(&mut dice), random_path(&mut dice));
                        let outcome = match dice.below(18) {
                            0..4 => namespace.mkdir(&path),
                            4..7 => namespace.create(&path),
                            7 => namespace.truncate(&path, step),
                            8..10 => namespace.link(&path, &other),
                            10 => namespace.unlink(&path),
                            11 => namespace.rmdir(&path),
                            12 => namespace.stat(&path).map(drop),
                            13 => namespace.readdir(&path).map(drop),
                            _ => namespace.rename(&path, &other),
                        };
                        match outcome {
                            Ok(()) => done.fetch_add(1, Ordering::Relaxed),
                            Err(error) => {
                                // The database itself never fails, and no call gives up.
                                error.errno().unwrap_or_else(|| panic!("{error}"));
                                refused.fetch_add(1, Ordering::Relaxed)
                            }
                        };
                    }
                });
            }
        });
    });
    assert!(done.into_inner() > 0 && refused.into_inner() > 0);
    assert_whole(&namespace);
    assert_sound(&db);
    let before = paths(&namespace);
    drop((namespace, db));
    let (_db, namespace) = open_on(&storage);
    assert_eq!(paths(&namespace), before);
    assert_whole(&namespace);
}

/// Each file is made once and moved, with the directory it is in, all the time: it is never lost and never doubled.
#[test]
fn directories_that_move_to_and_fro_lose_no_entry() {
    let (db, namespace) = open_on(&MemoryStorage::new());
    namespace.mkdir("/home").unwrap();
    namespace.mkdir("/home/d").unwrap();
    namespace.mkdir("/away").unwrap();
    let rounds = cases(300);
    let places = ["/home/d", "/away/d", "/away/e"];
    watched("moving directories", || {
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let namespace = &namespace;
                scope.spawn(move || {
                    for round in 0..rounds as usize {
                        let (from, to) = (places[(round + thread) % 3], places[(round * 2 + 1) % 3]);
                        if let Err(error) = namespace.rename(from, to) {
                            assert_eq!(error.errno(), Some(Errno::NoEntry), "{from} {to}");
                        }
                    }
                });
            }
            for thread in 0..2 {
                let namespace = &namespace;
                scope.spawn(move || {
                    for file in 0..rounds as usize {
                        // It is at one of its places, though perhaps never at the one asked.
                        let made = (0..).any(|at| {
                            let outcome = namespace.create(format!("{}/{thread}-{file}", places[at % 3]));
                            outcome.map_err(|error| assert_eq!(error.errno(), Some(Errno::NoEntry))).is_ok()
                        });
                        assert!(made);
                    }
                });
            }
        });
    });
    let place =
        places.iter().find(|place| namespace.stat(place).is_ok()).expect("the directory is somewhere");
    assert_eq!(namespace.usage(place).unwrap().entries, 2 * rounds);
    assert_eq!(namespace.usage("/").unwrap().entries, 2 * rounds + 3);
    assert_whole(&namespace);
    assert_sound(&db);
}

#[test]
fn a_history_is_replayed_and_a_wrong_one_refused() {
    let mut trace = String::from("0\tmkdir\tlib\t\n0\tmkdir\tlib/core\t\n0\tcreate\tREADME\t\n");
    for i in 0..600 {
        trace += &format!("{i}\tcreate\tlib/core/file{i}\t\n{i}\tmodify\tlib/core/file{i}\t\n");
        if i % 100 == 99 {
            trace += &format!("{i}\tmkdir\tnew{i}\t\n{i}\tmvdir\tlib/core\tnew{i}/core\n");
            trace += &format!("{i}\tmvdir\tnew{i}/core\tlib/core\n{i}\trmdir\tnew{i}\t\n");
            trace += &format!("{i}\tmv\tREADME\tlib/core/file3\n{i}\tmv\tlib/core/file3\tREADME\n");
            trace += &format!("{i}\tcreate\tlib/core/file3\t\n{i}\tunlink\tlib/core/file{i}\t\n");
        }
    }
    let report = replay::replay(&empty(), &trace).unwrap();
    assert_eq!((report.lines, report.comparisons), (trace.lines().count(), 200));
    assert_eq!(report.entries, 4 + 600 - 6);
    let shown = report.show();
    assert!(shown.contains("mvdir") && shown.contains("the largest: 596 entries"), "{shown}");
    for wrong in ["5\tmkdir\tlib\t\n", "5\tmv\tx\t\n", "5\tfly\tx\t\n", "\n", "5\tmvdir\tlib\tlib/lib\n"] {
        let error = replay::replay(&empty(), &(trace.clone() + wrong)).unwrap_err();
        assert!(error.starts_with(&format!("line {}", trace.lines().count() + 1)), "{error}");
    }
}

#[test]
fn the_recorded_history_is_replayed() {
    let Some(file) = std::env::var_os("RAMUS_FSOPS") else {
        println!("skipped: RAMUS_FSOPS names no history");
        return;
    };
    let trace = std::fs::read_to_string(&file).expect("RAMUS_FSOPS names a readable history");
    let report = replay::replay(&empty(), &trace).unwrap();
    println!("{}", report.show());
    assert_eq!(report.lines, trace.lines().count());
}
