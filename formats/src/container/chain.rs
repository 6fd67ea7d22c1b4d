//! From an image file and its parents to one disk.

use super::parent::base_name;
use super::{Child, Content, Context, FORMATS, Format, Join, Opened, Part, qcow2, raw};
use crate::bytes::index;
use spelunk_tree::{Error, ErrorKind, LayerInfo, ParentRef, ReadAt, Result, ResultExt, limits};
use std::collections::HashSet;
use std::sync::Arc;

/// Candidates that are tried for one parent: all that the host offers.
const CANDIDATES_MAX: usize = 128;

/// Candidates whose defects an error lists.
const REASONS_MAX: usize = 3;

/// Where parents come from: outside the jail, by name only.
pub trait ParentSource {
    /// The next file that may be the one that `wanted` describes, a parent or a part of the image whose last
    /// file so far has the index `source`; `None` when there are no more. The answer's [`ReadAt::runs`] must
    /// name it by the index `source + 1`; a file that turns out to be another is replaced by the next answer.
    ///
    /// # Errors
    /// When the search itself fails.
    fn next_candidate(&mut self, source: u32, wanted: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>>;

    /// The image of the next disk that is to be opened together with those so far; `None` when there are no more. The
    /// answer's [`ReadAt::runs`] must name it by the index `source`.
    ///
    /// # Errors
    /// When it cannot be had.
    fn next_disk(&mut self, source: u32) -> Result<Option<Arc<dyn ReadAt>>> {
        let _ = source;
        Ok(None)
    }
}

/// A virtual disk, all layers joined.
pub struct Disk {
    /// Its bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// Its layers, top first.
    pub layers: Vec<LayerInfo>,
    /// Logical sector size, when the container says.
    pub sector_bytes: Option<u32>,
    /// The index of its last image file.
    pub last_source: u32,
}

/// Opens an image file, the files that it is split into, and all its parents.
///
/// # Errors
/// `NotFound` naming a parent or part that is missing or wrong; `Corrupt` for a chain that returns to itself;
/// `Limit` for one that is too long; what the formats report.
pub fn open(file: Arc<dyn ReadAt>, parents: &mut dyn ParentSource) -> Result<Disk> {
    open_at(file, None, parents)
}

/// The same for an image as one of the snapshots in it was, which `snapshot` names by its id or name.
///
/// # Errors
/// As [`open`]; `NotFound` when there is no such snapshot, `Unsupported` for formats that have none.
pub fn open_at(
    file: Arc<dyn ReadAt>,
    snapshot: Option<&str>,
    parents: &mut dyn ParentSource,
) -> Result<Disk> {
    open_from(file, 0, snapshot, &Context::new(), parents)
}

/// The same for an image file with the index `first`: that of a disk that is opened together with others, with which it
/// shares `context`.
///
/// # Errors
/// As [`open_at`].
pub fn open_from(
    file: Arc<dyn ReadAt>,
    first: u32,
    snapshot: Option<&str>,
    context: &Context,
    parents: &mut dyn ParentSource,
) -> Result<Disk> {
    let context = Context { snapshot: snapshot.map(str::to_owned), ..context.clone() };
    let mut image = open_file(file, &context)?;
    if snapshot.is_some() && image.info.format != qcow2::FORMAT.name {
        return Err(Error::unsupported(format!("snapshots in a {} image", image.info.format)));
    }
    let context = Context { snapshot: None, ..context };
    let mut chain = Chain { parents, context, last: first, layers: Vec::new(), ids: HashSet::new() };
    let sector_bytes = image.sector_bytes;
    let mut joins: Vec<Join> = Vec::new();
    let bottom = loop {
        chain.add_layers(image.wrapper, &image.info);
        let content = match image.content {
            Content::Split(parts, join) => join(chain.parts(&parts)?)?,
            content => content,
        };
        match content {
            Content::Whole(bytes) => break bytes,
            Content::Child(child) => {
                image = chain.find_parent(&image.info, &child)?;
                joins.push(child.join);
            }
            Content::Wrapped(_) | Content::Split(..) => {
                return Err(Error::internal("a container in a container that was opened"));
            }
        }
    };
    let bytes = joins.into_iter().rev().try_fold(bottom, |parent, join| join(parent))?;
    Ok(Disk { bytes, layers: chain.layers, sector_bytes, last_source: chain.last })
}

/// One image, out of its wrapper.
struct Image {
    wrapper: Option<LayerInfo>,
    info: LayerInfo,
    sector_bytes: Option<u32>,
    stamp: String,
    content: Content,
}

/// Opens what is in one file: a container, or one in a compressed container. There is no third level.
fn open_file(file: Arc<dyn ReadAt>, context: &Context) -> Result<Image> {
    let outer = open_layer(file, context)?;
    let (wrapper, opened) = match outer.content {
        Content::Wrapped(inner) => (Some(outer.info), open_layer(inner, &context.wrapped())?),
        _ => (None, outer),
    };
    if matches!(opened.content, Content::Wrapped(_)) {
        return Err(Error::unsupported("a compressed container inside a compressed container"));
    }
    Ok(image(wrapper, opened))
}

fn image(wrapper: Option<LayerInfo>, opened: Opened) -> Image {
    let Opened { info, sector_bytes, stamp, content } = opened;
    Image { wrapper, info, sector_bytes, stamp, content }
}

fn open_layer(file: Arc<dyn ReadAt>, context: &Context) -> Result<Opened> {
    let format = probe(&*file)?;
    (format.open)(file, context).context(|| format!("opening a {} image", format.name))
}

fn probe(file: &dyn ReadAt) -> Result<&'static Format> {
    for format in FORMATS {
        if (format.probe)(file).context(|| "reading the image")? {
            return Ok(format);
        }
    }
    Err(Error::unsupported("the file is no image that Spelunk reads"))
}

