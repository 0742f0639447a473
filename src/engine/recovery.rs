//! Opening: the newest checkpoint, the journal after it, and a fresh start from there.

use std::sync::Arc;

use super::catalog::Catalog;
use super::plan::Change;
use super::trees::DEFAULT_TREE;
use super::{Engine, Recovered, Settings, Turn, Wake};
use crate::buffer::{Buffer, Claim, Gate};
use crate::error::{Error, ErrorKind, Result};
use crate::io::{LockMode, Storage};
use crate::journal::{Journal, Op, Outcome, Record, Recovery, replay};
use crate::limits::SEQUENCE_RESERVE;
use crate::store::{Opened, Store};
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex};
use crate::tree::{Format, LockedLeaf, Tries};

/// Files that a database directory may hold before its data file is in place.
const EARLY_FILES: [&str; 4] = ["lock", "journal.wal", "journal.next", "data.ramus.new"];

fn list(storage: &dyn Storage) -> Result<Vec<String>> {
    let doing = || format!("listing the directory of {}", storage.describe("data.ramus"));
    storage.list().map_err(|error| Error::io(doing(), error))
}

/// A record that cannot be what was written.
fn not_replayed(sequence: u64, error: &Error) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format_args!("journal: record {sequence} does not fit what is there: {error}"),
    )
}

