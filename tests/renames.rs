//! Renames of single records wherever source and target lie: in one leaf blob or two, in the tree's own limb or in mounted
//! ones, into full blobs, onto records that are there, under the longest keys; beside each other, and after a power cut.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{Dice, Records, assert_sound, cases, records, seed, small, watched};
use ramus::io::FaultStorage;
use ramus::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use ramus::{Db, ErrorKind, IfExists, Tree};

/// A database and the records that it should have.
struct Rig {
    storage: FaultStorage,
    db: Db,
    tree: Tree,
    model: Records,
}

impl Rig {
    fn new() -> Self {
        let storage = FaultStorage::new();
        let db = small(&storage).open("").unwrap();
        let tree = db.default_tree();
        Self { storage, db, tree, model: Records::new() }
    }

    fn put(&mut self, key: impl AsRef<[u8]>, value: Vec<u8>) {
        let version = self.tree.put(&key, &value).unwrap();
        self.model.insert(key.as_ref().to_vec(), (value, version));
    }

    fn move_directory(&mut self, src: &str, dst: &str) {
        self.tree.rename_prefix(src, dst, IfExists::Fail).unwrap();
        for key in
            self.model.keys().filter(|key| key.starts_with(src.as_bytes())).cloned().collect::<Vec<_>>()
        {
            let record = self.model.remove(&key).unwrap();
            self.model.insert([dst.as_bytes(), &key[src.len()..]].concat(), record);
        }
    }

    /// Renames in the database and in the model, and compares the answers.
    fn rename(&mut self, src: impl AsRef<[u8]>, dst: impl AsRef<[u8]>, how: IfExists) -> Option<ErrorKind> {
        let (src, dst) = (src.as_ref(), dst.as_ref());
        let expected = match () {
            () if !self.model.contains_key(src) => Some(ErrorKind::NotFound),
            () if how == IfExists::Fail && self.model.contains_key(dst) => Some(ErrorKind::Exists),
            () => None,
        };
        let last = self.db.stats().last_version;
        let refused = match self.tree.rename(src, dst, how) {
            Ok(version) => {
                assert_eq!(version, last + 1);
                let (value, _) = self.model.remove(src).expect("what was renamed was there");
                self.model.insert(dst.to_vec(), (value, version));
                None
            }
            Err(error) => {
                assert_eq!(self.db.stats().last_version, last, "a refused rename takes no version");
                Some(error.kind())
            }
        };
        assert_eq!(refused, expected, "{} to {}", src.escape_ascii(), dst.escape_ascii());
        refused
    }

    /// The database has the model's records, also after a power cut.
    fn assert_same(&self) {
        assert!(records(&self.tree).unwrap() == self.model);
        assert_sound(&self.db);
        let after = small(&self.storage.crash_lose_all()).open("").unwrap();
        assert!(records(&after.default_tree()).unwrap() == self.model, "after a power cut");
        assert_sound(&after);
    }
}

/// Directories that are limbs of their own, one of them inside another, between blobs of the tree's own.
fn rig_with_mounts() -> Rig {
    let mut rig = Rig::new();
    for (from, to) in [("made-1/", "one/"), ("made-2/", "two/"), ("made-3/", "one/in/")] {
        for n in 0..200 {
            rig.put(format!("{from}{n:03}"), vec![n as u8; 900]);
            rig.put(format!("m/{from}{n:03}"), vec![n as u8; 900]);
        }
        rig.move_directory(from, to);
    }
    let survey = rig.db.survey().unwrap().survey.unwrap();
    assert_eq!((survey.mounts, survey.limb_depth), (3, 3), "{survey:?}");
    rig
}

/// Two names in each of the places: the first and the last blob of the tree, and three limbs, two of them of several blobs.
const PLACES: [&str; 10] =
    ["a/1", "a/22", "z/1", "z/22", "one/0", "one/x", "two/0", "two/199x", "one/in/0", "one/in/x"];

#[test]
fn from_everywhere_to_everywhere() {
    for how in [IfExists::Fail, IfExists::Replace] {
        for is_taken in [false, true] {
            let mut rig = rig_with_mounts();
            for (s, src) in PLACES.into_iter().enumerate() {
                for (d, dst) in PLACES.into_iter().enumerate() {
                    rig.put(src, vec![s as u8; 100 + s]);
                    if is_taken {
                        rig.put(dst, vec![d as u8; 50 * d]);
                    }
                    rig.rename(src, dst, how);
                    // The second time it is not there, unless it was refused or stayed where it was.
                    rig.rename(src, dst, how);
                    rig.tree.delete(dst).unwrap();
                    rig.model.remove(dst.as_bytes());
                }
            }
            rig.assert_same();
        }
    }
}

