//! The library as a tree. Its own directories (the root, clients, moments, `latest`) are nodes of no tree; all else
//! is of the tree with an item's number.

use super::{Catalogue, Client, Item, LATEST, Library};
use sha2::{Digest, Sha256};
use spelunk_tree::{
    Attr, Case, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, Result, Run, StreamInfo,
    Time, Tree, TreeInfo, Xattr, Xattrs,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The root's own number.
const ROOT: u64 = 1;
/// The root of an item's tree, whatever number it has there: so a directory of items can be listed without
/// opening them.
const ITEM_ROOT: u64 = 0;

/// A catalogue, and what its directories' node ids stand for.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) catalogue: Arc<Catalogue>,
    places: HashMap<u64, Place>,
    /// The moments of items, by their numbers: `latest` leads to them.
    moments: HashMap<u32, Time>,
}

/// A directory or link of the library's own.
#[derive(Clone, Copy, Debug)]
enum Place {
    Root,
    /// A client, by its index.
    Client(usize),
    /// A backup of a client.
    Moment(usize, usize),
    /// A client's newest items.
    Latest(usize),
    /// One of those: a link to where it is.
    Newest(usize, usize),
}

impl Seen {
    pub(super) fn new(catalogue: Catalogue) -> Seen {
        let mut seen =
            Seen { catalogue: Arc::new(catalogue), places: HashMap::new(), moments: HashMap::new() };
        seen.places.insert(ROOT, Place::Root);
        let catalogue = seen.catalogue.clone();
        for (index, client) in catalogue.clients.iter().enumerate() {
            let name = client.name.as_bytes();
            seen.places.insert(id(&[name]), Place::Client(index));
            seen.places.insert(id(&[name, LATEST.as_bytes()]), Place::Latest(index));
            for (number, backup) in client.backups.iter().enumerate() {
                let moment = backup.moment.name();
                seen.places.insert(id(&[name, moment.as_bytes()]), Place::Moment(index, number));
                seen.moments.extend(backup.items.iter().map(|item| (item.slot, time_of(backup, item))));
            }
            for (number, (_, item)) in client.latest().into_iter().enumerate() {
                let link = id(&[name, LATEST.as_bytes(), item.name.as_bytes()]);
                seen.places.insert(link, Place::Newest(index, number));
            }
        }
        seen
    }

    fn place(&self, node: NodeId) -> Result<Place> {
        self.places.get(&node.get()).copied().ok_or_else(|| Error::not_found("no such backup any more"))
    }

    fn client(&self, index: usize) -> Result<&Client> {
        self.catalogue.clients.get(index).ok_or_else(|| Error::internal("no such client"))
    }

    /// What is in one of the library's directories.
    fn entries(&self, place: Place) -> Result<Vec<Entry>> {
        match place {
            Place::Root => self.catalogue.clients.iter().map(client_entry).collect(),
            Place::Client(index) => client_entries(self.client(index)?),
            Place::Moment(index, number) => {
                let backup = self.client(index)?.backups.get(number);
                let backup = backup.ok_or_else(|| Error::internal("no such backup"))?;
                backup.items.iter().map(|item| item_entry(item, time_of(backup, item))).collect()
            }
            Place::Latest(index) => newest_entries(self.client(index)?),
            Place::Newest(..) => Err(Error::new(ErrorKind::NotADirectory, "not a directory")),
        }
    }

    fn attr(&self, place: Place) -> Result<Attr> {
        match place {
            Place::Root => {
                let all = self.catalogue.clients.iter().filter_map(|client| client.backups.last());
                Ok(directory(all.map(|backup| backup.moment.time()).max()))
            }
            Place::Client(index) | Place::Latest(index) => {
                let last = self.client(index)?.backups.last();
                Ok(directory(last.map(|backup| backup.moment.time())))
            }
            Place::Moment(index, number) => {
                let backup = self.client(index)?.backups.get(number);
                Ok(directory(backup.map(|backup| backup.moment.time())))
            }
            Place::Newest(index, number) => {
                let client = self.client(index)?;
                let link = newest_entries(client)?.into_iter().nth(number);
                link.map(|entry| entry.attr).ok_or_else(|| Error::not_found("no such backup"))
            }
        }
    }
}

fn client_entry(client: &Client) -> Result<Entry> {
    let time = client.backups.last().map(|backup| backup.moment.time());
    own_entry(client.name.clone(), &[client.name.as_bytes()], directory(time))
}

