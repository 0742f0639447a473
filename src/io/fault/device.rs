//! The state of the modelled device, and what of it a power cut leaves.

use crate::io::memory::{size, write_into};
use std::collections::BTreeMap;
use std::io;

/// What a device writes as a whole, in bytes.
const SECTOR_BYTES: usize = 512;

/// Index into [`Device::files`]; a file keeps its id through renames.
pub(super) type FileId = usize;

#[derive(Debug, Clone, Default)]
pub(super) struct Device {
    files: Vec<File>,
    pub(super) names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    name_changes: Vec<NameChange>,
    /// Operations so far.
    pub(super) operations: u64,
    /// The number of operations after which all fail.
    pub(super) power_ends: Option<u64>,
    /// The number of operations after which one fails, and how.
    pub(super) fault: Option<(u64, io::ErrorKind)>,
    /// The most that all named files together may hold, in bytes.
    pub(super) space: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Create { name: String, id: FileId },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Create { name, id } => drop(names.insert(name.clone(), *id)),
            Self::Rename { from, to } => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove { name } => drop(names.remove(name)),
        }
    }
}

impl Device {
    pub(super) fn find(&self, name: &str) -> Option<FileId> {
        self.names.get(name).copied()
    }

    pub(super) fn file(&self, id: FileId) -> &File {
        &self.files[id]
    }

    pub(super) fn file_mut(&mut self, id: FileId) -> &mut File {
        &mut self.files[id]
    }

    /// Counts an operation; an error when it is one that shall fail.
    pub(super) fn operate(&mut self) -> io::Result<()> {
        let index = self.operations;
        self.operations += 1;
        if self.power_ends.is_some_and(|end| index >= end) {
            return Err(io::Error::other("power is gone"));
        }
        match self.fault {
            Some((at, kind)) if at == index => Err(io::Error::new(kind, "injected fault")),
            _ => Ok(()),
        }
    }

    /// Fails when the file may not grow to `end`.
    pub(super) fn check_space(&self, id: FileId, end: u64) -> io::Result<()> {
        let Some(space) = self.space else { return Ok(()) };
        let growth = end.saturating_sub(self.files[id].visible.len() as u64);
        let used: u64 = self.names.values().map(|id| self.files[*id].visible.len() as u64).sum();
        if growth > 0 && used.saturating_add(growth) > space {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on the device"));
        }
        Ok(())
    }

    pub(super) fn create(&mut self, name: &str) -> FileId {
        let id = self.files.len();
        self.files.push(File::default());
        self.change_name(NameChange::Create { name: name.to_owned(), id });
        id
    }

    pub(super) fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    pub(super) fn sync_names(&mut self) {
        self.durable_names.clone_from(&self.names);
        self.name_changes.clear();
    }

    pub(super) fn corrupt(&mut self, name: &str, offset: u64, xor: u8) {
        let Some(id) = self.find(name) else { return };
        let file = &mut self.files[id];
        for content in [&mut file.visible, &mut file.durable] {
            if let Some(byte) = usize::try_from(offset).ok().and_then(|at| content.get_mut(at)) {
                *byte ^= xor;
            }
        }
    }

    pub(super) fn replace(&mut self, name: &str, bytes: Vec<u8>) {
        let id = self.find(name).unwrap_or_else(|| self.create(name));
        self.sync_names();
        self.files[id] = File { visible: bytes.clone(), durable: bytes, changes: Vec::new() };
    }

    pub(super) fn crash_keep_all(&self) -> Self {
        let files = self.files.iter().map(|file| File::of(file.visible.clone()));
        Self::booted(files.collect(), self.names.clone())
    }

    pub(super) fn crash_lose_all(&self) -> Self {
        let files =
            self.files.iter().map(|file| file.survivor(|change, content| change.apply_if(false, content)));
        Self::booted(files.collect(), self.durable_names.clone())
    }

    pub(super) fn crash(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        // Some crashes keep nearly everything, some next to nothing.
        let percent_kept = [10, 50, 50, 90][dice.below(4) as usize];
        let mut files = Vec::with_capacity(self.files.len());
        for file in &self.files {
            files.push(file.survivor(|change, content| change.survive(&mut dice, percent_kept, content)));
        }
        let mut names = self.durable_names.clone();
        let survivors = dice.below(self.name_changes.len() as u64 + 1) as usize;
        self.name_changes[..survivors].iter().for_each(|change| change.apply(&mut names));
        Self::booted(files, names)
    }

    fn booted(files: Vec<File>, names: BTreeMap<String, FileId>) -> Self {
        Self { files, durable_names: names.clone(), names, ..Self::default() }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct File {
    pub(super) visible: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    what: Alteration,
    /// A sync that covered it succeeded; it waits for an earlier one that is unknown.
    durable: bool,
    /// A sync that covered it failed: no later sync makes it durable.
    unknown: bool,
}

#[derive(Debug, Clone)]
enum Alteration {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Alteration {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write_into(content, *offset, bytes),
            Self::SetLen(bytes) => content.resize(*bytes, 0),
        }
    }
}

impl File {
    fn of(content: Vec<u8>) -> Self {
        Self { visible: content.clone(), durable: content, changes: Vec::new() }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Alteration::Write { offset: size(offset)?, bytes: bytes.to_vec() });
        Ok(())
    }

    pub(super) fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.change(Alteration::SetLen(size(bytes)?));
        Ok(())
    }

    fn change(&mut self, what: Alteration) {
        what.apply(&mut self.visible);
        self.changes.push(Change { what, durable: false, unknown: false });
    }

    pub(super) fn sync(&mut self) {
        self.changes.iter_mut().for_each(|change| change.durable = !change.unknown);
        let settled = self.changes.iter().take_while(|change| change.durable).count();
        self.changes.drain(..settled).for_each(|change| change.what.apply(&mut self.durable));
    }

    pub(super) fn sync_failed(&mut self) {
        self.changes.iter_mut().for_each(|change| change.unknown |= !change.durable);
    }

    /// The file that is left when `fate` applies to the content what it keeps of each change.
    fn survivor(&self, mut fate: impl FnMut(&Change, &mut Vec<u8>)) -> Self {
        let mut content = self.durable.clone();
        self.changes.iter().for_each(|change| fate(change, &mut content));
        Self::of(content)
    }
}

impl Change {
    fn apply_if(&self, kept: bool, content: &mut Vec<u8>) {
        if kept || self.durable {
            self.what.apply(content);
        }
    }

    /// Applies what a power cut leaves of the change.
    fn survive(&self, dice: &mut Dice, percent_kept: u64, content: &mut Vec<u8>) {
        match &self.what {
            Alteration::Write { offset, bytes } if !self.durable && dice.below(3) == 0 => {
                tear(*offset, bytes, dice, content);
            }
            _ => self.apply_if(dice.below(100) < percent_kept, content),
        }
    }
}

/// Applies some of the sectors of a write, and perhaps one of them in part.
fn tear(offset: usize, bytes: &[u8], dice: &mut Dice, content: &mut Vec<u8>) {
    let mut start = 0;
    while start < bytes.len() {
        let sector = SECTOR_BYTES - (offset + start) % SECTOR_BYTES;
        let end = bytes.len().min(start + sector);
        let kept = match dice.below(8) {
            0..=3 => 0,
            4..=6 => end - start,
            _ => dice.below((end - start) as u64) as usize,
        };
        if kept > 0 {
            write_into(content, offset + start, &bytes[start..start + kept]);
        }
        start = end;
    }
}

/// The splitmix64 generator.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number under `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
