//! The longest prefix against a naive search: keys that are prefixes of each other, cut apart between any two of them, below one
//! another's mounts; and beside writers who see to it that a shorter answer than some length is never right.

use super::*;
use crate::sync::{AtomicBool, Ordering};

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 33) * bound as u64) >> 31) as usize
    }
}

impl Rig {
    fn longest(&self, key: &[u8]) -> Option<(usize, (u64, Vec<u8>))> {
        let mut value = vec![0xEE; 9];
        let found = self.limb().longest_prefix(key, &mut value).unwrap();
        found.map(|(len, found)| (len, (found.version, value)))
    }

    fn compare_longest(&self, model: &Model, key: &[u8]) {
        let expected = (1..=key.len()).rev().find_map(|n| Some((n, model.get(&key[..n])?.clone())));
        assert_eq!(self.longest(key), expected, "{}", key.escape_ascii());
    }

    /// Cuts blobs in two at `key`, up to the root if need be.
    fn cut(&self, key: &[u8]) {
        self.buffer.reserve(0).unwrap();
        self.limb().cut_at(&self.gate, key).unwrap();
    }
}

/// Names of some bytes below each other, so that many keys are prefixes of others and part at every byte; some much longer, so
/// that inner blobs have few children.
fn key(dice: &mut Dice, long: bool) -> Vec<u8> {
    let mut key = Vec::new();
    for _ in 0..1 + dice.below(7) {
        let name = [&b"a"[..], b"b", b"ab", b"aab", b"\0", b"\xFF", b"/", b"a/"][dice.below(8)];
        key.extend(name);
        if long && dice.below(4) == 0 {
            key.extend([b'l'; 900]);
        }
    }
    key
}

/// Keys, parts of them, and what is below and beside.
fn probes(model: &Model, dice: &mut Dice, many: usize) -> Vec<Vec<u8>> {
    let keys: Vec<&Vec<u8>> = model.keys().collect();
    (0..many)
        .map(|_| {
            let mut probe = keys[dice.below(keys.len())].clone();
            match dice.below(6) {
                0 => {}
                1 => probe.truncate(1 + dice.below(probe.len())),
                2 => probe.extend(key(dice, false)),
                3 => *probe.last_mut().unwrap() ^= 1,
                4 => {
                    probe.pop();
                    probe.extend(key(dice, false));
                }
                _ => probe = key(dice, true),
            }
            probe
        })
        .collect()
}

#[test]
fn prefixes_of_each_other_over_blobs_cut_anywhere() {
    let (mut tallest, mut deepest) = (0, 0);
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let (mut rig, mut model) = (Rig::new(16 << 20), Model::new());
        let long = seed % 2 == 1;
        for n in 0..300 {
            let key = key(&mut dice, long);
            match dice.below(10) {
                0 if seed % 3 != 0 => drop(rig.lift(&mut model, &key)),
                0..=2 => rig.cut(&key),
                3 => assert_eq!(rig.delete(&key), model.remove(&key).is_some()),
                4 => rig.put_in(&mut model, &key, &[n as u8; 3000]),
                _ => rig.put_in(&mut model, &key, &[n as u8; 40]),
            }
            if n % 30 == 29 {
                probes(&model, &mut dice, 40).iter().for_each(|probe| rig.compare_longest(&model, probe));
            }
        }
        rig.check(&model);
        model.keys().for_each(|key| rig.compare_longest(&model, key));
        probes(&model, &mut dice, 2_000).iter().for_each(|probe| rig.compare_longest(&model, probe));
        // With every blob's first key gone, separators stay that are no keys.
        for key in model.keys().step_by(2).cloned().collect::<Vec<_>>() {
            let limb = rig.limb();
            rig.buffer.reserve(0).unwrap();
            assert!(limb.retry(|_| limb.lock_leaf(&key)).unwrap().remove(&key));
            model.remove(&key);
        }
        probes(&model, &mut dice, 2_000).iter().for_each(|probe| rig.compare_longest(&model, probe));
        let (_, stats) = rig.walked();
        assert!(stats.leaf_blobs > 20, "{stats:?}");
        (tallest, deepest) = (tallest.max(stats.height), deepest.max(stats.limb_depth));
    }
    assert!(tallest >= 3 && deepest >= 3, "{tallest} {deepest}");
}

/// A path, and what lies beside each of its prefixes in a leaf blob of its own, so that a search has them all to visit.
fn ladder(cache_bytes: u64, len: usize, mounts: &[usize]) -> (Rig, Model, Vec<u8>) {
    let (mut rig, mut model) = (Rig::new(cache_bytes), Model::new());
    let path: Vec<u8> = (0..len).map(|n| b'a' + (n * 7 % 26) as u8).collect();
    for &at in mounts {
        assert!(rig.mount(&path[..at]).is_some());
    }
    for len in 1..=path.len() {
        for beside in 0..14u8 {
            rig.put_in(&mut model, &[&path[..len], &[0, beside]].concat(), &[beside; 4000]);
        }
        rig.cut(&path[..len]);
    }
    assert!(rig.walked().1.leaf_blobs >= len as u64);
    (rig, model, path)
}

#[test]
fn a_blob_for_every_prefix_in_a_cache_that_holds_few() {
    let (mut rig, mut model, path) = ladder(4 << 20, 150, &[]);
    rig.compare_longest(&model, &path);
    for len in 1..=path.len() {
        rig.put_in(&mut model, &path[..len], &[len as u8]);
        rig.compare_longest(&model, &path);
    }
    for len in (1..path.len()).rev() {
        assert!(rig.delete(&path[..=len]));
        model.remove(&path[..=len]);
        rig.compare_longest(&model, &[&path[..], b"/more"].concat());
        rig.compare_longest(&model, &path[..=len / 2]);
    }
}

/// The shorter record goes only after the longer one came, and the other way about: so one of them is always there, and a search
/// that finds neither puts its answer together from two moments.
fn one_of_two_is_always_there(mounts: &[usize]) {
    let (mut rig, _, path) = ladder(40 << 20, 100, mounts);
    let (above, shorter, longer) = (&path[..1], &path[..3], &path[..]);
    rig.put(above, b"never right");
    rig.put(shorter, b"right");
    let below = [longer, b"/x"].concat();
    let done = AtomicBool::new(false);
    let rig = &rig;
    let mut seen = [0u64; 2];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..80_000 {
                let (comes, goes) = if round % 2 == 0 { (longer, shorter) } else { (shorter, longer) };
                rig.put_as(comes, 10_000_000 + round, b"right");
                assert!(rig.delete(goes));
            }
            done.store(true, Ordering::Release);
        });
        let mut is_right = true;
        while is_right && !done.load(Ordering::Acquire) {
            let answer = rig.longest(&below);
            is_right = answer.as_ref().is_some_and(|(_, (_, value))| value == b"right");
            seen[usize::from(answer.is_some_and(|(len, _)| len == longer.len()))] += 1;
        }
        assert!(is_right, "{seen:?}");
    });
    assert!(seen.iter().all(|&times| times > 0), "{seen:?}");
}

#[test]
fn an_answer_from_many_leaf_blobs_held_at_one_moment() {
    one_of_two_is_always_there(&[]);
}

#[test]
fn an_answer_from_limbs_and_their_hosts_held_at_one_moment() {
    one_of_two_is_always_there(&[20, 60, 61]);
}
