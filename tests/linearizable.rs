//! Gets, puts, deletes, renames and directory moves from several threads look as if they happened one after the other, each
//! between its call and its return: recorded histories are searched for such an order (Wing and Gong, "Testing and Verifying
//! Concurrent Objects", 1993, with the memo of states seen of Lowe, "Testing for Linearizability", 2017).

mod common;

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Dice, cases, seed, watched};
use ramus::{Db, ErrorKind, IfExists, Tree};

const THREADS: usize = 3;
const OPS: usize = 5;
const DIRECTORIES: usize = 3;
const NAMES: usize = 2;
/// Records that make a directory too large to be moved record by record: a limb of one blob, and one of several, in which a
/// reader is on its way from blob to blob while the directory moves.
const FILLING: [usize; 4] = [1, 40, 1, 150];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Get(usize, usize),
    Put(usize, usize, u32),
    Delete(usize, usize),
    /// A file to another name in another directory, or the same.
    Rename([usize; 2], [usize; 2]),
    Move(usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Value(Option<u32>),
    Done,
    There(bool),
    Moved,
    NotFound,
    Exists,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    call: Call,
    answer: Answer,
    from: u64,
    to: u64,
}

/// The directories as they would be if calls came one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct State {
    values: [[Option<u32>; NAMES]; DIRECTORIES],
    filled: [bool; DIRECTORIES],
}

impl State {
    fn is_empty(&self, directory: usize) -> bool {
        !self.filled[directory] && self.values[directory].iter().all(Option::is_none)
    }

    fn apply(&mut self, call: Call) -> Answer {
        match call {
            Call::Get(directory, name) => Answer::Value(self.values[directory][name]),
            Call::Put(directory, name, value) => {
                self.values[directory][name] = Some(value);
                Answer::Done
            }
            Call::Delete(directory, name) => Answer::There(self.values[directory][name].take().is_some()),
            Call::Rename([directory, name], _) if self.values[directory][name].is_none() => Answer::NotFound,
            Call::Rename(_, [directory, name]) if self.values[directory][name].is_some() => Answer::Exists,
            Call::Rename(src, dst) => {
                self.values[dst[0]][dst[1]] = self.values[src[0]][src[1]].take();
                Answer::Moved
            }
            Call::Move(src, _) if self.is_empty(src) => Answer::NotFound,
            Call::Move(_, dst) if !self.is_empty(dst) => Answer::Exists,
            Call::Move(src, dst) => {
                self.values[dst] = std::mem::take(&mut self.values[src]);
                self.filled[dst] = std::mem::take(&mut self.filled[src]);
                Answer::Moved
            }
        }
    }
}

/// Whether some order of the events explains all answers.
fn is_linearizable(start: State, events: &[Event]) -> bool {
    let all = (1u32 << events.len()) - 1;
    let mut seen = HashSet::new();
    let mut todo = vec![(0u32, start)];
    while let Some((done, state)) = todo.pop() {
        if done == all {
            return true;
        }
        let left = |at: &usize| done & 1 << at == 0;
        // Whatever comes next must have been called before any of those left had returned.
        let bound = (0..events.len()).filter(left).map(|at| events[at].to).min().unwrap_or(0);
        for at in (0..events.len()).filter(left).filter(|at| events[*at].from < bound) {
            let mut next = state;
            if next.apply(events[at].call) == events[at].answer && seen.insert((done | 1 << at, next)) {
                todo.push((done | 1 << at, next));
            }
        }
    }
    false
}

fn key(history: u64, directory: usize, name: usize) -> String {
    format!("h{history:06}/d{directory}/name-{name}")
}

fn directory(history: u64, directory: usize) -> String {
    format!("h{history:06}/d{directory}/")
}

fn perform(tree: &Tree, history: u64, call: Call) -> Answer {
    match call {
        Call::Get(directory, name) => {
            let value = tree.get(key(history, directory, name)).unwrap();
            Answer::Value(value.map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())))
        }
        Call::Put(directory, name, value) => {
            tree.put(key(history, directory, name), value.to_le_bytes()).unwrap();
            Answer::Done
        }
        Call::Delete(directory, name) => Answer::There(tree.delete(key(history, directory, name)).unwrap()),
        Call::Rename(src, dst) => {
            let [src, dst] = [src, dst].map(|[directory, name]| key(history, directory, name));
            moved(tree.rename(src, dst, IfExists::Fail))
        }
        Call::Move(src, dst) => {
            moved(tree.rename_prefix(directory(history, src), directory(history, dst), IfExists::Fail))
        }
    }
}

