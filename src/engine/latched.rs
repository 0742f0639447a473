//! The leaf blobs of a plan under their latches: whether its expectations hold, what it comes to, and whether that fits.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::plan::{Change, Expectation, Plan, show};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BLOB_BYTES, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::tree::{Fences, LockedLeaf, successor};

/// A key and the length of the value that it gets; None is a delete.
type KeyChange<'p> = (&'p [u8], Option<usize>);

/// What a plan puts into one leaf blob at the most; what is more is spread over several. It fits beside one record of the
/// largest size: a blob with only that cannot be cut.
const PIECE_MAX: usize = BLOB_BYTES * 3 / 4;
const _: () = assert!(PIECE_MAX + 64 + 12 + KEY_BYTES_MAX + VALUE_BYTES_MAX <= BLOB_BYTES);

/// A leaf blob of a plan, latched, with the fences of its range.
pub(super) struct Held<'e> {
    pub(super) tree: u32,
    pub(super) fences: Fences,
    pub(super) leaf: LockedLeaf<'e>,
}

impl Held<'_> {
    /// The order of leaf blobs: a blob comes before those of the limbs mounted in it.
    fn order(&self) -> (u32, &[u8], usize) {
        (self.tree, self.fences.low.as_deref().unwrap_or(&[]), self.fences.mount)
    }
}

/// The leaf blobs of a plan, latched, in order.
pub(super) struct Latched<'e>(pub(super) Vec<Held<'e>>);

/// What becomes of each key once all is decided; None is a delete.
pub(super) type Effects<'p> = BTreeMap<(u32, &'p [u8]), Option<Cow<'p, [u8]>>>;

/// What the leaf blob that a key goes to lacks.
pub(super) struct Lack {
    pub(super) tree: u32,
    pub(super) key: Vec<u8>,
    pub(super) need: Need,
}

/// What a leaf blob can lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Room for so many bytes.
    Room(usize),
    /// To be cut at the key.
    Cut,
    /// To admit keys as long as this one.
    Admit,
}

impl<'e> Latched<'e> {
    /// The leaf blob that the key is in or would be.
    pub(super) fn position(&self, tree: u32, key: &[u8]) -> Option<usize> {
        self.innermost(tree, key).filter(|at| self.0[*at].leaf.owns(key))
    }

    /// The leaf blob of the smallest range that holds the key. The key may yet be in a limb that is mounted there, of which the
    /// blob with the key is not latched.
    pub(super) fn innermost(&self, tree: u32, key: &[u8]) -> Option<usize> {
        let mut end = self.0.partition_point(|held| held.order() <= (tree, key, usize::MAX));
        loop {
            let held = self.0[..end].last().filter(|held| held.tree == tree)?;
            if held.fences.hold(key) {
                return Some(end - 1);
            }
            // The key is behind this limb: what can hold it is a blob that the limb is mounted in.
            let depth = held.fences.mount.checked_sub(1)?;
            let mount = &held.fences.low.as_deref()?[..=depth];
            end = self.0[..end].partition_point(|held| held.order() < (tree, mount, depth + 1));
        }
    }

    pub(super) fn insert(&mut self, held: Held<'e>) -> usize {
        let at = self.0.partition_point(|there| there.order() < held.order());
        self.0.insert(at, held);
        at
    }

    pub(super) fn leaf(&mut self, tree: u32, key: &[u8]) -> Result<&mut LockedLeaf<'e>> {
        match self.position(tree, key) {
            Some(at) => Ok(&mut self.0[at].leaf),
            None => Err(Error::invalid("a plan touches a key that it did not name")),
        }
    }
}

/// Conflict if it does not hold.
pub(super) fn check_expectation(expectation: &Expectation, latched: &mut Latched<'_>) -> Result<()> {
    match expectation {
        Expectation::Version { tree, key, version } => {
            conflict_version(key, *version, latched.leaf(tree.id, key)?.version(key))
        }
        Expectation::Absent { tree, key } => conflict_absent(key, latched.leaf(tree.id, key)?.version(key)),
        Expectation::PrefixEmpty { tree, prefix } => {
            let end = successor(prefix);
            let meets = |held: &Held<'_>| held.tree == tree.id && held.fences.meet(prefix, end.as_deref());
            conflict_prefix(prefix, latched.0.iter().any(|held| meets(held) && held.leaf.has_prefix(prefix)))
        }
    }
}

/// Conflict unless the version that is there is the expected one.
pub(super) fn conflict_version(key: &[u8], expected: u64, there: Option<u64>) -> Result<()> {
    let what = match there {
        Some(there) if there == expected => return Ok(()),
        Some(there) => format!("key {:?} has version {there}, not {expected}", show(key)),
        None => format!("key {:?} is not there; version {expected} was expected", show(key)),
    };
    Err(Error::new(ErrorKind::Conflict, what))
}

/// Conflict if a record is there.
pub(super) fn conflict_absent(key: &[u8], there: Option<u64>) -> Result<()> {
    let Some(there) = there else { return Ok(()) };
    let what = format_args!("key {:?} is there, with version {there}", show(key));
    Err(Error::new(ErrorKind::Conflict, what))
}

