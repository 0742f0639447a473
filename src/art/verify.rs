//! Proves that bytes are a sound blob: run on every image that is read, before anything else looks at it.
//!
//! What it holds: the header is of this format and names the expected blob and database; every pointer leads to a
//! node or leaf wholly inside the heap; keys are in strict order and within the limits; each byte of the heap
//! belongs to one node, one leaf or the garbage (H1), so there are no cycles; the counts are right.

use super::cursor::Cursor;
use super::header::{AT_ROOT, Blob, FORMAT, HEADER_BYTES, Kind, MAGIC};
use super::inner::{Below, CHILD_BYTES};
use super::leaf::Leaf;
use super::node::Node;
use super::ptr::{self, Target, decode};
use crate::limits::{BLOB_BYTES, KEY_BYTES_MAX, VALUE_BYTES_MAX};

struct Walk<'a> {
    blob: Blob<'a>,
    kind: Kind,
    end: usize,
    live: usize,
    entries: u32,
    key_bytes: usize,
    value_bytes: usize,
    /// Pointers to be visited, with the length of the key above.
    todo: Vec<(u16, usize)>,
}

impl Blob<'_> {
    /// Checks everything; `bytes` is how long the image is, `expected` the id and database it should name.
    pub(crate) fn verify(self, bytes: usize, expected: Option<(u32, u64)>) -> Result<(), String> {
        if bytes < HEADER_BYTES || self.magic() != MAGIC {
            return Err("not a blob".into());
        }
        if self.format() != FORMAT {
            return Err(format!("blob format {} is not {FORMAT}", self.format()));
        }
        if let Some((id, database)) = expected
            && (self.id(), self.database()) != (id, database)
        {
            return Err(format!("the image is blob {} of database {:016x}", self.id(), self.database()));
        }
        let kind = self.kind().ok_or("unknown kind of blob")?;
        if (kind == Kind::Leaf) != (self.level() == 0) || self.reserved_flags() != 0 || self.hints() != 0 {
            return Err("level or reserved fields do not fit the kind".into());
        }
        let end = self.heap_end() as usize;
        if end < HEADER_BYTES || end > bytes || end > BLOB_BYTES || !end.is_multiple_of(4) {
            return Err(format!("heap end {end} is not within the image of {bytes} bytes"));
        }
        let mut walk = Walk {
            blob: self,
            kind,
            end,
            live: HEADER_BYTES,
            entries: 0,
            key_bytes: 0,
            value_bytes: 0,
            todo: Vec::new(),
        };
        if self.w.u16_at(AT_ROOT) != 0 {
            walk.todo.push((self.w.u16_at(AT_ROOT), 0));
            while let Some((ptr, above)) = walk.todo.pop() {
                walk.visit(ptr, above)?;
            }
        }
        let counted = (walk.entries, walk.key_bytes, walk.value_bytes);
        if counted != (self.entries(), self.key_bytes() as usize, self.value_bytes() as usize) {
            return Err(format!("counts {counted:?} are not those of the header"));
        }
        if walk.live + self.garbage() as usize != end {
            return Err(format!(
                "{} live bytes and {} of garbage do not make {end}",
                walk.live,
                self.garbage()
            ));
        }
        if kind == Kind::Inner { self.verify_children() } else { Ok(()) }
    }

    /// Checks that each child's base can start all keys of its range: it starts both separators around it.
    fn verify_children(self) -> Result<(), String> {
        if self.leftmost() == 0 {
            return Err("an inner blob without a leftmost child".into());
        }
        let mut delta = usize::from(self.leftmost_delta());
        let mut before: Option<Vec<u8>> = None;
        let mut cursor = Cursor::new(self);
        cursor.first();
        while let Some(leaf) = cursor.leaf() {
            let (key, child) = (cursor.key(), self.child_of(leaf));
            let starts = match &before {
                Some(before) => before.get(..delta).is_some_and(|base| key.starts_with(base)),
                None => delta <= key.len(),
            };
            if !starts || child.id == 0 {
                return Err(format!(
                    "the child before {} has a base that is not its own",
                    key.escape_ascii()
                ));
            }
            delta = usize::from(child.delta);
            before = Some(key.to_vec());
            cursor.advance();
        }
        if delta > before.map_or(KEY_BYTES_MAX, |last| last.len()) {
            return Err("the last child has a base longer than its separator".into());
        }
        Ok(())
    }
}

