//! Running a transaction until it does not meet a conflict.

use std::time::Duration;

use super::{Db, Transaction, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::TRANSACT_TRIES_MAX;
use crate::sync::{random_u64, sleep};

/// The longest pause after the first conflict; it doubles with each further one, up to the last.
const PAUSE_FIRST: Duration = Duration::from_micros(20);
const PAUSE_LAST: Duration = Duration::from_millis(10);

impl Db {
    /// Begins a [`Transaction`]. Costs nothing; it may live as long as it likes, and be dropped.
    ///
    /// ```
    /// # fn main() -> ramus::Result<()> {
    /// let db = ramus::Db::in_memory()?;
    /// let tree = db.default_tree();
    /// let mut transaction = db.transaction();
    /// if transaction.get(&tree, "lock")?.is_none() {
    ///     transaction.put(&tree, "lock", "mine")?;
    /// }
    /// assert!(!tree.contains("lock")?);
    /// tree.put("lock", "yours")?;
    /// assert_eq!(transaction.commit().unwrap_err().kind(), ramus::ErrorKind::Conflict);
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.handle())
    }

    /// Runs `body` in a transaction and commits it; after a Conflict, once more in a new one, up to 100 times
    /// ([`TRANSACT_TRIES_MAX`](crate::limits::TRANSACT_TRIES_MAX)), with a random pause between two tries: up to 20 µs after the first,
    /// twice as long after each further one, up to 10 ms. Returns what `body` gave the last time.
    ///
    /// `body` should do nothing but read, decide and change through the transaction: it may run several times, and while it runs two
    /// reads may be of different instants. An error that it returns gives the changes up, and is returned if all that was read was
    /// true together; else it counts as a conflict.
    ///
    /// ```
    /// # fn main() -> ramus::Result<()> {
    /// let db = ramus::Db::in_memory()?;
    /// let tree = db.default_tree();
    /// let number = db.transact(|tx| {
    ///     let last = tx.get(&tree, "last")?.map_or(0, |bytes| bytes[0]);
    ///     tx.put(&tree, "last", [last + 1])?;
    ///     Ok(last + 1)
    /// })?;
    /// assert_eq!(number, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Conflict: that of the last try, when all met one. Those of [`Transaction::commit`], and of `body`.
    pub fn transact<T>(&self, body: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        self.transact_with(WriteOptions::new(), body)
    }

    /// As [`transact`](Self::transact), with options of its own for the commit.
    ///
    /// # Errors
    /// Those of [`transact`](Self::transact).
    pub fn transact_with<T>(
        &self,
        options: WriteOptions,
        mut body: impl FnMut(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        let mut pause = PAUSE_FIRST;
        let mut tries = 1;
        loop {
            let mut transaction = self.transaction();
            let outcome = match body(&mut transaction) {
                Ok(value) => transaction.commit_with(options).map(|_| value),
                Err(error) if is_conflict(&error) => Err(error),
                // It may be wrong because what it was concluded from was never true together.
                Err(error) => Err(transaction.validate().err().filter(is_conflict).unwrap_or(error)),
            };
            match outcome {
                Err(error) if is_conflict(&error) && tries < TRANSACT_TRIES_MAX => {}
                outcome => return outcome,
            }
            tries += 1;
            sleep(pause.mul_f64((random_u64() >> 11) as f64 / (1u64 << 53) as f64));
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }
}

fn is_conflict(error: &Error) -> bool {
    error.kind() == ErrorKind::Conflict
}
