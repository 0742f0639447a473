//! Commits that are waited for later: when they are durable, who syncs, what a failure tells whom, and that no task is
//! forgotten; and what `sync` waits for.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use common::held::{HeldStorage, Hold};
use common::{Dice, cases, seed, small, watched};
use ramus::io::{FaultStorage, Storage};
use ramus::{Db, Durability, ErrorKind, Options, Result, Ticket, Tree, WriteOptions};

const LAZY: Durability = Durability::Batched { bytes: 1 << 20, interval: None };

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, which sleeps while it is pending.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A waker that does what it is given, once.
struct Act(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Act {
    fn wake(self: Arc<Self>) {
        if let Some(act) = self.0.lock().unwrap().take() {
            act();
        }
    }
}

fn act(act: impl FnOnce() + Send + 'static) -> Waker {
    Waker::from(Arc::new(Act(Mutex::new(Some(Box::new(act))))))
}

fn poll(ticket: &mut Ticket, waker: &Waker) -> Poll<Result<u64>> {
    pin!(ticket).poll(&mut Context::from_waker(waker))
}

/// Waits without asking for anything.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    watched(what, || {
        while !done() {
            std::thread::yield_now();
        }
    });
}

fn on(storage: impl Storage + 'static, background: bool) -> Options {
    Options::new().storage(Arc::new(storage)).background(background).flush_on_drop(false)
}

/// Keys that a power cut now leaves, all that is not synced lost.
fn left(storage: &FaultStorage) -> Vec<String> {
    let db = small(&storage.crash_lose_all()).open("").unwrap();
    let names = |key: Vec<u8>| String::from_utf8(key).unwrap();
    common::records(&db.default_tree()).unwrap().into_keys().map(names).collect()
}

#[test]
fn a_commit_that_nobody_waits_for_is_seen_at_once_and_synced() {
    let storage = FaultStorage::new();
    let db = on(storage.clone(), true).open("").unwrap();
    let tree = db.default_tree();
    let before = db.stats().last_version;
    let ticket = tree.put_async("a", "1").unwrap();
    assert_eq!(ticket.version(), before + 1);
    assert_eq!(tree.get_record("a").unwrap().unwrap().version, ticket.version());
    until("the sync of a ticket", || ticket.is_durable().unwrap());
    assert_eq!(left(&storage), ["a"]);
    // Dropped at once, each of them.
    drop(tree.put_async("b", "2").unwrap());
    drop(db.batch_async(|batch| batch.put(&tree, "c", "3")).unwrap());
    drop(tree.delete_async("a").unwrap().expect("there is one"));
    assert!(tree.delete_async("a").unwrap().is_none(), "there is none any more");
    until("the syncs of dropped tickets", || left(&storage) == ["b", "c"]);
}

#[test]
fn without_a_thread_whoever_waits_first_syncs_for_all() {
    let storage = HeldStorage::new(FaultStorage::new());
    let db = on(storage.clone(), false).open("").unwrap();
    let tree = db.default_tree();
    let put = |n: usize| tree.put_async(format!("{n}"), "v").unwrap();
    // The first finds the journal without space.
    put(0).wait().unwrap();
    let tickets: Vec<Ticket> = (1..=20).map(put).collect();
    let syncs = storage.syncs();
    assert!(tickets.iter().all(|ticket| !ticket.is_durable().unwrap()));
    assert_eq!(storage.syncs(), syncs, "to look is to ask for nothing");
    assert_eq!(tickets[7].wait().unwrap(), tickets[7].version());
    assert_eq!(storage.syncs(), syncs + 1);
    for ticket in &tickets {
        assert!(ticket.is_durable().unwrap());
        ticket.wait().unwrap();
    }
    let mut ticket = put(21);
    let version = ticket.version();
    assert!(matches!(poll(&mut ticket, Waker::noop()), Poll::Ready(Ok(done)) if done == version));
    assert_eq!(storage.syncs(), syncs + 2, "the first poll does it");
}

