//! What moves leave behind, and how it is mended: limbs spliced back, rows of sparse blobs put together.

use super::tests::{Model, Rig, below, grown, move_in_model, move_prefix};
use crate::buffer::Exclusive;
use crate::tree::grow::compact;
use crate::tree::split::blob_of;

/// Moves a directory and mends the blobs at both names.
fn moved(rig: &Rig, model: &mut Model, src: &str, dst: &str) {
    let [src, dst] = [src, dst].map(str::as_bytes);
    assert!(!below(model, src).is_empty(), "{}", src.escape_ascii());
    move_prefix(rig, src, dst);
    move_in_model(model, src, dst);
    rig.limb().tidy(&rig.gate, src).unwrap();
    rig.limb().tidy(&rig.gate, dst).unwrap();
}

/// Splices back what can be, and mends where that was.
fn splice_all(rig: &Rig, model: &Model) {
    while let Some(path) = rig.check(model).mounts.first().cloned() {
        assert!(rig.splice(0), "{} stays", path.escape_ascii());
        rig.limb().tidy(&rig.gate, &path).unwrap();
    }
}

#[test]
fn moved_directories_are_spliced_back() {
    let (rig, mut model) = grown(64 << 20, 60_000, 96);
    let before = rig.walk();
    for n in (0..70).step_by(2) {
        let names = [format!("usr/share/package-{n:02}"), format!("usr/share/moved/to-{n:02}/")];
        if !below(&model, names[0].as_bytes()).is_empty() {
            moved(&rig, &mut model, &names[0], &names[1]);
        }
    }
    let mounts = rig.check(&model).mounts.len();
    assert!(mounts > 30, "{mounts}");
    splice_all(&rig, &model);
    let after = rig.check(&model);
    // Nearly every leaf blob was cut.
    assert!(after.leaf_blobs <= before.leaf_blobs, "{} {}", after.leaf_blobs, before.leaf_blobs);
    assert!(after.inner_blobs <= before.inner_blobs + 1);
}

#[test]
fn a_limb_goes_into_a_lower_host() {
    let (mut rig, mut model) = grown(64 << 20, 30_000, 96);
    for n in 0..200 {
        let key = format!("small/{n:03}");
        let version = rig.put(key.as_bytes(), &[7; 200]);
        model.insert(key.into_bytes(), (version, vec![7; 200]));
    }
    let before = rig.walk();
    // A limb of one leaf blob, and in it one with inner blobs, in front of, between and behind the records.
    moved(&rig, &mut model, "small/", "host/");
    for (n, at) in ["host/0", "host/0991", "host/2"].into_iter().enumerate() {
        moved(&rig, &mut model, &format!("usr/share/package-{n}"), at);
    }
    moved(&rig, &mut model, "usr/", "host/deep/");
    assert!(rig.check(&model).mounts.len() >= 5);
    splice_all(&rig, &model);
    let after = rig.check(&model);
    assert!(after.mounts.is_empty());
    assert!(after.leaf_blobs <= before.leaf_blobs + 1, "{} {}", after.leaf_blobs, before.leaf_blobs);
    assert!(after.inner_blobs <= before.inner_blobs + 1, "{} {}", after.inner_blobs, before.inner_blobs);
}

#[test]
fn full_blobs_along_the_right_edge_do_not_keep_a_limb_mounted() {
    let (mut rig, mut model) = grown(64 << 20, 20_000, 96);
    moved(&rig, &mut model, "usr/share/", "z/");
    // An ascending run fills the last leaf blob to the brim.
    for n in 0..3_000 {
        let key = format!("z/zzz/{n:05}");
        let version = rig.put(key.as_bytes(), &[1; 40]);
        model.insert(key.into_bytes(), (version, vec![1; 40]));
        if n % 500 == 499 {
            splice_all(&rig, &model);
            moved(&rig, &mut model, "z/", "y/");
            moved(&rig, &mut model, "y/", "z/");
        }
    }
    splice_all(&rig, &model);
}

fn image(guard: &Exclusive<'_>) -> Vec<u8> {
    let (blob, mut image) = (blob_of(guard), Vec::new());
    blob.w.image(blob.heap_end() as usize, &mut image);
    image
}

