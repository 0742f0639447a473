//! A stand-in for buffer manager and checkpointer: blobs in memory, dirty or not, old images of a cut; it drives a
//! store by the rules and knows what every checkpoint must hold.

use super::disk::{Disk, Random};
use crate::error::Result;
use crate::limits::BLOB_BYTES;
use crate::store::{BlobId, Opened, Origin, Store};
use std::collections::{BTreeMap, BTreeSet};

pub(super) type Images = BTreeMap<u32, Vec<u8>>;

pub(super) struct Model {
    pub(super) store: Store,
    pub(super) blobs: Images,
    dirty: BTreeSet<u32>,
    /// Blobs that still have to be written for the cut and have not changed since.
    live: BTreeSet<u32>,
    /// Old images that have to be written for the cut.
    shadows: Images,
    cutting: bool,
    sequence: u64,
    /// What each checkpoint holds, by sequence.
    pub(super) checkpoints: BTreeMap<u64, Images>,
    image_bytes_max: u64,
}

pub(super) fn catalog_of(sequence: u64) -> Vec<u8> {
    // Every other catalog is the one before, so that it is not written again.
    Random(sequence / 2).bytes(sequence as usize / 2 * 777 % 9000)
}

impl Model {
    pub(super) fn create(disk: &Disk, image_bytes_max: u64) -> Result<Self> {
        let store = Store::create(&disk.storage())?;
        let checkpoints = BTreeMap::from([(0, Images::new())]);
        let (dirty, live) = (BTreeSet::new(), BTreeSet::new());
        let (blobs, shadows) = (Images::new(), Images::new());
        let (cutting, sequence) = (false, 0);
        Ok(Self { store, blobs, dirty, live, shadows, cutting, sequence, checkpoints, image_bytes_max })
    }

    pub(super) fn step(&mut self, random: &mut Random) -> Result<()> {
        match random.below(100) {
            0..25 => self.add(random),
            25..50 => self.pick(random).map_or(Ok(()), |id| self.change(id, random)),
            50..65 => self.pick(random).map_or(Ok(()), |id| self.free(id)),
            65..85 => self.evict(random),
            85..90 if !self.cutting => self.begin(),
            90..96 if self.cutting => self.write_some(random),
            96..100 if self.cutting => self.finish(random),
            _ => Ok(()),
        }
    }

    fn pick(&self, random: &mut Random) -> Option<u32> {
        let count = self.blobs.len() as u64;
        (count > 0).then(|| *self.blobs.keys().nth(random.below(count) as usize).expect("in range"))
    }

    fn image(&self, random: &mut Random) -> Vec<u8> {
        let count = 1 + random.below(self.image_bytes_max);
        vec![random.below(256) as u8; count as usize]
    }

    pub(super) fn add(&mut self, random: &mut Random) -> Result<()> {
        let id = self.store.allocate_id()?.0;
        assert!(!self.blobs.contains_key(&id), "id {id} given out twice");
        self.blobs.insert(id, self.image(random));
        self.dirty.insert(id);
        Ok(())
    }

    /// The old image goes to the cut before the blob is touched.
    fn shadow(&mut self, id: u32) {
        if self.live.remove(&id) {
            self.shadows.insert(id, self.blobs[&id].clone());
        }
    }

    fn change(&mut self, id: u32, random: &mut Random) -> Result<()> {
        self.shadow(id);
        self.blobs.insert(id, self.image(random));
        self.dirty.insert(id);
        Ok(())
    }

    pub(super) fn free(&mut self, id: u32) -> Result<()> {
        self.shadow(id);
        self.blobs.remove(&id);
        self.dirty.remove(&id);
        self.store.free_id(BlobId(id));
        Ok(())
    }

    fn evict(&mut self, random: &mut Random) -> Result<()> {
        let some: Vec<u32> = self.dirty.iter().copied().filter(|_| random.below(3) == 0).collect();
        let (old, young): (Vec<u32>, Vec<u32>) = some.into_iter().partition(|id| self.live.contains(id));
        self.write_live(&old)?;
        let images: Vec<_> = young.iter().map(|id| (BlobId(*id), &self.blobs[id][..])).collect();
        self.store.write_current(&images)?;
        self.dirty.retain(|id| !young.contains(id));
        Ok(())
    }