impl Engine {
    /// Opens the database in `storage`, making it if there is none.
    pub(crate) fn open(storage: Arc<dyn Storage>, settings: Settings) -> Result<Arc<Self>> {
        // Before the lock, which leaves a file behind: nothing is left in a directory that is none of ours.
        if !Store::exists(&storage)? {
            Self::check_ours(&*storage, &settings)?;
        }
        let mode = if settings.read_only { LockMode::Shared } else { LockMode::Exclusive };
        let lock = storage.lock(mode).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::new(
                ErrorKind::Busy,
                format_args!("{}: the database is open elsewhere", storage.describe("lock")),
            ),
            _ => Error::io(format_args!("locking {}", storage.describe("lock")), error),
        })?;
        let exists = Store::exists(&storage)?;
        if !exists {
            Self::check_ours(&*storage, &settings)?;
            Self::check_fresh(&*storage)?;
            // The journal first: a data file is never without one.
            Journal::create(Arc::clone(&storage), 0, 1, settings.durability)?;
            Store::create(&storage)?;
        }
        let (store, opened) = Store::open(&storage, settings.read_only)?;
        let database = store.database_id();
        let store = Arc::new(store);
        let buffer = Buffer::new(Arc::clone(&store), settings.cache_bytes, Box::new(Format { database }))?;
        let mut engine = Self {
            settings,
            store,
            buffer,
            gate: Gate::new(),
            journal: None,
            catalog: Mutex::new(Arc::new(Catalog::decode(&opened.catalog)?)),
            turn: Mutex::new(Turn { sequence: opened.sequence, ..Turn::default() }),
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
            wake: Mutex::new(Wake::default()),
            woken: Condvar::new(),
            mends: Mutex::default(),
            reshapes: Default::default(),
            owed_nanos: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            reclaimed: AtomicU64::new(0),
            charged: AtomicU64::new(0),
            recovered: Recovered::default(),
        };
        engine.recover(&storage, &opened)?;
        Ok(Arc::new(engine))
    }

    /// Refuses to read where there is no database, and to make one in a directory that holds something else.
    fn check_ours(storage: &dyn Storage, settings: &Settings) -> Result<()> {
        let place = storage.describe("data.ramus");
        if settings.read_only {
            return Err(Error::new(
                ErrorKind::NotFound,
                format_args!("{place}: there is no database to read"),
            ));
        }
        if let Some(other) = list(storage)?.iter().find(|name| !EARLY_FILES.contains(&name.as_str())) {
            let what = format_args!("{place}: not a Ramus database: the directory holds {other:?}");
            return Err(Error::invalid(what));
        }
        Ok(())
    }

    /// Refuses the rest of a database.
    fn check_fresh(storage: &dyn Storage) -> Result<()> {
        if list(storage)?.iter().any(|name| name == "journal.wal") {
            match replay(storage, 0, Recovery::Strict, &mut |_, _| Ok(())) {
                Ok(outcome) if outcome.records_seen == 0 => {}
                Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
                _ => {
                    let place = storage.describe("data.ramus");
                    let what = format_args!("{place}: missing, while the journal beside it holds commits");
                    return Err(Error::new(ErrorKind::Corrupt, what));
                }
            }
        }
        Ok(())
    }

    fn recover(&mut self, storage: &Arc<dyn Storage>, opened: &Opened) -> Result<()> {
        self.buffer.set_replaying(true);
        let outcome =
            replay(&**storage, opened.sequence, self.settings.recovery, &mut |sequence, record| {
                self.replay_record(sequence, &record)
            })?;
        self.buffer.set_replaying(false);
        self.recovered =
            Recovered { records: outcome.records_applied, discarded_bytes: outcome.discarded_bytes };
        if self.settings.read_only {
            self.turn.get_mut().sequence = outcome.last_sequence.max(opened.sequence);
            return self.plant_default_read_only();
        }
        self.journal = Some(self.start_journal(storage, opened, &outcome)?);
        // Damage in what was dropped is for `check` to report.
        let _ = self.reclaim();
        self.open_tree(DEFAULT_TREE)?;
        self.sync()
    }

    /// The journal to go on with: the one that is there if it is as a clean close left it, else a new one after a checkpoint of
    /// what was replayed.
    fn start_journal(
        &mut self,
        storage: &Arc<dyn Storage>,
        opened: &Opened,
        outcome: &Outcome,
    ) -> Result<Journal> {
        let durability = self.settings.durability;
        let sealed = opened.sequence_mark <= opened.sequence + 1 && outcome.mark <= opened.sequence + 1;
        if outcome.clean && outcome.records_seen == 0 && sealed && !opened.fallback {
            self.turn.get_mut().sealed = true;
            let mark = opened.sequence + 1;
            return Journal::resume(Arc::clone(storage), opened.sequence, mark, durability);
        }
        // Sequences below the marks may have been seen by somebody: start above them.
        let sequence = outcome.last_sequence.max(opened.sequence_mark.max(outcome.mark).saturating_sub(1));
        let mark = sequence + SEQUENCE_RESERVE;
        self.buffer.begin_cut(|| self.store.begin_cut(sequence, mark))?;
        self.buffer.write_pending()?;
        self.buffer.end_cut();
        let catalog = self.catalog.get_mut().encode();
        self.store.finish_cut(&catalog)?;
        let journal = Journal::create(Arc::clone(storage), sequence, mark, durability)?;
        self.store.release_dead(self.buffer.units_to_keep())?;
        self.turn.get_mut().sequence = sequence;
        Ok(journal)
    }

    /// A database that was never written to has no default tree yet; a reader gets an empty one.
    fn plant_default_read_only(&mut self) -> Result<()> {
        if self.catalog.lock().by_name.contains_key(DEFAULT_TREE) {
            return Ok(());
        }
        let id = self.catalog.lock().next_id();
        self.replay_record(0, &Record::TreeCreate { tree: id, name: DEFAULT_TREE })
    }

    /// Applies a record of the journal.
    fn replay_record(&self, sequence: u64, record: &Record<'_>) -> Result<()> {
        match record {
            Record::One(op) => self.replay_op(sequence, op),
            Record::Batch(ops) => ops.iter().try_for_each(|op| self.replay_op(sequence, op)),
            Record::TreeCreate { tree, name } => {
                self.buffer.claim(1, Claim::Adds)?;
                let mut frames = self.buffer.reserve(1)?;
                let there = self.catalog.lock().by_name.get(*name).map(|there| there.id);
                if let Some(there) = there {
                    // The record that dropped it is among the damaged ones that were skipped.
                    self.uproot(there);
                }
                self.plant(&mut self.catalog.lock(), &mut frames, *tree, name);
                Ok(())
            }
            Record::TreeDrop { tree } => match self.uproot(*tree) {
                true => Ok(()),
                false => self.unknown_tree(sequence, *tree),
            },
            Record::Noop => Ok(()),
        }
    }

    fn unknown_tree(&self, sequence: u64, tree: u32) -> Result<()> {
        // Where damaged records are skipped, the one that made the tree may be among them.
        if self.settings.recovery == Recovery::SkipDamaged {
            return Ok(());
        }
        let what = format_args!("journal: record {sequence} names tree {tree}, which does not exist");
        Err(Error::new(ErrorKind::Corrupt, what))
    }

    fn replay_op(&self, sequence: u64, op: &Op<'_>) -> Result<()> {
        let state = |tree: u32| self.catalog.lock().by_id.get(&tree).cloned();
        let (Op::Put { tree: id, .. }
        | Op::Delete { tree: id, .. }
        | Op::Rename { tree: id, .. }
        | Op::RenamePrefix { tree: id, .. }
        | Op::DeletePrefix { tree: id, .. }
        | Op::DeleteRange { tree: id, .. }) = *op;
        let Some(tree) = state(id) else { return self.unknown_tree(sequence, id) };
        match *op {
            Op::Put { key, value, .. } => self.replay_put(&tree, sequence, key, value),
            Op::Delete { key, .. } => self.with_leaf(&tree, key, |mut leaf| {
                leaf.remove(key);
                leaf.wants_merge()
            }),
            Op::Rename { src, dst, .. } => {
                let mut value = None;
                self.with_leaf(&tree, src, |mut leaf| {
                    value = leaf.read(src);
                    leaf.remove(src);
                    false
                })?;
                match value {
                    Some((_, value)) => self.replay_put(&tree, sequence, dst, &value),
                    None if self.settings.recovery == Recovery::SkipDamaged => Ok(()),
                    None => {
                        let what = format_args!("journal: record {sequence} renames a key that is not there");
                        Err(Error::new(ErrorKind::Corrupt, what))
                    }
                }
            }
            Op::RenamePrefix { src, dst_tree: id, dst, .. } => {
                let Some(dst_tree) = state(id) else { return self.unknown_tree(sequence, id) };
                let (src, dst) = (src.to_vec(), dst.to_vec());
                self.replay_wide(sequence, &Change::RenamePrefix { tree, src, dst_tree, dst, replace: true })
            }
            Op::DeletePrefix { prefix, .. } => {
                self.replay_wide(sequence, &Change::DeletePrefix { tree, prefix: prefix.to_vec() })
            }
            Op::DeleteRange { low, high, .. } => {
                let (low, high) = (low.to_vec(), high.map(<[u8]>::to_vec));
                self.replay_wide(sequence, &Change::DeleteRange { tree, low, high })
            }
        }
    }

    /// A change of a whole directory. Nobody else is there, so the gate need not be closed, nor need readers be told.
    fn replay_wide(&self, sequence: u64, change: &Change) -> Result<()> {
        change.check().map_err(|error| not_replayed(sequence, &error))?;
        match self.carry_out_alone(change, sequence) {
            // What it names may be among the damaged records that were skipped.
            Err(error)
                if self.settings.recovery == Recovery::SkipDamaged
                    && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) =>
            {
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                Err(not_replayed(sequence, &error))
            }
            outcome => outcome,
        }
    }

    fn replay_put(&self, tree: &super::TreeState, sequence: u64, key: &[u8], value: &[u8]) -> Result<()> {
        let limb = self.limb(tree);
        let mut tries = Tries::default();
        let mut first = true;
        loop {
            self.buffer.claim(1, Claim::Adds)?;
            self.buffer.reserve(0)?;
            match limb.lock_leaf(key) {
                Ok(leaf) if !leaf.admits(key) => {
                    drop(leaf);
                    limb.admit(&self.gate, key)?;
                }
                Ok(mut leaf) if leaf.fits_put(key, value.len(), sequence) => {
                    return leaf.put(key, sequence, value);
                }
                Ok(leaf) => {
                    let need = leaf.need(key, value.len());
                    drop(leaf);
                    limb.make_room(&self.gate, key, need, first)?;
                    first = false;
                }
                Err(stop) => limb.settle(stop, &mut tries)?,
            }
        }
    }

    fn with_leaf(
        &self,
        tree: &super::TreeState,
        key: &[u8],
        change: impl FnOnce(LockedLeaf<'_>) -> bool,
    ) -> Result<()> {
        let limb = self.limb(tree);
        self.buffer.claim(1, Claim::Frees)?;
        self.buffer.reserve(0)?;
        let leaf = limb.retry(|_| limb.lock_leaf(key))?;
        if change(leaf) { limb.shrink(&self.gate, key) } else { Ok(()) }
    }
}
