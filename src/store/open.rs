//! Making and opening a data file. Which checkpoint is opened:
//!
//! | slots | opened |
//! |---|---|
//! | any of a format or with flags unknown here | none: Unsupported |
//! | none valid | none: Corrupt |
//! | two valid | the newer one; if its page table or catalog is damaged the older one, as a fallback |
//! | one valid, the other never written | that one |
//! | one valid, the other damaged (or zeros where a checkpoint was) | that one, as a fallback |
//!
//! A fallback is only right if the journal goes on from it, which the caller checks. I/O errors never lead to one:
//! they may pass, and the newer checkpoint must not be overwritten then.

use super::block::{FANOUT, Image, Name, Place, Reader};
use super::cut::{Blocks, Durable};
use super::extents::{Extents, RUN_UNITS, Run};
use super::file::{DataFile, NAME};
use super::grow::table_units;
use super::ids::Ids;
use super::state::{State, run_of};
use super::superblock::{FORMAT, SLOTS, Slot, Superblock};
use super::table::{Body, Entry, Node, Sums, Table};
use super::{Opened, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::io::{OpenMode, Storage};
use crate::limits::BLOCK_BYTES;
use crate::sync::{AtomicBool, AtomicU64, Mutex, RwLock, random_u64};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A data file is made under this name, so that one under the right name is always whole.
const NEW_NAME: &str = "data.ramus.new";

impl Store {
    /// Whether the directory holds a data file.
    pub(crate) fn exists(storage: &Arc<dyn Storage>) -> Result<bool> {
        let names = storage.list().map_err(|source| Error::io("listing the database directory", source))?;
        Ok(names.iter().any(|name| name == NAME))
    }

    /// Makes a data file with an empty checkpoint, durable with its name. A data file of that name is replaced.
    pub(crate) fn create(storage: &Arc<dyn Storage>) -> Result<Self> {
        let first = Superblock {
            database_id: random_u64(),
            generation: 1,
            sequence: 0,
            sequence_mark: 0,
            height: 0,
            root: Place::default(),
            id_bound: 1,
            catalog: Image::default(),
            file_units: SLOTS as u32,
        };
        let mut slots = vec![0; SLOTS * BLOCK_BYTES];
        let at = first.slot() * BLOCK_BYTES;
        slots[at..at + BLOCK_BYTES].copy_from_slice(&first.encode());
        let make = || {
            let file = storage.open(NEW_NAME, OpenMode::Create)?;
            file.write_at(0, &slots)?;
            file.sync()?;
            drop(file);
            storage.rename(NEW_NAME, NAME)?;
            storage.sync_dir()
        };
        make().map_err(|source| Error::io(format_args!("creating {}", storage.describe(NAME)), source))?;
        Ok(Self::open(storage, false)?.0)
    }

    /// Opens the data file at its newest whole checkpoint; see the table above. Reads the page table and the catalog,
    /// no images.
    pub(crate) fn open(storage: &Arc<dyn Storage>, read_only: bool) -> Result<(Self, Opened)> {
        let mode = if read_only { OpenMode::Read } else { OpenMode::ReadWrite };
        let file = DataFile::open(&**storage, mode)?;
        let (superblocks, mut fallback) = read_superblocks(&file)?;
        let mut first_error = None;
        for superblock in superblocks {
            match Loader::load(&file, superblock) {
                Ok((durable, state)) => return Ok(Self::assemble(file, read_only, durable, state, fallback)),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    first_error.get_or_insert(error);
                    fallback = true;
                }
                Err(error) => return Err(error),
            }
        }
        Err(first_error.unwrap_or_else(|| file.corrupt(0, "no superblock")))
    }

    fn assemble(
        file: DataFile,
        read_only: bool,
        durable: Durable,
        state: State,
        fallback: bool,
    ) -> (Self, Opened) {
        let opened = Opened {
            database_id: durable.superblock.database_id,
            sequence: durable.superblock.sequence,
            sequence_mark: durable.superblock.sequence_mark,
            generation: durable.superblock.generation,
            catalog: durable.catalog.clone(),
            fallback,
        };
        let store = Self {
            file,
            database_id: opened.database_id,
            read_only,
            capacity: state.extents.capacity_meter(),
            table_units: AtomicU64::new(table_units(state.ids.bound())),
            catalog_units: AtomicU64::new(durable.superblock.catalog.units().into()),
            state: Mutex::new(state),
            checkpoint: Mutex::new(durable),
            growth: Mutex::new(()),
            length: RwLock::new(()),
            full: AtomicBool::new(false),
            poison: Mutex::new(None),
            blob_reads: AtomicU64::new(0),
            blob_writes: AtomicU64::new(0),
        };
        (store, opened)
    }
}

