//! The end of the journal in memory: what is appended and not yet written, and who may still append what.
//!
//! It does no I/O and lives under one short mutex. Invariants:
//! - the file that appends go to has `available + outstanding + charged` bytes allocated after its last group, so
//!   every reservation finds its place;
//! - while a second file is prepared, every outstanding reservation has its place in that one too;
//! - `next + outstanding records < mark`.

use super::format::{Checksum, GROUP_ALIGN, GROUP_HEADER_BYTES, RECORD_HEADER_BYTES, append_record};
use super::record::{Kind, encode_bridge};
use crate::limits::BLOCK_BYTES;

/// Space in a file that only deletes and checkpoints may take, in bytes.
pub(super) const EMERGENCY_BYTES: u64 = 64 << 10;
/// Space that no record may take, beside that of records under way: a switch on a full device makes the second file of it.
const SWITCH_BYTES: u64 = 2 * BLOCK_BYTES as u64;
/// Space that is allocated ahead of need at the most, in bytes.
const AHEAD_BYTES_MAX: u64 = 4 << 20;
/// Buffered bytes at which a reservation writes them out first.
const BUFFER_BYTES_MAX: usize = 32 << 20;
/// What a group costs beside its records at most, in bytes.
const GROUP_COST: u64 = (GROUP_HEADER_BYTES + GROUP_ALIGN) as u64;
/// What a switch may append of its own, in bytes.
const NOOP_COST: u64 = cost_of(0);

/// Space for a record that has a group to itself.
pub(super) const fn cost_of(payload_bytes: usize) -> u64 {
    (payload_bytes + RECORD_HEADER_BYTES) as u64 + GROUP_COST
}

/// Records that go into the file with one write; room for the group's header stands before them.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) bytes: Vec<u8>,
    pub(super) first_sequence: u64,
    /// The last sequence in it, or the one before the first if it is empty.
    pub(super) last_sequence: u64,
    /// Space taken for it, in bytes; not less than it needs.
    pub(super) charged: u64,
}

impl Group {
    /// One that passes from the sequence `last` to `to`, which is higher.
    pub(super) fn bridge(last: u64, to: u64, checksum: &Checksum) -> Self {
        let mut bytes = vec![0; GROUP_HEADER_BYTES];
        let payload = encode_bridge(last);
        append_record(to, Kind::Bridge, &payload, checksum, &mut bytes);
        Self { bytes, first_sequence: last + 1, last_sequence: to, charged: cost_of(payload.len()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What a leader writes: the rest of the old file if a switch is under way, then a group for the current one.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) sealed: Option<Group>,
    pub(super) group: Group,
}

/// What a reservation leaves free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    /// Nothing: for the journal itself.
    None,
    /// What a switch needs: for deletes.
    Switch,
    /// The space of deletes too.
    Emergency,
}

/// Why a reservation has to wait for I/O first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// This many bytes in the file of this generation.
    Space { generation: u64, bytes: u64 },
    /// Sequences below the durable mark.
    Sequences,
    /// Room in memory.
    Memory,
}

#[derive(Debug)]
struct Second {
    available: u64,
    checksum: Checksum,
}

#[derive(Debug)]
pub(super) struct Tail {
    group: Group,
    sealed: Option<Group>,
    next: u64,
    mark: u64,
    /// Number of switches so far: names the file that appends go to.
    generation: u64,
    checksum: Checksum,
    available: u64,
    outstanding: u64,
    outstanding_records: u64,
    second: Option<Second>,
    noop_reserved: bool,
    record_bytes: u64,
}

impl Tail {
    pub(super) fn new(start: u64, mark: u64, checksum: Checksum) -> Self {
        Self {
            group: Group::default(),
            sealed: None,
            next: start + 1,
            mark,
            generation: 0,
            checksum,
            available: 0,
            outstanding: 0,
            outstanding_records: 0,
            second: None,
            noop_reserved: false,
            record_bytes: 0,
        }
    }

    /// Goes on in a file that has records: so many bytes of them, and so many free.
    pub(super) fn go_on(&mut self, record_bytes: u64, free_bytes: u64) {
        (self.record_bytes, self.available) = (record_bytes, free_bytes);
    }

    pub(super) fn last_sequence(&self) -> u64 {
        self.next - 1
    }

    pub(super) fn buffered(&self) -> usize {
        self.group.bytes.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.group.bytes.capacity() + self.sealed.as_ref().map_or(0, |group| group.bytes.capacity())
    }

    /// Space in the current file that nobody has reserved.
    pub(super) fn free_bytes(&self) -> u64 {
        self.available
    }

    /// Bytes of records since the last switch.
    pub(super) fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// What stands in the way of a reservation of `cost` bytes that leaves `floor` free.
    pub(super) fn lack(&self, cost: u64, floor: Floor) -> Option<Lack> {
        let needed = cost
            + match floor {
                Floor::None => 0,
                Floor::Switch => SWITCH_BYTES + cost + self.outstanding,
                Floor::Emergency => EMERGENCY_BYTES,
            };
        // One sequence stays free for the record of a switch.
        if self.next + self.outstanding_records + 1 >= self.mark {
            return Some(Lack::Sequences);
        }
        if self.group.bytes.len() > BUFFER_BYTES_MAX {
            return Some(Lack::Memory);
        }
        if self.available < needed {
            return Some(Lack::Space { generation: self.generation, bytes: needed - self.available });
        }
        match &self.second {
            Some(second) if second.available < needed => {
                Some(Lack::Space { generation: self.generation + 1, bytes: needed - second.available })
            }
            _ => None,
        }
    }

