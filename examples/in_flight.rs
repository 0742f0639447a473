//! One thread, many commits in flight: a server in small. Every task stands for a request that puts a record and answers when
//! it is on stable storage; all share the syncs that the database's own thread makes. Beside it the same requests one after
//! the other.
//!
//! `cargo run --release --example in_flight -- [TASKS] [PUTS]`
//!
//! The executor is a dozen lines of std: any other does as well.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use ramus::{Db, Result, Tree, Version};

type Task<'t> = Pin<Box<dyn Future<Output = Result<()>> + 't>>;

/// The tasks that can go on, by number.
#[derive(Default)]
struct Ready {
    numbers: Mutex<VecDeque<usize>>,
    some: Condvar,
}

impl Ready {
    fn push(&self, number: usize) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push_back(number);
        self.some.notify_one();
    }

    /// Sleeps while no task can go on.
    fn pop(&self) -> usize {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match numbers.pop_front() {
                Some(number) => return number,
                None => numbers = self.some.wait(numbers).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

struct Number {
    number: usize,
    ready: Arc<Ready>,
}

impl Wake for Number {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.number);
    }
}

/// Runs all tasks on this thread until the last one is through.
fn join_all(tasks: Vec<Task<'_>>) -> Result<()> {
    let ready = Arc::new(Ready::default());
    let waker = |number| Waker::from(Arc::new(Number { number, ready: Arc::clone(&ready) }));
    let wakers: Vec<Waker> = (0..tasks.len()).map(waker).collect();
    let mut left = tasks.len();
    let mut tasks: Vec<Option<Task<'_>>> = tasks.into_iter().map(Some).collect();
    (0..tasks.len()).for_each(|number| ready.push(number));
    while left > 0 {
        let number = ready.pop();
        let Some(task) = &mut tasks[number] else { continue };
        if let Poll::Ready(outcome) = task.as_mut().poll(&mut Context::from_waker(&wakers[number])) {
            outcome?;
            tasks[number] = None;
            left -= 1;
        }
    }
    Ok(())
}

/// One request: puts a record, waits until it is safe, answers.
async fn request(tree: &Tree, key: &str) -> Result<Version> {
    tree.put_async(key, "inode 7")?.await
}

async fn client(tree: &Tree, name: usize, puts: usize) -> Result<()> {
    for n in 0..puts {
        request(tree, &format!("client/{name:05}/{n:05}")).await?;
    }
    Ok(())
}

fn report(what: &str, commits: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    println!(
        "{what:<28} {commits:>8} commits in {seconds:>7.3} s: {:>9.0} a second",
        commits as f64 / seconds
    );
}

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map_while(|text| text.parse().ok());
    let (tasks, puts) = (numbers.next().unwrap_or(500), numbers.next().unwrap_or(40));
    let dir = std::env::temp_dir().join(format!("ramus-in-flight-{}", std::process::id()));
    let db = Db::open(&dir)?;
    let tree = db.default_tree();

    let alone = (tasks * puts).min(500);
    let started = Instant::now();
    for n in 0..alone {
        tree.put(format!("alone/{n:05}"), "inode 7")?;
    }
    report("one after the other", alone, started.elapsed());

    let started = Instant::now();
    join_all((0..tasks).map(|name| Box::pin(client(&tree, name, puts)) as Task<'_>).collect())?;
    report(&format!("{tasks} in flight, one thread"), tasks * puts, started.elapsed());

    assert_eq!(tree.count_prefix("client/")?.keys, (tasks * puts) as u64);
    db.close()?;
    // What a demonstration leaves behind is of no use to anybody.
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}
