//! Latches and guards: no torn read validates, no update is lost, ids are reused safely.

use super::*;
use crate::error::ErrorKind;
use crate::sync::{AtomicBool, AtomicU64};

const ROUNDS: u64 = if cfg!(miri) { 20 } else { 20_000 };

#[test]
fn readers_never_validate_a_torn_state() {
    for slab in [false, true] {
        let (_store, buffer) = buffer(8 << 20, slab);
        let id = make(&buffer, 0, 2000);
        let (stop, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !stop.load(Relaxed) {
                        let now = get(&buffer, id);
                        assert!(now >= last, "went back from {last} to {now}");
                        last = now;
                        seen.fetch_add(1, Relaxed);
                        let shared = retry(&buffer, || buffer.share(id));
                        number(shared.words()).unwrap();
                    }
                });
            }
            for n in 1..=ROUNDS {
                set(&mut retry(&buffer, || buffer.lock(id)), n, 2000);
            }
            stop.store(true, Relaxed);
        });
        assert_eq!(get(&buffer, id), ROUNDS);
    }
}

#[test]
fn upgrades_lose_no_update() {
    for slab in [false, true] {
        let (_store, buffer) = buffer(8 << 20, slab);
        let id = make(&buffer, 0, 4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS / 4 {
                        retry(&buffer, || {
                            let guard = buffer.read(id)?;
                            let read = number(guard.words());
                            let mut guard = guard.upgrade()?;
                            set(&mut guard, read.unwrap() + 1, 4);
                            Ok(())
                        });
                    }
                });
            }
        });
        assert_eq!(get(&buffer, id), ROUNDS / 4 * 4);
    }
}

#[test]
fn a_latch_refuses_as_its_mode_says() {
    let (_store, buffer) = buffer(8 << 20, false);
    let id = make(&buffer, 1, 1);
    let before = buffer.read(id).unwrap();
    {
        let _shared = buffer.share(id).unwrap();
        assert!(before.validate());
        assert_eq!(buffer.try_lock(id).err(), Some(Fault::Restart));
        assert_eq!(before.upgrade().err(), Some(Fault::Restart));
        drop(buffer.share(id).unwrap());
    }
    drop(buffer.lock(id).unwrap());
    assert!(before.validate(), "a lock that changed nothing");
    set(&mut buffer.try_lock(id).unwrap(), 2, 1);
    assert!(!before.validate());
    assert_eq!(before.upgrade().err(), Some(Fault::Restart));
    let now = buffer.read(id).unwrap();
    let guard = now.upgrade().unwrap();
    assert!(!now.validate(), "while a writer is in");
    drop(guard);
    assert!(now.validate());
}

#[test]
fn a_freed_id_says_restart_and_comes_back_zeroed() {
    for slab in [false, true] {
        let (store, buffer) = buffer(8 << 20, slab);
        let id = make(&buffer, 7, 1000);
        let stale = buffer.read(id).unwrap();
        buffer.lock(id).unwrap().free();
        assert!(!stale.validate());
        if !slab {
            assert_eq!(number(stale.words()), Ok(0), "memory is given back");
        }
        assert_eq!(buffer.read(id).err(), Some(Fault::Restart));
        buffer.load(id).unwrap();
        assert_eq!(buffer.lock(id).err(), Some(Fault::Restart));
        assert_eq!((buffer.resident(), buffer.stats().committed_bytes, store.used_ids()), (0, 0, 0));
        let mut reservation = buffer.reserve(2).unwrap();
        let guard = buffer.create(&mut reservation);
        assert_eq!(guard.id(), id);
        assert!(guard.words().iter().all(|word| word.load(Relaxed) == 0));
        drop(guard);
        assert!(!stale.validate());
        drop(reservation);
        assert_eq!(store.used_ids(), 1);
    }
}

#[test]
fn ids_out_of_range_are_errors() {
    let (_store, buffer) = buffer(8 << 20, false);
    for (id, kind) in
        [(0, ErrorKind::Corrupt), (u32::MAX, ErrorKind::Corrupt), (1 << 20, ErrorKind::Unsupported)]
    {
        let id = BlobId(id);
        assert_eq!(buffer.read(id).err(), Some(Fault::Miss(id)));
        assert_eq!(buffer.load(id).unwrap_err().kind(), kind, "{id:?}");
    }
}

#[test]
fn memory_follows_the_used_bytes() {
    let (_store, buffer) = buffer(8 << 20, false);
    let id = make(&buffer, 1, 6000);
    if buffer.arena.pages(1) != 1 {
        return;
    }
    assert_eq!(buffer.stats().committed_bytes, 12 * 4096);
    assert_eq!(buffer.dirty_bytes(), 12 * 4096);
    set(&mut buffer.lock(id).unwrap(), 2, 5500);
    assert_eq!(buffer.stats().committed_bytes, 12 * 4096, "one page is not given back");
    set(&mut buffer.lock(id).unwrap(), 3, 10);
    assert_eq!(buffer.stats().committed_bytes, 4096);
    set(&mut buffer.lock(id).unwrap(), 4, 8190);
    assert_eq!(buffer.stats().committed_bytes, 16 * 4096);
    assert_eq!(get(&buffer, id), 4);
}

#[test]
fn guards_may_cross_threads_with_the_buffer() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Buffer>();
    is_shared::<Gate>();
}