#[test]
fn a_ticket_of_a_batched_commit_asks_when_it_is_waited_for() {
    for background in [false, true] {
        let storage = FaultStorage::new();
        let db = on(storage.clone(), background).durability(LAZY).open("").unwrap();
        let tree = db.default_tree();
        let first = tree.put_async("a", "1").unwrap();
        let second = tree.put_async("b", "1").unwrap();
        assert!(!first.is_durable().unwrap() && left(&storage).is_empty());
        first.wait().unwrap();
        assert!(second.is_durable().unwrap(), "it was in the buffer too");
        assert_eq!(left(&storage), ["a", "b"]);
        let third = tree.put_async("c", "1").unwrap();
        assert_eq!(left(&storage), ["a", "b"]);
        block_on(third).unwrap();
        assert_eq!(left(&storage), ["a", "b", "c"]);
        let sync = WriteOptions::new().durability(Durability::Sync);
        let ticket = tree.delete_async_with("a", sync).unwrap().unwrap();
        if background {
            until("the sync of a ticket", || ticket.is_durable().unwrap());
        } else {
            ticket.wait().unwrap();
        }
        assert_eq!(left(&storage), ["b", "c"]);
    }
}

/// Many tasks of one thread, each with commits one after the other; polled in the order they are woken.
#[test]
fn tasks_of_one_thread_share_syncs_and_none_is_forgotten() {
    let (tasks, rounds) = (200_usize, cases(20));
    for background in [true, false] {
        let storage = FaultStorage::new();
        let device = HeldStorage::new(storage.clone());
        let db = on(device.clone(), background).open("").unwrap();
        let syncs = device.syncs();
        let tree = db.default_tree();
        let task = |n: usize| {
            let tree = tree.clone();
            async move {
                for round in 0..rounds {
                    let version = tree.put_async(format!("{n}/{round}"), "v")?.await?;
                    assert_eq!(
                        tree.get_record(format!("{n}/{round}"))?.map(|record| record.version),
                        Some(version)
                    );
                }
                Ok::<(), ramus::Error>(())
            }
        };
        watched("all tasks", || {
            let woken: Arc<Mutex<Vec<usize>>> = Arc::new(Mutex::new((0..tasks).collect()));
            let mut all: Vec<_> = (0..tasks).map(|n| Some(Box::pin(task(n)))).collect();
            let mut left = tasks;
            while left > 0 {
                let ready = std::mem::take(&mut *woken.lock().unwrap());
                for n in ready {
                    let woken = Arc::clone(&woken);
                    let waker = act(move || woken.lock().unwrap().push(n));
                    let Some(future) = &mut all[n] else { continue };
                    if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        outcome.unwrap();
                        all[n] = None;
                        left -= 1;
                    }
                }
            }
        });
        let (syncs, commits) = (device.syncs() - syncs, tasks as u64 * rounds);
        assert_eq!(left(&storage).len() as u64, commits);
        if background {
            assert!(syncs < commits, "{syncs} syncs for {commits} commits");
        }
    }
}

#[test]
fn threads_and_tasks_wait_side_by_side() {
    for background in [true, false] {
        let storage = FaultStorage::new();
        let db = on(storage.clone(), background).open("").unwrap();
        let tree = db.default_tree();
        watched("threads and tasks", || {
            std::thread::scope(|scope| {
                for thread in 0..8 {
                    let tree = &tree;
                    scope.spawn(move || {
                        for n in 0..cases(100) {
                            let key = format!("{thread}/{n}");
                            match thread % 4 {
                                0 => drop(tree.put(key, "v").unwrap()),
                                1 => drop(tree.put_async(key, "v").unwrap().wait().unwrap()),
                                2 => drop(block_on(tree.put_async(key, "v").unwrap()).unwrap()),
                                // Polled once and dropped: those behind it must not wait for it.
                                _ => drop(poll(&mut tree.put_async(key, "v").unwrap(), Waker::noop())),
                            }
                        }
                    });
                }
            });
        });
        db.sync().unwrap();
        assert_eq!(left(&storage).len() as u64, 8 * cases(100));
    }
}

