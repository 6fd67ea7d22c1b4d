//! Several trees as directories of one root.

use spelunk_tree::{
    Attr, Case, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, Result, Run, StreamInfo,
    Tree, TreeInfo, Xattr, Xattrs, limits,
};
use std::sync::{Arc, Mutex, PoisonError};

/// A tree whose root shows other trees as its directories, such as the volumes of a disk as `p1`, `p2`.
///
/// Part `n` (from 1) holds the nodes of the `n`th tree; part 0 is the root alone. Runs are the parts' own:
/// they mean something only where all parts are of one disk.
pub struct Composition {
    info: TreeInfo,
    root: NodeId,
    parts: Vec<Part>,
    /// What the parts' roots are like, as they said when they were asked: a disk that hangs must not hang the listing of
    /// the others. One that did not say is asked again by whoever looks for it alone.
    roots: Vec<Mutex<Result<Attr>>>,
}

/// A directory of the root: its name, and its tree or why it cannot be shown. It is listed as broken then.
pub type Part = (Name, Result<Arc<dyn Tree>>);

impl Composition {
    /// What [`TreeInfo::filesystem`] says of a composition.
    pub const FILESYSTEM: &str = "volumes";

    /// Composes trees under their names, in this order. Each tree is asked for its root's attributes; a tree that does
    /// not tell them is listed as broken until it does.
    ///
    /// # Errors
    /// `Limit` for more than [`limits::VOLUMES_MAX`] parts; `Internal` for two parts of one name, or a
    /// part that is a composition itself.
    pub fn new(parts: Vec<Part>) -> Result<Composition> {
        if parts.len() > limits::VOLUMES_MAX {
            return Err(Error::limit(format!("a composition of {} trees", parts.len())));
        }
        for (index, (name, tree)) in parts.iter().enumerate() {
            let is_composition = tree.as_ref().is_ok_and(|tree| tree.root().part() != 0);
            if is_composition || parts[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::internal(format!("a composition cannot hold {name:?}")));
            }
        }
        let attr =
            |(_, tree): &Part| tree.as_ref().map_err(Clone::clone).and_then(|tree| tree.attr(tree.root()));
        let roots = parts.iter().map(|part| Mutex::new(attr(part))).collect();
        Ok(Composition { info: info_of_all(&parts), root: NodeId::new(1)?, parts, roots })
    }

    /// The tree that holds `node`, and the node's id there; `None` for the composition's own root.
    fn part(&self, node: NodeId) -> Result<Option<(&dyn Tree, NodeId)>> {
        let Some(index) = usize::from(node.part()).checked_sub(1) else {
            return if node == self.root() { Ok(None) } else { Err(Error::not_found("no such node")) };
        };
        let (_, tree) = self.parts.get(index).ok_or_else(|| Error::not_found("no such volume"))?;
        let tree = tree.as_ref().map_err(Clone::clone)?;
        Ok(Some((tree.as_ref(), node.own())))
    }

    /// The entry of the part with this index in the root, as it is known.
    fn known_entry(&self, index: usize) -> Result<Entry> {
        let no_part = || Error::not_found("no such volume");
        let (name, tree) = self.parts.get(index).ok_or_else(no_part)?;
        let tree = tree.as_ref().map_err(Clone::clone)?;
        let root = self.roots.get(index).ok_or_else(no_part)?;
        let attr = root.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Ok(Entry { name: name.clone(), node: tree.root().in_part(part_number(index)?), attr })
    }

    /// The same, asked for again where it is not known.
    fn entry(&self, index: usize) -> Result<Entry> {
        if let (Err(_), Some((_, Ok(tree))), Some(root)) =
            (self.known_entry(index), self.parts.get(index), self.roots.get(index))
        {
            let asked = tree.attr(tree.root());
            *root.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        }
        self.known_entry(index)
    }

    fn list_root(&self, cursor: Cursor, max: usize) -> Result<Page> {
        let first = usize::try_from(cursor.0).unwrap_or(usize::MAX).min(self.parts.len());
        let end = first.saturating_add(max.max(1)).min(self.parts.len());
        let mut entries = Vec::with_capacity(end - first);
        for index in first..end {
            let next = Cursor(u64::from(part_number(index)?));
            entries.push(match self.known_entry(index) {
                Ok(entry) => Listed::Entry { entry, next },
                Err(error) => Listed::Broken { name: Some(self.parts[index].0.clone()), error, next },
            });
        }
        let next = (end < self.parts.len()).then_some(Cursor(end as u64));
        Ok(Page { entries, next })
    }
}

