//! The journal that is written to: reservations, appends, group commit, and the switch of files at a checkpoint.
//!
//! One thread at a time leads: it alone does I/O, holding the turn, and carries out everything that is appended so far
//! in order: the rest of the old file, the start of the second, groups for it. Lock order: turn, files, tail, those who
//! wait; the tail is never held during I/O.
//!
//! A switch goes: [`Journal::prepare_switch`], then inside the exclusive gate [`Journal::switch`], then
//! [`Journal::settle_switch`], and when the superblock is durable [`Journal::retire_old`].

mod group;
mod keeper;
mod space;
mod switch;
mod waiting;

pub(crate) use keeper::Ask;

use super::Durability;
use super::reader::FileEnd;
use super::record::Kind;
use super::tail::{Floor, Group, Tail, Work};
use super::target::{Target, install, is_harmless, remove_next};
use crate::error::{Error, ErrorKind, Result};
use crate::io::Storage;
use crate::limits::BLOCK_BYTES;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, order};
use group::Pace;
use keeper::Keeper;
use std::sync::Arc;
use waiting::Waiting;

/// How much a file grows at first, in bytes.
const CHUNK_BYTES_MIN: u64 = 256 << 10;
/// How much a file grows at most, in bytes.
const CHUNK_BYTES_MAX: u64 = 8 << 20;
/// A buffer larger than this is not kept, in bytes.
const SPARE_BYTES_MAX: usize = 1 << 20;
/// A batched commit does the write itself, and waits for whoever is at work, when the buffer is this many times over its
/// limit and this long.
const BATCHES_MAX: usize = 8;
const BUFFERED_MAX: usize = 4 << 20;

/// The one writer of the journal. Shared by all threads.
#[derive(Debug)]
pub(crate) struct Journal {
    storage: Arc<dyn Storage>,
    /// Whether new space is synced before it is used, so that a commit's sync changes no file metadata.
    sync_growth: bool,
    turn: Mutex<Turn>,
    /// For those who wait for the turn, not for commits.
    turned: Condvar,
    waiting: Waiting,
    keeper: Keeper,
    /// Commits that have asked for a sync so far.
    asked: AtomicU64,
    /// The file that appends go to has little space left.
    is_low: AtomicBool,
    /// More could not be allocated ahead of need.
    ahead_failed: AtomicBool,
    files: Mutex<Files>,
    shared: Shared,
    durable: AtomicU64,
    poisoned: AtomicBool,
    /// What went wrong first.
    cause: Mutex<String>,
}

/// What every commit changes, on cache lines of its own: commits on other processors read what stands beside it.
#[derive(Debug)]
#[repr(align(128))]
struct Shared {
    tail: Mutex<Tail>,
    /// The last sequence, and what of the tail is asked for without its lock. They change under it.
    last: AtomicU64,
    record_bytes: AtomicU64,
    buffered: AtomicUsize,
}

#[derive(Debug, Default)]
struct Turn {
    busy: bool,
}

#[derive(Debug)]
struct Files {
    current: Target,
    second: Option<Target>,
    /// The current file is still named `journal.next`.
    retiring: bool,
    chunk: u64,
    /// The last switch found the device full.
    scarce: bool,
    spare: Vec<u8>,
    pace: Pace,
}

impl Files {
    fn of_generation(&mut self, generation: u64) -> Option<&mut Target> {
        let second = self.second.as_mut();
        std::iter::once(&mut self.current).chain(second).find(|target| target.generation == generation)
    }
}

/// The place of a commit in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) sequence: u64,
}

/// Space and a sequence for one record. Dropped unused it gives both back.
#[derive(Debug)]
pub(crate) struct Reservation<'j> {
    journal: &'j Journal,
    /// In bytes; 0 when it was used.
    cost: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.cost > 0 {
            self.journal.shared.tail.lock().release(self.cost);
        }
    }
}

/// Poisons the journal when a panic drops it: what the thread was at is half done. A panic from before, on whose way
/// out a destructor writes, is none of ours.
pub(crate) struct Watch<'j> {
    journal: &'j Journal,
    was_panicking: bool,
}

impl Watch<'_> {
    fn look(&self) {
        if std::thread::panicking() && !self.was_panicking {
            let what = "a thread panicked in the middle of a write";
            self.journal.poison(Error::new(ErrorKind::Poisoned, what));
        }
    }
}

impl Drop for Watch<'_> {
    #[inline]
    fn drop(&mut self) {
        self.look();
    }
}

/// The turn of a leader; the next may lead when it is dropped.
struct Lead<'j>(Watch<'j>);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.look();
        let journal = self.0.journal;
        journal.turn.lock().busy = false;
        journal.turned.notify_all();
        journal.release();
    }
}

/// What to expect of the bytes from sync to sync before any was.
fn stride_at_first(durability: Durability) -> u64 {
    match durability {
        Durability::Sync => 0,
        Durability::Batched { .. } => CHUNK_BYTES_MAX,
    }
}