fn client_entries(client: &Client) -> Result<Vec<Entry>> {
    let own = client.name.as_bytes();
    let moment = |name: String, time: Time| {
        own_entry(Name::new(name.as_bytes())?, &[own, name.as_bytes()], directory(Some(time)))
    };
    let backups = client.backups.iter().map(|backup| moment(backup.moment.name(), backup.moment.time()));
    let latest = client.backups.last().map(|backup| moment(LATEST.to_owned(), backup.moment.time()));
    backups.chain(latest).collect()
}

/// Links to the newest of each item.
fn newest_entries(client: &Client) -> Result<Vec<Entry>> {
    let link = |(backup, item): (&super::Backup, &Item)| {
        let size = u64::try_from(target(backup, item).len()).unwrap_or(u64::MAX);
        let attr = Attr { size, ..leaf(Kind::Symlink, Some(backup.moment.time())) };
        let path = [client.name.as_bytes(), LATEST.as_bytes(), item.name.as_bytes()];
        own_entry(item.name.clone(), &path, attr)
    };
    client.latest().into_iter().map(link).collect()
}

/// Where a link to the newest of an item leads.
fn target(backup: &super::Backup, item: &Item) -> Vec<u8> {
    [b"../", backup.moment.name().as_bytes(), b"/", item.name.as_bytes()].concat()
}

/// When an item was made, as exactly as is known.
fn time_of(backup: &super::Backup, item: &Item) -> Time {
    item.details.as_ref().map_or_else(|| backup.moment.time(), |details| details.started)
}

fn item_entry(item: &Item, time: Time) -> Result<Entry> {
    let node = NodeId::new(ITEM_ROOT)?.in_tree(item.slot);
    Ok(Entry { name: item.name.clone(), node, attr: directory(Some(time)) })
}

fn own_entry(name: Name, path: &[&[u8]], attr: Attr) -> Result<Entry> {
    Ok(Entry { name, node: NodeId::new(id(path))?, attr })
}

fn directory(time: Option<Time>) -> Attr {
    leaf(Kind::Directory, time)
}

fn leaf(kind: Kind, time: Option<Time>) -> Attr {
    // Read-only for everyone: who may come here at all is the presenter's matter.
    let mode = if kind == Kind::Directory { 0o555 } else { 0o777 };
    Attr { mode: Some(mode), modified: time, xattrs: Xattrs::None, ..Attr::new(kind) }
}

/// A number for one of the library's own nodes: the same in every process, and none of the two above.
fn id(path: &[&[u8]]) -> u64 {
    const BYTES: usize = NodeId::BITS as usize / 8;
    let mut hash = Sha256::new();
    path.iter().for_each(|name| hash.update([name, &b"/"[..]].concat()));
    let number =
        hash.finalize().iter().take(BYTES).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    number.max(ROOT + 1)
}

/// See the module.
pub(super) struct LibraryTree {
    library: Arc<Library>,
    info: TreeInfo,
}

/// A node: of the library's own, or one of an item's tree.
enum Where {
    Own(Arc<Seen>, Place),
    Item { tree: Arc<dyn Tree>, node: NodeId, slot: u32 },
}

impl LibraryTree {
    pub(super) fn new(library: Arc<Library>) -> LibraryTree {
        LibraryTree { library, info: TreeInfo { case: Case::PerDirectory, ..TreeInfo::new("library") } }
    }

    fn find(&self, node: NodeId) -> Result<Where> {
        let slot = node.tree();
        if slot == 0 {
            let seen = self.library.seen()?;
            let place = seen.place(node)?;
            return Ok(Where::Own(seen, place));
        }
        let tree = self.library.item(slot)?;
        let within = node.in_tree(0);
        let node = if within.get() == ITEM_ROOT { tree.root() } else { within };
        Ok(Where::Item { tree, node, slot })
    }

    /// The node of an item, which is a directory for all that is asked of it here.
    fn item(&self, node: NodeId) -> Result<(Arc<dyn Tree>, NodeId)> {
        match self.find(node)? {
            Where::Item { tree, node, .. } => Ok((tree, node)),
            Where::Own(_, Place::Newest(..)) => Err(Error::unsupported("this is a link of the library")),
            Where::Own(..) => Err(Error::new(ErrorKind::IsADirectory, "this is a directory of the library")),
        }
    }
}

