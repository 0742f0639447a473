//! Small changes that are made where the blob lies, when the workspace is committed, unless a copy of it is needed before that: a
//! directory that is a mount moves by two of these, without a blob copied, from one leaf blob to another.

use std::cell::OnceCell;

use crate::art::{Below, Blob, Child, Scratch};
use crate::buffer::Exclusive;
use crate::tree::split::{blob_of, copy_of, install};

/// A change that cannot fail: whoever asks for it has made sure of that.
#[derive(Debug)]
pub(super) enum Change {
    /// A mount at this path, for which there is room, and which no key starts with.
    Mount(Vec<u8>, Child),
    /// The mount at this path goes.
    Unmount(Vec<u8>),
    /// The bound of a leaf blob.
    Below(Below),
    /// The bound of the child whose range holds this key.
    Raise(Vec<u8>, Below),
}

impl Change {
    fn make(&self, blob: Blob<'_>) {
        let is_made = match self {
            Self::Mount(path, limb) => blob.insert_mount(path, *limb).is_ok(),
            Self::Unmount(path) => blob.remove(path),
            Self::Below(below) => {
                blob.set_below(*below);
                true
            }
            Self::Raise(key, below) => blob.raise_child(key, *below),
        };
        // Half a move must not be seen: a panic here poisons the journal, and ends the trees (`Moving` in the engine).
        assert!(is_made, "a change of a blob that was sure to succeed did not: {self:?}");
    }
}

/// A blob that the workspace has latched.
pub(super) struct Work<'a> {
    guard: Exclusive<'a>,
    copy: OnceCell<Scratch>,
    /// Changes to be made; those that came before the copy are in it.
    later: Vec<Change>,
    /// Made here.
    pub(super) is_new: bool,
    /// To be freed.
    pub(super) is_gone: bool,
}

impl<'a> Work<'a> {
    pub(super) fn of(guard: Exclusive<'a>) -> Self {
        Self { guard, copy: OnceCell::new(), later: Vec::new(), is_new: false, is_gone: false }
    }

    /// A new blob, with this content.
    pub(super) fn new(guard: Exclusive<'a>, content: Scratch) -> Self {
        Self { copy: OnceCell::from(content), is_new: true, ..Self::of(guard) }
    }

    /// The blob as it will be.
    pub(super) fn view(&self) -> Blob<'_> {
        match self.copy.get() {
            None if self.later.is_empty() => blob_of(&self.guard),
            _ => self.copy(),
        }
    }

    /// The blob's copy, to be changed.
    pub(super) fn copy(&self) -> Blob<'_> {
        let copy = self.copy.get_or_init(|| {
            let copy = copy_of(blob_of(&self.guard));
            self.later.iter().for_each(|change| change.make(Blob::new(copy.words())));
            copy
        });
        Blob::new(copy.words())
    }

    /// The copy, in the place of which something else will be put.
    pub(super) fn take(&mut self) -> Scratch {
        self.copy();
        self.copy.take().expect("it was made just now")
    }

    /// Puts other content in the place of the copy.
    pub(super) fn replace(&mut self, content: Scratch) {
        Blob::new(content.words()).set_id(self.guard.id().0);
        self.copy = OnceCell::from(content);
    }

    pub(super) fn change(&mut self, change: Change) {
        match self.copy.get() {
            Some(copy) => change.make(Blob::new(copy.words())),
            None => self.later.push(change),
        }
    }

    /// Puts the blob in its place; its latch.
    pub(super) fn install(mut self) -> Exclusive<'a> {
        match self.copy.get() {
            Some(copy) => install(&mut self.guard, copy),
            None if self.later.is_empty() => {}
            None => {
                self.guard.modify();
                self.later.iter().for_each(|change| change.make(blob_of(&self.guard)));
            }
        }
        self.guard
    }

    pub(super) fn free(self) {
        self.guard.free();
    }
}
