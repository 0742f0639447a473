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
fn allocated_space_reads_as_zeros() {
    every_storage(|storage| {
        let file = storage.open("a", OpenMode::Create).unwrap();
        file.write_at(0, b"hello").unwrap();
        for (at, bytes) in [(5, 5 << 20), (5 + (5 << 20), 1)] {
            file.allocate(at, bytes).unwrap();
            assert_eq!(file.len().unwrap(), at + bytes);
        }
        file.write_at(1 << 20, b"there").unwrap();
        let mut buf = vec![9; 6 + (5 << 20)];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!((&buf[..5], &buf[1 << 20..][..5]), (&b"hello"[..], &b"there"[..]));
        assert_eq!(buf.iter().filter(|byte| **byte != 0).count(), 10);
        assert!(file.allocate(u64::MAX - 1, 9).is_err());
    });
}

#[test]
#[cfg(target_os = "linux")]
fn allocated_space_is_there() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let storage = FileStorage::open_dir(directory.path(), false).unwrap();
    let file = storage.open("a", OpenMode::Create).unwrap();
    file.allocate(0, 3 << 20).unwrap();
    file.sync().unwrap();
    let blocks = std::fs::metadata(directory.path().join("a")).unwrap().blocks();
    assert!(blocks * 512 >= 3 << 20, "{blocks} blocks");
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