impl Journal {
    /// Makes a new journal after `start` and puts it in the place of whatever journal there was. Sequences below `mark`
    /// may be handed out at once: it is durable elsewhere. `durability` is the database's.
    pub(crate) fn create(
        storage: Arc<dyn Storage>,
        start: u64,
        mark: u64,
        durability: Durability,
    ) -> Result<Self> {
        let mut target = Target::create_next(&*storage, 0, stride_at_first(durability))?;
        target.start_after(start)?;
        install(&*storage)?;
        target.was_installed(&*storage);
        Ok(Self::new(storage, target, start, mark, durability))
    }

    /// Takes up the journal that is there: one without records, that starts after `start`.
    pub(crate) fn resume(
        storage: Arc<dyn Storage>,
        start: u64,
        mark: u64,
        durability: Durability,
    ) -> Result<Self> {
        let target = Target::resume(&*storage, start, stride_at_first(durability))?;
        Ok(Self::new(storage, target, start, mark, durability))
    }

    /// Goes on with the journal that was just replayed to this end: all of it is durable then. Sequences up to `sequence`, which
    /// is above all in it, count as handed out. If the end is one of the second file the checkpoint before that is durable.
    pub(crate) fn go_on(
        storage: Arc<dyn Storage>,
        end: &FileEnd,
        sequence: u64,
        durability: Durability,
    ) -> Result<Self> {
        if end.is_second {
            install(&*storage)?;
        } else {
            remove_next(&*storage)?;
        }
        let mut target = Target::go_on(&*storage, end, stride_at_first(durability))?;
        let mut bridge = Group::bridge(end.last_sequence, sequence, &target.checksum());
        if target.free_bytes() < bridge.charged {
            target.grow(BLOCK_BYTES as u64, true)?;
        }
        target.write(&mut bridge)?;
        let mark = target.sync()?;
        let (record_bytes, free_bytes) = (end.offset, target.free_bytes());
        let journal = Self::new(storage, target, sequence, mark, durability);
        journal.shared.tail.lock().go_on(record_bytes, free_bytes);
        journal.shared.record_bytes.store(record_bytes, Ordering::Relaxed);
        Ok(journal)
    }

    fn new(
        storage: Arc<dyn Storage>,
        current: Target,
        start: u64,
        mark: u64,
        durability: Durability,
    ) -> Self {
        Self {
            storage,
            sync_growth: durability == Durability::Sync,
            turn: Mutex::default(),
            turned: Condvar::new(),
            waiting: Waiting::default(),
            keeper: Keeper::default(),
            asked: AtomicU64::new(0),
            is_low: AtomicBool::new(false),
            ahead_failed: AtomicBool::new(false),
            shared: Shared {
                tail: Mutex::new(Tail::new(start, mark, current.checksum())),
                last: AtomicU64::new(start),
                record_bytes: AtomicU64::new(0),
                buffered: AtomicUsize::new(0),
            },
            files: Mutex::new(Files {
                current,
                second: None,
                retiring: false,
                chunk: CHUNK_BYTES_MIN,
                scarce: false,
                spare: Vec::new(),
                pace: Pace::default(),
            }),
            durable: AtomicU64::new(start),
            poisoned: AtomicBool::new(false),
            cause: Mutex::default(),
        }
    }

