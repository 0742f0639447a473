//! Calls that change something: one commit each.
//!
//! What every commit keeps: (N1) a name has at most one record, as a file or as a directory; (N2) the directory of every entry
//! is there; (N3) an inode's record counts its names, and is there as long as it has one.

use ramus::{Batch, IfExists};

use super::{Errno, Found, Inode, Name, Namespace, Path, Result};

impl Namespace {
    /// mkdir(2).
    pub fn mkdir(&self, path: impl AsRef<[u8]>) -> Result<()> {
        self.make(&Path::parse(path.as_ref())?, true)
    }

    /// open(2) with O_CREAT and O_EXCL: a new, empty file.
    pub fn create(&self, path: impl AsRef<[u8]>) -> Result<()> {
        self.make(&Path::parse(path.as_ref())?, false)
    }

    fn make(&self, path: &Path, directory: bool) -> Result<()> {
        self.retry(|| {
            let parent = self.parent(path)?;
            if !directory && path.directory_only {
                return Err(Errno::IsDirectory.into());
            }
            if self.look(path)?.is_some() {
                return Err(Errno::Exists.into());
            }
            let inode = self.numbers.next()?;
            let (key, name) = match directory {
                true => (path.directory_key(), Name::Directory { inode }),
                false => (path.file_key().to_vec(), Name::File { inode, size: 0 }),
            };
            self.commit(|batch| {
                batch.expect_version(&self.names, path.parent().directory_key(), parent);
                self.expect_free(batch, path);
                batch.put(&self.names, key, name.encode());
            })
        })
    }

    /// truncate(2): sets the size of a file.
    pub fn truncate(&self, path: impl AsRef<[u8]>, size: u64) -> Result<()> {
        let path = Path::parse(path.as_ref())?;
        self.retry(|| {
            let found = self.existing(&path)?;
            match found.name {
                Name::Directory { .. } => Err(Errno::IsDirectory.into()),
                Name::File { inode, .. } => {
                    let value = Name::File { inode, size }.encode();
                    self.names.compare_and_put(path.file_key(), found.version, value)?;
                    Ok(())
                }
                Name::Linked { inode } => {
                    let (shared, version) = self.shared_inode(inode)?;
                    self.commit(|batch| {
                        batch.expect_version(&self.names, path.file_key(), found.version);
                        batch.expect_version(&self.inodes, Inode::key(inode), version);
                        batch.put(&self.inodes, Inode::key(inode), Inode { size, ..shared }.encode());
                    })
                }
            }
        })
    }

