//! One fault at every operation of a short life, and a crash after it.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ramus::io::{FaultStorage, LockMode, OpenMode, Storage, StorageFile, StorageLock};
use ramus::{Db, Durability, Entry, ErrorKind, IfExists, Options, Result};

type Model = BTreeMap<(String, Vec<u8>), Vec<u8>>;

fn open(fault: &FaultStorage, durability: Durability) -> Result<Db> {
    let storage: Arc<dyn Storage> = Arc::new(fault.clone());
    Options::new().storage(storage).background(false).cache_bytes(4 << 20).durability(durability).open("")
}

fn contents(db: &Db) -> Model {
    let mut model = Model::new();
    for name in db.tree_names() {
        for entry in db.existing_tree(&name).unwrap().iter() {
            if let Entry::Record { key, value, .. } = entry.unwrap() {
                model.insert((name.clone(), key), value);
            }
        }
    }
    model
}

/// Runs a life; pushes the state after each commit that succeeded onto `states`. A commit that failed with what may have
/// been applied is pushed too, and ends the life; one that is refused for lack of space goes on.
fn life(fault: &FaultStorage, durability: Durability, states: &mut Vec<Model>) -> Option<ErrorKind> {
    let mut model = Model::new();
    let db = match open(fault, durability) {
        Ok(db) => db,
        Err(error) => return Some(error.kind()),
    };
    let tree = db.default_tree();
    let name = || "default".to_owned();
    for step in 0..90u32 {
        let key = |n: u32| format!("{:04}", n * 37 % 90).into_bytes();
        let before = model.clone();
        let value = vec![step as u8; 900];
        let done = match step % 9 {
            7 => db.checkpoint(),
            8 if step % 2 == 0 => db.tree("other").and_then(|other| {
                model.insert(("other".into(), key(step)), value.clone());
                other.put(key(step), &value).map(drop)
            }),
            8 => {
                model.retain(|(tree, _), _| tree == "default");
                match db.drop_tree("other") {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                    done => done,
                }
            }
            3 if step % 2 == 1 && model.contains_key(&(name(), b"0000".to_vec())) => {
                let dst = format!("d{step}/").into_bytes();
                for n in 0..100 {
                    let rest = format!("{n:02}").into_bytes();
                    if let Some(value) = model.remove(&(name(), [b"00", &rest[..]].concat())) {
                        model.insert((name(), [&dst[..], &rest].concat()), value);
                    }
                }
                tree.rename_prefix("00", dst, IfExists::Fail).map(drop)
            }
            2 if step > 50 => {
                model.retain(|(tree, key), _| tree != "default" || !key.starts_with(b"d"));
                tree.delete_prefix("d").map(drop)
            }
            6 if model.contains_key(&(name(), key(step - 1))) => {
                let value = model.remove(&(name(), key(step - 1))).unwrap();
                model.insert((name(), b"renamed".to_vec()), value);
                tree.rename(key(step - 1), "renamed", IfExists::Replace).map(drop)
            }
            5 => {
                for n in 0..40 {
                    model.insert((name(), key(step + n)), value.clone());
                }
                db.batch(|b| (0..40).for_each(|n| b.put(&tree, key(step + n), &value))).map(drop)
            }
            4 => {
                model.remove(&(name(), key(step / 2)));
                tree.delete(key(step / 2)).map(drop)
            }
            _ => {
                model.insert((name(), key(step)), value.clone());
                tree.put(key(step), &value).map(drop)
            }
        };
        match done {
            Ok(()) => states.push(model.clone()),
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                // What was asked for did not happen, but what is to be freed may be freed later.
                model = if step % 9 == 8 { contents(&db) } else { before };
                assert_eq!(contents(&db), model, "step {step}: refused, and yet something changed");
                states.push(model.clone());
            }
            Err(error) => {
                states.push(model);
                return Some(error.kind());
            }
        }
    }
    match db.close() {
        Ok(()) => None,
        Err(error) => Some(error.kind()),
    }
}

fn sweep(durability: Durability, kind: Option<std::io::ErrorKind>) {
    let sound = FaultStorage::new();
    assert_eq!(life(&sound, durability, &mut Vec::new()), None);
    let operations = sound.operations();
    assert!(operations > 50, "{operations}");
    for n in 0..operations {
        let fault = FaultStorage::new();
        match kind {
            Some(kind) => fault.fail_once(n, kind),
            None => fault.fail_after(n),
        }
        let mut states = vec![Model::new()];
        let ended = life(&fault, durability, &mut states);
        let last = states.len() - 1;
        for seed in 0..3 {
            let after = match seed {
                0 => fault.crash_lose_all(),
                1 => fault.crash_keep_all(),
                _ => fault.crash(n * 10 + seed),
            };
            let db = open(&after, durability).unwrap_or_else(|error| panic!("{n} {ended:?}: {error}"));
            let found = contents(&db);
            let at = states.iter().rposition(|state| *state == found);
            assert!(at.is_some(), "operation {n}, {ended:?}: not a state that was");
            if durability == Durability::Sync {
                assert!(at >= Some(last.saturating_sub(1)), "operation {n}, {ended:?}: {at:?} of {last}");
            }
            let report = db.check().unwrap();
            assert!(report.is_sound(), "operation {n}: {:?}", report.problems);
            db.default_tree().put("new", "v").unwrap();
            db.close().unwrap();
        }
    }
}

