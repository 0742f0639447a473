//! Where the paths come from: a list, or a walk.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ramus::limits::KEY_BYTES_MAX;
use walkdir::WalkDir;

use super::value;
use crate::lines::Lines;
use crate::stat_value::StatValue;

/// A stream of paths.
pub(super) enum Source {
    List(Lines),
    Walk(Walk),
}

/// A walk that passes over what cannot be read.
pub(super) struct Walk {
    root: PathBuf,
    own: PathBuf,
    entries: walkdir::IntoIter,
    seen: u64,
}

impl Source {
    /// Opens the list or the directory `paths`, by default the root directory; `own` is left out of a walk.
    pub(super) fn open(paths: Option<&OsStr>, own: &Path) -> Result<Self> {
        let paths = paths.unwrap_or(OsStr::new("/"));
        if paths == "-" || !Path::new(paths).is_dir() {
            return Ok(Self::List(Lines::open(paths, KEY_BYTES_MAX)?));
        }
        let root = std::fs::canonicalize(paths).context("finding the directory to walk")?;
        // What is not of this file system, such as /proc, is named but not walked.
        let entries = WalkDir::new(&root).min_depth(1).same_file_system(true).into_iter();
        Ok(Self::Walk(Walk { root, own: own.to_path_buf(), entries, seen: 0 }))
    }

    /// The next path and its value; false at the end.
    pub(super) fn next(&mut self, path: &mut Vec<u8>) -> Result<Option<[u8; value::BYTES]>> {
        match self {
            Self::List(lines) => {
                while lines.next(path)? {
                    if !path.is_empty() {
                        return Ok(Some(value::made_up(path)));
                    }
                }
                Ok(None)
            }
            Self::Walk(walk) => Ok(walk.next(path)),
        }
    }

    /// How far it is, in the unit of [`total`](Self::total).
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::List(lines) => lines.read_bytes(),
            Self::Walk(walk) => walk.seen,
        }
    }

    pub(super) fn total(&self) -> Option<u64> {
        match self {
            Self::List(lines) => lines.file_bytes(),
            Self::Walk(_) => None,
        }
    }
}

impl Walk {
    fn next(&mut self, path: &mut Vec<u8>) -> Option<[u8; value::BYTES]> {
        loop {
            let Ok(entry) = self.entries.next()? else { continue };
            let (Ok(metadata), Ok(relative)) = (entry.metadata(), entry.path().strip_prefix(&self.root))
            else {
                continue;
            };
            let bytes = relative.as_os_str().as_encoded_bytes();
            if bytes.len() > KEY_BYTES_MAX || entry.path().starts_with(&self.own) {
                continue;
            }
            self.seen += 1;
            path.clear();
            path.extend_from_slice(bytes);
            return Some(value::with_stat(path, &StatValue::of(&metadata)));
        }
    }
}
