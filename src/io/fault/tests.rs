//! The crash model itself: a storage that forgave too much would make every crash test worthless.

use crate::io::{FaultStorage, OpenMode, Storage};
use std::collections::HashSet;
use std::io::ErrorKind;

fn with_file(content: &[u8]) -> FaultStorage {
    let storage = FaultStorage::new();
    storage.replace("f", content.to_vec());
    storage
}

#[test]
fn only_synced_content_survives_the_worst_crash() {
    let storage = with_file(b"");
    let file = storage.open("f", OpenMode::ReadWrite).unwrap();
    file.write_at(0, b"synced").unwrap();
    file.sync().unwrap();
    file.write_at(0, b"lost").unwrap();
    file.set_len(2).unwrap();
    assert_eq!(storage.crash_lose_all().contents("f").unwrap(), b"synced");
    assert_eq!(storage.crash_keep_all().contents("f").unwrap(), b"lo");
    assert_eq!(storage.contents("f").unwrap(), b"lo");
}

#[test]
fn names_survive_as_a_prefix_of_their_changes() {
    let storage = FaultStorage::new();
    storage.open("a", OpenMode::Create).unwrap();
    storage.sync_dir().unwrap();
    storage.rename("a", "b").unwrap();
    storage.open("c", OpenMode::Create).unwrap();
    storage.remove("b").unwrap();
    let seen: HashSet<_> = (0..200).map(|seed| storage.crash(seed).list().unwrap().join(" ")).collect();
    assert_eq!(seen, ["a", "b", "b c", "c"].map(String::from).into());
    assert_eq!(storage.crash_lose_all().list().unwrap(), ["a"]);
}

#[test]
fn writes_tear_at_sectors_and_inside_them() {
    let storage = with_file(&[0; 2048]);
    let file = storage.open("f", OpenMode::ReadWrite).unwrap();
    file.write_at(100, &[1; 1900]).unwrap();
    let outcomes: Vec<_> = (0..500).map(|seed| storage.crash(seed).contents("f").unwrap()).collect();
    assert!(outcomes.iter().any(|content| content.iter().all(|byte| *byte == 0)));
    assert!(outcomes.iter().any(|content| content[100..2000].iter().all(|byte| *byte == 1)));
    assert!(outcomes.iter().any(|content| content[511] == 0 && content[512] == 1 && content[1024] == 0));
    assert!(outcomes.iter().any(|content| content[512] == 1 && content[1023] == 0));
    assert_eq!(storage.crash(7).contents("f"), storage.crash(7).contents("f"));
}

#[test]
fn a_later_sync_does_not_save_what_a_failed_one_lost() {
    let storage = with_file(b"");
    let file = storage.open("f", OpenMode::ReadWrite).unwrap();
    file.write_at(0, b"first").unwrap();
    storage.fail_once(0, ErrorKind::Other);
    file.sync().unwrap_err();
    file.write_at(5, b"second").unwrap();
    file.sync().unwrap();
    assert_eq!(storage.crash_lose_all().contents("f").unwrap(), b"\0\0\0\0\0second");
    assert!((0..50).any(|seed| storage.crash(seed).contents("f").unwrap() == b"firstsecond"));
}

#[test]
fn faults_come_when_ordered() {
    let storage = with_file(b"");
    let file = storage.open("f", OpenMode::ReadWrite).unwrap();
    storage.fail_once(1, ErrorKind::PermissionDenied);
    file.write_at(0, b"a").unwrap();
    assert_eq!(file.write_at(1, b"bb").unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(storage.contents("f").unwrap(), b"ab");
    file.sync().unwrap();
    storage.fail_after(1);
    storage.sync_dir().unwrap();
    storage.rename("f", "g").unwrap_err();
    storage.open("g", OpenMode::Create).unwrap_err();
    file.set_len(0).unwrap_err();
    assert_eq!(storage.list().unwrap(), ["f"]);
    assert_eq!(storage.operations(), 7);
    assert_eq!(storage.crash(1).operations(), 0);
}

#[test]
fn a_full_device_refuses_growth_only() {
    let storage = with_file(&[0; 100]);
    storage.replace("other", vec![0; 50]);
    storage.set_full(Some(160));
    let file = storage.open("f", OpenMode::ReadWrite).unwrap();
    assert_eq!(file.write_at(90, &[1; 21]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.set_len(111).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(storage.contents("f").unwrap(), [0; 100]);
    file.write_at(90, &[1; 20]).unwrap();
    file.write_at(0, &[1; 110]).unwrap();
    storage.set_full(None);
    file.set_len(1000).unwrap();
    storage.corrupt("f", 999, 0x81);
    assert_eq!(storage.contents("f").unwrap()[999], 0x81);
}
