//! ls.

use std::io::Read;

use crate::{Place, start};

fn filled() -> Place {
    let place = Place::new();
    let paths = "bin/ls\netc/a/b\nusr/share\nusr/share-x\nusr/share/doc/x\nusr/share/doc/y\nusr/share/zoo\n";
    place.run_with_input(["import", "db", "-"], paths.as_bytes()).ok();
    place
}

#[test]
fn a_directory_is_listed_with_and_without_its_slash() {
    let place = filled();
    assert_eq!(place.ok(["ls", "db"]), "bin/\netc/\nusr/\n");
    assert_eq!(place.ok(["ls", "db", "usr/share"]), "doc/\nzoo\n");
    assert_eq!(place.ok(["ls", "db", "usr/share/"]), "doc/\nzoo\n");
    assert_eq!(place.ok(["ls", "db", "usr"]), "share\nshare-x\nshare/\n");
    assert_eq!(place.ok(["ls", "db", "usr/share-x"]), "usr/share-x\n");
    assert_eq!(place.ok(["ls", "db", "usr/sh"]), "share\nshare-x\nshare/\n");
    place.fails(["ls", "db", "usr/none"], "there is no key usr/none");
}

#[test]
fn options_cut_and_turn_the_listing() {
    let place = filled();
    assert_eq!(
        place.ok(["ls", "-r", "db", "usr/share"]),
        "usr/share/doc/x\nusr/share/doc/y\nusr/share/zoo\n"
    );
    assert_eq!(place.ok(["ls", "db", "usr", "--limit", "2"]), "share\nshare-x\n");
    assert_eq!(place.ok(["ls", "db", "usr", "--after", "usr/share-x"]), "share/\n");
    assert_eq!(place.ok(["ls", "db", "--reverse"]), "usr/\netc/\nbin/\n");
    assert_eq!(place.ok(["ls", "db", "--reverse", "--after", "usr/"]), "etc/\nbin/\n");
    assert_eq!(
        place.ok(["ls", "db", "usr", "-d", "-"]),
        "usr/share\nusr/share-\nusr/share/doc/x\nusr/share/doc/y\nusr/share/zoo\n"
    );
    assert!(place.ok(["ls", "-l", "db", "usr/share-x"]).ends_with("  usr/share-x\n"));
}

#[test]
fn an_imported_directory_is_one_line() {
    let place = Place::new();
    place.write("src/d/file", "four");
    place.write("src/d-x", "");
    std::fs::create_dir(place.path("src/empty")).unwrap();
    place.ok(["import", "db", "src"]);
    assert_eq!(place.ok(["ls", "db"]), "d-x\nd/\nempty/\n");
    assert_eq!(place.ok(["ls", "-r", "db"]), "d/\nd-x\nd/file\nempty/\n");
    let long = place.ok(["ls", "-l", "db", "d"]);
    assert!(long.contains("  -rw") && long.contains("  4  ") && long.ends_with("  file\n"), "{long}");
    assert!(place.ok(["ls", "-l", "db"]).lines().all(|line| line.contains("rw")));
    place.fails(["mv", "db", "d", "e"], "d is a directory: -r moves it");
}

#[test]
fn du_counts_what_is_below_each_directory() {
    let place = filled();
    let numbers = |args: &[&str]| -> Vec<(String, u64, u64)> {
        let lines = place.ok(args);
        let line = |line: &str| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            let number = |name: &str| json[name].as_u64().unwrap();
            (json["prefix"].as_str().unwrap().to_owned(), number("keys"), number("key_bytes"))
        };
        lines.lines().map(line).collect()
    };
    let wanted = |all: &[(&str, u64, u64)]| -> Vec<_> {
        all.iter().map(|&(name, keys, bytes)| (name.to_owned(), keys, bytes)).collect()
    };
    assert_eq!(numbers(&["du", "--json", "db", "-d", "0"]), wanted(&[("", 7, 76)]));
    assert_eq!(
        numbers(&["du", "--json", "db"]),
        wanted(&[("bin/", 1, 6), ("etc/", 1, 7), ("usr/", 5, 63), ("", 7, 76)])
    );
    let usr = wanted(&[("usr/share/doc/", 2, 30), ("usr/share/", 3, 43), ("usr/", 5, 63)]);
    assert_eq!(numbers(&["du", "--json", "db", "usr", "--depth", "9"]), usr);
    assert!(place.ok(["du", "db", "usr/share"]).lines().last().unwrap().ends_with("  usr/share/"));
    assert!(place.ok(["du", "db"]).lines().last().unwrap().ends_with("  all"));
    place.fails(["du", "db", "none"], "there is no key that starts with none");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let paths: String = (0..200_000).map(|i| format!("directory/file-{i}\n")).collect();
    place.run_with_input(["import", "db", "-"], paths.as_bytes()).ok();
    let mut child = start(&mut place.command(["ls", "-r", "db"]));
    let mut first = [0; 10];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}