/// The node of an item's tree as one of the library.
///
/// # Errors
/// `Corrupt` for one that has the number of the root here, and is not the root: no reader gives it to a good node.
fn outside(node: NodeId, tree: &dyn Tree, slot: u32) -> Result<NodeId> {
    if node == tree.root() {
        return Ok(NodeId::new(ITEM_ROOT)?.in_tree(slot));
    }
    if node.get() == ITEM_ROOT {
        return Err(Error::corrupt("an entry whose number is 0"));
    }
    Ok(node.in_tree(slot))
}

/// A line of a listing of an item's tree as one of the library.
fn outside_listed(listed: Listed, tree: &dyn Tree, slot: u32) -> Listed {
    let Listed::Entry { entry, next } = listed else { return listed };
    match outside(entry.node, tree, slot) {
        Ok(node) => Listed::Entry { entry: Entry { node, ..entry }, next },
        Err(error) => Listed::Broken { name: Some(entry.name), error, next },
    }
}

impl Tree for LibraryTree {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::new(ROOT).unwrap_or_else(|_| unreachable!("1 has less than 56 bits"))
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        match self.find(dir)? {
            Where::Own(seen, place) => {
                let found = seen.entries(place)?.into_iter().find(|entry| entry.name == *name);
                found.ok_or_else(|| Error::not_found("no such backup"))
            }
            Where::Item { tree, node, slot } => {
                let entry = tree.lookup(node, name)?;
                Ok(Entry { node: outside(entry.node, tree.as_ref(), slot)?, ..entry })
            }
        }
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        match self.find(dir)? {
            Where::Own(seen, place) => Ok(page(seen.entries(place)?, cursor, max)),
            Where::Item { tree, node, slot } => {
                let page = tree.list(node, cursor, max)?;
                let entries = page.entries.into_iter();
                let entries = entries.map(|listed| outside_listed(listed, tree.as_ref(), slot)).collect();
                Ok(Page { entries, ..page })
            }
        }
    }

    /// The root of an item has the attributes that it is listed with, so that to look at it opens nothing.
    fn attr(&self, node: NodeId) -> Result<Attr> {
        if node.tree() != 0 && node.in_tree(0).get() == ITEM_ROOT {
            let seen = self.library.seen()?;
            let time = seen.moments.get(&node.tree()).copied();
            return time.map(|time| directory(Some(time))).ok_or_else(|| Error::not_found("no such backup"));
        }
        match self.find(node)? {
            Where::Own(seen, place) => seen.attr(place),
            Where::Item { tree, node, .. } => tree.attr(node),
        }
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let (tree, node) = self.item(node)?;
        tree.read(node, stream, offset, buffer)
    }

    fn runs(
        &self,
        node: NodeId,
        stream: Option<&Name>,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        let (tree, node) = self.item(node)?;
        tree.runs(node, stream, offset, len, runs)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        match self.find(node)? {
            Where::Item { tree, node, .. } => tree.link_target(node),
            Where::Own(seen, Place::Newest(index, number)) => {
                let newest = seen.client(index)?.latest().into_iter().nth(number);
                let (backup, item) = newest.ok_or_else(|| Error::not_found("no such backup"))?;
                Ok(target(backup, item))
            }
            Where::Own(..) => Err(Error::new(ErrorKind::NotALink, "reading a directory as a link")),
        }
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        match self.find(node)? {
            Where::Item { tree, node, .. } => tree.xattrs(node),
            Where::Own(..) => Ok(Vec::new()),
        }
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        match self.find(node)? {
            Where::Item { tree, node, .. } => tree.streams(node),
            Where::Own(..) => Ok(Vec::new()),
        }
    }

    fn is_live(&self, node: NodeId) -> bool {
        node.tree() == 0
    }
}

/// One page of entries. A cursor is a hash of the name that comes before: backups come and go, and a listing that
/// goes on must neither repeat nor miss the others.
fn page(mut entries: Vec<Entry>, cursor: Cursor, max: usize) -> Page {
    let after = |entry: &Entry| Cursor((id(&[entry.name.as_bytes()]) << 1) | 1);
    entries.sort_by_key(after);
    let start = entries.partition_point(|entry| after(entry) <= cursor);
    let has_more = entries.len() - start > max.max(1);
    let rest = entries.into_iter().skip(start).take(max.max(1));
    let entries: Vec<Listed> = rest.map(|entry| Listed::Entry { next: after(&entry), entry }).collect();
    let next = entries.last().filter(|_| has_more).map(|listed| match listed {
        Listed::Entry { next, .. } | Listed::Broken { next, .. } => *next,
    });
    Page { entries, next }
}
