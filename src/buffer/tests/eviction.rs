//! Eviction and loading: contents survive, the budget holds, nobody waits for a victim's write.

use super::*;
use crate::error::ErrorKind;
use crate::sync::AtomicU64;
use std::collections::BTreeMap;

const BUDGET: u64 = 4 << 20;

/// Evicts all that nobody wants.
fn squeeze(buffer: &Buffer) {
    buffer.charge(BUDGET);
    buffer.make_room(0).unwrap();
    buffer.discharge(BUDGET);
}

#[test]
fn a_thousand_blobs_in_four_mebibytes() {
    for slab in [false, true] {
        let (_store, buffer) = buffer(BUDGET, slab);
        let (mut dice, mut model) = (Dice(0x5eed), BTreeMap::new());
        let blobs = if cfg!(miri) { 3 } else { 1000 };
        for n in 0..blobs {
            let id = make(&buffer, n, 1 + dice.roll(8000) as usize);
            model.insert(id, n);
        }
        let ids: Vec<_> = model.keys().copied().collect();
        for round in 0..8 * blobs {
            let id = ids[dice.roll(blobs) as usize];
            assert_eq!(get(&buffer, id), model[&id]);
            if dice.roll(2) == 0 {
                buffer.reserve(0).unwrap();
                let count = 1 + dice.roll(8000) as usize;
                set(&mut retry(&buffer, || buffer.lock(id)), round, count);
                model.insert(id, round);
            }
            let stats = buffer.stats();
            assert!(stats.committed_bytes <= BUDGET + (1 << 16), "{stats:?}");
            assert!(stats.dirty_bytes <= stats.committed_bytes);
        }
        for (id, number) in &model {
            assert_eq!(get(&buffer, *id), *number);
        }
        let stats = buffer.stats();
        assert!(cfg!(miri) || stats.evictions > 1000 && stats.loads > 1000, "{stats:?}");
    }
}

#[test]
fn threads_share_a_small_budget() {
    let (_store, buffer) = buffer(BUDGET, false);
    let ids: Vec<_> = (0..300).map(|_| make(&buffer, 0, 4000)).collect();
    let totals: Vec<_> = ids.iter().map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for seed in 1..=3 {
            let (ids, totals, buffer) = (&ids, &totals, &buffer);
            scope.spawn(move || {
                let mut dice = Dice(seed * 77_777);
                for _ in 0..2000 {
                    let at = dice.roll(ids.len() as u64) as usize;
                    buffer.reserve(0).unwrap();
                    let mut guard = retry(buffer, || buffer.lock(ids[at]));
                    let now = number(guard.words()).unwrap();
                    set(&mut guard, now + 1, 1000 + dice.roll(4000) as usize);
                    totals[at].fetch_add(1, Relaxed);
                }
            });
        }
    });
    for (id, total) in ids.iter().zip(&totals) {
        assert_eq!(get(&buffer, *id), total.load(Relaxed));
    }
}

#[test]
fn a_victim_is_read_but_not_latched_while_it_is_written() {
    let (store, buffer) = buffer(BUDGET, false);
    let id = make(&buffer, 5, 100);
    let (inside, calls) = (buffer.clone(), Arc::new(AtomicU64::new(0)));
    let counted = calls.clone();
    let hook = move |ids: &[BlobId], for_cut: bool| {
        assert_eq!((ids, for_cut), (&[id][..], false));
        assert_eq!(inside.lock(id).err(), Some(Fault::Miss(id)));
        assert_eq!(inside.try_lock(id).err(), Some(Fault::Miss(id)));
        assert_eq!(inside.share(id).err(), Some(Fault::Miss(id)));
        assert_eq!(inside.discard(id).err(), Some(Fault::Miss(id)));
        if counted.fetch_add(1, Relaxed) == 0 {
            let guard = inside.read(id).unwrap();
            assert_eq!(number(guard.words()), Ok(5));
            assert!(guard.validate());
            assert_eq!(guard.upgrade().err(), Some(Fault::Miss(id)));
        }
    };
    assert!(store.on_write.set(Box::new(hook)).is_ok());
    squeeze(&buffer);
    assert_eq!((buffer.resident(), buffer.dirty_bytes()), (1, 0), "it was read, so it stays, clean");
    squeeze(&buffer);
    assert_eq!((buffer.resident(), buffer.stats().committed_bytes), (0, 0));
    assert_eq!(calls.load(Relaxed), 1, "a clean blob is not written");
    set(&mut retry(&buffer, || buffer.lock(id)), 5, 10);
    squeeze(&buffer);
    assert_eq!((buffer.resident(), calls.load(Relaxed)), (0, 2));
    assert_eq!(get(&buffer, id), 5);
}

