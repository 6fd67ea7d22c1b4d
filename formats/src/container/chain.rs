//! From an image file and its parents to one disk.

use super::parent::base_name;
use super::{Content, Context, FORMATS, Format, Join};
use spelunk_tree::{Error, ErrorKind, LayerInfo, ParentRef, ReadAt, Result, ResultExt, limits};
use std::collections::HashSet;
use std::sync::Arc;

/// Candidates that are tried for one parent.
const CANDIDATES_MAX: usize = 64;

/// Candidates whose defects an error lists.
const REASONS_MAX: usize = 3;

/// Where parents come from: outside the jail, by name only.
pub trait ParentSource {
    /// The next file that may be the parent that `wanted` describes, for the image file with index
    /// `source`; `None` when there are no more. The answer's [`ReadAt::runs`] must name it by the index
    /// `source + 1`; a file that turns out not to be the parent is replaced by the next answer.
    ///
    /// # Errors
    /// When the search itself fails.
    fn next_candidate(&mut self, source: u32, wanted: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>>;
}

/// A virtual disk, all layers joined.
pub struct Disk {
    /// Its bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// Its layers, top first.
    pub layers: Vec<LayerInfo>,
    /// Logical sector size, when the container says.
    pub sector_bytes: Option<u32>,
}

/// Opens an image file and all its parents.
///
/// # Errors
/// `NotFound` naming a parent that is missing or wrong; `Corrupt` for a chain that returns to itself;
/// `Limit` for one that is too long; what the formats report.
pub fn open(file: Arc<dyn ReadAt>, parents: &mut dyn ParentSource) -> Result<Disk> {
    let context = Context::new();
    let mut image = open_file(file, &context)?;
    let sector_bytes = image.sector_bytes;
    let mut layers = Vec::new();
    let mut joins: Vec<Join> = Vec::new();
    let mut ids = HashSet::new();
    let bottom = loop {
        let source = u32::try_from(joins.len()).map_err(|_| Error::limit("a chain too long to count"))?;
        layers.extend(image.wrapper.map(|info| LayerInfo { source, ..info }));
        layers.push(LayerInfo { source, ..image.info.clone() });
        let join = match image.content {
            ImageContent::Whole(bytes) => break bytes,
            ImageContent::Child(join) => join,
        };
        joins.push(join);
        ids.insert(image.info.id.clone());
        image = find_parent(&image.info, source, &ids, parents, &context)?;
    };
    let bytes = joins.into_iter().rev().try_fold(bottom, |parent, join| join(parent))?;
    Ok(Disk { bytes, layers, sector_bytes })
}

/// One image file, out of its wrapper.
struct Image {
    wrapper: Option<LayerInfo>,
    info: LayerInfo,
    sector_bytes: Option<u32>,
    content: ImageContent,
}

enum ImageContent {
    Whole(Arc<dyn ReadAt>),
    Child(Join),
}

/// Opens what is in one file: a container, or one in a compressed container. There is no third level.
fn open_file(file: Arc<dyn ReadAt>, context: &Context) -> Result<Image> {
    let outer = open_layer(file, context)?;
    let (wrapper, opened) = match outer.content {
        Content::Wrapped(inner) => (Some(outer.info), open_layer(inner, &context.wrapped())?),
        _ => (None, outer),
    };
    let content = match opened.content {
        Content::Whole(bytes) => ImageContent::Whole(bytes),
        Content::Child(join) => ImageContent::Child(join),
        Content::Wrapped(_) => {
            return Err(Error::unsupported("a compressed container inside a compressed container"));
        }
    };
    Ok(Image { wrapper, info: opened.info, sector_bytes: opened.sector_bytes, content })
}

fn open_layer(file: Arc<dyn ReadAt>, context: &Context) -> Result<super::Opened> {
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

/// The parent of `child`, which is the image file `source`; `ids` are those of all images so far.
fn find_parent(
    child: &LayerInfo,
    source: u32,
    ids: &HashSet<String>,
    parents: &mut dyn ParentSource,
    context: &Context,
) -> Result<Image> {
    let Some(wanted) = &child.parent else {
        return Err(Error::internal("a differencing image that names no parent"));
    };
    if ids.contains(&wanted.id) {
        return Err(Error::corrupt(format!(
            "a cyclic chain: image {source} names as its parent the id {}, which stands above it",
            wanted.id
        )));
    }
    if ids.len() >= limits::CHAIN_MAX {
        return Err(Error::limit(format!("a chain of more than {} images", limits::CHAIN_MAX)));
    }
    let mut reasons = Vec::new();
    while let Some(candidate) = parents
        .next_candidate(source, wanted)
        .context(|| format!("looking for the parent {}", described(wanted)))?
    {
        match open_file(candidate, context).and_then(|image| fitting(image, child, wanted, ids)) {
            Ok(image) => return Ok(image),
            Err(error) => reasons.push(error),
        }
        if reasons.len() >= CANDIDATES_MAX {
            break;
        }
    }
    Err(missing(source, wanted, &reasons))
}

/// `image`, when it is the parent that `child` wants.
fn fitting(image: Image, child: &LayerInfo, wanted: &ParentRef, ids: &HashSet<String>) -> Result<Image> {
    let id = &image.info.id;
    if image.info.format != child.format {
        return Err(Error::corrupt(format!("it is a {} image, not {}", image.info.format, child.format)));
    }
    let is_other = !wanted.alternative_id.is_empty() && *id == wanted.alternative_id;
    if *id != wanted.id && !is_other {
        return Err(Error::corrupt(format!("its id is {id}")));
    }
    if ids.contains(id) {
        return Err(Error::corrupt(format!("its id {id} is that of an image above it (a cyclic chain)")));
    }
    Ok(image)
}

fn described(wanted: &ParentRef) -> String {
    let name = wanted.paths.first().map_or("", |path| base_name(path));
    format!("\"{name}\" with id {}", wanted.id)
}

fn missing(source: u32, wanted: &ParentRef, reasons: &[Error]) -> Error {
    let mut message = format!("the parent {} of image {source} is missing", described(wanted));
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