    /// link(2): a second name for a file. The first time, what stood at its name moves to the tree of inodes.
    pub fn link(&self, old: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> Result<()> {
        let (old, new) = (Path::parse(old.as_ref())?, Path::parse(new.as_ref())?);
        self.retry(|| {
            let found = self.existing(&old)?;
            let parent = self.parent(&new)?;
            if self.look(&new)?.is_some() {
                return Err(Errno::Exists.into());
            }
            if new.directory_only {
                return Err(Errno::NoEntry.into());
            }
            let (inode, shared, version) = match found.name {
                Name::Directory { .. } => return Err(Errno::NotPermitted.into()),
                Name::File { inode, size } => (inode, Inode { links: 2, size }, None),
                Name::Linked { inode } => {
                    let (shared, version) = self.shared_inode(inode)?;
                    (inode, Inode { links: shared.links + 1, ..shared }, Some(version))
                }
            };
            self.commit(|batch| {
                batch.expect_version(&self.names, old.file_key(), found.version);
                batch.expect_version(&self.names, new.parent().directory_key(), parent);
                self.expect_free(batch, &new);
                let linked = Name::Linked { inode }.encode();
                match version {
                    Some(version) => batch.expect_version(&self.inodes, Inode::key(inode), version),
                    None => batch.put(&self.names, old.file_key(), &linked),
                }
                batch.put(&self.names, new.file_key(), linked);
                batch.put(&self.inodes, Inode::key(inode), shared.encode());
            })
        })
    }

    /// unlink(2): takes a name from a file; with the last one goes the inode.
    pub fn unlink(&self, path: impl AsRef<[u8]>) -> Result<()> {
        let path = Path::parse(path.as_ref())?;
        self.retry(|| {
            let found = self.existing(&path)?;
            let drop_name = self.drop_name(&path, &found)?;
            self.commit(|batch| {
                drop_name(batch);
                batch.delete(&self.names, path.file_key());
            })
        })
    }

    /// rmdir(2).
    pub fn rmdir(&self, path: impl AsRef<[u8]>) -> Result<()> {
        let path = Path::parse(path.as_ref())?;
        if path.is_root() {
            return Err(Errno::Busy.into());
        }
        self.retry(|| {
            let version = self.directory(&path)?;
            self.check_empty(&path)?;
            self.commit(|batch| {
                batch.expect_version(&self.names, path.directory_key(), version);
                batch.expect_prefix_empty(&self.names, path.entries_prefix());
                batch.delete(&self.names, path.directory_key());
            })
        })
    }

    /// rename(2). Of a directory it is one change, however much lies below.
    pub fn rename(&self, old: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> Result<()> {
        let (old, new) = (Path::parse(old.as_ref())?, Path::parse(new.as_ref())?);
        self.retry(|| {
            self.parent(&old)?;
            self.parent(&new)?;
            if old.is_root() || new.is_root() {
                return Err(Errno::Busy.into());
            }
            let found = self.look(&old)?.ok_or(Errno::NoEntry)?;
            match found.is_directory() {
                true => self.rename_directory(&old, &new),
                false => self.rename_file(&old, &found, &new),
            }
        })
    }

    fn rename_directory(&self, old: &Path, new: &Path) -> Result<()> {
        if new.is_same(old) {
            return Ok(());
        }
        if new.is_inside(old) {
            return Err(Errno::Invalid.into());
        }
        if old.is_inside(new) {
            return Err(Errno::NotEmpty.into());
        }
        match self.look(new)? {
            Some(over) if !over.is_directory() => return Err(Errno::NotDirectory.into()),
            _ => self.check_empty(new)?,
        }
        let parent = self.parent(new)?;
        self.commit(|batch| {
            batch.expect_version(&self.names, new.parent().directory_key(), parent);
            batch.expect_absent(&self.names, new.file_key());
            // What is replaced is then an empty directory or nothing.
            batch.expect_prefix_empty(&self.names, new.entries_prefix());
            batch.rename_prefix(&self.names, old.directory_key(), new.directory_key(), IfExists::Replace);
        })
    }

    fn rename_file(&self, old: &Path, found: &Found, new: &Path) -> Result<()> {
        if old.directory_only || new.directory_only {
            return Err(Errno::NotDirectory.into());
        }
        let parent = self.parent(new)?;
        let over = self.look(new)?;
        if let Some(over) = over.filter(|over| over.name.inode() == found.name.inode()) {
            // Two names of one file, or the same name: POSIX leaves both. That they were so at one instant has to be proven, or
            // this may be the file that another thread has just moved from one to the other.
            return self.commit(|batch| {
                batch.expect_version(&self.names, old.file_key(), found.version);
                batch.expect_version(&self.names, new.file_key(), over.version);
            });
        }
        let drop_name = over.as_ref().map(|over| self.drop_name(new, over)).transpose()?;
        self.commit(|batch| {
            batch.expect_version(&self.names, old.file_key(), found.version);
            batch.expect_version(&self.names, new.parent().directory_key(), parent);
            match drop_name {
                Some(drop_name) => drop_name(batch),
                None => self.expect_free(batch, new),
            }
            batch.rename(&self.names, old.file_key(), new.file_key(), IfExists::Replace);
        })
    }

    /// What a batch must do for a file that loses the name `path`, beside taking the name away.
    fn drop_name<'n>(&'n self, path: &'n Path, found: &'n Found) -> Result<impl FnOnce(&mut Batch) + 'n> {
        let shared = match found.name {
            Name::Directory { .. } => return Err(Errno::IsDirectory.into()),
            Name::File { .. } => None,
            Name::Linked { inode } => Some((Inode::key(inode), self.shared_inode(inode)?)),
        };
        Ok(move |batch: &mut Batch| {
            batch.expect_version(&self.names, path.file_key(), found.version);
            let Some((key, (inode, version))) = shared else { return };
            batch.expect_version(&self.inodes, key, version);
            match inode.links {
                0 | 1 => batch.delete(&self.inodes, key),
                links => batch.put(&self.inodes, key, Inode { links: links - 1, ..inode }.encode()),
            }
        })
    }

    /// A batch that puts a name expects that neither a file nor a directory has it.
    fn expect_free(&self, batch: &mut Batch, path: &Path) {
        batch.expect_absent(&self.names, path.file_key());
        batch.expect_absent(&self.names, path.directory_key());
    }

    fn check_empty(&self, path: &Path) -> Result<()> {
        match self.names.prefix(path.entries_prefix()).keys_only().limit(1).next().transpose()? {
            Some(_) => Err(Errno::NotEmpty.into()),
            None => Ok(()),
        }
    }
}
