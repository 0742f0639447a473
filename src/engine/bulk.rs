//! Loads of sorted records: what fills a leaf blob is drawn up as one, and written into an empty one in a commit of its own.
//!
//! Each commit is an ordinary batch record, appended and applied under the leaf blob's latch (E1): so nothing is new to
//! checkpoints, recovery and readers. The empty leaf blob is cut off what is there before, which alters no content. Where
//! records lie among others, they are put one by one.

use std::sync::Arc;

use super::space::Relief;
use super::{Engine, TreeState};
use crate::buffer::Claim;
use crate::error::{Error, Result};
use crate::journal::{Durability, Journal, Kind, Puts, Reservation};
use crate::limits::{BLOB_BYTES, RECORD_BYTES_MAX};
use crate::tree::{Gap, Place, Sketch, Stop, Tries, common_prefix};

use super::commit::{Condition, check_key, check_value};
use super::plan::show;

/// How full blobs are made: a few later puts find room.
const FILL_BYTES: usize = BLOB_BYTES / 32 * 31;
/// Records get a blob of their own, where there is none that is empty, if they fill that much of it.
const WORTH_BYTES: usize = BLOB_BYTES / 2;
/// Payload of one commit: keys that share long beginnings take more room there than in a blob.
const PAYLOAD_BYTES: usize = 1 << 20;
const _: () = assert!(2 * PAYLOAD_BYTES < RECORD_BYTES_MAX);
/// So much is buffered on the way before it is written out: to wake who does that takes a twelfth of a commit.
const WRITE_BYTES: usize = 512 << 10;
/// Cuts that one commit makes before its records are put one by one: two do unless others write there.
const CUTS_MAX: u32 = 4;

/// A load under way.
pub(crate) struct Bulk {
    tree: Arc<TreeState>,
    durability: Durability,
    puts: Puts,
    /// Those of `puts`.
    places: Vec<Place>,
    /// Of the blob of `places`.
    sketch: Sketch,
    committed: u64,
    sequence: u64,
}

/// What one try came to.
enum Step {
    Done(u64),
    Cut(Vec<u8>),
    /// Longer keys are to be admitted: this is the longest.
    Admit,
    /// The records lie among others.
    Among,
}

