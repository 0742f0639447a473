//! Wrong input: one line that says what is wrong, a code that is not zero, and nothing made or changed.

use crate::{Place, close};

/// Commands that need a database that exists.
const EXISTING: [&[&str]; 10] = [
    &["ls", "X"],
    &["get", "X", "k"],
    &["rm", "X", "k"],
    &["mv", "X", "k", "l"],
    &["stat", "X"],
    &["stat", "--survey", "X"],
    &["check", "X"],
    &["dump", "X"],
    &["compact", "X"],
    &["trees", "X"],
];

fn at<'a>(args: &[&'a str], db: &'a str) -> Vec<&'a str> {
    args.iter().map(|&arg| if arg == "X" { db } else { arg }).collect()
}

#[test]
fn a_database_that_is_not_there_is_not_made() {
    let place = Place::new();
    for args in EXISTING {
        place.fails(at(args, "none"), "none: no database here");
        assert!(!place.path("none").exists());
    }
}

#[test]
fn a_directory_that_is_not_a_database_stays_as_it_is() {
    let place = Place::new();
    place.write("files/a", "a");
    std::fs::create_dir_all(place.path("directories/b")).unwrap();
    for dir in ["files", "directories"] {
        for args in EXISTING {
            place.fails(at(args, dir), &format!("{dir}: not a database"));
        }
        place.fails(["put", dir, "k", "v"], "not a Ramus database");
        place.fails(["import", dir, "files"], "not a Ramus database");
        assert_eq!(std::fs::read_dir(place.path(dir)).unwrap().count(), 1);
    }
    place.fails(["ls", "files/a"], "a database is a directory");
    place.fails(["put", "files/a", "k", "v"], "files/a");
    place.fails(["import", "none/at/all", "nothing"], "nothing");
}

#[test]
fn a_database_in_use_says_who_must_close() {
    let place = Place::new();
    place.put(&["k"]);
    let writer = ramus::Db::open(place.path("db")).unwrap();
    place.fails(["get", "db", "k"], "close the program that writes to it");
    place.fails(["put", "db", "k", "w"], "close all programs");
    close(writer);
    let reader = ramus::Options::new().read_only(true).open(place.path("db")).unwrap();
    assert_eq!(place.ok(["get", "db", "k"]), "k");
    place.fails(["rm", "db", "k"], "close all programs");
    close(reader);
    place.ok(["rm", "db", "k"]);
}

#[test]
fn damage_is_named_with_its_file() {
    let place = Place::new();
    place.put(&["k"]);
    let file = place.path("db/data.ramus");
    let mut bytes = std::fs::read(&file).unwrap();
    let whole = bytes.clone();
    bytes[..8192].fill(0xAB);
    std::fs::write(&file, &bytes).unwrap();
    for args in EXISTING {
        place.fails(at(args, "db"), "data.ramus");
    }
    // Both superblocks and one unit: the file is longer than its contents.
    std::fs::write(&file, &whole[..12_288]).unwrap();
    let ran = place.run(["check", "db"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(place.ok(["get", "db", "k"]), "k");
}

#[test]
fn check_prints_what_is_damaged() {
    let place = Place::new();
    place.ok(["put", "db", "key", "a value to be found"]);
    let file = place.path("db/data.ramus");
    let whole = std::fs::read(&file).unwrap();
    let at = whole.windows(19).position(|bytes| bytes == b"a value to be found").unwrap();
    let mut bytes = whole;
    bytes[at] ^= 0xFF;
    std::fs::write(&file, &bytes).unwrap();
    let ran = place.run(["check", "db"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    let out = String::from_utf8(ran.out).unwrap();
    assert!(out.contains("data.ramus") && out.contains(" problem"), "{out}");
    assert!(place.run(["check", "--json", "db"]).out.starts_with(b"{"));
    place.fails(["get", "db", "key"], "data.ramus");
}

#[test]
fn keys_and_values_out_of_their_limits_name_the_limit() {
    let place = Place::new();
    place.put(&["k"]);
    let long = "k".repeat(8193);
    for args in [["get", "db", ""], ["rm", "db", ""]] {
        place.fails(args, "the key is empty");
    }
    place.fails(["put", "db", "", "v"], "the key is empty");
    place.fails(["mv", "db", "k", ""], "the key is empty");
    place.fails(["put", "db", &long, "v"], "over the limit of 8192");
    place.fails(["get", "db", &long], "over the limit of 8192");
    place.fails(["mv", "db", "k", &long], "over the limit of 8192");
    place.fails(["put", "db", "k", &"v".repeat(4097)], "over the limit of 4096 bytes");
    place.run_with_input(["put", "db", "k", "-"], &[b'v'; 5000]).failed("over the limit of 4096 bytes");
    place.fails(["put", "--tree", "", "db", "k", "v"], "opening the tree \"\"");
    place.fails(["ls", "--cache", "1M", "db"], "minimum");
    assert_eq!(place.ok(["get", "db", "k"]), "k");
}

#[test]
fn wrong_usage_exits_with_2() {
    let place = Place::new();
    let wrong: [&[&str]; 7] = [
        &[],
        &["frob"],
        &["ls"],
        &["ls", "--frob", "db"],
        &["ls", "--cache", "much", "db"],
        &["ls", "-d", "ab", "db"],
        &["put", "--if-absent", "--if-version", "1", "db", "k", "v"],
    ];
    for args in wrong {
        let ran = place.run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
        assert!(!ran.err.is_empty());
    }
}
