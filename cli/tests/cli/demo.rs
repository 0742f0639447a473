//! demo, with its child that is killed.

use crate::Place;

#[test]
fn the_demo_verifies_a_small_list_and_leaves_a_sound_database() {
    let place = Place::new();
    // Some lines twice: they count once.
    let list: String = (0..3000).map(|i| format!("usr/lib/{}/{}\n", i % 50, i % 2500)).collect();
    let different = list.lines().collect::<std::collections::HashSet<_>>().len();
    place.write("list", &list);
    let table = place.ok(["demo", "list", "--dir", "db"]);
    assert!(table.contains("ok      every acknowledged write is there"), "{table}");
    assert!(!table.contains("FAILED"), "{table}");
    assert!(table.contains("\nmove 2,500 keys "), "{table}");
    assert_eq!(place.ok(["ls", "-r", "db"]).lines().count(), different);
    assert!(place.ok(["check", "db"]).starts_with("sound"));
    place.fails(["demo", "list", "--dir", "db"], "not empty");
}

#[test]
fn the_demo_walks_a_directory_and_speaks_json() {
    let place = Place::new();
    (0..200).for_each(|i| place.write(&format!("src/{}/{i}", i % 7), "x"));
    let json = place.ok(["demo", "src", "--json", "--max", "150", "--cache", "16M", "--dir", "db"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["verified"], true, "{json}");
    assert!(json["acknowledged"].as_u64() > Some(0));
    assert_eq!(json["steps"][0]["count"], 150);
    assert_eq!(place.ok(["ls", "-r", "db"]).lines().count(), 150);
}

#[test]
fn the_demo_of_nothing_fails() {
    let place = Place::new();
    place.write("list", "\n\n");
    let dir = place.path("db");
    place.fails(["demo", "list", "--dir", dir.to_str().unwrap()], "there are no paths to load");
}