#[test]
fn a_failed_sync_is_told_to_every_ticket_that_is_not_durable() {
    for background in [true, false] {
        let storage = FaultStorage::new();
        let device = HeldStorage::new(storage.clone());
        let db = on(device.clone(), background).open("").unwrap();
        let tree = db.default_tree();
        let early = tree.put_async("early", "v").unwrap();
        early.wait().unwrap();
        device.hold(Hold::All);
        let woken = Arc::new(AtomicUsize::new(0));
        let counting = || {
            let woken = Arc::clone(&woken);
            act(move || {
                woken.fetch_add(1, Ordering::SeqCst);
            })
        };
        watched("a failed sync", || {
            std::thread::scope(|scope| {
                // Somebody has to lead the sync that fails.
                let leader = scope.spawn(|| tree.put("leader", "v"));
                device.wait_for_held(1);
                let waiter = scope.spawn(|| tree.put("waiter", "v"));
                let mut tickets: Vec<Ticket> =
                    (0..10).map(|n| tree.put_async(format!("{n}"), "v").unwrap()).collect();
                for ticket in &mut tickets {
                    assert!(poll(ticket, &counting()).is_pending());
                }
                storage.fail_after(0);
                device.hold(Hold::Nothing);
                assert!(leader.join().unwrap().is_err() && waiter.join().unwrap().is_err());
                until("the wakes", || woken.load(Ordering::SeqCst) == tickets.len());
                for ticket in &mut tickets {
                    assert_eq!(ticket.is_durable().unwrap_err().kind(), ErrorKind::Poisoned);
                    assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Poisoned);
                    assert!(matches!(poll(ticket, Waker::noop()), Poll::Ready(Err(_))));
                }
            });
        });
        assert!(early.is_durable().unwrap(), "it was durable before");
        assert_eq!(early.wait().unwrap(), early.version());
        assert_eq!(tree.put_async("late", "v").unwrap_err().kind(), ErrorKind::Poisoned);
        drop((tree, db));
        assert!(left(&storage).contains(&"early".to_owned()));
    }
}

#[test]
fn a_waker_that_panics_costs_nobody_else_anything() {
    let storage = FaultStorage::new();
    let device = HeldStorage::new(storage.clone());
    let db = on(device.clone(), true).open("").unwrap();
    let tree = db.default_tree();
    tree.put("early", "v").unwrap();
    device.hold(Hold::All);
    let mut tickets: Vec<Ticket> = (0..3).map(|n| tree.put_async(format!("{n}"), "v").unwrap()).collect();
    let woken = Arc::new(AtomicUsize::new(0));
    for (n, ticket) in tickets.iter_mut().enumerate() {
        let woken = Arc::clone(&woken);
        let waker = act(move || {
            if n == 0 {
                std::panic::resume_unwind(Box::new("no message"));
            }
            woken.fetch_add(1, Ordering::SeqCst);
        });
        assert!(poll(ticket, &waker).is_pending());
    }
    device.hold(Hold::Nothing);
    until("the other wakes", || woken.load(Ordering::SeqCst) == 2);
    let last = tree.put_async("last", "v").unwrap();
    until("a sync after it", || last.is_durable().unwrap());
}

/// The thread that wakes a task then has to end the database, and itself.
#[test]
fn a_waker_may_drop_the_last_handle() {
    let storage = FaultStorage::new();
    let device = HeldStorage::new(storage.clone());
    let db = on(device.clone(), true).flush_on_drop(true).open("").unwrap();
    let tree = db.default_tree();
    tree.put("early", "v").unwrap();
    device.hold(Hold::All);
    let mut ticket = tree.put_async("late", "v").unwrap();
    let slot: Arc<Mutex<Option<(Db, Tree, Ticket)>>> = Arc::default();
    let held = Arc::clone(&slot);
    let waker = act(move || drop(held.lock().unwrap().take()));
    assert!(poll(&mut ticket, &waker).is_pending());
    *slot.lock().unwrap() = Some((db, tree, ticket));
    device.hold(Hold::Nothing);
    until("the end of the database", || small(&storage).open("").is_ok());
    let db = small(&storage).open("").unwrap();
    assert_eq!(db.stats().recovered_records, 0, "it was closed in order");
    assert_eq!(db.default_tree().iter().count(), 2);
}