#[test]
fn bounds_are_lowered_where_a_checkpoint_packs_the_blobs_meanwhile() {
    let (mut rig, mut model) = grown(64 << 20, 20_000, 96);
    let [one, other] = ["usr/share/package-1", "usr/share/package-2"];
    let inside = format!("{other}/{}/", "n".repeat(2000));
    moved(&rig, &mut model, one, &inside);
    moved(&rig, &mut model, &inside, one);
    // New separators in front of the others: children lie where packing does not leave them.
    for n in 0..20_000u32 {
        let key = format!("usr/share/package-0/{:08x}", n.wrapping_mul(0x9E37_79B1));
        let version = rig.put(key.as_bytes(), &[7; 96]);
        model.insert(key.into_bytes(), (version, vec![7; 96]));
    }
    let is_lower = rig.change(|space, root| {
        let root_image = image(&rig.buffer.lock(root).unwrap());
        let way = space.worst_way(root)?;
        for (id, _) in &way {
            compact(&mut rig.buffer.lock(*id).unwrap())?;
        }
        assert_ne!(image(&rig.buffer.lock(root).unwrap()), root_image);
        space.lower_along(way)
    });
    assert!(is_lower);
    rig.check(&model);
}

/// Keys of some groups with long names: their separators fill inner blobs.
fn long_groups(groups: usize) -> (Rig, Model) {
    let mut rig = Rig::new(128 << 20);
    let mut model = Model::new();
    for n in 0..groups * 60 {
        let (group, n) = (n * 7 % groups, n / groups);
        let name = format!("{group:03}/").repeat(900);
        let key = format!("{name}{n:03}").into_bytes();
        let version = rig.put(&key, &[n as u8; 2000]);
        model.insert(key, (version, vec![n as u8; 2000]));
    }
    (rig, model)
}

#[test]
fn rows_of_sparse_blobs_become_fewer_at_every_level() {
    let (rig, mut model) = long_groups(90);
    let before = rig.check(&model);
    assert!(before.inner_blobs >= 6, "{}", before.inner_blobs);
    // Half of each group goes: no two neighbours are sparse enough to be merged by that alone.
    let gone: Vec<Vec<u8>> =
        model.keys().enumerate().filter(|(n, _)| n % 5 < 2).map(|(_, key)| key.clone()).collect();
    for key in &gone {
        assert!(rig.change(|space, root| space.delete(root, key)));
        model.remove(key);
    }
    let sparse = rig.check(&model);
    rig.limb().compact(&rig.gate).unwrap();
    for key in model.keys().step_by(20) {
        rig.limb().tidy(&rig.gate, key).unwrap();
    }
    let after = rig.check(&model);
    let full = after.live_bytes.div_ceil(crate::limits::BLOB_BYTES);
    let blobs = |seen: &super::tests::Seen| seen.leaf_blobs + seen.inner_blobs;
    assert!(blobs(&after) * 3 < blobs(&sparse) * 2 + 6, "{} {}", blobs(&after), blobs(&sparse));
    assert!(blobs(&after) * 5 <= full * 8, "{} blobs, {full} would do", blobs(&after));
    assert!(after.inner_blobs < sparse.inner_blobs, "{} {}", after.inner_blobs, sparse.inner_blobs);
}

#[test]
fn bounds_are_lowered_to_what_the_keys_need() {
    let (mut rig, mut model) = grown(64 << 20, 20_000, 96);
    let [one, other] = ["usr/share/package-1", "usr/share/package-2"];
    let name = "n".repeat(200);
    let bound = |rig: &Rig| rig.change(|space, root| space.longest_of_all(root));
    let before = bound(&rig);
    // Each takes the bound of the other over, whatever has left it since.
    for _ in 0..10 {
        for (inner, outer) in [(one, other), (other, one)] {
            let inside = format!("{outer}/{name}/");
            moved(&rig, &mut model, inner, &inside);
            moved(&rig, &mut model, &inside, inner);
        }
    }
    assert!(bound(&rig) > before + 2000, "{} {before}", bound(&rig));
    let database = rig.database;
    let mut steps = 0;
    while rig.limb().lower(&rig.gate, database, before + 256).unwrap() {
        steps += 1;
        rig.check(&model);
    }
    assert!(bound(&rig) <= before + 256, "{} {before} after {steps} steps", bound(&rig));
    // One key that needs a high bound: it is found to, and nothing changes.
    let long = [b"usr/share/package-1/".as_slice(), &[b'l'; 3000]].concat();
    let version = rig.put(&long, b"v");
    model.insert(long, (version, b"v".to_vec()));
    while rig.limb().lower(&rig.gate, database, 1000).unwrap() {}
    assert!(bound(&rig) >= 3020);
    rig.check(&model);
}