/// Conflict if there are keys.
pub(super) fn conflict_prefix(prefix: &[u8], there: bool) -> Result<()> {
    if !there {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, format_args!("some key starts with {:?}", show(prefix))))
}

/// What the changes come to, each seeing those before it.
pub(super) fn effects<'p>(plan: &'p Plan, latched: &mut Latched<'_>) -> Result<Effects<'p>> {
    let mut effects = Effects::new();
    for change in &plan.changes {
        match change {
            Change::Put { tree, key, value } => {
                effects.insert((tree.id, key), Some(Cow::Borrowed(value.as_slice())));
            }
            Change::Delete { tree, key } => {
                effects.insert((tree.id, key), None);
            }
            Change::Rename { tree, src, dst, replace } => {
                let value = rename_value(tree.id, src, dst, *replace, &effects, latched)?;
                effects.insert((tree.id, src), None);
                effects.insert((tree.id, dst), Some(value));
            }
            Change::RenamePrefix { .. } | Change::DeletePrefix { .. } | Change::DeleteRange { .. } => {
                return Err(Error::invalid("a change of a whole range ran with the gate open"));
            }
        }
    }
    Ok(effects)
}

/// The value that a rename moves; NotFound or Exists if it may not.
fn rename_value<'p>(
    tree: u32,
    src: &[u8],
    dst: &[u8],
    replace: bool,
    effects: &Effects<'p>,
    latched: &mut Latched<'_>,
) -> Result<Cow<'p, [u8]>> {
    let mut now = |key: &[u8]| -> Result<Option<Cow<'p, [u8]>>> {
        match effects.get(&(tree, key)) {
            Some(value) => Ok(value.clone()),
            None => Ok(latched.leaf(tree, key)?.read(key).map(|(_, value)| Cow::Owned(value))),
        }
    };
    let Some(value) = now(src)? else {
        return Err(absent_source(src));
    };
    if !replace && now(dst)?.is_some() {
        return Err(taken_target(dst));
    }
    Ok(value)
}

/// NotFound: there is nothing to rename.
pub(super) fn absent_source(src: &[u8]) -> Error {
    Error::new(ErrorKind::NotFound, format_args!("rename: key {:?} is not there", show(src)))
}

/// Exists: a rename may not replace what is at its target.
pub(super) fn taken_target(dst: &[u8]) -> Error {
    Error::new(ErrorKind::Exists, format_args!("rename: key {:?} exists", show(dst)))
}

/// The leaf blobs without the room for what is put into them. One that is to take more than a piece is cut between pieces:
/// all at once, since every try latches and decides anew.
pub(super) fn lacking(effects: &Effects<'_>, latched: &Latched<'_>, sequence: u64) -> Vec<Lack> {
    let mut groups: BTreeMap<usize, Vec<KeyChange<'_>>> = BTreeMap::new();
    for ((tree, key), value) in effects {
        if let Some(at) = latched.position(*tree, key) {
            groups.entry(at).or_default().push((key, value.as_ref().map(|value| value.len())));
        }
    }
    let mut lacks = Vec::new();
    for (at, group) in groups {
        let Held { tree, leaf, .. } = &latched.0[at];
        let lack = |key: &[u8], need| Lack { tree: *tree, key: key.to_vec(), need };
        let long = group.iter().filter(|(key, value)| value.is_some() && !leaf.admits(key));
        if let Some((longest, _)) = long.max_by_key(|(key, _)| key.len()) {
            lacks.push(lack(longest, Need::Admit));
            continue;
        }
        if leaf.fits_all(&group, sequence) {
            continue;
        }
        let puts: Vec<(&[u8], usize)> =
            group.iter().filter_map(|(key, value)| Some((*key, leaf.typical_need(key, (*value)?)))).collect();
        let total: usize = puts.iter().map(|(_, need)| need).sum();
        let appends = puts.first().is_some_and(|(first, _)| leaf.appends(first));
        if let [(only, _)] = puts.as_slice() {
            let value = group.iter().find_map(|(_, value)| *value).unwrap_or(0);
            lacks.push(lack(only, Need::Room(leaf.need(only, value))));
        } else if total <= leaf.room() {
            // It takes more than is typical.
            lacks.push(lack(puts[puts.len() / 2].0, Need::Cut));
        } else if total <= PIECE_MAX && !appends {
            lacks.push(lack(puts[0].0, Need::Room(total)));
        } else {
            // What is appended fills the blob up first.
            let mut left = if appends { leaf.room().min(PIECE_MAX) } else { PIECE_MAX };
            for (at, (key, need)) in puts.into_iter().enumerate() {
                if need > left {
                    // A blob is never cut at its first key: there may be nothing before it.
                    lacks.push(lack(key, if at == 0 { Need::Room(leaf.room() + 1) } else { Need::Cut }));
                    left = PIECE_MAX;
                }
                left = left.saturating_sub(need);
            }
        }
    }
    lacks
}