    /// Makes sure that a record with `payload_bytes` can be appended without I/O. May do I/O: call it before the gate
    /// and before any latch.
    pub(crate) fn reserve(&self, payload_bytes: usize) -> Result<Reservation<'_>> {
        self.reserve_above(payload_bytes, Floor::Emergency)
    }

    /// The same, from the space kept for what makes space: deletes and checkpoints.
    pub(crate) fn reserve_emergency(&self, payload_bytes: usize) -> Result<Reservation<'_>> {
        self.reserve_above(payload_bytes, Floor::Switch)
    }

    /// Appends a record and gives it its sequence. No I/O and no waiting: call it under the latches of what it changed.
    pub(crate) fn append(&self, mut reservation: Reservation<'_>, kind: Kind, payload: &[u8]) -> Position {
        debug_assert!(std::ptr::eq(reservation.journal, self));
        let mut tail = self.shared.tail.lock();
        let sequence = tail.append(reservation.cost, kind, payload);
        reservation.cost = 0;
        self.shared.last.store(sequence, Ordering::Release);
        self.shared.record_bytes.store(tail.record_bytes(), Ordering::Relaxed);
        self.shared.buffered.store(tail.buffered(), Ordering::Relaxed);
        Position { sequence }
    }

    /// Waits until the commit at `position` is as safe as `durability` says. Call it after all latches are released.
    pub(crate) fn commit(&self, position: Position, durability: Durability) -> Result<()> {
        match durability {
            Durability::Sync => self.wait_durable(position.sequence),
            Durability::Batched { .. } if self.durable_sequence() >= position.sequence => Ok(()),
            Durability::Batched { bytes, .. } => {
                self.check_poison()?;
                let buffered = self.shared.buffered.load(Ordering::Relaxed);
                if buffered < bytes {
                    return Ok(());
                }
                let may_wait = buffered / BATCHES_MAX < bytes || buffered < BUFFERED_MAX;
                if may_wait && self.leave_write_to_keeper() {
                    return Ok(());
                }
                let turn = self.turn.lock();
                if turn.busy && may_wait {
                    return Ok(());
                }
                self.lead(turn, |files| self.write_out(files, false))
            }
        }
    }

    /// Hands all that is appended so far to the operating system.
    pub(crate) fn flush(&self) -> Result<()> {
        self.lead(self.turn.lock(), |files| self.write_out(files, false))
    }

    /// Makes all that is appended so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.check_poison()?;
        self.wait_durable(self.last_sequence())
    }

    /// All commits up to this sequence are durable.
    pub(crate) fn durable_sequence(&self) -> u64 {
        self.durable.load(order("journal durable seen", Ordering::Acquire))
    }

    /// The sequence of the last commit.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.shared.last.load(Ordering::Acquire)
    }

    /// Sequences handed out are below this number, which is durable.
    pub(crate) fn durable_mark(&self) -> u64 {
        self.shared.tail.lock().mark()
    }

    /// Bytes of records since the last switch.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.shared.record_bytes.load(Ordering::Relaxed)
    }

    /// Space that is allocated ahead of use, in bytes.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.shared.tail.lock().free_bytes()
    }

    /// Memory that buffers take, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.shared.tail.lock().memory_bytes()
    }

    /// Stops all writing: what is in memory and what is on the device may differ. Returns the error, as one of I/O where its
    /// kind would say that nothing was changed.
    pub(crate) fn poison(&self, error: Error) -> Error {
        let error = if is_harmless(&error) { Error::new(ErrorKind::Io, error) } else { error };
        {
            let mut cause = self.cause.lock();
            if cause.is_empty() {
                *cause = error.to_string();
            }
            self.poisoned.store(true, Ordering::Release);
        }
        self.release();
        error
    }

    /// Watches over something that must not be left half done, for as long as the result lives.
    #[inline]
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { journal: self, was_panicking: std::thread::panicking() }
    }

    /// An error once the journal is poisoned.
    pub(crate) fn check_poison(&self) -> Result<()> {
        if self.is_poisoned() {
            let cause = self.cause.lock();
            return Err(Error::new(
                ErrorKind::Poisoned,
                format_args!("reopen the database: an earlier write failed ({cause})"),
            ));
        }
        Ok(())
    }

    fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Ends all writing for good, and waits for the leader at work.
    pub(crate) fn shut(&self) {
        self.poison(Error::invalid("the database was closed"));
        let mut turn = self.turn.lock();
        while turn.busy {
            self.turned.wait(&mut turn);
        }
    }

    fn poison_unless_harmless(&self, error: Error) -> Error {
        if is_harmless(&error) { error } else { self.poison(error) }
    }

    /// Waits for the turn and does `work` as the leader.
    fn lead<T>(
        &self,
        mut turn: MutexGuard<'_, Turn>,
        work: impl FnOnce(&mut Files) -> Result<T>,
    ) -> Result<T> {
        while turn.busy {
            self.turned.wait(&mut turn);
        }
        self.lead_now(turn, work)
    }

    /// Writes all that is appended, in order, and syncs it on request.
    fn write_out(&self, files: &mut Files, sync: bool) -> Result<()> {
        let work = {
            let mut tail = self.shared.tail.lock();
            let work = tail.take(&mut files.spare);
            self.shared.buffered.store(tail.buffered(), Ordering::Relaxed);
            work
        };
        self.carry_out(files, work, sync).map_err(|error| self.poison(error))
    }

    fn carry_out(&self, files: &mut Files, work: Work, sync: bool) -> Result<()> {
        if let Some(mut sealed) = work.sealed {
            if !sealed.is_empty() {
                files.current.write(&mut sealed)?;
            }
            self.publish(sealed.last_sequence, &mut files.current)?;
            let Some(mut second) = files.second.take() else {
                return Err(Error::new(ErrorKind::Io, "the second file of the journal is missing"));
            };
            second.start_after(sealed.last_sequence)?;
            files.current = second;
            files.retiring = true;
        }
        let mut group = work.group;
        if !group.is_empty() {
            let used = files.current.write(&mut group)?;
            self.shared.tail.lock().add_space(files.current.generation, group.charged - used);
        }
        if sync {
            self.publish(group.last_sequence, &mut files.current)?;
        }
        if group.bytes.capacity() > files.spare.capacity() && group.bytes.capacity() <= SPARE_BYTES_MAX {
            group.bytes.clear();
            files.spare = group.bytes;
        }
        Ok(())
    }

    /// Syncs a file, and lets those go on who wait for what is in it.
    fn publish(&self, sequence: u64, target: &mut Target) -> Result<()> {
        let mark = target.sync()?;
        self.shared.tail.lock().raise_mark(mark, target.generation);
        self.durable.store(sequence, order("journal durable", Ordering::Release));
        Ok(())
    }
}