/// The files of a disk so far.
struct Chain<'a> {
    parents: &'a mut dyn ParentSource,
    context: Context,
    /// Index of the last file.
    last: u32,
    layers: Vec<LayerInfo>,
    ids: HashSet<String>,
}

impl Chain<'_> {
    fn add_layers(&mut self, wrapper: Option<LayerInfo>, info: &LayerInfo) {
        let source = self.last;
        self.layers.extend(wrapper.map(|info| LayerInfo { source, ..info }));
        self.layers.push(LayerInfo { source, ..info.clone() });
        self.ids.insert(info.id.clone());
    }

    /// The files of an image that is split, each with the index after that of the file before.
    fn parts(&mut self, parts: &[Part]) -> Result<Vec<Arc<dyn ReadAt>>> {
        let check = |part: &Part, file: Arc<dyn ReadAt>| (part.check)(&*file).map(|()| file);
        parts.iter().map(|part| self.find("part", &part.wanted, |_, _, file| check(part, file))).collect()
    }

    /// The parent of `info`, the layer that was added last.
    fn find_parent(&mut self, info: &LayerInfo, child: &Child) -> Result<Image> {
        let Some(wanted) = &info.parent else {
            return Err(Error::internal("a differencing image that names no parent"));
        };
        if child.has_unique_ids && self.ids.contains(&wanted.id) {
            return Err(Error::corrupt(format!(
                "a cyclic chain: image {} names as its parent the id {}, which stands above it",
                self.last, wanted.id
            )));
        }
        self.find("parent", wanted, |context, ids, file| {
            let image = if child.format == Some(raw::FORMAT.name) {
                image(None, raw::as_it_is(file))
            } else {
                open_file(file, context)?
            };
            fitting(image, child, wanted, ids)
        })
    }

    /// What `take` makes of the first file that it takes for the one that is `wanted`.
    fn find<T>(
        &mut self,
        what: &str,
        wanted: &ParentRef,
        mut take: impl FnMut(&Context, &HashSet<String>, Arc<dyn ReadAt>) -> Result<T>,
    ) -> Result<T> {
        let source = self.last;
        let next = source.saturating_add(1);
        if index(next)? >= limits::CHAIN_MAX {
            return Err(Error::limit(format!("a chain of more than {} image files", limits::CHAIN_MAX)));
        }
        let mut reasons = Vec::new();
        while let Some(candidate) = self
            .parents
            .next_candidate(source, wanted)
            .context(|| format!("looking for the {what} {}", described(wanted)))?
        {
            match take(&self.context, &self.ids, candidate) {
                Ok(found) => {
                    self.last = next;
                    return Ok(found);
                }
                Err(error) => reasons.push(error),
            }
            if reasons.len() >= CANDIDATES_MAX {
                break;
            }
        }
        Err(missing(what, source, wanted, &reasons))
    }
}

/// `image`, when it is the parent that `child` wants.
fn fitting(mut image: Image, child: &Child, wanted: &ParentRef, ids: &HashSet<String>) -> Result<Image> {
    let id = &image.info.id;
    if let Some(format) = child.format
        && image.info.format != format
    {
        return Err(Error::corrupt(format!("it is a {} image, not {format}", image.info.format)));
    }
    let is_other = !wanted.alternative_id.is_empty() && *id == wanted.alternative_id;
    if !wanted.id.is_empty() && *id != wanted.id && !is_other {
        return Err(Error::corrupt(format!("its id is {id}")));
    }
    if child.has_unique_ids && ids.contains(id) {
        return Err(Error::corrupt(format!("its id {id} is that of an image above it (a cyclic chain)")));
    }
    if !child.stamp.is_empty() && image.stamp != child.stamp {
        // VirtualBox leaves it so when it merges snapshots, and does not look either.
        image.info.notes.push("its child was made from another state of it, or snapshots were merged".into());
    }
    Ok(image)
}

fn described(wanted: &ParentRef) -> String {
    let name = wanted.paths.first().map_or("", |path| base_name(path));
    if wanted.id.is_empty() { format!("\"{name}\"") } else { format!("\"{name}\" with id {}", wanted.id) }
}

fn missing(what: &str, source: u32, wanted: &ParentRef, reasons: &[Error]) -> Error {
    let mut message = format!("the {what} {} of image {source} is missing", described(wanted));
    for error in reasons.iter().take(REASONS_MAX) {
        let text: Vec<String> = error.chain().map(ToString::to_string).collect();
        message.push_str("; a file of its name was found, but ");
        if error.message().starts_with("it") {
            message.push_str(&text.join(": "));
        } else {
            message.push_str(&format!("it cannot be used: {}", text.join(": ")));
        }
    }
    Error::new(ErrorKind::NotFound, message)
}
