//! get, put, rm, mv, and the commands about a database as a whole.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::Place;

#[test]
fn what_was_put_is_got_byte_by_byte() {
    let place = Place::new();
    place.ok(["put", "db", "a/b", "value"]);
    assert_eq!(place.ok(["get", "db", "a/b"]), "value");
    place.run_with_input(["put", "db", "raw", "-"], b"\0\xff\n").ok();
    assert_eq!(place.run(["get", "db", "raw"]).out, b"\0\xff\n");
    let json = place.ok(["get", "--json", "db", "raw"]);
    assert!(json.contains(r#""value_hex":"00ff0a""#) && json.contains(r#""version":"#), "{json}");
    place.fails(["get", "db", "a/c"], "there is no key a/c");
    place.fails(["get", "db", "a"], "a is a directory");
}

#[test]
fn keys_may_be_any_bytes() {
    let place = Place::new();
    let odd = OsStr::from_bytes(b"od\xff\ndd");
    let arg = OsStr::new;
    place.ok([arg("put"), arg("db"), odd, arg("v")]);
    assert_eq!(place.ok([arg("get"), arg("db"), odd]), "v");
    assert_eq!(place.ok(["ls", "db"]), "od\\xff\\ndd\n");
    assert!(place.ok(["ls", "db", "--json"]).contains(r#""key_hex":"6f64ff0a6464""#));
}

#[test]
fn conditional_puts_keep_what_is_there() {
    let place = Place::new();
    let version = |json: String| -> u64 {
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["version"].as_u64().unwrap()
    };
    let first = version(place.ok(["put", "--json", "--if-absent", "db", "k", "1"]));
    place.fails(["put", "--if-absent", "db", "k", "2"], "there is a record of k already");
    place.fails(["put", "--if-version", "999999999", "db", "k", "2"], "version");
    place.fails(["put", "--if-version", "1", "db", "none", "2"], "not there");
    let first = first.to_string();
    let second = version(place.ok(["put", "--json", "--if-version", &first, "db", "k", "2"]));
    assert_eq!(version(place.ok(["get", "--json", "db", "k"])), second);
    assert_eq!(place.ok(["get", "db", "k"]), "2");
}

#[test]
fn rm_goes_on_after_a_key_that_is_not_there() {
    let place = Place::new();
    place.put(&["a", "b", "d/x"]);
    place.fails(["rm", "db", "nope", "a"], "there is no key nope");
    place.fails(["rm", "db", "d"], "d is a directory");
    place.ok(["rm", "-f", "db", "a", "b"]);
    assert_eq!(place.ok(["ls", "-r", "db"]), "d/x\n");
}

#[test]
fn mv_moves_one_key_and_replaces_only_if_told_to() {
    let place = Place::new();
    place.put(&["a", "b", "d/x"]);
    place.fails(["mv", "db", "a", "b"], "-f replaces it");
    place.fails(["mv", "db", "d", "e"], "d is a directory: -r moves it");
    place.fails(["mv", "db", "nope", "e"], "there is no key nope");
    place.fails(["mv", "db", "a", "d"], "write d/ to move the record into it");
    place.ok(["mv", "-f", "db", "a", "b"]);
    assert_eq!(place.ok(["get", "db", "b"]), "a");
    place.ok(["mv", "db", "b", "d/"]);
    assert_eq!(place.ok(["ls", "-r", "db"]), "d/b\nd/x\n");
}

#[test]
fn rm_deletes_directories_only_if_told_to() {
    let place = Place::new();
    place.put(&["a", "d", "d-x", "d/x", "d/y/z", "e/f"]);
    place.fails(["rm", "db", "d/y"], "-r deletes all keys below it");
    place.fails(["rm", "-r", "db", "none", "d"], "there is no key none");
    assert_eq!(place.ok(["ls", "-r", "db"]), "a\nd-x\ne/f\n");
    place.ok(["rm", "-r", "db", "e/", "a"]);
    place.ok(["rm", "-rf", "db", "e"]);
    assert_eq!(place.ok(["ls", "-r", "db"]), "d-x\n");
}

#[test]
fn mv_moves_directories_only_if_told_to() {
    let place = Place::new();
    place.put(&["d", "d-x", "d/x", "d/y/z", "e/f"]);
    place.fails(["mv", "db", "d/y", "k"], "-r moves it");
    place.fails(["mv", "-r", "db", "none", "k"], "there is no key none");
    place.fails(["mv", "-r", "db", "d", "d/y"], "lie inside each other");
    place.fails(["mv", "-r", "db", "d", "d"], "is where it is");
    place.fails(["mv", "-r", "db", "d", "e"], "there is e already; -f replaces it");
    place.ok(["mv", "-r", "db", "d", "e/"]);
    assert_eq!(place.ok(["ls", "-r", "db"]), "d-x\ne/d\ne/d/x\ne/d/y/z\ne/f\n");
    assert_eq!(place.ok(["get", "db", "e/d/y/z"]), "d/y/z");
    place.ok(["mv", "-rf", "db", "e/d/", "d-x"]);
    assert_eq!(place.ok(["ls", "-r", "db"]), "d-x\nd-x/x\nd-x/y/z\ne/f\n");
    place.ok(["mv", "-r", "db", "e", "g/h"]);
    assert_eq!(place.ok(["ls", "-r", "db"]), "d-x\nd-x/x\nd-x/y/z\ng/h/f\n");
    assert!(place.ok(["check", "db"]).starts_with("sound: "));
}

#[test]
fn trees_are_apart() {
    let place = Place::new();
    place.ok(["put", "db", "k", "default"]);
    place.ok(["put", "--tree", "other", "db", "k", "else"]);
    assert_eq!(place.ok(["trees", "db"]), "default\nother\n");
    assert_eq!(place.ok(["get", "db", "k", "--tree", "other"]), "else");
    assert_eq!(place.ok(["get", "db", "k"]), "default");
    place.fails(["ls", "db", "--tree", "none"], "there is no tree \"none\"; there are: default, other");
}

#[test]
fn stat_check_and_compact_say_what_is_there() {
    let place = Place::new();
    place.put(&["a", "b", "c"]);
    let number = |args: &[&str], name: &str| {
        let json: serde_json::Value = serde_json::from_str(&place.ok(args)).unwrap();
        json[name].as_u64()
    };
    assert_eq!(number(&["stat", "--json", "--survey", "db"], "entries"), Some(3));
    assert!(number(&["stat", "--json", "db"], "last_version") >= Some(3));
    assert_eq!(number(&["stat", "--json", "db"], "entries"), None);
    assert!(place.ok(["stat", "--survey", "db"]).contains("entries"));
    assert_eq!(number(&["check", "--json", "db"], "entries"), Some(3));
    assert!(place.ok(["check", "db"]).starts_with("sound: "));
    assert!(place.ok(["compact", "db"]).starts_with("data file: "));
    assert_eq!(place.ok(["ls", "db"]), "a\nb\nc\n");
}
