//! The same rules over a plain map in memory, written on its own: what the namespace is compared with. Nothing is shared with it
//! but the words of its answers.

use std::collections::BTreeMap;

use crate::namespace::{DirEntry, Errno, Kind, Namespace, Stat};

/// The names from the root down. In their order all below a directory follow it directly.
type Names = Vec<Vec<u8>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory(u64),
    File(u64),
}

#[derive(Debug, Clone, Copy, Default)]
struct File {
    links: u64,
    size: u64,
}

#[derive(Debug, Default)]
pub struct Model {
    nodes: BTreeMap<Names, Node>,
    files: BTreeMap<u64, File>,
    last_inode: u64,
}

/// The names of a path, and whether it ends with a slash.
fn split(path: &str) -> Result<(Names, bool), Errno> {
    if path.is_empty() {
        return Err(Errno::NoEntry);
    }
    let names: Names = path.split('/').filter(|n| !n.is_empty()).map(|n| n.as_bytes().to_vec()).collect();
    match names.iter().any(|name| name == b"." || name == b"..") {
        true => Err(Errno::Invalid),
        false => Ok((names, path.ends_with('/'))),
    }
}

impl Model {
    /// A root directory.
    pub fn new() -> Self {
        let mut model = Self::default();
        let root = model.inode();
        model.nodes.insert(Vec::new(), Node::Directory(root));
        model
    }

    fn inode(&mut self) -> u64 {
        self.last_inode += 1;
        self.last_inode
    }

    /// Walks to the parent, step by step as a kernel does.
    fn walk(&self, names: &[Vec<u8>]) -> Result<(), Errno> {
        for depth in 0..names.len() {
            match self.nodes.get(&names[..depth]) {
                None => return Err(Errno::NoEntry),
                Some(Node::File(_)) => return Err(Errno::NotDirectory),
                Some(Node::Directory(_)) => {}
            }
        }
        Ok(())
    }

    fn find(&self, path: &str) -> Result<(Names, Node), Errno> {
        let (names, slash) = split(path)?;
        self.walk(&names)?;
        match self.nodes.get(&names) {
            None => Err(Errno::NoEntry),
            Some(Node::File(_)) if slash => Err(Errno::NotDirectory),
            Some(node) => Ok((names, *node)),
        }
    }