#[test]
fn a_failed_write_of_a_victim_loses_nothing() {
    let (store, buffer) = buffer(BUDGET, false);
    let mut ids = vec![make(&buffer, 0, 8000)];
    store.failures.store(u64::MAX, Relaxed);
    let error = loop {
        match buffer.reserve(1) {
            Ok(mut reservation) => {
                let mut guard = buffer.create(&mut reservation);
                set(&mut guard, ids.len() as u64, 8000);
                ids.push(guard.id());
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    store.failures.store(0, Relaxed);
    assert_eq!(buffer.stats().evictions, 0);
    squeeze(&buffer);
    assert_eq!(buffer.resident(), 0);
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(get(&buffer, *id), number as u64);
    }
}

/// Where nothing can be written, changes end with NoSpace before they take the last clean blobs, and readers get on with
/// these: each loads a few blobs and needs them all at once.
#[test]
fn reads_get_on_while_dirty_blobs_cannot_be_written() {
    let (store, buffer) = buffer(4 << 20, false);
    let clean: Vec<BlobId> = (0..200).map(|number| make(&buffer, number, 8000)).collect();
    squeeze(&buffer);
    assert_eq!(buffer.resident(), 0);
    store.failures.store(u64::MAX, Relaxed);
    let (mut dirty, mut at) = (0, 0);
    let error = loop {
        assert!(dirty < 100, "more dirty blobs than the cache holds");
        match buffer.reserve(1) {
            Ok(mut reservation) => set(&mut buffer.create(&mut reservation), 7, 8000),
            Err(error) => break error,
        }
        dirty += 1;
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(dirty >= 48, "{dirty}");
    for _ in 0..300 {
        let path: Vec<BlobId> = (0..4).map(|step| clean[(at + step * 37) % 200]).collect();
        at += 1;
        let mut loads = 0;
        while let Some(missing) = path.iter().find(|id| buffer.read(**id).is_err()) {
            buffer.load(*missing).unwrap();
            loads += 1;
            assert!(loads < 20, "a reader of four blobs gets nowhere");
        }
        assert!(buffer.stats().committed_bytes <= 4 << 20);
    }
    assert_eq!(buffer.reserve(0).map(drop).unwrap_err().kind(), ErrorKind::NoSpace, "a change is refused");
    store.failures.store(0, Relaxed);
    drop(buffer.reserve(1).unwrap());
}

#[test]
fn a_corrupt_image_is_an_error_each_time_and_names_the_blob() {
    for slab in [false, true] {
        let (store, buffer) = buffer(BUDGET, slab);
        let id = make(&buffer, 5, 100);
        squeeze(&buffer);
        let good = store.current(id).unwrap();
        let mut bad = good.clone();
        bad[0] ^= 2;
        store.plant(id, bad);
        for _ in 0..2 {
            let error = buffer.load(id).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("blob 1:"), "{error}");
            assert_eq!(buffer.read(id).err(), Some(Fault::Miss(id)));
        }
        assert_eq!((buffer.resident(), buffer.stats().committed_bytes), (0, 0));
        store.plant(id, good);
        assert_eq!(get(&buffer, id), 5);
    }
}

#[test]
fn concurrent_loads_of_one_id_read_it_once() {
    let (store, buffer) = buffer(BUDGET, false);
    let id = make(&buffer, 5, 8000);
    squeeze(&buffer);
    let (gathered, hook) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (waits_for, counts) = (gathered.clone(), hook.clone());
    let on_read = move |_| {
        counts.fetch_add(1, Relaxed);
        while waits_for.load(Relaxed) < 4 {
            std::thread::yield_now();
        }
    };
    assert!(store.on_read.set(Box::new(on_read)).is_ok());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                gathered.fetch_add(1, Relaxed);
                buffer.load(id).unwrap();
            });
        }
    });
    assert_eq!((hook.load(Relaxed), buffer.stats().loads, get(&buffer, id)), (1, 1, 5));
}

#[test]
fn an_image_that_became_stale_while_read_is_not_installed() {
    let (store, buffer) = buffer(BUDGET, false);
    let id = make(&buffer, 5, 100);
    squeeze(&buffer);
    let inside = buffer.clone();
    assert!(store.on_read.set(Box::new(move |id| inside.discard(id).unwrap())).is_ok());
    buffer.load(id).unwrap();
    assert_eq!(buffer.read(id).err(), Some(Fault::Restart));
    assert_eq!((buffer.resident(), store.used_ids()), (0, 0));
    assert_eq!(make(&buffer, 6, 10), id);
    assert_eq!(get(&buffer, id), 6);
}
