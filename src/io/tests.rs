//! What every storage must do, checked on each implementation.

use super::{FaultStorage, FileStorage, LockMode, MemoryStorage, OpenMode, Storage};
use std::io::ErrorKind;

fn every_storage(check: impl Fn(&dyn Storage)) {
    let directory = tempfile::tempdir().unwrap();
    check(&FileStorage::open_dir(directory.path().join("made/by/open"), true).unwrap());
    check(&MemoryStorage::new());
    check(&FaultStorage::new());
}

#[test]
fn reads_what_was_written_and_not_past_the_end() {
    every_storage(|storage| {
        let file = storage.open("a", OpenMode::Create).unwrap();
        file.write_at(3, b"hello").unwrap();
        file.write_at(1, b"xyz").unwrap();
        let mut buf = [9; 8];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"\0xyzello");
        assert_eq!(file.read_at(1, &mut buf).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(file.read_at(u64::from(u32::MAX), &mut buf).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.set_len(4).unwrap();
        file.set_len(6).unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 6);
        file.read_at(2, &mut buf[..4]).unwrap();
        assert_eq!(&buf[..4], b"yz\0\0");
    });
}

#[test]
fn names_follow_renames_and_removals() {
    every_storage(|storage| {
        storage.open("a", OpenMode::Create).unwrap().write_at(0, b"a").unwrap();
        storage.open("b", OpenMode::Create).unwrap().write_at(0, b"bb").unwrap();
        storage.rename("a", "b").unwrap();
        storage.sync_dir().unwrap();
        assert_eq!(storage.list().unwrap(), ["b"]);
        assert_eq!(storage.open("b", OpenMode::Read).unwrap().len().unwrap(), 1);
        assert_eq!(storage.open("a", OpenMode::ReadWrite).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(storage.rename("a", "c").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(storage.open("b", OpenMode::Create).unwrap().len().unwrap(), 0);
        storage.remove("b").unwrap();
        assert_eq!(storage.remove("b").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(storage.list().unwrap().is_empty());
    });
}

#[test]
fn one_writer_or_many_readers_hold_the_lock() {
    every_storage(|storage| {
        let busy = |mode| storage.lock(mode).map(drop).unwrap_err().kind() == ErrorKind::WouldBlock;
        let writer = storage.lock(LockMode::Exclusive).unwrap();
        assert!(busy(LockMode::Exclusive));
        assert!(busy(LockMode::Shared));
        drop(writer);
        let readers = [LockMode::Shared, LockMode::Shared].map(|mode| storage.lock(mode).unwrap());
        assert!(busy(LockMode::Exclusive));
        drop(readers);
        storage.lock(LockMode::Exclusive).unwrap();
    });
}

#[test]
fn a_missing_directory_is_not_made_unless_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent");
    assert_eq!(FileStorage::open_dir(&path, false).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!path.exists());
}