/// The valid superblocks, newest first, and whether one that may have been newer is damaged.
fn read_superblocks(file: &DataFile) -> Result<(Vec<Superblock>, bool)> {
    let mut valid: Vec<Superblock> = Vec::new();
    let mut damage = None;
    let mut empty = false;
    for slot in 0..SLOTS {
        let mut block = [0; BLOCK_BYTES];
        file.read(slot as u32, &mut block)?;
        match Superblock::decode(&block, slot) {
            Slot::Empty => empty = true,
            Slot::Damaged(why) => damage = damage.or(Some((slot as u32, why))),
            Slot::Newer { format, flags } => {
                let name = file.name();
                let what = format!("{name}: format {format}, flags {flags:#x}; this build reads {FORMAT}, 0");
                return Err(Error::new(ErrorKind::Unsupported, what));
            }
            Slot::Valid(superblock) => valid.push(superblock),
        }
    }
    valid.sort_by_key(|superblock| std::cmp::Reverse(superblock.generation));
    let Some(newest) = valid.first() else {
        let (slot, why) = damage.unwrap_or((0, "no superblock of a Ramus database"));
        return Err(file.corrupt(slot, why));
    };
    if valid.iter().any(|superblock| superblock.database_id != newest.database_id) {
        return Err(file.corrupt(0, "the superblocks are of different databases"));
    }
    let lost = empty && newest.generation > 1;
    Ok((valid, damage.is_some() || lost))
}

/// Reads one checkpoint.
struct Loader<'a> {
    file: &'a DataFile,
    superblock: Superblock,
    used: Vec<Run>,
    ids: Ids,
    sums: Sums,
    blocks: Blocks,
}

impl<'a> Loader<'a> {
    fn load(file: &'a DataFile, superblock: Superblock) -> Result<(Durable, State)> {
        let ids = Ids::new(superblock.id_bound);
        let (used, sums, blocks) = (Vec::new(), Sums::default(), Blocks::new());
        let mut loader = Self { file, superblock, used, ids, sums, blocks };
        let catalog = loader.catalog()?;
        let (place, height) = (loader.superblock.root, loader.superblock.height);
        let root = match height.checked_sub(1) {
            None => None,
            Some(level) => Some(loader.read_root(place, level)?),
        };
        let end = file.units()?;
        let extents = Extents::around(SLOTS as u32, end, &mut loader.used).map_err(|run| {
            file.corrupt(run.start, "an extent overlaps another one or lies outside the file")
        })?;
        let table = Table::loaded(root, height, loader.sums);
        let durable = Durable { superblock: loader.superblock, blocks: loader.blocks, catalog };
        Ok((durable, State::new(table, loader.ids, extents)))
    }

    /// Notes an extent that the checkpoint holds.
    fn hold(&mut self, run: Run) -> Result<()> {
        if run.start < SLOTS as u32 || run.end() > u64::from(self.superblock.file_units) {
            return Err(self.file.corrupt(run.start, "an extent lies outside the file"));
        }
        self.used.push(run);
        Ok(())
    }