    fn write_live(&mut self, ids: &[u32]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let images: Vec<_> = ids.iter().map(|id| (BlobId(*id), &self.blobs[id][..], Origin::Live)).collect();
        self.store.write_cut(&images)?;
        self.dirty.retain(|id| !ids.contains(id));
        self.live.retain(|id| !ids.contains(id));
        Ok(())
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        self.sequence += 1;
        self.store.begin_cut(self.sequence, self.sequence + 1000)?;
        self.cutting = true;
        self.live = self.dirty.clone();
        self.checkpoints.insert(self.sequence, self.blobs.clone());
        Ok(())
    }

    fn write_some(&mut self, random: &mut Random) -> Result<()> {
        let live: Vec<u32> = self.live.iter().copied().filter(|_| random.below(2) == 0).collect();
        let shadows: Vec<u32> = self.shadows.keys().copied().filter(|_| random.below(2) == 0).collect();
        self.write(&live, &shadows)
    }

    fn write(&mut self, live: &[u32], shadows: &[u32]) -> Result<()> {
        self.write_live(live)?;
        let images: Vec<_> =
            shadows.iter().map(|id| (BlobId(*id), &self.shadows[id][..], Origin::Shadow)).collect();
        self.store.write_cut(&images)?;
        self.shadows.retain(|id, _| !shadows.contains(id));
        Ok(())
    }

    pub(super) fn finish(&mut self, random: &mut Random) -> Result<()> {
        let live: Vec<u32> = self.live.iter().copied().collect();
        let shadows: Vec<u32> = self.shadows.keys().copied().collect();
        self.write(&live, &shadows)?;
        self.store.finish_cut(&catalog_of(self.sequence))?;
        self.cutting = false;
        if random.below(4) > 0 { self.store.release_dead(0) } else { Ok(()) }
    }

    pub(super) fn checkpoint(&mut self, random: &mut Random) -> Result<()> {
        if !self.cutting {
            self.begin()?;
        }
        self.finish(random)
    }

    /// The last cut that was begun.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The last cut that must be durable.
    pub(super) fn finished(&self) -> u64 {
        self.sequence - u64::from(self.cutting)
    }

    /// The store itself has every clean blob right and passes its check.
    pub(super) fn verify(&self) {
        let mut problems = Vec::new();
        self.store.check(&mut problems);
        assert_eq!(problems, [""; 0]);
        let mut image = Box::new([0; BLOB_BYTES]);
        for (id, bytes) in self.blobs.iter().filter(|(id, _)| !self.dirty.contains(id)) {
            let length = self.store.read_blob(BlobId(*id), &mut image).expect("clean blobs are readable");
            assert_eq!(&image[..length], &bytes[..], "blob {id}");
        }
    }

    /// A store that was just opened holds exactly the checkpoint that it says.
    pub(super) fn verify_opened(&self, store: &Store, opened: &Opened) {
        let expected = &self.checkpoints[&opened.sequence];
        let ids: Vec<u32> = store.blob_ids().iter().map(|id| id.0).collect();
        assert_eq!(ids, expected.keys().copied().collect::<Vec<_>>(), "checkpoint {}", opened.sequence);
        let mut image = Box::new([0; BLOB_BYTES]);
        for (id, bytes) in expected {
            let length =
                store.read_blob(BlobId(*id), &mut image).expect("blobs of a checkpoint are readable");
            assert_eq!(&image[..length], &bytes[..], "blob {id} of checkpoint {}", opened.sequence);
        }
        if opened.sequence > 0 {
            assert_eq!(opened.catalog, catalog_of(opened.sequence));
            assert_eq!(opened.sequence_mark, opened.sequence + 1000);
        }
        let mut problems = Vec::new();
        store.check(&mut problems);
        assert_eq!(problems, [""; 0]);
    }
}
