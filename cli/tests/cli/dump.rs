//! dump and load.

use crate::{Place, all, close};

#[test]
fn odd_bytes_and_all_trees_go_there_and_back() {
    let place = Place::new();
    let every_byte: Vec<u8> = (0..=255).collect();
    let db = ramus::Db::open(place.path("db")).unwrap();
    let tree = db.default_tree();
    tree.put(&every_byte, &every_byte).unwrap();
    tree.put("tab\tnew\nline\\", "").unwrap();
    tree.put("é\u{202e}", "end\t0\n").unwrap();
    tree.put([0xFF; 8192], [0; 4096]).unwrap();
    for i in 0..2000 {
        tree.put(format!("many/{i}"), format!("{i}")).unwrap();
    }
    db.tree("odd\tname\n").unwrap().put("tree", "end").unwrap();
    drop(tree);
    close(db);
    place.ok(["dump", "db", "dump.txt"]);
    let dump = place.ok(["dump", "db"]);
    assert_eq!(dump.as_bytes(), std::fs::read(place.path("dump.txt")).unwrap());
    assert!(dump.starts_with("ramus-dump 1\ntree\tdefault\n") && dump.ends_with("\nend\t2005\n"));
    place.ok(["load", "copy", "dump.txt"]);
    assert_eq!(all(&place.path("copy")), all(&place.path("db")));
    assert_eq!(place.ok(["trees", "copy"]), "default\nodd\\tname\\n\n");
    place.run_with_input(["load", "third"], dump.as_bytes()).ok();
    assert_eq!(place.ok(["dump", "third"]), dump);
    place.write("dump.zst", zstd::encode_all(dump.as_bytes(), 3).unwrap());
    place.ok(["load", "fourth", "dump.zst"]);
    assert_eq!(place.ok(["dump", "fourth"]), dump);
}

#[test]
fn an_edited_dump_is_loaded_whatever_its_order() {
    let place = Place::new();
    let dump = "ramus-dump 1\ntree\tdefault\n\tb\t1\n\tc\t2\n\ta\t3\n\ta\t4\n\tb\t5\ntree\tx\n\ta\t6\n\
                tree\tdefault\n\tc\t7\nend\t7\n";
    place.write("dump.txt", dump);
    place.ok(["load", "db", "dump.txt"]);
    assert_eq!(
        place.ok(["dump", "db"]),
        "ramus-dump 1\ntree\tdefault\n\ta\t4\n\tb\t5\n\tc\t7\ntree\tx\n\ta\t6\nend\t4\n"
    );
}

/// A dump to a device replaced the device by a file, if the user was allowed to.
#[cfg(unix)]
#[test]
fn a_dump_replaces_files_only_and_no_links() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.put(&["a"]);
    let dump = place.ok(["dump", "db"]);
    symlink("/dev/null", place.path("device")).unwrap();
    place.ok(["dump", "db", "device"]);
    assert_eq!(std::fs::read_link(place.path("device")).unwrap(), std::path::Path::new("/dev/null"));
    place.write("there/old.txt", "old");
    symlink("there/old.txt", place.path("link")).unwrap();
    place.ok(["dump", "db", "link"]);
    assert!(std::fs::symlink_metadata(place.path("link")).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(place.path("there/old.txt")).unwrap(), dump);
    place.fails(["dump", "db", "there"], "writing there");
}

#[test]
fn a_damaged_dump_is_refused_with_its_line_before_anything_is_loaded() {
    let place = Place::new();
    let long = "k".repeat(8193);
    let damaged = [
        ("", "line 1: not a dump"),
        ("ramus-dump 2\n", "line 1: not a dump"),
        ("ramus-dump 1\n", "the end line is missing"),
        ("ramus-dump 1\n\tk\tv\nend\t1\n", "line 2: a record before the first tree line"),
        ("ramus-dump 1\ntree\tdefault\n\tk\tv\n", "line 4: the end line is missing"),
        (
            "ramus-dump 1\ntree\tdefault\n\tk\tv\nend\t2\n",
            "line 4: the end line counts 2 records, there are 1",
        ),
        ("ramus-dump 1\ntree\tdefault\n\tk\\q\tv\nend\t1\n", "line 3: \"\\q\" is not an escape"),
        ("ramus-dump 1\ntree\tdefault\n\t\tv\nend\t1\n", "line 3: the key is empty"),
        (&format!("ramus-dump 1\ntree\td\n\t{long}\tv\nend\t1\n"), "line 3: the key of 8193 bytes"),
        ("ramus-dump 1\ntree\tdefault\nk\tv\nend\t1\n", "line 3: neither"),
        ("ramus-dump 1\ntree\t\nend\t0\n", "line 2: a tree's name"),
        ("ramus-dump 1\nend\tx\n", "line 2: the end line has no number"),
        ("ramus-dump 1\nend\t0\nmore\n", "line 3: there is more after the end line"),
    ];
    for (dump, what) in damaged {
        place.write("dump.txt", dump);
        place.fails(["load", "db", "dump.txt"], what);
        assert!(!place.path("db").exists(), "{what}");
    }
    place.fails(["load", "db", "none.txt"], "opening none.txt");
    place.fails(["dump", "db", "x"], "no database here");
    let part = b"ramus-dump 1\ntree\tdefault\n\tk\tv\n\tbad\nend\t2\n";
    place.run_with_input(["load", "db", "-"], part).failed("standard input: line 4: neither");
    assert_eq!(place.ok(["ls", "db"]), "k\n");
}