#[test]
fn onto_itself() {
    let mut rig = Rig::new();
    assert_eq!(rig.rename("k", "k", IfExists::Replace), Some(ErrorKind::NotFound));
    rig.put("k", vec![1; 10]);
    assert_eq!(rig.rename("k", "k", IfExists::Fail), Some(ErrorKind::Exists));
    assert_eq!(rig.rename("k", "k", IfExists::Replace), None);
    rig.assert_same();
}

#[test]
fn the_only_record_of_a_tree() {
    let mut rig = Rig::new();
    rig.put("a", vec![1; 10]);
    for (src, dst) in [("a", "b"), ("b", "a"), ("a", "a/b/c"), ("a/b/c", "a/b"), ("a/b", "a")] {
        assert_eq!(rig.rename(src, dst, IfExists::Fail), None);
        rig.assert_same();
    }
}

#[test]
fn keys_out_of_bounds_are_refused() {
    let mut rig = Rig::new();
    rig.put("there", vec![1; 10]);
    let over = vec![b'x'; KEY_BYTES_MAX + 1];
    for bad in [&b""[..], &over] {
        for (src, dst) in [(&b"there"[..], bad), (bad, &b"new"[..]), (bad, bad)] {
            let error = rig.tree.rename(src, dst, IfExists::Replace).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }
    rig.assert_same();
}

/// Blobs fill up with what comes by renames, in random order and of all sizes.
#[test]
fn into_full_blobs() {
    let mut rig = Rig::new();
    let mut dice = Dice(seed());
    for n in 0..400 {
        rig.put(format!("source/{n:03}"), vec![n as u8; dice.below(VALUE_BYTES_MAX + 1)]);
    }
    let mut left: Vec<usize> = (0..400).collect();
    while !left.is_empty() {
        let n = left.swap_remove(dice.below(left.len()));
        assert_eq!(rig.rename(format!("source/{n:03}"), format!("full/{n:03}"), IfExists::Fail), None);
    }
    rig.assert_same();
    // In its place, where there is no room beside it.
    for n in 0..400 {
        let key = format!("full/{n:03}");
        assert_eq!(rig.rename(&key, &key, IfExists::Replace), None);
    }
    rig.assert_same();
    // In their own blobs, to names that are longer.
    for n in 0..400 {
        let longer = format!("full/{n:03}{}", "-longer".repeat(dice.below(20)));
        rig.rename(format!("full/{n:03}"), longer, IfExists::Replace);
    }
    rig.assert_same();
}

/// The largest values onto the smallest, where there is no room.
#[test]
fn onto_smaller_records_in_full_blobs() {
    let mut rig = Rig::new();
    for n in 0..30 {
        rig.put(format!("source/{n:03}"), vec![n as u8; VALUE_BYTES_MAX]);
    }
    for n in 0..2000 {
        rig.put(format!("target/{n:04}"), vec![n as u8; 30]);
    }
    for n in 0..30 {
        let dst = format!("target/{:04}", n * 60);
        assert_eq!(rig.rename(format!("source/{n:03}"), dst, IfExists::Replace), None);
    }
    rig.assert_same();
}

/// What renames take away is merged like what deletes take.
#[test]
fn blobs_that_renames_empty_are_merged() {
    let mut rig = Rig::new();
    for n in 0..3000 {
        rig.put(format!("{}{n:04}", if n % 10 == 0 { "kept/" } else { "gone/" }), vec![n as u8; 300]);
    }
    for n in (0..3000).filter(|n| n % 10 != 0) {
        rig.rename(format!("gone/{n:04}"), "one", IfExists::Replace);
    }
    rig.assert_same();
    let survey = rig.db.survey().unwrap().survey.unwrap();
    assert!(survey.leaf_blobs <= 6, "{survey:?}");
}

/// The blobs above learn of a longer key before it is there: so the move of its directory to a longer name is refused.
#[test]
fn to_the_longest_keys() {
    let mut rig = rig_with_mounts();
    let long = |directory: &str, bytes: usize| -> String {
        format!("{directory}{}", "n".repeat(bytes - directory.len()))
    };
    for (n, directory) in ["m/", "one/", "one/in/", "two/"].into_iter().enumerate() {
        let dst = long(directory, KEY_BYTES_MAX - n);
        assert_eq!(rig.rename("m/made-1/000", &dst, IfExists::Fail), None);
        rig.assert_same();
        let longer = format!("longer-than-{directory}");
        let error = rig.tree.rename_prefix(directory, longer, IfExists::Fail).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(rig.rename(&dst, "m/made-1/000", IfExists::Fail), None);
    }
    rig.assert_same();
}

/// In a batch a rename goes another way: it gives the same answers and leaves the same.
#[test]
fn a_batch_of_one_rename_does_the_same() {
    let mut dice = Dice(seed());
    let [single, batch] = [(); 2].map(|()| rig_with_mounts());
    for n in 0..cases(2000) {
        let pick =
            |dice: &mut Dice| format!("{}{}", ["a/", "m/", "one/", "one/in/"][dice.below(4)], dice.below(9));
        let (src, dst) = (pick(&mut dice), pick(&mut dice));
        let how = [IfExists::Fail, IfExists::Replace][dice.below(2)];
        if n % 3 == 0 {
            let value = vec![n as u8; dice.below(2000)];
            assert_eq!(single.tree.put(&src, &value).unwrap(), batch.tree.put(&src, &value).unwrap());
        }
        let one = single.tree.rename(&src, &dst, how).map_err(|error| error.to_string());
        let other = batch.db.batch(|b| b.rename(&batch.tree, &src, &dst, how));
        assert_eq!(one, other.map_err(|error| error.to_string()), "{src} to {dst}");
    }
    assert!(records(&single.tree).unwrap() == records(&batch.tree).unwrap());
    assert_sound(&single.db);
}

/// Some records, each with a few places, over which threads send them to and fro beside checkpoints and moves of a directory:
/// whoever looks at all places at once finds each exactly once.
#[test]
fn records_sent_to_and_fro_by_threads_are_never_lost_or_doubled() {
    const BALLS: usize = 3;
    const SENT_FROM: [&str; 5] = ["a", "m", "one", "one/in", "z"];
    let rig = rig_with_mounts();
    let (db, tree) = (&rig.db, &rig.tree);
    let place = |ball: usize, at: usize| format!("{}/ball-{ball}", SENT_FROM[at]);
    for ball in 0..BALLS {
        tree.put(place(ball, ball), format!("{ball}")).unwrap();
    }
    let keys = tree.count_prefix("").unwrap().keys;
    let (seed, rounds, over) = (seed(), cases(4000), AtomicBool::new(false));
    let is_over = || over.load(Ordering::Relaxed);
    let sent: u64 = watched("threads that rename", || {
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..4)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut dice = Dice(seed ^ thread);
                        let mut sent = 0;
                        for _ in 0..rounds {
                            let (ball, at) = (dice.below(BALLS), dice.below(SENT_FROM.len()));
                            let to = (at + 1 + dice.below(SENT_FROM.len() - 1)) % SENT_FROM.len();
                            match tree.rename(place(ball, at), place(ball, to), IfExists::Fail) {
                                Ok(_) => sent += 1,
                                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                            }
                        }
                        sent
                    })
                })
                .collect();
            scope.spawn(|| {
                while !is_over() {
                    db.checkpoint().unwrap();
                }
            });
            scope.spawn(|| {
                while !is_over() {
                    tree.rename_prefix("two/", "zwei/", IfExists::Fail).unwrap();
                    tree.rename_prefix("zwei/", "two/", IfExists::Fail).unwrap();
                }
            });
            scope.spawn(|| {
                let mut dice = Dice(seed ^ 99);
                while !is_over() {
                    let ball = dice.below(BALLS);
                    let found = db.transact(|tx| {
                        let mut found = 0;
                        for at in 0..SENT_FROM.len() {
                            found += usize::from(tx.contains(tree, place(ball, at))?);
                        }
                        Ok(found)
                    });
                    match found {
                        Ok(found) => assert_eq!(found, 1, "ball {ball} was not at one place"),
                        // It was sent on all the time.
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                    }
                }
            });
            let sent = senders.into_iter().map(|sender| sender.join()).collect::<Vec<_>>();
            over.store(true, Ordering::Relaxed);
            sent.into_iter().map(|sent| sent.unwrap()).sum()
        })
    });
    assert!(sent > 0);
    assert_eq!(tree.count_prefix("").unwrap().keys, keys);
    assert_sound(db);
    let after = small(&rig.storage.crash_lose_all()).open("").unwrap();
    assert!(records(&after.default_tree()).unwrap() == records(tree).unwrap());
}