const BATCHED: Durability = Durability::Batched { bytes: 4096, interval: None };

#[test]
fn power_lost_at_every_operation() {
    sweep(Durability::Sync, None);
    sweep(BATCHED, None);
}

#[test]
fn a_device_full_at_every_operation() {
    sweep(Durability::Sync, Some(std::io::ErrorKind::StorageFull));
    sweep(BATCHED, Some(std::io::ErrorKind::StorageFull));
}

#[test]
fn an_error_at_every_operation() {
    sweep(Durability::Sync, Some(std::io::ErrorKind::Other));
    sweep(BATCHED, Some(std::io::ErrorKind::Other));
}

/// A device of every size: what is refused for lack of space changes nothing, and all goes on when there is space.
#[test]
fn a_device_too_small_for_the_load() {
    let sound = FaultStorage::new();
    assert_eq!(life(&sound, BATCHED, &mut Vec::new()), None);
    for durability in [BATCHED, Durability::Sync] {
        for space in (0..120u64).map(|n| n * n * 200) {
            let fault = FaultStorage::new();
            fault.set_full(Some(space));
            let mut states = vec![Model::new()];
            let ended = life(&fault, durability, &mut states);
            assert!(matches!(ended, None | Some(ErrorKind::NoSpace)), "{space}: {ended:?}");
            let last = states.pop().unwrap();
            for after in [fault.crash_lose_all(), fault.crash(space)] {
                after.set_full(Some(space));
                drop(open(&after, durability));
                after.set_full(None);
                let db =
                    open(&after, durability).unwrap_or_else(|error| panic!("{space} {ended:?}: {error}"));
                let found = contents(&db);
                if durability == Durability::Sync || ended.is_none() {
                    assert!(found == last, "{space} {ended:?}");
                }
                let report = db.check().unwrap();
                assert!(report.is_sound(), "{space}: {:?}", report.problems);
            }
        }
    }
}

/// Passes everything on, and panics at a write into the data file while `armed`.
#[derive(Debug)]
struct Panicking {
    inner: FaultStorage,
    armed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct PanickingFile {
    inner: Arc<dyn StorageFile>,
    armed: Arc<AtomicBool>,
}

impl Storage for Panicking {
    fn open(&self, name: &str, mode: OpenMode) -> std::io::Result<Arc<dyn StorageFile>> {
        let inner = self.inner.open(name, mode)?;
        let armed = Arc::clone(&self.armed);
        Ok(if name == "data.ramus" { Arc::new(PanickingFile { inner, armed }) } else { inner })
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        self.inner.list()
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> std::io::Result<()> {
        self.inner.sync_dir()
    }

    fn lock(&self, mode: LockMode) -> std::io::Result<Box<dyn StorageLock>> {
        self.inner.lock(mode)
    }

    fn describe(&self, name: &str) -> String {
        self.inner.describe(name)
    }
}

impl StorageFile for PanickingFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let in_background = std::thread::current().name() == Some("ramus-background");
        if self.armed.load(Ordering::SeqCst) && in_background {
            std::panic::resume_unwind(Box::new("no message"));
        }
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.inner.sync()
    }

    fn set_len(&self, bytes: u64) -> std::io::Result<()> {
        self.inner.set_len(bytes)
    }

    fn len(&self) -> std::io::Result<u64> {
        self.inner.len()
    }
}

/// Writers waited for ever for a background thread that a panic had ended.
#[test]
fn a_panic_in_the_background_poisons_and_holds_nobody_up() {
    let fault = FaultStorage::new();
    let armed = Arc::new(AtomicBool::new(false));
    let storage = Arc::new(Panicking { inner: fault.clone(), armed: Arc::clone(&armed) });
    let options = Options::new().journal_bytes(ramus::limits::JOURNAL_BYTES_MIN);
    let batched = Durability::Batched { bytes: 1 << 16, interval: None };
    let db = options.durability(batched).storage(storage).open("").unwrap();
    let tree = db.default_tree();
    tree.put("kept", "v").unwrap();
    db.sync().unwrap();
    armed.store(true, Ordering::SeqCst);
    let refused = common::watched("puts after a panic", || {
        (0..100_000).find_map(|n: u32| tree.put(n.to_be_bytes(), [1; 1000]).err())
    });
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Poisoned));
    assert_eq!(tree.get("kept").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Poisoned);
    drop((tree, db));
    let db = open(&fault.crash_lose_all(), Durability::Sync).unwrap();
    common::assert_sound(&db);
    assert_eq!(db.default_tree().get("kept").unwrap().as_deref(), Some(&b"v"[..]));
}