impl Bulk {
    pub(crate) fn new(engine: &Engine, tree: Arc<TreeState>, durability: Option<Durability>) -> Self {
        Self {
            durability: durability.unwrap_or(engine.settings.durability),
            puts: Puts::new(tree.id),
            places: Vec::new(),
            sketch: Sketch::default(),
            committed: 0,
            sequence: 0,
            tree,
        }
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// Takes the next record; commits those before it if it does not fit in a blob with them. After an error it is not taken.
    pub(crate) fn push(&mut self, engine: &Engine, key: &[u8], value: &[u8]) -> Result<()> {
        check_key(key).and_then(|()| check_value(key, value)).map_err(|error| self.at_record(error))?;
        let (key_len, value_len) = (key.len() as u16, value.len() as u16);
        let mut place = Place { key_at: 0, value_at: 0, key_len, value_len, common: 0 };
        if let Some(last) = self.places.last().map(|last| last.key(self.puts.text())) {
            let common = common_prefix(last, key);
            if key.get(common) <= last.get(common) {
                let (key, last) = (show(key), show(last));
                let what = format_args!("key \"{key}\" is not above \"{last}\", which came before it");
                return Err(self.at_record(Error::invalid(what)));
            }
            place.common = common as u16;
            if !self.sketch.has_room(place, FILL_BYTES) || self.puts.len() > PAYLOAD_BYTES {
                self.commit(engine, Some(key))?;
                place.common = 0;
            }
        }
        (place.key_at, place.value_at) = self.puts.push(key, value);
        self.sketch.add(place);
        self.places.push(place);
        Ok(())
    }

    /// Commits what is left, and waits until all is as safe as asked for. What comes then need not be above it.
    pub(crate) fn finish(&mut self, engine: &Engine) -> Result<u64> {
        if !self.places.is_empty() {
            self.commit(engine, None)?;
        }
        engine.check_open()?;
        engine.make_durable(self.sequence, self.durability).map_err(|error| self.stopped(error))?;
        Ok(self.committed)
    }

    fn at_record(&self, error: Error) -> Error {
        let number = self.committed + self.places.len() as u64 + 1;
        error.within(format_args!("record {number} of the load"))
    }

    fn stopped(&self, error: Error) -> Error {
        error.within(format_args!("the load stopped with its first {} records committed", self.committed))
    }

    /// Commits all records so far; the next one will be `next`.
    fn commit(&mut self, engine: &Engine, next: Option<&[u8]>) -> Result<()> {
        let sequence = match self.fill(engine, next) {
            Ok(Some(sequence)) => Ok(sequence),
            Ok(None) => self.put_each(engine),
            Err(error) => Err(error),
        };
        self.sequence = sequence.map_err(|error| self.stopped(error))?;
        self.committed += self.places.len() as u64;
        self.places.clear();
        self.sketch.clear();
        self.puts.clear();
        Ok(())
    }

    /// What commits on the way are made with: the last one waits for all, or has all written out that it would.
    fn on_the_way(&self) -> Durability {
        let bytes = match self.durability {
            Durability::Sync => WRITE_BYTES,
            Durability::Batched { bytes, .. } => bytes.max(WRITE_BYTES),
        };
        Durability::Batched { bytes, interval: None }
    }

    /// Commits the records as one. None: they are to be put one by one.
    fn fill(&mut self, engine: &Engine, next: Option<&[u8]>) -> Result<Option<u64>> {
        let is_large = self.sketch.bytes(0) > WORTH_BYTES;
        let journal = engine.journal()?;
        engine.check_open()?;
        engine.admit(journal, false)?;
        let mut relief = Relief::new(false);
        let payload = self.puts.payload().len();
        let mut reservation =
            Some(engine.relieved(&mut relief, || engine.reserve_journal(journal, payload, false))?);
        let (mut tries, mut cuts) = (Tries::default(), 0);
        loop {
            engine.relieved(&mut relief, || {
                engine.buffer.claim(1, Claim::Adds)?;
                if engine.buffer.is_low() {
                    journal.call_keeper();
                }
                engine.buffer.reserve(0)
            })?;
            let step = {
                let _entry = engine.gate.enter();
                engine.check_open()?;
                self.tree.check_alive()?;
                self.step(engine, journal, next, &mut reservation)
            };
            let limb = engine.limb(&self.tree);
            match step {
                Ok(Step::Done(sequence)) => {
                    engine.make_durable(sequence, self.on_the_way())?;
                    return Ok(Some(sequence));
                }
                Ok(Step::Cut(at)) if is_large && cuts < CUTS_MAX => {
                    cuts += 1;
                    engine.relieved(&mut relief, || limb.cut_at(&engine.gate, &at))?;
                }
                Ok(Step::Admit) => {
                    let text = self.puts.text();
                    let longest = self.places.iter().max_by_key(|place| place.key_len);
                    let longest = longest.map_or(&[][..], |place| place.key(text));
                    engine.relieved(&mut relief, || limb.admit(&engine.gate, longest))?;
                }
                Ok(Step::Cut(_) | Step::Among) => return Ok(None),
                Err(stop) => engine.settle(&self.tree, stop, &mut tries)?,
            }
        }
    }

    /// One try, inside the gate.
    fn step(
        &mut self,
        engine: &Engine,
        journal: &Journal,
        next: Option<&[u8]>,
        reservation: &mut Option<Reservation<'_>>,
    ) -> Result<Step, Stop> {
        let text = self.puts.text();
        let ([first, ..], [.., last]) = (&self.places[..], &self.places[..]) else { return Ok(Step::Among) };
        let (mut leaf, fences) = engine.limb(&self.tree).lock_leaf_fenced(first.key(text))?;
        let gap = leaf.gap(&fences, first.key(text), last.key(text), next);
        if gap == Gap::None {
            return Ok(Step::Among);
        }
        // Before any cut: an empty leaf blob gets a base no longer than the keys that it admits, and moves go by long bases.
        let longest = self.places.iter().max_by_key(|place| place.key_len);
        if longest.is_some_and(|longest| !leaf.admits(longest.key(text))) {
            return Ok(Step::Admit);
        }
        if let Gap::Cut(at) = gap {
            return Ok(Step::Cut(at));
        }
        if !leaf.takes(&self.sketch) {
            return Ok(Step::Among);
        }
        // Nothing fails from the record on.
        let Some(reservation) = reservation.take() else { return Ok(Step::Among) };
        let _watch = journal.watch();
        let sequence = journal.append(reservation, Kind::Batch, self.puts.payload()).sequence;
        leaf.put_all(self.puts.text(), &self.places, &self.sketch, sequence);
        Ok(Step::Done(sequence))
    }

    /// Commits the records one by one.
    fn put_each(&self, engine: &Engine) -> Result<u64> {
        let text = self.puts.text();
        for place in &self.places {
            let durability = Some(self.on_the_way());
            engine.put(&self.tree, place.key(text), place.value(text), Condition::Any, false, durability)?;
        }
        Ok(engine.last_sequence())
    }
}