    fn below<'m>(&'m self, names: &'m [Vec<u8>]) -> impl Iterator<Item = (&'m Names, &'m Node)> {
        let inside = move |(other, _): &(&Names, &Node)| other.starts_with(names);
        self.nodes.range(names.to_vec()..).skip(1).take_while(inside)
    }

    pub fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        let (names, _) = split(path)?;
        self.walk(&names)?;
        if self.nodes.contains_key(&names) {
            return Err(Errno::Exists);
        }
        let inode = self.inode();
        self.nodes.insert(names, Node::Directory(inode));
        Ok(())
    }

    pub fn create(&mut self, path: &str) -> Result<(), Errno> {
        let (names, slash) = split(path)?;
        self.walk(&names)?;
        if slash && !names.is_empty() {
            return Err(Errno::IsDirectory);
        }
        if self.nodes.contains_key(&names) {
            return Err(Errno::Exists);
        }
        let inode = self.inode();
        self.files.insert(inode, File { links: 1, size: 0 });
        self.nodes.insert(names, Node::File(inode));
        Ok(())
    }

    pub fn truncate(&mut self, path: &str, size: u64) -> Result<(), Errno> {
        match self.find(path)?.1 {
            Node::Directory(_) => Err(Errno::IsDirectory),
            Node::File(inode) => {
                self.files.entry(inode).or_default().size = size;
                Ok(())
            }
        }
    }

    pub fn link(&mut self, old: &str, new: &str) -> Result<(), Errno> {
        let (to, slash) = split(new)?;
        split(old)?;
        let (_, node) = self.find(old)?;
        self.walk(&to)?;
        match node {
            _ if self.nodes.contains_key(&to) => Err(Errno::Exists),
            _ if slash => Err(Errno::NoEntry),
            Node::Directory(_) => Err(Errno::NotPermitted),
            Node::File(inode) => {
                self.files.entry(inode).or_default().links += 1;
                self.nodes.insert(to, node);
                Ok(())
            }
        }
    }

    /// Takes a name off the count of a file.
    fn forget(&mut self, node: Option<Node>) {
        let Some(Node::File(inode)) = node else { return };
        let file = self.files.entry(inode).or_default();
        file.links -= 1;
        if file.links == 0 {
            self.files.remove(&inode);
        }
    }

    pub fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let (names, node) = self.find(path)?;
        if let Node::Directory(_) = node {
            return Err(Errno::IsDirectory);
        }
        self.nodes.remove(&names);
        self.forget(Some(node));
        Ok(())
    }

    pub fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        let (names, node) = self.find(path)?;
        match node {
            _ if names.is_empty() => Err(Errno::Busy),
            Node::File(_) => Err(Errno::NotDirectory),
            Node::Directory(_) if self.below(&names).next().is_some() => Err(Errno::NotEmpty),
            Node::Directory(_) => {
                self.nodes.remove(&names);
                Ok(())
            }
        }
    }

    pub fn rename(&mut self, old: &str, new: &str) -> Result<(), Errno> {
        let ((from, from_slash), (to, to_slash)) = (split(old)?, split(new)?);
        self.walk(&from)?;
        self.walk(&to)?;
        if from.is_empty() || to.is_empty() {
            return Err(Errno::Busy);
        }
        let moved = *self.nodes.get(&from).ok_or(Errno::NoEntry)?;
        let over = self.nodes.get(&to).copied();
        match (moved, over) {
            (Node::File(_), _) if from_slash || to_slash => return Err(Errno::NotDirectory),
            (Node::Directory(_), _) if to.len() > from.len() && to.starts_with(&from) => {
                return Err(Errno::Invalid);
            }
            (moved, Some(over)) if moved == over => return Ok(()),
            (Node::Directory(_), Some(Node::File(_))) => return Err(Errno::NotDirectory),
            (Node::File(_), Some(Node::Directory(_))) => return Err(Errno::IsDirectory),
            (Node::Directory(_), Some(_)) if self.below(&to).next().is_some() => {
                return Err(Errno::NotEmpty);
            }
            _ => {}
        }
        let all: Vec<Names> = std::iter::once(&from)
            .chain(self.below(&from).map(|(names, _)| names).filter(|_| matches!(moved, Node::Directory(_))))
            .cloned()
            .collect();
        for names in all {
            if let Some(node) = self.nodes.remove(&names) {
                self.nodes.insert([&to[..], &names[from.len()..]].concat(), node);
            }
        }
        self.forget(over);
        Ok(())
    }

    pub fn stat(&self, path: &str) -> Result<Stat, Errno> {
        let (_, node) = self.find(path)?;
        Ok(match node {
            Node::Directory(inode) => Stat { kind: Kind::Directory, inode, links: 1, size: 0 },
            Node::File(inode) => {
                let File { links, size } = self.files[&inode];
                Stat { kind: Kind::File, inode, links, size }
            }
        })
    }

    pub fn entries_below(&self, path: &str) -> Result<u64, Errno> {
        Ok(self.below(&self.find(path)?.0).count() as u64)
    }

    pub fn file_bytes(&self, path: &str) -> Result<u64, Errno> {
        let (names, _) = self.find(path)?;
        let mut inodes: Vec<u64> = self
            .below(&names)
            .filter_map(|(_, node)| if let Node::File(inode) = node { Some(*inode) } else { None })
            .collect();
        inodes.sort_unstable();
        inodes.dedup();
        Ok(inodes.iter().map(|inode| self.files[inode].size).sum())
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Every path with its kind, in order.
    pub fn paths(&self) -> impl Iterator<Item = (Vec<u8>, Kind)> {
        self.nodes.iter().map(|(names, node)| {
            let kind = if let Node::Directory(_) = node { Kind::Directory } else { Kind::File };
            ([b"/", &names.join(&b'/')[..]].concat(), kind)
        })
    }

    /// Says the first difference to a namespace, if there is one: every listing of every directory, and what there is in all.
    pub fn compare(&self, namespace: &Namespace) -> Result<(), String> {
        let mut listings: BTreeMap<&[Vec<u8>], Vec<DirEntry>> = BTreeMap::new();
        for (names, node) in &self.nodes {
            let kind = if let Node::Directory(_) = node { Kind::Directory } else { Kind::File };
            if kind == Kind::Directory {
                listings.entry(names).or_default();
            }
            if let Some((name, parent)) = names.split_last() {
                listings.entry(parent).or_default().push(DirEntry { name: name.clone(), kind });
            }
        }
        for (names, mut wanted) in listings {
            let path = [b"/", &names.join(&b'/')[..]].concat();
            let shown = path.escape_ascii();
            let mut found = namespace.readdir(&path).map_err(|error| format!("listing {shown}: {error}"))?;
            wanted.sort();
            found.sort();
            if wanted != found {
                return Err(format!("the listing of {shown} is {found:?}, and should be {wanted:?}"));
            }
        }
        let entries = namespace.usage("/").map_err(|error| error.to_string())?.entries;
        match entries == self.len() as u64 - 1 {
            true => Ok(()),
            false => Err(format!("{entries} entries, and {} should be there", self.len() - 1)),
        }
    }

    /// Says the first difference in what is known about a name, inode numbers aside.
    pub fn compare_stats(&self, namespace: &Namespace) -> Result<(), String> {
        for (names, node) in &self.nodes {
            let path = [b"/", &names.join(&b'/')[..]].concat();
            let shown = path.escape_ascii();
            let stat = namespace.stat(&path).map_err(|error| format!("stat of {shown}: {error}"))?;
            let wanted = match node {
                Node::Directory(_) => (Kind::Directory, 1, 0),
                Node::File(inode) => (Kind::File, self.files[inode].links, self.files[inode].size),
            };
            if (stat.kind, stat.links, stat.size) != wanted {
                return Err(format!("{shown} is {stat:?}, and should be {wanted:?}"));
            }
        }
        Ok(())
    }
}
