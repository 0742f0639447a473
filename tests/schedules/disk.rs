//! A storage for many short runs: sparse files in blocks that copies share, so that making one, and a power cut, cost little.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use ramus::io::{LockMode, OpenMode, Storage, StorageFile, StorageLock};
use shuttle::sync::Mutex;

const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The content of one file. Blocks that are not there are zeros.
#[derive(Debug, Clone, Default)]
struct Content {
    blocks: BTreeMap<u64, Arc<[u8; BLOCK]>>,
    bytes: u64,
}

impl Content {
    /// Calls `piece` with each block that the range meets, where it starts in it, and the part of the range.
    fn pieces(offset: u64, length: usize, mut piece: impl FnMut(u64, usize, std::ops::Range<usize>)) {
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let start = (at % BLOCK as u64) as usize;
            let part = (BLOCK - start).min(length - done);
            piece(at / BLOCK as u64, start, done..done + part);
            done += part;
        }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset + buf.len() as u64 > self.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::pieces(offset, buf.len(), |block, start, range| {
            let from = self.blocks.get(&block).map_or(&ZEROS, |block| block);
            let part = range.len();
            buf[range].copy_from_slice(&from[start..start + part]);
        });
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        Self::pieces(offset, bytes.len(), |block, start, range| {
            let part = &bytes[range];
            if !self.blocks.contains_key(&block) && part == &ZEROS[..part.len()] {
                return;
            }
            let to = self.blocks.entry(block).or_insert_with(|| Arc::new(ZEROS));
            Arc::make_mut(to)[start..start + part.len()].copy_from_slice(part);
        });
        self.bytes = self.bytes.max(offset + bytes.len() as u64);
    }

    fn set_len(&mut self, bytes: u64) {
        let whole = bytes / BLOCK as u64;
        self.blocks.split_off(&bytes.div_ceil(BLOCK as u64));
        if let Some(last) = self.blocks.get_mut(&whole) {
            Arc::make_mut(last)[(bytes % BLOCK as u64) as usize..].fill(0);
        }
        self.bytes = bytes;
    }
}

/// What lies durable in a directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image(BTreeMap<String, Content>);

#[derive(Debug, Default)]
struct State {
    /// Content of each file: what is seen, what is durable.
    files: Vec<[Content; 2]>,
    /// Names of files: those seen, those durable.
    names: [BTreeMap<String, usize>; 2],
    locked: bool,
}

/// A directory on a device that loses what was not synced. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(crate) fn of(image: &Image) -> Self {
        let mut state = State::default();
        for (name, content) in &image.0 {
            for names in &mut state.names {
                names.insert(name.clone(), state.files.len());
            }
            state.files.push([content.clone(), content.clone()]);
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// What a power cut leaves now: of the names, and of each file by its bit of `kept`, all that was done or only what was
    /// synced.
    pub(crate) fn cut(&self, kept: u64) -> Image {
        let state = self.lock_state();
        let side = |bit: usize| usize::from(kept >> (bit % 64) & 1 == 0);
        let file =
            |(name, file): (&String, &usize)| (name.clone(), state.files[*file][side(file + 1)].clone());
        Image(state.names[side(0)].iter().map(file).collect())
    }

    fn lock_state(&self) -> shuttle::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

#[derive(Debug)]
struct File {
    disk: Disk,
    index: usize,
}

impl StorageFile for File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.lock_state().files[self.index][0].read(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.lock_state().files[self.index][0].write(offset, bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let [seen, durable] = &mut self.disk.lock_state().files[self.index];
        durable.clone_from(seen);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.lock_state().files[self.index][0].set_len(bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock_state().files[self.index][0].bytes)
    }
}

impl Storage for Disk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.lock_state();
        let index = match (state.names[0].get(name).copied(), mode) {
            (Some(index), OpenMode::Create) => {
                state.files[index][0].set_len(0);
                index
            }
            (Some(index), _) => index,
            (None, OpenMode::Create) => {
                state.files.push(Default::default());
                let index = state.files.len() - 1;
                state.names[0].insert(name.to_owned(), index);
                index
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(File { disk: self.clone(), index }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock_state().names[0].keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let names = &mut self.lock_state().names[0];
        let index = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), index);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock_state().names[0].remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let [seen, durable] = &mut self.lock_state().names;
        durable.clone_from(seen);
        Ok(())
    }

    fn lock(&self, _mode: LockMode) -> io::Result<Box<dyn StorageLock>> {
        let mut state = self.lock_state();
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held(self.clone())))
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

struct Held(Disk);

impl StorageLock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock_state().locked = false;
    }
}
