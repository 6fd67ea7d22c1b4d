//! What a worker says, as bytes, without any of the checks with which Spelunk's own workers say it.

/// Collects bytes.
#[derive(Clone, Default)]
pub struct Out(pub Vec<u8>);

impl Out {
    pub fn byte(mut self, value: u8) -> Out {
        self.0.push(value);
        self
    }

    pub fn long(mut self, value: u32) -> Out {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn quad(mut self, value: u64) -> Out {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A length and so many bytes: names, texts.
    pub fn blob(self, bytes: &[u8]) -> Out {
        let mut out = self.long(u32::try_from(bytes.len()).expect("few bytes"));
        out.0.extend_from_slice(bytes);
        out
    }

    pub fn with(mut self, other: &Out) -> Out {
        self.0.extend_from_slice(&other.0);
        self
    }

    /// `count` things that are not there.
    pub fn nothing(mut self, count: usize) -> Out {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

pub const FILE: u8 = 0;
pub const DIRECTORY: u8 = 1;
pub const SYMLINK: u8 = 2;

/// The kind of an error: damaged.
pub const CORRUPT: u8 = 4;

/// Attributes of which little is known.
pub fn attr(kind: u8, size: u64) -> Out {
    // Extended attributes maybe; then nothing of: allocated, links, mode, uid, gid, DOS, tag, device, four times.
    Out::default().byte(kind).quad(size).byte(1).nothing(12)
}

pub fn entry(name: &[u8], node: u64, kind: u8, size: u64) -> Out {
    Out::default().blob(name).quad(node).with(&attr(kind, size))
}

/// A page of a listing, each entry with the cursor behind it, and where the listing goes on.
pub fn page(entries: &[(Out, u64)], next: Option<u64>) -> Out {
    let mut out = match next {
        Some(next) => Out::default().byte(1).quad(next),
        None => Out::default().byte(0),
    };
    out = out.long(u32::try_from(entries.len()).expect("few entries"));
    for (entry, cursor) in entries {
        out = out.byte(1).with(entry).quad(*cursor);
    }
    out
}

/// The answer to a question about one place: the page.
pub fn pages(page: &Out) -> Out {
    Out::default().long(1).byte(1).with(page)
}

/// An error with one link.
pub fn error(kind: u8, text: &[u8]) -> Out {
    Out::default().byte(1).byte(kind).blob(text).nothing(2)
}

/// A run in an image file.
pub fn run(len: u64, source: u32, offset: u64) -> Out {
    Out::default().quad(len).byte(0).long(source).quad(offset)
}

/// Where bytes lie.
pub fn extents(start: u64, is_last: bool, runs: &[Out]) -> Out {
    let count = u32::try_from(runs.len()).expect("few runs");
    let out = Out::default().quad(start).byte(u8::from(is_last)).long(count);
    runs.iter().fold(out, |out, run| out.with(run))
}

/// What is known of a tree.
fn tree_info(filesystem: &[u8]) -> Out {
    // Label, UUID; case-sensitive; blocks of 4096 bytes; a size; nothing of: free bytes, nodes, free nodes, prefixes.
    let out = Out::default().blob(filesystem).blob(b"").blob(b"").byte(0).long(4096).quad(1 << 20);
    out.nothing(4).long(0).byte(0).long(0)
}

/// One volume with a tree.
pub fn volume(number: u32) -> Out {
    volume_at(format!("p{number}").as_bytes(), number)
}

/// One volume with a tree, shown by the directory of this name.
pub fn volume_at(directory: &[u8], number: u32) -> Out {
    let out = Out::default().blob(directory).long(0).long(number).quad(0).quad(1 << 20);
    // Type, name, id, attributes; not extended, no member, not assembled.
    let out = (0..4).fold(out, |out, _| out.blob(b"")).byte(0).blob(b"").byte(0);
    out.byte(1).with(&tree_info(b"forged"))
}

/// An open disk of these volumes, whose trees have these roots.
pub fn opening(volumes: &[Out], roots: &[u64]) -> Out {
    let out = Out::default().long(0).quad(1 << 20).long(512).blob(b"none").blob(b"");
    let out = out.long(u32::try_from(volumes.len()).expect("few volumes"));
    // No notes, no other disks.
    let out = volumes.iter().fold(out, |out, volume| out.with(volume)).long(0).long(0);
    let out = out.long(u32::try_from(roots.len()).expect("few roots"));
    roots.iter().fold(out, |out, root| out.byte(1).quad(*root))
}

/// What the host asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Open,
    Parent,
    Lookup,
    List,
    Attr,
    Read,
    Map,
    MapFiles,
    LinkTarget,
    Xattrs,
    Streams,
}

/// A request, as far as an answer depends on it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub verb: Verb,
    /// The node, or the first one.
    pub node: u64,
    /// Where a listing goes on.
    pub cursor: u64,
    /// How many places, or files.
    pub count: u32,
    /// The name to look up.
    pub name: Vec<u8>,
    /// The beginning of the stretch that is to be mapped.
    pub start: u64,
}

impl Asked {
    pub fn parse(bytes: &[u8]) -> Option<Asked> {
        let verb = match bytes.first()? {
            0 => Verb::Open,
            1 | 2 => Verb::Parent,
            3 => Verb::Lookup,
            4 => Verb::List,
            5 => Verb::Attr,
            6 => Verb::Read,
            7 => Verb::Map,
            8 => Verb::LinkTarget,
            9 => Verb::Xattrs,
            10 => Verb::Streams,
            _ => Verb::MapFiles,
        };
        let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let quad = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let mut asked = Asked { verb, node: 0, cursor: 0, count: 1, name: Vec::new(), start: 0 };
        match verb {
            Verb::Open | Verb::Parent => {}
            Verb::List | Verb::MapFiles => {
                asked.count = long(2)?;
                asked.node = quad(6)?;
                asked.cursor = quad(14).unwrap_or(0);
            }
            _ => asked.node = quad(2)?,
        }
        if verb == Verb::Lookup {
            asked.name = bytes.get(14..)?.to_vec();
        }
        if verb == Verb::Map {
            asked.start = quad(11)?;
        }
        Some(asked)
    }
}