#[test]
fn a_closed_database_answers_its_tickets() {
    for background in [true, false] {
        let db = on(FaultStorage::new(), background).durability(LAZY).open("").unwrap();
        let tree = db.default_tree();
        let mut tickets: Vec<Ticket> = (0..3).map(|n| tree.put_async(format!("{n}"), "v").unwrap()).collect();
        db.close().unwrap();
        assert!(tickets[0].is_durable().unwrap());
        tickets[1].wait().unwrap();
        assert!(matches!(poll(&mut tickets[2], Waker::noop()), Poll::Ready(Ok(_))));
        assert!(tree.put_async("late", "v").is_err());
    }
}

/// One commit that is to be durable in a database where none is: it stays, and so does all before it.
#[test]
fn one_sync_commit_takes_all_before_it_along() {
    let storage = FaultStorage::new();
    let db = on(storage.clone(), false).durability(LAZY).open("").unwrap();
    let tree = db.default_tree();
    let sync = WriteOptions::new().durability(Durability::Sync);
    let mut expected: Vec<String> = Vec::new();
    let mut dice = Dice(seed());
    for n in 0..cases(60) {
        for m in 0..dice.below(4) {
            tree.put(format!("{n:03}/{m}"), "lazy").unwrap();
            expected.push(format!("{n:03}/{m}"));
        }
        let key = format!("{n:03}/sync");
        match dice.below(3) {
            0 => drop(tree.put_with(&key, "v", sync).unwrap()),
            1 => drop(db.batch_with(sync, |batch| batch.put(&tree, &key, "v")).unwrap()),
            _ => {
                tree.put(&key, "v").unwrap();
                tree.put(format!("{n:03}/gone"), "v").unwrap();
                assert!(tree.delete_with(format!("{n:03}/gone"), sync).unwrap());
            }
        }
        expected.push(key);
        assert_eq!(left(&storage), expected);
        tree.put(format!("{n:03}/zzz"), "lazy").unwrap();
        assert_eq!(left(&storage), expected, "this one may be lost");
        expected.push(format!("{n:03}/zzz"));
    }
}

/// Beside threads that commit without waiting: whatever could be seen before a `sync` is durable after it.
#[test]
fn a_sync_waits_for_all_that_could_be_seen() {
    let storage = FaultStorage::new();
    let db = on(storage.clone(), true).durability(LAZY).open("").unwrap();
    let tree = db.default_tree();
    // Rounds; none for the end.
    let round = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (tree, round) = (&tree, &round);
            scope.spawn(move || {
                let mut n = 0_u64;
                loop {
                    n += 1;
                    while round.load(Ordering::Relaxed) < n / 300 {
                        std::thread::yield_now();
                    }
                    if round.load(Ordering::Relaxed) == u64::MAX {
                        break;
                    }
                    // Synced by somebody else half of the time.
                    let options = match n % 50 {
                        0 => WriteOptions::new().durability(Durability::Sync),
                        _ => WriteOptions::new(),
                    };
                    tree.put_with(format!("{thread}"), n.to_be_bytes(), options).unwrap();
                }
            });
        }
        let values = |db: &Db| {
            let records = common::records(&db.default_tree()).unwrap();
            records.into_iter().map(|(key, (value, _))| (key, u64::from_be_bytes(value.try_into().unwrap())))
        };
        for _ in 0..cases(30) {
            let seen: Vec<_> = values(&db).collect();
            db.sync().unwrap();
            let kept: std::collections::BTreeMap<_, _> =
                values(&small(&storage.crash_lose_all()).open("").unwrap()).collect();
            for (key, value) in seen {
                assert!(kept.get(&key).is_some_and(|kept| *kept >= value), "{key:?} went back from {value}");
            }
            round.fetch_add(1, Ordering::Relaxed);
        }
        round.store(u64::MAX, Ordering::Relaxed);
    });
}
