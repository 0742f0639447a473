//! How far the import of a list got: a record in the tree `.import`, committed after the paths it counts.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result};
use ramus::limits::KEY_BYTES_MAX;
use ramus::{Db, Tree};

/// The tree that holds the marks.
const TREE: &str = ".import";

/// Where a list's mark stands.
pub(super) struct Marks {
    tree: Tree,
    key: Vec<u8>,
    size: u64,
    modified_nanos: u128,
}

/// How far an import got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Lines done.
    pub(super) lines: u64,
    /// Whether that is all of them.
    pub(super) complete: bool,
}

impl Marks {
    /// The place of the mark for a list; none if it has no lasting name, such as standard input.
    pub(super) fn open(db: &Db, source: &OsStr, into: &Tree, prefix: &[u8]) -> Result<Option<Self>> {
        if source == "-" {
            return Ok(None);
        }
        let name = || format!("opening {}", source.to_string_lossy());
        let metadata = std::fs::metadata(source).with_context(name)?;
        let path = std::fs::canonicalize(source).with_context(name)?;
        let key = [path.as_os_str().as_encoded_bytes(), into.name().as_bytes(), prefix].join(&0);
        if !metadata.is_file() || key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        let modified_nanos = modified_nanos(&metadata);
        Ok(Some(Self { tree: db.tree(TREE)?, key, size: metadata.len(), modified_nanos }))
    }

    /// The mark, unless the list has changed since.
    pub(super) fn get(&self) -> Result<Option<Mark>> {
        let value = self.tree.get(&self.key)?;
        Ok(value.and_then(|value| self.parse(&value)))
    }

    /// Forgets the mark.
    pub(super) fn remove(&self) -> Result<()> {
        self.tree.delete(&self.key)?;
        Ok(())
    }

    /// Sets the mark. All that was committed before is there when the mark is.
    pub(super) fn put(&self, mark: Mark) -> Result<()> {
        let state = if mark.complete { "complete" } else { "partial" };
        let value = format!("1 {} {} {} {state}", self.size, self.modified_nanos, mark.lines);
        self.tree.put(&self.key, value)?;
        Ok(())
    }

    fn parse(&self, value: &[u8]) -> Option<Mark> {
        let text = std::str::from_utf8(value).ok()?;
        let fields: Vec<&str> = text.split(' ').collect();
        let [version, size, modified, lines, state] = fields[..] else { return None };
        let same =
            version == "1" && size.parse() == Ok(self.size) && modified.parse() == Ok(self.modified_nanos);
        same.then_some(())?;
        Some(Mark { lines: lines.parse().ok()?, complete: state == "complete" })
    }
}

/// Nanoseconds since 1970; what is older counts as that old.
fn modified_nanos(metadata: &Metadata) -> u128 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.unwrap_or_default().as_nanos()
}
