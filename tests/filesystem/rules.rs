//! The rules, one by one.

use ramus::Db;

use super::{assert_whole, empty, errno, paths};
use crate::namespace::{DirEntry, Errno, Kind, Namespace};

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
fn an_exchange_swaps_names_of_any_kind() {
    let namespace = with(&["/d/", "/d/in", "/e/", "/e/x/", "/e/x/y", "/f", "/g"]);
    namespace.truncate("/f", 7).unwrap();
    let inodes = |paths: &[&str]| -> Vec<u64> {
        paths.iter().map(|path| namespace.stat(path).unwrap().inode).collect()
    };
    let before = inodes(&["/d", "/e", "/f", "/g"]);
    namespace.exchange("/f", "/g").unwrap();
    assert_eq!(namespace.stat("/g").unwrap().size, 7);
    namespace.exchange("/d", "/e").unwrap();
    assert_eq!(paths(&namespace), ["/d/", "/d/x/", "/d/x/y", "/e/", "/e/in", "/f", "/g"]);
    namespace.exchange("/f", "/d/").unwrap();
    assert_eq!(paths(&namespace), ["/d", "/e/", "/e/in", "/f/", "/f/x/", "/f/x/y", "/g"]);
    assert_eq!(inodes(&["/e", "/f", "/g", "/d"]), before);
    // From one directory into another, and with itself.
    namespace.exchange("/e/in", "/f/x").unwrap();
    namespace.exchange("/g", "/g").unwrap();
    assert_eq!(paths(&namespace), ["/d", "/e/", "/e/in/", "/e/in/y", "/f/", "/f/x", "/g"]);
    let refused = |one: &str, other: &str| errno(namespace.exchange(one, other));
    assert_eq!(refused("/", "/g"), Errno::Busy);
    assert_eq!(refused("/e", "/e/in/y"), Errno::Invalid);
    assert_eq!(refused("/g", "/none"), Errno::NoEntry);
    assert_eq!(refused("/g/x", "/d"), Errno::NotDirectory);
    assert_eq!(refused("/g/", "/d"), Errno::NotDirectory);
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