impl Tree for Composition {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        let Some((tree, own)) = self.part(dir)? else {
            let index = self.parts.iter().position(|(part, _)| part == name);
            return self.entry(index.ok_or_else(|| Error::not_found("no such volume"))?);
        };
        let entry = tree.lookup(own, name)?;
        Ok(Entry { node: entry.node.in_part(dir.part()), ..entry })
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let Some((tree, own)) = self.part(dir)? else { return self.list_root(cursor, max) };
        let mut page = tree.list(own, cursor, max)?;
        for listed in &mut page.entries {
            if let Listed::Entry { entry, .. } = listed {
                entry.node = entry.node.in_part(dir.part());
            }
        }
        Ok(page)
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        match self.part(node)? {
            Some((tree, own)) if own == tree.root() => {
                self.entry(usize::from(node.part()) - 1).map(|entry| entry.attr)
            }
            Some((tree, own)) => tree.attr(own),
            None => Ok(Attr { xattrs: Xattrs::None, ..Attr::new(Kind::Directory) }),
        }
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        match self.part(node)? {
            Some((tree, own)) => tree.read(own, stream, offset, buffer),
            None => Err(Error::new(ErrorKind::IsADirectory, "reading the root")),
        }
    }

    fn runs(
        &self,
        node: NodeId,
        stream: Option<&Name>,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        match self.part(node)? {
            Some((tree, own)) => tree.runs(own, stream, offset, len, runs),
            None => Err(Error::new(ErrorKind::IsADirectory, "reading the root")),
        }
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        match self.part(node)? {
            Some((tree, own)) => tree.link_target(own),
            None => Err(Error::new(ErrorKind::NotALink, "reading the root as a link")),
        }
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        self.part(node)?.map_or(Ok(Vec::new()), |(tree, own)| tree.xattrs(own))
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        self.part(node)?.map_or(Ok(Vec::new()), |(tree, own)| tree.streams(own))
    }
}

/// The number of the part with this index.
fn part_number(index: usize) -> Result<u8> {
    u8::try_from(index + 1).map_err(|_| Error::internal("a part's number over 255"))
}

/// What can be said of all parts together: sums, and what they have in common.
fn info_of_all(parts: &[Part]) -> TreeInfo {
    let infos = || parts.iter().filter_map(|(_, tree)| tree.as_ref().ok()).map(|tree| tree.info());
    let sum = |value: fn(&TreeInfo) -> Option<u64>| {
        infos().try_fold(0, |sum: u64, info| Some(sum.saturating_add(value(info)?)))
    };
    let mut cases: Vec<Case> = infos().map(|info| info.case).collect();
    cases.dedup();
    TreeInfo {
        filesystem: Composition::FILESYSTEM.to_owned(),
        label: Vec::new(),
        uuid: String::new(),
        case: if let [case] = cases[..] { case } else { Case::PerDirectory },
        block_bytes: infos().map(|info| info.block_bytes).max().unwrap_or(4096),
        size_bytes: sum(|info| Some(info.size_bytes)).unwrap_or(0),
        free_bytes: sum(|info| info.free_bytes),
        nodes: sum(|info| info.nodes),
        free_nodes: sum(|info| info.free_nodes),
        xattr_prefixes: infos()
            .map(|info| info.xattr_prefixes.clone())
            .collect::<Option<Vec<_>>>()
            .map(|all| all.concat()),
        written: infos().filter_map(|info| info.written).max(),
        notes: Vec::new(),
    }
}
