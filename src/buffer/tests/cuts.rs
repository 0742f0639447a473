//! Cuts: whatever goes on meanwhile, what the store gets for a cut is the state at the cut.

use super::*;
use crate::sync::{AtomicBool, AtomicU64, Mutex};
use std::collections::BTreeMap;

fn numbers(table: &BTreeMap<BlobId, Vec<u8>>) -> BTreeMap<BlobId, u64> {
    table.iter().map(|(id, image)| (*id, image_number(image))).collect()
}

#[test]
fn changes_and_frees_after_the_cut_do_not_reach_it() {
    let (store, buffer) = buffer(8 << 20, false);
    let ids: Vec<_> = (0..5).map(|n| make(&buffer, n, 100)).collect();
    assert_eq!(buffer.epoch(), 1);
    buffer.begin_cut(|| store.begin_cut());
    assert_eq!(buffer.epoch(), 2);
    set(&mut buffer.lock(ids[1]).unwrap(), 101, 8000);
    set(&mut buffer.lock(ids[1]).unwrap(), 102, 10);
    buffer.lock(ids[2]).unwrap().free();
    let reused = make(&buffer, 300, 10);
    assert_eq!(reused, ids[2]);
    assert!(buffer.stats().shadow_bytes >= 2 * 102 * 8);
    buffer.write_pending().unwrap();
    assert_eq!(buffer.stats().shadow_bytes, 0);
    buffer.end_cut();
    let (table, mut written) = store.end_cut();
    assert_eq!(numbers(&table), ids.iter().zip(0..).map(|(id, n)| (*id, n)).collect());
    written.sort();
    assert_eq!(written, ids, "each exactly once");
    assert_eq!(buffer.dirty_bytes(), 2 * 4096, "the changed one and the new one");

    buffer.begin_cut(|| store.begin_cut());
    buffer.write_pending().unwrap();
    buffer.end_cut();
    let (table, written) = store.end_cut();
    assert_eq!(written, [ids[1], reused]);
    assert_eq!((image_number(&table[&ids[1]]), image_number(&table[&reused])), (102, 300));
    assert_eq!(buffer.dirty_bytes(), 0);
}

#[test]
fn a_change_while_its_image_is_written_is_not_lost() {
    let (store, buffer) = buffer(8 << 20, false);
    let (changed, freed) = (make(&buffer, 1, 10), make(&buffer, 2, 10));
    let (inside, outside) = (buffer.clone(), store.clone());
    let hook = move |ids: &[BlobId], _: bool| {
        if ids.len() == 2 {
            set(&mut inside.lock(changed).unwrap(), 11, 10);
            inside.lock(freed).unwrap().free();
            assert_eq!(outside.used_ids(), 2, "an id with a write under way is not free");
        }
    };
    assert!(store.on_write.set(Box::new(hook)).is_ok());
    buffer.begin_cut(|| store.begin_cut());
    buffer.write_pending().unwrap();
    buffer.end_cut();
    assert_eq!(numbers(&store.end_cut().0), BTreeMap::from([(changed, 1), (freed, 2)]));
    assert_eq!(store.used_ids(), 1);
    assert!(store.current(freed).is_none());
    assert!(buffer.dirty_bytes() > 0);
    buffer.begin_cut(|| store.begin_cut());
    buffer.write_pending().unwrap();
    buffer.end_cut();
    assert_eq!(numbers(&store.end_cut().0), BTreeMap::from([(changed, 11)]));
}

#[test]
fn a_blob_stays_in_memory_while_its_image_is_written() {
    let (store, buffer) = buffer(4 << 20, false);
    let id = make(&buffer, 1, 10);
    let inside = buffer.clone();
    let hook = move |_: &[BlobId], _: bool| {
        inside.make_room(4 << 20).unwrap();
        assert!(inside.read(id).is_ok(), "the store does not have it yet");
    };
    assert!(store.on_write.set(Box::new(hook)).is_ok());
    buffer.begin_cut(|| store.begin_cut());
    buffer.write_pending().unwrap();
    buffer.end_cut();
    buffer.make_room(4 << 20).unwrap();
    assert_eq!(buffer.resident(), 0);
    assert_eq!(numbers(&store.end_cut().0), BTreeMap::from([(id, 1)]));
}

#[test]
fn a_failed_write_for_a_cut_can_be_made_again_or_given_up() {
    for give_up in [false, true] {
        let (store, buffer) = buffer(8 << 20, false);
        let ids: Vec<_> = (0..4).map(|n| make(&buffer, n, 10)).collect();
        let (inside, hooked, done) = (buffer.clone(), ids.clone(), AtomicBool::new(false));
        let hook = move |ids: &[BlobId], _: bool| {
            if ids.len() == 3 && !done.swap(true, Relaxed) {
                set(&mut inside.lock(hooked[1]).unwrap(), 101, 10);
                inside.lock(hooked[2]).unwrap().free();
            }
        };
        assert!(store.on_write.set(Box::new(hook)).is_ok());
        buffer.begin_cut(|| store.begin_cut());
        set(&mut buffer.lock(ids[0]).unwrap(), 100, 10);
        store.failures.store(1, Relaxed);
        buffer.write_pending().unwrap_err();
        assert!(buffer.stats().shadow_bytes > 0, "the failed shadow is kept");
        // Now the shadow of 0 is written, and the write of the others, during which 1 and 2 change, fails.
        store.failures.store(0, Relaxed);
        assert!(buffer.write_shadows_now().unwrap());
        store.failures.store(1, Relaxed);
        buffer.write_pending().unwrap_err();
        set(&mut buffer.lock(ids[3]).unwrap(), 103, 10);
        assert_eq!(store.used_ids(), 3);
        if give_up {
            buffer.end_cut();
            store.end_cut();
            assert_eq!(buffer.stats().shadow_bytes, 0);
            buffer.begin_cut(|| store.begin_cut());
        }
        buffer.write_pending().unwrap();
        buffer.end_cut();
        let (table, _) = store.end_cut();
        let expected = if give_up {
            BTreeMap::from([(ids[0], 100), (ids[1], 101), (ids[3], 103)])
        } else {
            BTreeMap::from([(ids[0], 0), (ids[1], 1), (ids[2], 2), (ids[3], 3)])
        };
        assert_eq!(numbers(&table), expected);
        assert_eq!(buffer.dirty_bytes() > 0, !give_up);
    }
}

