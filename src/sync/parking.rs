//! The interface of parking_lot's locks over locks with that of the standard library: those of loom and shuttle.

#[cfg(loom)]
use loom::sync as under;
#[cfg(shuttle)]
use shuttle::sync as under;
use std::fmt::Display;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

use super::Instant;

#[derive(Debug, Default)]
pub(crate) struct Mutex<T: ?Sized>(under::Mutex<T>);

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// None only while a [`Condvar`] has it.
    held: Option<under::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    #[track_caller]
    pub(crate) fn new(value: T) -> Self {
        Self(under::Mutex::new(value))
    }

    #[cfg(test)]
    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.guard(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn guard<'a>(&'a self, held: under::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard { mutex: self, held: Some(held) }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(self.guard(guard)),
            Err(TryLockError::Poisoned(guard)) => Some(self.guard(guard.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("a guard is whole outside of waits")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("a guard is whole outside of waits")
    }
}

impl<T: ?Sized + Display> Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// What a wait with an end came to.
pub(crate) struct TimedOut;

impl TimedOut {
    pub(crate) fn timed_out(&self) -> bool {
        true
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(under::Condvar);

impl Condvar {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self(under::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("a guard is whole outside of waits");
        guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// The time is over at once: no checker knows of time, and a waiter must be right whenever it wakes.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _time: Duration) {
        guard.held = None;
        super::yield_now();
        guard.held = guard.mutex.lock().held.take();
    }

    /// The same.
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _due: Instant) -> TimedOut {
        self.wait_for(guard, Duration::ZERO);
        TimedOut
    }

    pub(crate) fn notify_one(&self) {
        #[cfg(loom)]
        if super::is_left_out("notify") {
            return;
        }
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        #[cfg(loom)]
        if super::is_left_out("notify") {
            return;
        }
        self.0.notify_all();
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(under::RwLock<T>);

impl<T> RwLock<T> {
    #[track_caller]
    pub(crate) fn new(value: T) -> Self {
        Self(under::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> under::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> under::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