impl Walk<'_> {
    fn take(&mut self, offset: usize, bytes: usize) -> Result<(), String> {
        if offset < HEADER_BYTES || offset + bytes > self.end {
            return Err(format!("{bytes} bytes at {offset} are not within the heap"));
        }
        self.live += bytes;
        if self.live > self.end {
            return Err("nodes and leaves overlap".into());
        }
        Ok(())
    }

    /// Checks what `ptr` leads to and notes what is below; `above` is the length of the key so far.
    fn visit(&mut self, ptr: u16, above: usize) -> Result<(), String> {
        let w = self.blob.w;
        match decode(ptr) {
            Target::Null | Target::Unknown => Err(format!("pointer {ptr:#06x} leads nowhere")),
            Target::Leaf(offset) | Target::Mount(offset) => {
                let leaf = Leaf::at(w, offset);
                self.take(offset, leaf.bytes())?;
                let key = above + leaf.suffix_len();
                let is_mount = ptr::is_mount(ptr);
                let payload = match self.kind {
                    Kind::Leaf if is_mount => !leaf.has_version() && leaf.value_len() == CHILD_BYTES,
                    Kind::Leaf => leaf.has_version() && leaf.value_len() <= VALUE_BYTES_MAX,
                    Kind::Inner => !is_mount && !leaf.has_version() && leaf.value_len() == CHILD_BYTES,
                };
                if leaf.is_unknown() || key > KEY_BYTES_MAX || !payload {
                    return Err(format!("leaf at {offset} breaks a limit"));
                }
                let mut below = Below::new(key, false);
                if is_mount {
                    let limb = self.blob.child_of(leaf);
                    if limb.id == 0 || limb.delta != 0 || key == 0 {
                        return Err(format!("mount at {offset} leads nowhere"));
                    }
                    below = Below::new(key + limb.below.longest(), true);
                }
                if self.kind == Kind::Leaf && !self.blob.below().holds(below) {
                    return Err(format!("leaf at {offset} is more than the header admits"));
                }
                self.entries += 1;
                self.key_bytes += key;
                self.value_bytes += leaf.value_len();
                Ok(())
            }
            Target::Node(offset) => {
                let node = Node::at(w, offset);
                if node.is_unknown() {
                    return Err(format!("node at {offset} is of no known form"));
                }
                self.take(offset, node.bytes())?;
                let key = above + node.prefix_len();
                if key > KEY_BYTES_MAX || (node.children() == 0 && !node.has_terminal()) {
                    return Err(format!("node at {offset} breaks a limit"));
                }
                if node.has_terminal() {
                    let terminal = w.u16_at(node.terminal_slot());
                    match decode(terminal) {
                        Target::Leaf(at) if Leaf::at(w, at).suffix_len() == 0 => {
                            self.todo.push((terminal, key))
                        }
                        _ => return Err(format!("terminal of the node at {offset} is not a bare leaf")),
                    }
                }
                let mut next = 0;
                let mut seen = 0;
                for (byte, child) in node.all_children(w) {
                    if usize::from(byte) < next {
                        return Err(format!("keys of the node at {offset} are out of order"));
                    }
                    self.todo.push((child, key + 1));
                    next = usize::from(byte) + 1;
                    seen += 1;
                }
                if seen != node.children() {
                    return Err(format!("node at {offset} has {seen} children, not {}", node.children()));
                }
                Ok(())
            }
        }
    }
}
