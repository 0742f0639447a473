//! Whether a recorded history of transactions is serializable: its direct serialization graph must have no cycle (Adya, "Weak
//! Consistency", 1999). Its nodes are the committed transactions; an edge leads from whoever installed a version of a key to whoever
//! installed the next one, to whoever read it, and from who read it to who installed the next one. A listing is a read of every key in
//! its range, present or absent, so phantoms are edges like others.
//!
//! The order of versions is known from what commits returned. A read that fits several versions (a key is absent more than once,
//! a directory came back) is a constraint with alternatives: those that would close a cycle are struck out until none is left to
//! choose, as in Cobra (Tan et al., OSDI 2020); where that does not suffice, each is tried.

/// Keys of a history: so many directories of so many names.
pub const DIRECTORIES: usize = 3;
pub const NAMES: usize = 2;
pub const KEYS: usize = DIRECTORIES * NAMES;

/// What a key holds; every put has a value of its own.
pub type Value = Option<u32>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Set(usize, Value),
    /// A directory replaces another one.
    Move(usize, usize),
}

/// A committed transaction. Reads of its own changes are left out.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// The order of commits; None: it changed nothing.
    pub version: Option<u64>,
    pub reads: Vec<(usize, Value)>,
    pub changes: Vec<Change>,
    /// Ticks of a clock that all threads share: of its begin, and of the return of its commit.
    pub from: u64,
    pub to: u64,
}

/// What else must hold of the order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Strict {
    /// Commits take effect in the order of their versions.
    pub by_version: bool,
    /// Who has returned is before who has not begun.
    pub in_real_time: bool,
}

/// Who comes after whom. Node 0 wrote the start.
#[derive(Clone)]
struct Graph {
    after: Vec<u64>,
}

impl Graph {
    fn new(nodes: usize) -> Self {
        assert!(nodes <= 64, "a node is a bit");
        Self { after: vec![0; nodes] }
    }

    fn leads(&self, from: usize, to: usize) -> bool {
        from == to || self.after[from] & 1 << to != 0
    }

    /// False: the edge closes a cycle.
    fn add(&mut self, from: usize, to: usize) -> bool {
        if self.leads(to, from) {
            return false;
        }
        let more = self.after[to] | 1 << to;
        for node in 0..self.after.len() {
            if self.leads(node, from) {
                self.after[node] |= more;
            }
        }
        true
    }
}

/// A read, and the versions it may have been of.
#[derive(Clone)]
struct Constraint {
    reader: usize,
    key: usize,
    versions: Vec<usize>,
}

/// The versions of a key in their order: who installed it, and what it is.
type Versions = Vec<(usize, Value)>;

/// Says what is wrong with a history that is not serializable.
pub fn check(start: [Value; KEYS], history: &[Committed], strict: Strict) -> Result<(), String> {
    let mut writers: Vec<usize> = (0..history.len()).filter(|at| history[*at].version.is_some()).collect();
    writers.sort_by_key(|at| history[*at].version);
    let mut versions: [Versions; KEYS] = start.map(|value| vec![(0, value)]);
    let mut now = start;
    for &at in &writers {
        let before = now;
        history[at].changes.iter().for_each(|change| apply(&mut now, *change));
        for key in (0..KEYS).filter(|key| now[*key] != before[*key]) {
            versions[key].push((at + 1, now[key]));
        }
    }
    let mut graph = Graph::new(history.len() + 1);
    let mut must = |from: usize, to: usize, why: &str| match from == to || graph.add(from, to) {
        true => Ok(()),
        false => Err(format!("{why} closes a cycle from {} to {}", from as i64 - 1, to as i64 - 1)),
    };
    for at in 0..history.len() {
        must(0, at + 1, "the start")?;
    }
    for pair in versions.iter().flat_map(|versions| versions.windows(2)) {
        must(pair[0].0, pair[1].0, "a write over a write")?;
    }
    if strict.by_version {
        for pair in writers.windows(2) {
            must(pair[0] + 1, pair[1] + 1, "the order of versions")?;
        }
    }
    if strict.in_real_time {
        for (a, first) in history.iter().enumerate() {
            for (b, _) in history.iter().enumerate().filter(|(_, second)| first.to < second.from) {
                must(a + 1, b + 1, "time")?;
            }
        }
    }
    let mut constraints = Vec::new();
    for (at, transaction) in history.iter().enumerate() {
        for &(key, value) in &transaction.reads {
            let fits = |n: &usize| versions[key][*n].1 == value && versions[key][*n].0 != at + 1;
            let fitting: Vec<usize> = (0..versions[key].len()).filter(fits).collect();
            if fitting.is_empty() {
                return Err(format!("{at} read {value:?} of key {key}, which nobody committed"));
            }
            constraints.push(Constraint { reader: at + 1, key, versions: fitting });
        }
    }
    match solve(graph, &versions, constraints) {
        true => Ok(()),
        false => Err("what was read closes a cycle".to_owned()),
    }
}

pub fn apply(state: &mut [Value; KEYS], change: Change) {
    match change {
        Change::Set(key, value) => state[key] = value,
        Change::Move(src, dst) => {
            for name in 0..NAMES {
                state[dst * NAMES + name] = state[src * NAMES + name].take();
            }
        }
    }
}

/// The edges of a read of a version. None: it closes a cycle.
fn with_read(graph: &Graph, versions: &Versions, reader: usize, version: usize) -> Option<Graph> {
    let mut graph = graph.clone();
    let is_fine = graph.add(versions[version].0, reader)
        && versions.get(version + 1).is_none_or(|next| next.0 == reader || graph.add(reader, next.0));
    is_fine.then_some(graph)
}

/// Whether a version can be chosen for each read without a cycle.
fn solve(mut graph: Graph, versions: &[Versions; KEYS], mut open: Vec<Constraint>) -> bool {
    loop {
        let before = open.iter().map(|constraint| constraint.versions.len()).sum::<usize>();
        let mut left = Vec::new();
        for mut constraint in open {
            let Constraint { reader, key, .. } = constraint;
            constraint.versions.retain(|n| with_read(&graph, &versions[key], reader, *n).is_some());
            match constraint.versions[..] {
                [] => return false,
                [only] => match with_read(&graph, &versions[key], reader, only) {
                    Some(more) => graph = more,
                    None => return false,
                },
                _ => left.push(constraint),
            }
        }
        open = left;
        if open.is_empty() {
            return true;
        }
        if open.iter().map(|constraint| constraint.versions.len()).sum::<usize>() == before {
            break;
        }
    }
    let Some(Constraint { reader, key, versions: choices }) = open.pop() else { return true };
    choices.into_iter().any(|choice| {
        with_read(&graph, &versions[key], reader, choice)
            .is_some_and(|graph| solve(graph, versions, open.clone()))
    })
}
