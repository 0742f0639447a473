//! The move counter in all executions: alone over bare words, and over two blobs with latches as a move of a directory uses it.
//!
//! Over latched blobs the counter's own orderings say nothing new, and taking one out is not noticed there: every store to a blob
//! comes after a release fence of its latch, and every accepted read before an acquire fence. They are what makes the counter
//! right by itself, so they are taken out over bare words; over blobs the counter is.

use super::{Life, Stop};
use crate::buffer::Slot;
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU64, check, fails_without, is_left_out};
use std::sync::Arc;

/// A move over two words that nothing else guards, and a read of both.
fn bare_words() {
    let life = Arc::new(Life::default());
    let words = Arc::new([AtomicU64::new(1), AtomicU64::new(1)]);
    let mover = {
        let (life, words) = (Arc::clone(&life), Arc::clone(&words));
        loom::thread::spawn(move || {
            for number in 2..4 {
                life.begin_move();
                words.iter().for_each(|word| word.store(number, Relaxed));
                life.end_move();
            }
        })
    };
    let (found, counts) = life.read(|| Ok([words[0].load(Relaxed), words[1].load(Relaxed)]));
    if let Ok([first, second]) = found
        && counts
    {
        assert_eq!(first, second, "a read across a move");
    }
    mover.join().unwrap();
}

/// What the host says where the directory is.
const UNDER_OLD_NAME: u64 = 1;
const UNDER_NEW_NAME: u64 = 2;
/// What was put under the new name.
const PUT: u64 = 9;

/// A directory's blob stays where it is; its host names it anew. Then something is put into it under the new name, by who moved
/// it or by another thread. A reader below the old name must not find that.
fn a_directory_moves(putter_is_another: bool) {
    let life = Arc::new(Life::default());
    let (host, blob) = (Slot::resident(), Slot::resident());
    let put = {
        let (host, blob) = (Arc::clone(&host), Arc::clone(&blob));
        move || {
            if host.read() == Some([UNDER_NEW_NAME; 2]) {
                blob.change(PUT);
            }
        }
    };
    let mover = {
        let (life, host, put) = (Arc::clone(&life), Arc::clone(&host), put.clone());
        loom::thread::spawn(move || {
            life.begin_move();
            host.change(UNDER_NEW_NAME);
            life.end_move();
            if !putter_is_another {
                put();
            }
        })
    };
    let putter = putter_is_another.then(|| loom::thread::spawn(put));
    let (found, counts) = life.read(|| match host.read() {
        Some([UNDER_OLD_NAME, UNDER_OLD_NAME]) => blob.read().ok_or(Stop::Restart),
        Some(_) => Ok([0; 2]),
        None => Err(Stop::Restart),
    });
    if counts || is_left_out("life") {
        assert_ne!(found, Ok([PUT; 2]), "what was put under the new name, read under the old one");
    }
    mover.join().unwrap();
    putter.into_iter().for_each(|putter| putter.join().unwrap());
}

fn moved_and_put() {
    a_directory_moves(false);
}

fn moved_and_put_by_another() {
    a_directory_moves(true);
}

#[test]
fn a_read_that_counts_saw_no_move() {
    check("move counter, bare words", 4, bare_words);
}

#[test]
fn a_reader_below_the_old_name_finds_nothing_of_the_new_one() {
    check("move counter, a directory moves", 3, moved_and_put);
    check("move counter, a directory moves beside a put", 2, moved_and_put_by_another);
}

#[test]
fn the_move_counter_fails_without_its_orderings() {
    for site in ["life M2", "life M4", "life R1", "life R3"] {
        fails_without(site, "move counter, bare words", 4, bare_words);
    }
    fails_without("life", "move counter, a directory moves", 3, moved_and_put);
}
