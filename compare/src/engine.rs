//! What a workload asks of an engine.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// Bytes of a value.
pub const VALUE_BYTES: usize = 96;
/// A value.
pub type Value = [u8; VALUE_BYTES];
/// Records to be loaded, each key once.
pub type Records<'i, 'k> = &'i mut (dyn Iterator<Item = (&'k [u8], Value)> + 'i);
/// Sees a key and, where there is one, its value; both are valid for the call.
pub type See<'s> = &'s mut dyn FnMut(&[u8], &[u8]);

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A crash of the system may lose the last commits.
    Batched,
    /// It is on stable storage.
    Durable,
}

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct Setup {
    pub dir: PathBuf,
    pub cache_bytes: u64,
    pub class: Class,
    /// The data is several times the cache: readahead does harm.
    pub beyond_memory: bool,
}

impl Setup {
    pub fn new(dir: &Path, cache_bytes: u64) -> Self {
        Self { dir: dir.to_owned(), cache_bytes, class: Class::Batched, beyond_memory: false }
    }

    pub fn durable(self) -> Self {
        Self { class: Class::Durable, ..self }
    }

    pub fn beyond_memory(self) -> Self {
        Self { beyond_memory: true, ..self }
    }
}

/// An open engine: an ordered map from paths to values.
pub trait Engine: Send + Sync {
    /// A session of the calling thread. No thread has two of one engine at a time.
    fn session(&self) -> Result<Box<dyn Session + '_>>;

    /// Loads an empty engine in the way its documentation has for that.
    fn load(&self, records: Records<'_, '_>, sorted: bool) -> Result<()>;

    /// Puts everything where it is to lie after a load, and waits for work in the background.
    fn settle(&self) -> Result<()>;

    /// Waits for work in the background that has already begun, without starting more.
    fn quiet(&self) -> Result<()> {
        Ok(())
    }

    /// Hands to the operating system what was committed, so that it survives a kill of the process.
    fn hand_over(&self) -> Result<()>;

    /// Makes its files small; gives their new place if that is not the directory it was opened in.
    fn compact(&mut self) -> Result<Option<PathBuf>>;

    /// Closes it in order.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What one thread does with an engine. Reads may be of a snapshot that is as old as the last write or `refresh`: engines whose
/// snapshots cost something keep one that long.
pub trait Session {
    /// Lets the following reads see what others have committed.
    fn refresh(&mut self) -> Result<()> {
        Ok(())
    }

    /// Shows the value of `key` as cheaply as the engine can; false if it is not there.
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// A copy of the value of `key`.
    fn get_owned(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = None;
        self.get(key, &mut |bytes| value = Some(bytes.to_vec()))?;
        Ok(value)
    }

    /// Shows up to `limit` records whose keys start with `prefix` and come after `after`.
    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()>;

    /// Shows the names in the directory `prefix`, up to `limit`: keys without a further `/`, and what several keys share up to and
    /// with their next `/`, once.
    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Shows the longest key that `key` starts with, and its value; false if there is none.
    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool>;

    /// How many keys start with `prefix`.
    fn count(&mut self, prefix: &[u8]) -> Result<u64>;

    /// Puts a record: a commit of its own, as are all that follow.
    fn put(&mut self, key: &[u8], value: &Value) -> Result<()>;

    fn delete(&mut self, key: &[u8]) -> Result<()>;

    /// Moves a record to a key that has none; refuses if `src` has none or `dst` has one.
    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()>;

    /// Moves all that starts with `src` to `dst`, where nothing is.
    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()>;

    /// Deletes all that starts with `prefix`.
    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()>;
}

/// The end of the keys that start with `prefix`: it ends with `/` or another byte under 255.
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(255),
    }
    end
}

/// The name under which `key` is listed in the directory `prefix`, and whether it stands for what is below it.
pub fn name_in<'k>(prefix: &[u8], key: &'k [u8]) -> (&'k [u8], bool) {
    match key[prefix.len()..].iter().position(|&byte| byte == b'/') {
        Some(at) => (&key[..prefix.len() + at + 1], true),
        None => (key, false),
    }
}

/// How many bytes two keys share at their beginnings.
pub fn shared(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
