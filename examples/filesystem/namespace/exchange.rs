//! The call that no single batch can make: what it does depends on what both names are, and it moves each to the other's place.

use ramus::{IfExists, Transaction};

use super::{Errno, Error, Name, Namespace, Path, Result, race};

/// Where a directory waits while the other one moves. No key of a name starts with it.
const ASIDE: &[u8] = b"aside/";

impl Namespace {
    /// renameat2(2) with RENAME_EXCHANGE: two names, of files or directories, swap what they are names of.
    pub fn exchange(&self, one: impl AsRef<[u8]>, other: impl AsRef<[u8]>) -> Result<()> {
        let (one, other) = (Path::parse(one.as_ref())?, Path::parse(other.as_ref())?);
        if one.is_root() || other.is_root() {
            return Err(Errno::Busy.into());
        }
        if one.is_inside(&other) || other.is_inside(&one) {
            return Err(Errno::Invalid.into());
        }
        self.transact(|tx| {
            let (at_one, at_other) = (self.name_in(tx, &one)?, self.name_in(tx, &other)?);
            if one.is_same(&other) {
                return Ok(());
            }
            let is_directory = |name: &Name| matches!(name, Name::Directory { .. });
            match (is_directory(&at_one), is_directory(&at_other)) {
                (false, false) => {
                    tx.put(&self.names, one.file_key(), at_other.encode())?;
                    tx.put(&self.names, other.file_key(), at_one.encode())?;
                }
                (true, true) => {
                    self.move_directory(tx, one.directory_key(), ASIDE)?;
                    self.move_directory(tx, other.directory_key(), one.directory_key())?;
                    self.move_directory(tx, ASIDE, other.directory_key())?;
                }
                (true, false) => self.exchange_kinds(tx, &one, &other)?,
                (false, true) => self.exchange_kinds(tx, &other, &one)?,
            }
            Ok(())
        })
    }

    fn exchange_kinds(&self, tx: &mut Transaction, directory: &Path, file: &Path) -> Result<()> {
        tx.rename(&self.names, file.file_key(), directory.file_key(), IfExists::Fail)?;
        self.move_directory(tx, directory.directory_key(), file.directory_key())
    }

    fn move_directory(
        &self,
        tx: &mut Transaction,
        old: impl AsRef<[u8]>,
        new: impl AsRef<[u8]>,
    ) -> Result<()> {
        Ok(tx.rename_prefix(&self.names, old, new, IfExists::Fail)?)
    }

    /// What has this name, as the transaction reads it.
    fn name_in(&self, tx: &Transaction, path: &Path) -> Result<Name> {
        let value = match tx.get(&self.names, path.file_key())? {
            Some(_) if path.directory_only => return Err(Errno::NotDirectory.into()),
            None => tx.get(&self.names, path.directory_key())?,
            file => file,
        };
        match value {
            Some(value) => Ok(Name::decode(&value)?),
            // Only now does it matter which part of the path is wrong.
            None => Err(self.existing(path).err().unwrap_or_else(|| race("the name has just been made"))),
        }
    }

    /// Runs `body` in a transaction until no other thread comes between. A refusal comes before the first change.
    fn transact<T>(&self, mut body: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        let outcome = self.db.transact(|tx| match body(tx) {
            Ok(done) => Ok(Ok(done)),
            Err(Error::Refused(errno)) => Ok(Err(errno)),
            Err(Error::Database(error)) => Err(error),
        });
        Ok(outcome??)
    }
}
