//! import: directories, lists, and lists that were interrupted.

use std::io::Write;

use crate::{Place, all, start};

fn paths(n: usize) -> String {
    (0..n).map(|i| format!("usr/share/doc/{}/file-{i}\n", i % 97)).collect()
}

#[test]
fn a_directory_is_imported_with_its_stat_data_and_again_only_where_it_changed() {
    let place = Place::new();
    place.write("src/a", "12345");
    place.write("src/d/b", "");
    assert_eq!(place.ok(["import", "db", "src"]), "3 put, 0 unchanged\n");
    assert_eq!(place.ok(["import", "db", "src"]), "0 put, 3 unchanged\n");
    let json: serde_json::Value = serde_json::from_str(&place.ok(["get", "--json", "db", "a"])).unwrap();
    assert_eq!((json["stat"]["size"].as_u64(), json["stat"]["kind"].as_str()), (Some(5), Some("file")));
    place.write("src/a", "1234567");
    let json: serde_json::Value = serde_json::from_str(&place.ok(["import", "--json", "db", "src"])).unwrap();
    assert_eq!((json["put"].as_u64(), json["unchanged"].as_u64()), (Some(1), Some(2)));
    place.ok(["import", "db", "src", "--prefix", "copy"]);
    assert_eq!(place.ok(["ls", "db", "copy"]), "a\nd/\n");
    assert!(place.ok(["check", "db"]).starts_with("sound"));
}

#[test]
fn a_database_inside_the_directory_is_left_out() {
    let place = Place::new();
    place.write("src/a", "");
    place.ok(["import", "src/db", "src"]);
    assert_eq!(place.ok(["ls", "-r", "src/db"]), "a\n");
}

#[test]
fn a_list_is_read_plain_compressed_and_from_standard_input() {
    let place = Place::new();
    place.write("list", "b\na\n\nc/d");
    place.write("list.zst", zstd::encode_all(&b"e\nf\n"[..], 3).unwrap());
    assert_eq!(place.ok(["import", "db", "list"]), "3 put, 0 unchanged\n");
    assert_eq!(place.ok(["import", "db", "list.zst", "--prefix", "p/"]), "2 put, 0 unchanged\n");
    assert_eq!(place.run_with_input(["import", "db", "-"], b"g\n").ok(), "1 put, 0 unchanged\n");
    assert_eq!(place.ok(["ls", "-r", "db"]), "a\nb\nc/d\ng\np/e\np/f\n");
    let again = place.run(["import", "db", "list"]);
    assert!(again.err.contains("list is imported already"), "{again:?}");
    assert_eq!(place.ok(["import", "--restart", "db", "list"]), "3 put, 0 unchanged\n");
    place.write("list", "b\na\n\nc/d\nnew");
    assert_eq!(place.ok(["import", "db", "list"]), "4 put, 0 unchanged\n");
}

#[test]
fn a_bad_line_is_named_and_what_came_before_is_kept() {
    let place = Place::new();
    place.write("list", paths(1100) + &"x".repeat(8193) + "\nlast\n");
    place.fails(["import", "db", "list"], "line 1101 is over the limit of 8192 bytes");
    assert_eq!(all(&place.path("db")).len(), 1100);
    let again = place.run(["import", "db", "list"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("going on after line 1,024 of list"), "{again:?}");
    place.write("cut.zst", &zstd::encode_all(paths(50_000).as_bytes(), 3).unwrap()[..9000]);
    place.fails(["import", "db", "cut.zst"], "reading cut.zst, line ");
    place.fails(["import", "db", "nothing"], "opening nothing");
    place.fails(["import", "--list", "db", "."], ". is a directory");
}

#[test]
fn an_import_that_was_killed_goes_on_where_it_was() {
    let place = Place::new();
    let lines = 300_000;
    place.write("list", paths(lines));
    let mut child = start(&mut place.command(["import", "db", "list"]));
    let journal = place.path("db/journal.wal");
    // Somewhere in the middle, or after the end of a fast one: both must come out right.
    while std::fs::metadata(&journal).map_or(0, |file| file.len()) < 2 << 20 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = all(&place.path("db")).len();
    let again = place.run(["import", "db", "list"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    let said = again.err.contains("going on after line") || again.err.contains("imported already");
    assert!(said || before < 512, "{before} records, but {again:?}");
    assert_eq!(all(&place.path("db")).len(), lines);
    assert!(place.ok(["check", "db"]).starts_with("sound"));
}

#[test]
fn durable_imports_hold_the_same() {
    let place = Place::new();
    std::fs::File::create(place.path("list")).unwrap().write_all(paths(2000).as_bytes()).unwrap();
    place.ok(["import", "--durability", "sync", "--cache", "4M", "db", "list"]);
    assert_eq!(all(&place.path("db")).len(), 2000);
}
