//! Lines of a file, of a `.zst` file, or of standard input, with a limit on their length.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

use anyhow::{Context, Result, bail};

/// How Zstandard data starts.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 256 << 10;

/// Lines, numbered from 1.
pub(crate) struct Lines {
    name: String,
    reader: Box<dyn BufRead>,
    line_bytes_max: usize,
    number: u64,
    read_bytes: Rc<Cell<u64>>,
    file_bytes: Option<u64>,
}

impl Lines {
    /// Opens a source: `-` is standard input. Compressed data is recognised by its first bytes.
    pub(crate) fn open(source: &OsStr, line_bytes_max: usize) -> Result<Self> {
        let read_bytes = Rc::new(Cell::new(0));
        let (name, raw, file_bytes): (_, Box<dyn Read>, _) = if source == "-" {
            ("standard input".to_owned(), Box::new(std::io::stdin().lock()), None)
        } else {
            let name = source.to_string_lossy().into_owned();
            let file = File::open(source).with_context(|| format!("opening {name}"))?;
            let metadata = file.metadata().with_context(|| format!("reading {name}"))?;
            if metadata.is_dir() {
                bail!("{name} is a directory, not a file");
            }
            (name, Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let counted = Counted { inner: raw, read_bytes: Rc::clone(&read_bytes) };
        let reader = decompress(counted).with_context(|| format!("reading {name}"))?;
        Ok(Self { name, reader, line_bytes_max, number: 0, read_bytes, file_bytes })
    }

    /// Reads the next line, without its end, into `line`; false at the end of the source.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        let limit = self.line_bytes_max as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', line);
        self.number += 1;
        read.with_context(|| format!("reading {}, line {}", self.name, self.number))?;
        if line.is_empty() {
            return Ok(false);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > self.line_bytes_max {
            bail!("{}: line {} is over the limit of {} bytes", self.name, self.number, self.line_bytes_max);
        }
        Ok(true)
    }

    /// The number of the line read last.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The source, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes read of the file so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes.get()
    }

    /// Length of the file, if it is one.
    pub(crate) fn file_bytes(&self) -> Option<u64> {
        self.file_bytes
    }
}

fn decompress(raw: Counted) -> std::io::Result<Box<dyn BufRead>> {
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, raw);
    // A short first read, as from a pipe, may hold less than the magic.
    let mut start = Vec::new();
    (&mut raw).take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start)?;
    let whole = start == ZSTD_MAGIC;
    let all = BufReader::with_capacity(BUFFER_BYTES, std::io::Cursor::new(start).chain(raw));
    if !whole {
        return Ok(Box::new(all));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::Decoder::with_buffer(all)?)))
}

/// Counts what is read.
struct Counted {
    inner: Box<dyn Read>,
    read_bytes: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.read_bytes.set(self.read_bytes.get() + read as u64);
        Ok(read)
    }
}