    /// Whether more space should be allocated before it is missing: less than a quarter of what was appended so far is free.
    pub(super) fn is_low(&self) -> bool {
        self.available < EMERGENCY_BYTES + (self.record_bytes / 4).min(AHEAD_BYTES_MAX)
    }

    pub(super) fn reserve(&mut self, cost: u64, floor: Floor) -> Result<(), Lack> {
        if let Some(lack) = self.lack(cost, floor) {
            return Err(lack);
        }
        self.available -= cost;
        if let Some(second) = &mut self.second {
            second.available -= cost;
        }
        self.outstanding += cost;
        self.outstanding_records += 1;
        Ok(())
    }

    /// Gives a reservation back unused.
    pub(super) fn release(&mut self, cost: u64) {
        self.available += cost;
        self.use_reservation(cost);
    }

    /// A reservation is no longer outstanding: its place in a prepared second file is free again.
    fn use_reservation(&mut self, cost: u64) {
        self.outstanding -= cost;
        self.outstanding_records -= 1;
        if let Some(second) = &mut self.second {
            second.available += cost;
        }
    }

    /// Appends a record into the place reserved for it; its sequence.
    pub(super) fn append(&mut self, cost: u64, kind: Kind, payload: &[u8]) -> u64 {
        assert!(cost_of(payload.len()) <= cost, "a record must fit its reservation");
        self.use_reservation(cost);
        self.push(cost, kind, payload)
    }

    fn push(&mut self, cost: u64, kind: Kind, payload: &[u8]) -> u64 {
        self.begin_group();
        let sequence = self.next;
        append_record(sequence, kind, payload, &self.checksum, &mut self.group.bytes);
        self.next += 1;
        self.group.last_sequence = sequence;
        self.group.charged += cost;
        self.record_bytes += (RECORD_HEADER_BYTES + payload.len()) as u64;
        sequence
    }

    fn begin_group(&mut self) {
        if self.group.is_empty() {
            self.group.bytes.resize(GROUP_HEADER_BYTES, 0);
            self.group.first_sequence = self.next;
            self.group.last_sequence = self.last_sequence();
        }
    }

    /// Starts a group without records, to carry a new mark, unless one is begun; false when there is no space for it.
    pub(super) fn begin_mark_group(&mut self) -> bool {
        if self.group.is_empty() {
            if self.available < GROUP_COST {
                return false;
            }
            self.available -= GROUP_COST;
            self.begin_group();
            self.group.charged += GROUP_COST;
        }
        true
    }

    /// Takes all that is to be written; `spare` is an empty buffer to go on with.
    pub(super) fn take(&mut self, spare: &mut Vec<u8>) -> Work {
        let group = if self.group.is_empty() {
            Group { last_sequence: self.last_sequence(), ..Group::default() }
        } else {
            std::mem::replace(&mut self.group, Group { bytes: std::mem::take(spare), ..Group::default() })
        };
        Work { sealed: self.sealed.take(), group }
    }

    /// Space in the file of `generation` that is allocated or was charged without need.
    pub(super) fn add_space(&mut self, generation: u64, bytes: u64) {
        if generation == self.generation {
            self.available += bytes;
        } else if let Some(second) = self.second.as_mut().filter(|_| generation == self.generation + 1) {
            second.available += bytes;
        }
    }

    /// Takes all free space of the current file away, so that nothing can be reserved; how much it was.
    pub(super) fn withdraw_space(&mut self) -> u64 {
        std::mem::take(&mut self.available)
    }

    /// The same if nothing was appended since the switch and nobody is about to.
    pub(super) fn withdraw_if_unused(&mut self) -> bool {
        let unused = self.record_bytes == 0
            && self.outstanding_records == 0
            && self.group.is_empty()
            && self.second.is_none()
            && !self.noop_reserved;
        if unused {
            self.available = 0;
        }
        unused
    }

    /// All sequences below `mark` may be handed out: it is durable in the file of `generation`. After a switch the marks of
    /// the file before it count no more, for it goes when the superblock is durable, which has the mark of the switch.
    pub(super) fn raise_mark(&mut self, mark: u64, generation: u64) {
        if generation == self.generation {
            self.mark = self.mark.max(mark);
        }
    }

    pub(super) fn mark(&self) -> u64 {
        self.mark
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Keeps space for the record that a switch may need; the bytes that are missing for it otherwise.
    pub(super) fn reserve_noop(&mut self) -> Result<(), u64> {
        if self.noop_reserved || self.record_bytes > 0 {
            return Ok(());
        }
        if self.available < NOOP_COST {
            return Err(NOOP_COST - self.available);
        }
        self.available -= NOOP_COST;
        self.noop_reserved = true;
        Ok(())
    }

    pub(super) fn is_prepared(&self) -> bool {
        self.second.is_some()
    }

    /// Space that a second file must have at least.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Makes a file with `free` bytes the one to switch to; the bytes that are missing in it otherwise.
    pub(super) fn prepare(&mut self, free: u64, checksum: &Checksum) -> Result<(), u64> {
        if free < self.outstanding {
            return Err(self.outstanding - free);
        }
        let available = free - self.outstanding;
        self.second = Some(Second { available, checksum: checksum.clone() });
        Ok(())
    }

    /// From here on appends go to the second file; the last sequence before it.
    pub(super) fn switch(&mut self) -> u64 {
        let second = self.second.take().expect("a switch follows its preparation");
        if self.record_bytes == 0 {
            self.push(NOOP_COST, Kind::Noop, &[]);
        }
        let mut sealed = std::mem::take(&mut self.group);
        sealed.last_sequence = self.last_sequence();
        self.sealed = Some(sealed);
        self.generation += 1;
        self.checksum = second.checksum;
        self.available = second.available;
        self.noop_reserved = false;
        self.record_bytes = 0;
        self.last_sequence()
    }
}