#[test]
fn a_cut_that_begins_while_a_victim_is_written_gets_its_image() {
    let (store, buffer) = buffer(4 << 20, false);
    let id = make(&buffer, 9, 10);
    let (inside, outside) = (buffer.clone(), store.clone());
    let hook = move |_: &[BlobId], for_cut: bool| {
        if !for_cut {
            inside.begin_cut(|| outside.begin_cut());
        }
    };
    assert!(store.on_write.set(Box::new(hook)).is_ok());
    buffer.charge(4 << 20);
    buffer.make_room(0).unwrap();
    buffer.discharge(4 << 20);
    set(&mut retry(&buffer, || buffer.lock(id)), 10, 10);
    buffer.write_pending().unwrap();
    buffer.end_cut();
    assert_eq!(numbers(&store.end_cut().0), BTreeMap::from([(id, 9)]));
    assert_eq!(get(&buffer, id), 10);
}

#[test]
fn cuts_are_exact_under_writers_eviction_and_failures() {
    for slab in [false, true] {
        let (store, buffer) = buffer(4 << 20, slab);
        let slow = |_: &[BlobId], _: bool| std::thread::sleep(std::time::Duration::from_micros(200));
        assert!(store.on_write.set(Box::new(slow)).is_ok());
        let (gate, stop) = (Gate::new(), AtomicBool::new(false));
        let model = Mutex::new(BTreeMap::new());
        let changes = AtomicU64::new(0);
        for n in 0..200 {
            model.lock().insert(make(&buffer, n, 100), n);
        }
        std::thread::scope(|scope| {
            for seed in 1..=3 {
                let (buffer, gate, model, stop, changes) = (&buffer, &gate, &model, &stop, &changes);
                scope.spawn(move || {
                    let mut dice = Dice(seed * 0x9e37_79b9);
                    while !stop.load(Relaxed) {
                        write_one(buffer, gate, model, &mut dice);
                        changes.fetch_add(1, Relaxed);
                    }
                });
            }
            let checked = scope.spawn(|| {
                let mut dice = Dice(42);
                for _ in 0..25 {
                    let before = changes.load(Relaxed);
                    while changes.load(Relaxed) < before + 100 {
                        std::thread::yield_now();
                    }
                    let expected = {
                        let _closed = gate.close();
                        buffer.begin_cut(|| store.begin_cut());
                        model.lock().clone()
                    };
                    if dice.roll(3) == 0 {
                        store.failures.store(1, Relaxed);
                    }
                    while buffer.write_pending().is_err() {}
                    buffer.end_cut();
                    assert_eq!(numbers(&store.end_cut().0), expected);
                }
            });
            let checked = checked.join();
            stop.store(true, Relaxed);
            assert!(checked.is_ok());
        });
        let model = model.into_inner();
        assert_eq!(store.used_ids(), model.len());
        for (id, number) in &model {
            assert_eq!(get(&buffer, *id), *number);
        }
        let stats = buffer.stats();
        assert!(stats.evictions > 0 && stats.shadow_bytes == 0, "{stats:?}");
    }
}

/// One change of a random blob: mostly a new number, at times a new blob for it.
fn write_one(buffer: &Buffer, gate: &Gate, model: &Mutex<BTreeMap<BlobId, u64>>, dice: &mut Dice) {
    let count = 1 + dice.roll(8000) as usize;
    let (replace, number) = (dice.roll(8) == 0, dice.roll(1 << 40));
    // An injected failure of an eviction comes out here.
    let Ok(mut reservation) = buffer.reserve(usize::from(replace)) else { return };
    loop {
        let entry = gate.enter();
        let id = {
            let model = model.lock();
            *model.keys().nth(dice.roll(model.len() as u64) as usize).unwrap()
        };
        match buffer.lock(id) {
            Ok(mut guard) => {
                if replace {
                    let mut new = buffer.create(&mut reservation);
                    set(&mut new, number, count);
                    // The model forgets the old id before it can be used again.
                    let mut model = model.lock();
                    model.remove(&id);
                    model.insert(new.id(), number);
                    guard.free();
                } else {
                    set(&mut guard, number, count);
                    model.lock().insert(id, number);
                }
                return;
            }
            Err(Fault::Miss(id)) => {
                drop(entry);
                let _ = buffer.load(id);
            }
            Err(Fault::Restart) => {}
        }
    }
}