fn moved(outcome: ramus::Result<ramus::Version>) -> Answer {
    match outcome {
        Ok(_) => Answer::Moved,
        Err(error) if error.kind() == ErrorKind::NotFound => Answer::NotFound,
        Err(error) if error.kind() == ErrorKind::Exists => Answer::Exists,
        Err(error) => panic!("{error}"),
    }
}

fn roll(dice: &mut Dice, value: u32) -> Call {
    let (at, name) = (dice.below(DIRECTORIES), dice.below(NAMES));
    match dice.below(12) {
        0..=3 => Call::Get(at, name),
        4..=5 => Call::Put(at, name, value),
        6 => Call::Delete(at, name),
        7..=8 => Call::Rename([at, name], [dice.below(DIRECTORIES), dice.below(NAMES)]),
        _ => Call::Move(at, (at + 1 + dice.below(DIRECTORIES - 1)) % DIRECTORIES),
    }
}

/// Some directories with a few records or many.
fn prepare(tree: &Tree, history: u64, dice: &mut Dice) -> State {
    let mut state = State::default();
    for at in 0..1 + dice.below(DIRECTORIES - 1) {
        state.filled[at] = true;
        for n in 0..FILLING[history as usize % FILLING.len()] {
            tree.put(format!("{}filling-{n:03}", directory(history, at)), vec![7; 900]).unwrap();
        }
        for name in 0..NAMES {
            let value = 1000 + name as u32;
            state.values[at][name] = Some(value);
            tree.put(key(history, at, name), value.to_le_bytes()).unwrap();
        }
    }
    state
}

#[test]
fn histories_with_renames_and_directory_moves_are_linearizable() {
    let seed = seed();
    let histories = cases(10_000);
    watched("linearizable histories", || {
        let db = Db::in_memory().unwrap();
        run(&db, seed, histories);
    });
}

fn run(db: &Db, seed: u64, histories: u64) {
    let tree = db.default_tree();
    let clock = AtomicU64::new(1);
    let (start, end) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    std::thread::scope(|scope| {
        let (sender, results) = std::sync::mpsc::channel::<Vec<Event>>();
        for thread in 0..THREADS {
            let (tree, clock, start, end, sender) = (tree.clone(), &clock, &start, &end, sender.clone());
            scope.spawn(move || {
                for history in 0..histories {
                    let mut dice = Dice(seed ^ history << 8 ^ thread as u64);
                    start.wait();
                    let mut events = Vec::with_capacity(OPS);
                    for n in 0..OPS {
                        let call = roll(&mut dice, (thread * OPS + n) as u32);
                        let from = clock.fetch_add(1, Ordering::SeqCst);
                        let answer = perform(&tree, history, call);
                        let to = clock.fetch_add(1, Ordering::SeqCst);
                        events.push(Event { call, answer, from, to });
                    }
                    sender.send(events).unwrap();
                    end.wait();
                }
            });
        }
        for history in 0..histories {
            let mut dice = Dice(seed ^ history << 8 ^ 0xFF);
            let state = prepare(&tree, history, &mut dice);
            start.wait();
            end.wait();
            let events: Vec<Event> = (0..THREADS).flat_map(|_| results.recv().unwrap()).collect();
            if !is_linearizable(state, &events) {
                let mut events = events;
                events.sort_by_key(|event| event.from);
                let lines: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
                eprintln!("history {history} from {state:?}:\n{}", lines.join("\n"));
                std::process::abort();
            }
            if history % 50 == 49 {
                // What is behind is in nobody's way.
                tree.delete_prefix("").unwrap();
            }
        }
    });
    assert!(db.check().unwrap().is_sound());
}

#[test]
fn the_checker_finds_a_value_under_a_name_that_never_had_it() {
    let mut state = State::default();
    state.values[0][0] = Some(1);
    state.filled[0] = true;
    let event = |call, answer, from, to| Event { call, answer, from, to };
    let moved = event(Call::Move(0, 1), Answer::Moved, 2, 3);
    let put = event(Call::Put(1, 0, 9), Answer::Done, 4, 5);
    let get = |value| event(Call::Get(0, 0), Answer::Value(value), 1, 6);
    assert!(is_linearizable(state, &[get(Some(1)), moved, put]));
    assert!(is_linearizable(state, &[get(None), moved, put]));
    assert!(!is_linearizable(state, &[get(Some(9)), moved, put]));
    let late = event(Call::Get(0, 0), Answer::Value(Some(1)), 4, 5);
    assert!(!is_linearizable(state, &[moved, late]), "read after the move had returned");
}
