//! Opening: the newest checkpoint, the journal after it, and a fresh start from there.

use std::sync::Arc;

use super::catalog::Catalog;
use super::segment::Segment;
use super::trees::DEFAULT_TREE;
use super::{Engine, Recovered, Settings, Turn, Wake};
use crate::buffer::{Buffer, Gate};
use crate::error::{Error, ErrorKind, Result};
use crate::io::{LockMode, Storage};
use crate::journal::{Journal, Outcome, Recovery, is_switching, replay};
use crate::limits::SEQUENCE_RESERVE;
use crate::store::{Opened, Store};
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex};
use crate::tree::Format;

/// Files that a database directory may hold before its data file is in place.
const EARLY_FILES: [&str; 4] = ["lock", "journal.wal", "journal.next", "data.ramus.new"];

fn list(storage: &dyn Storage) -> Result<Vec<String>> {
    let doing = || format!("listing the directory of {}", storage.describe("data.ramus"));
    storage.list().map_err(|error| Error::io(doing(), error))
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
        if !self.settings.read_only && is_switching(&**storage)? {
            // A process that was killed may have left a superblock that is not durable: nothing that only the one before it
            // holds may be written over yet.
            self.store.sync()?;
        }
        self.buffer.set_replaying(true);
        let mut segment = Segment::new(self.settings.cache_bytes);
        let outcome =
            replay(&**storage, opened.sequence, self.settings.recovery, &mut |sequence, record| {
                self.replay_record(&mut segment, sequence, &record)
            })?;
        self.replay_segment(&mut segment)?;
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

    /// The journal to go on with: the one that is there if it is as a clean close left it, or sound and with records that the
    /// checkpoint does not have. Else a new one, after a checkpoint of what was replayed.
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
        if let Some(end) = outcome.end.filter(|_| outcome.records_applied > 0 && !opened.fallback) {
            // The next checkpoint is one like any other; where there is a thread for it, it comes at once.
            self.wake.get_mut().checkpoint = self.settings.background;
            return Journal::go_on(
                Arc::clone(storage),
                &end,
                sequence.max(outcome.last_sequence + 1),
                durability,
            );
        }
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
        self.replay_tree(id, DEFAULT_TREE)
    }
}
