//! What a check finds in limbs whose mounts do not fit what is around them.

use super::mounts::hang;
use super::*;
use crate::art::{Below, Child};

/// A sound host of two leaf blobs cut at `usr/m`, with a mount `lib` in the left one.
fn two_blobs() -> Rig {
    let mut rig = Rig::new(8 << 20);
    assert!(rig.mount(b"lib").is_some());
    for key in ["a", "lib/x", "usr/a", "usr/z"] {
        rig.put(key.as_bytes(), b"v");
    }
    // The first makes the root an inner blob.
    rig.limb().cut_at(&rig.gate, b"usr/m").unwrap();
    let (problems, stats) = rig.walked();
    assert!(problems.is_empty() && stats.leaf_blobs == 3, "{problems:?} {stats:?}");
    rig
}

/// Exactly one problem, which says this.
fn finds(rig: &Rig, what: &str) {
    let (problems, _) = rig.walked();
    assert!(problems.len() == 1 && problems[0].contains(what), "{what}: {problems:?}");
}

#[test]
fn a_check_finds_a_separator_inside_a_mount() {
    let rig = two_blobs();
    rig.delete(b"usr/a");
    rig.limb().admit(&rig.gate, b"usr/").unwrap();
    let planted = Limb::plant(&rig.buffer, &mut rig.buffer.reserve(1).unwrap(), rig.database);
    hang(&rig.buffer, rig.root, b"usr/", Child { id: planted.0, delta: 0, below: Below::default() });
    finds(&rig, "inside the range of the mount usr/");
}

#[test]
fn a_check_finds_a_limb_that_is_mounted_twice() {
    let rig = two_blobs();
    let id = rig.mount(b"a/first").unwrap();
    rig.limb().admit(&rig.gate, b"b/second").unwrap();
    hang(&rig.buffer, rig.root, b"b/second", Child { id: id.0, delta: 0, below: Below::default() });
    finds(&rig, "is reached twice");
}

#[test]
fn a_check_ends_where_mounts_lead_in_a_circle() {
    let rig = two_blobs();
    let id = rig.mount(b"a/first").unwrap();
    rig.limb().admit(&rig.gate, b"a/first/loop").unwrap();
    hang(&rig.buffer, rig.root, b"a/first/loop", Child { id: id.0, delta: 0, below: Below::new(256, true) });
    let (problems, _) = rig.walked();
    assert!(problems.iter().any(|what| what.contains("is reached twice")), "{problems:?}");
}

#[test]
fn a_check_finds_bounds_that_do_not_hold_what_is_below() {
    let lower = |rig: &Rig, change: &dyn Fn(Below) -> Below| {
        let mut root = rig.buffer.lock(rig.root).unwrap();
        let blob = Blob::new(Words::new(root.modify()));
        let child = blob.leftmost_child();
        blob.set_leftmost_child(Child { below: change(child.below), ..child });
    };
    let rig = two_blobs();
    lower(&rig, &|below| Below::new(below.longest(), false));
    finds(&rig, "may hold more than the entry");
    let rig = two_blobs();
    lower(&rig, &|below| Below::new(4, below.mounts()));
    finds(&rig, "may hold more than the entry");
    // The mount's own bound on its limb.
    let rig = two_blobs();
    let host = rig
        .limb()
        .retry(|_| Ok(rig.limb().descend_from(rig.limb().root_step()?, b"lib")?.guard.id()))
        .unwrap();
    let mut guard = rig.buffer.lock(host).unwrap();
    let blob = Blob::new(Words::new(guard.modify()));
    let (_, limb) = blob.mount_on(b"lib").unwrap();
    assert!(blob.set_mount(b"lib", Child { below: Below::default(), ..limb }));
    drop(guard);
    finds(&rig, "may hold more than the entry");
}

#[test]
fn a_walk_passes_over_a_mount_that_vanishes_under_it() {
    let rig = two_blobs();
    assert!(rig.mount(b"lib/in").is_some());
    rig.limb().cut_at(&rig.gate, b"lib/a").unwrap();
    let mut visits = 0;
    rig.limb()
        .walk(&mut |_| {
            visits += 1;
            // Root and left leaf blob were shown; then the root of the limb, an inner blob with two leaf blobs.
            if visits == 3 {
                let limb = rig.limb();
                assert!(limb.retry(|_| limb.lock_leaf(b"li")).unwrap().remove(b"lib"));
            }
        })
        .unwrap();
    assert_eq!(visits, 4);
    let (problems, stats) = rig.walked();
    assert!(problems.is_empty() && stats.leaf_blobs == 2, "{problems:?} {stats:?}");
    assert_eq!(rig.scan(b"", None, false, 10).len(), 3);
}

/// An empty limb was cut at long keys: its blobs then took a key as long as their bases, which nothing above knew of.
#[test]
fn cuts_of_an_empty_limb_keep_its_bounds() {
    let rig = Rig::new(8 << 20);
    assert!(rig.mount(b"dir").is_some());
    for key in ["dir/some/long/path", "dir/some/long/path/longer", "dir/some/long/path/m"] {
        rig.limb().cut_at(&rig.gate, key.as_bytes()).unwrap();
        let (problems, _) = rig.walked();
        assert!(problems.is_empty(), "{problems:?}");
    }
    for (n, key) in
        ["dir/some/long/path/", "dir/some/long/path", "dir/some/long/path/l", "dir"].into_iter().enumerate()
    {
        rig.put_as(key.as_bytes(), n as u64 + 1, b"v");
        let (problems, _) = rig.walked();
        assert!(problems.is_empty(), "{problems:?}");
    }
}