    fn catalog(&mut self) -> Result<Vec<u8>> {
        let image = self.superblock.catalog;
        if image == Image::default() {
            return Ok(Vec::new());
        }
        self.hold(run_of(image))?;
        if run_of(image).end() > u64::from(self.file.units()?) {
            return Err(self.file.corrupt(image.unit, "the file is shorter than the catalog"));
        }
        let mut catalog = vec![0; image.bytes as usize];
        self.file.read(image.unit, &mut catalog)?;
        if catalog.is_empty() || xxh3_64(&catalog) != image.hash {
            return Err(self.file.corrupt(image.unit, "the catalog does not match its hash"));
        }
        Ok(catalog)
    }

    fn read_root(&mut self, place: Place, level: u8) -> Result<Arc<Node>> {
        let mut block = [0; BLOCK_BYTES];
        self.file.read(place.unit, &mut block)?;
        self.node(&block, place, level, 0)
    }

    /// Checks a block and reads everything below it.
    fn node(&mut self, block: &[u8], place: Place, level: u8, index: u32) -> Result<Arc<Node>> {
        let name = Name { level, index, database: self.superblock.database_id as u32 };
        let reader =
            Reader::new(block, name, place.hash).map_err(|why| self.file.corrupt(place.unit, why))?;
        self.hold(Run { start: place.unit, units: 1 })?;
        self.blocks.insert((level, index), place);
        let (used, body) =
            if level == 0 { self.leaf(reader, place, index)? } else { self.inner(reader, place, name)? };
        if used == 0 {
            return Err(self.file.corrupt(place.unit, "an empty page table block"));
        }
        Ok(Arc::new(Node::loaded(place, used, body)))
    }

    fn leaf(&mut self, reader: Reader<'_>, place: Place, index: u32) -> Result<(usize, Body)> {
        let mut entries = vec![Entry::default(); FANOUT].into_boxed_slice();
        let mut used = 0;
        for image in reader.images() {
            let (slot, image) = image.map_err(|why| self.file.corrupt(place.unit, why))?;
            let id = index * FANOUT as u32 + slot as u32;
            if id == 0 || id >= self.superblock.id_bound {
                return Err(self.file.corrupt(place.unit, format_args!("blob id {id} was never given out")));
            }
            self.hold(run_of(image))?;
            self.ids.mark(id);
            self.sums.blobs += 1;
            self.sums.image_bytes += u64::from(image.bytes);
            entries[slot] = Entry { image, birth: 0 };
            used += 1;
        }
        self.sums.leaves += 1;
        Ok((used, Body::Leaf(entries)))
    }

    fn inner(&mut self, reader: Reader<'_>, place: Place, name: Name) -> Result<(usize, Body)> {
        let mut nodes = vec![None; FANOUT].into_boxed_slice();
        let children: Vec<(usize, Place)> = reader.children().collect();
        let first = name.index * FANOUT as u32;
        let ids_each = FANOUT.pow(name.level.into()) as u64;
        let mut rest = &children[..];
        let mut buffer = Vec::new();
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(neighbours(rest));
            let start = run[0].1.unit;
            buffer.resize(run.len() * BLOCK_BYTES, 0);
            self.file.read(start, &mut buffer)?;
            for (&(slot, child), block) in run.iter().zip(buffer.chunks(BLOCK_BYTES)) {
                let index = first + slot as u32;
                if u64::from(index) * ids_each >= u64::from(self.superblock.id_bound) {
                    return Err(self.file.corrupt(place.unit, "a page table block for ids never given out"));
                }
                nodes[slot] = Some(self.node(block, child, name.level - 1, index)?);
            }
            rest = behind;
        }
        self.sums.inners += 1;
        Ok((children.len(), Body::Inner(nodes)))
    }
}

/// How many of the first children stand next to each other in the file.
fn neighbours(children: &[(usize, Place)]) -> usize {
    let start = u64::from(children.first().map_or(0, |child| child.1.unit));
    let in_row = |(at, child): &(usize, &(usize, Place))| u64::from(child.1.unit) == start + *at as u64;
    children.iter().take(RUN_UNITS as usize).enumerate().take_while(in_row).count()
}
