//! A storage whose syncs stand still until the test lets them go.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use ramus::io::{LockMode, OpenMode, Storage, StorageFile, StorageLock};

/// Which syncs stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    /// Those of any file.
    All,
    /// Those of the data file.
    Data,
}

#[derive(Debug)]
struct State {
    hold: Hold,
    /// Syncs that may pass all the same.
    passes: u64,
    /// Syncs that stand still now.
    held: usize,
    /// Syncs that have ended.
    done: u64,
    /// Writes and syncs by the thread that makes checkpoints.
    by_background: u64,
}

/// Clones share the hold.
#[derive(Debug, Clone)]
pub(crate) struct HeldStorage {
    inner: Arc<dyn Storage>,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl HeldStorage {
    pub(crate) fn new(inner: impl Storage + 'static) -> Self {
        let state = State { hold: Hold::Nothing, passes: 0, held: 0, done: 0, by_background: 0 };
        Self { inner: Arc::new(inner), state: Arc::new((Mutex::new(state), Condvar::new())) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut state);
        self.state.1.notify_all();
        outcome
    }

    /// From here on these syncs stand still; all others go on.
    pub(crate) fn hold(&self, hold: Hold) {
        self.with(|state| state.hold = hold);
    }

    /// Lets one sync go that stands still, and returns when it has gone on.
    pub(crate) fn let_one_go(&self) {
        self.with(|state| state.passes += 1);
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        while state.passes > 0 {
            state = self.state.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until `count` syncs stand still.
    pub(crate) fn wait_for_held(&self, count: usize) {
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        while state.held < count {
            state = self.state.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Syncs that stand still now.
    pub(crate) fn held(&self) -> usize {
        self.with(|state| state.held)
    }

    /// Syncs that have ended.
    pub(crate) fn syncs(&self) -> u64 {
        self.with(|state| state.done)
    }

    /// Writes and syncs that the background thread has made.
    pub(crate) fn by_background(&self) -> u64 {
        self.with(|state| state.by_background)
    }

    fn count(&self) {
        if std::thread::current().name() == Some("ramus-background") {
            self.with(|state| state.by_background += 1);
        }
    }

    /// Stands still while it is held; then counts.
    fn pass(&self, data: bool) {
        let holds = |state: &State| state.hold == Hold::All || (data && state.hold == Hold::Data);
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        if holds(&state) {
            state.held += 1;
            self.state.1.notify_all();
            while holds(&state) && state.passes == 0 {
                state = self.state.1.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.held -= 1;
            state.passes = state.passes.saturating_sub(1);
            self.state.1.notify_all();
        }
        state.done += 1;
    }
}

impl Storage for HeldStorage {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let inner = self.inner.open(name, mode)?;
        Ok(Arc::new(HeldFile { inner, data: name == "data.ramus", storage: self.clone() }))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn StorageLock>> {
        self.inner.lock(mode)
    }
    fn describe(&self, name: &str) -> String {
        self.inner.describe(name)
    }
}

#[derive(Debug)]
struct HeldFile {
    inner: Arc<dyn StorageFile>,
    data: bool,
    storage: HeldStorage,
}

impl StorageFile for HeldFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.storage.count();
        self.inner.write_at(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.storage.count();
        self.storage.pass(self.data);
        self.inner.sync()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_len(bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
