//! `spelunk info`: what is known of an image.

use super::escape::{escape, message};
use super::image::{ImageArgs, NO_TABLE};
use super::printer::Printer;
use super::{Error, Outcome, json, size, time};
use serde::Serialize;
use spelunk_tree::{AssembledInfo, Case, DiskInfo, LayerInfo, OtherDisk, Time, TreeInfo, VolumeInfo};
use std::borrow::Cow;
use std::path::PathBuf;

/// Show what an image is (container and chain, partitions, filesystems), or what backups a library has
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk info disk.vhdz
  spelunk info a.img b.img                    disks on which volumes lie together (RAID, LVM)
  spelunk info --library /srv/images          who was backed up, when, what
  spelunk info --json disk.vhdz | jq '.volumes[].filesystem.label'")]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// More disks' images that belong with IMAGE, as with --with
    #[arg(value_name = "IMAGE")]
    more: Vec<PathBuf>,

    /// Print one JSON object; of a library, one for each volume or share of a backup
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the image cannot be opened or stdout cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    if args.image.library {
        return super::backups::print(&*args.image.library()?, args.json);
    }
    let mut images = args.image.clone();
    images.with.extend(args.more.iter().cloned());
    let disk = images.open_disk()?;
    let info = disk.info();
    if let Some(error) = why_no_image(info) {
        return Err(Error::image(error.clone()).about(&args.image.image));
    }
    let image = args.image.image.as_os_str().as_encoded_bytes();
    let mut printer = Printer::new();
    if args.json {
        printer.json_document(&Document::new(image, info))?;
    } else {
        Text { printer: &mut printer }.disk(image, info)?;
    }
    printer.finish()
}

/// A file in which nothing at all was recognised is no image, though its bytes could be a disk's.
fn why_no_image(info: &DiskInfo) -> Option<&spelunk_tree::Error> {
    let is_bare = info.table == NO_TABLE && info.layers.iter().all(|layer| layer.format == RAW);
    // A member of something is a thing that is known, also where what it is a member of cannot be shown.
    let is_known = |volume: &VolumeInfo| volume.filesystem.is_ok() || !volume.member_of.is_empty();
    let is_bare = is_bare && !info.volumes.iter().any(is_known);
    let failure = info.volumes.iter().find_map(|volume| volume.filesystem.as_ref().err());
    failure.filter(|_| is_bare)
}

/// What [`LayerInfo::format`] calls a file that is the disk's bytes and nothing else.
const RAW: &str = "raw";

/// Prints for people.
struct Text<'a> {
    printer: &'a mut Printer,
}

impl Text<'_> {
    fn disk(&mut self, image: &[u8], info: &DiskInfo) -> Result<(), Error> {
        self.field(0, "image", &escape(image))?;
        self.field(0, "size", &exact_size(info.size_bytes))?;
        self.field(0, "sectors", &format!("{} bytes", info.sector_bytes))?;
        self.field(0, "table", &info.table)?;
        self.field(0, "table id", &info.table_id)?;
        self.notes(0, &info.notes)?;
        let mut layers =
            info.layers.iter().chain(info.others.iter().flat_map(|other| &other.layers)).enumerate();
        layers.by_ref().take(info.layers.len()).try_for_each(|(index, layer)| self.layer(index, layer))?;
        for (number, other) in info.others.iter().enumerate() {
            self.other(number + 2, other)?;
            let mut below = layers.by_ref().take(other.layers.len());
            below.try_for_each(|(index, layer)| self.layer(index, layer))?;
        }
        for volume in &info.volumes {
            self.volume(volume)?;
        }
        Ok(())
    }

    fn other(&mut self, number: usize, other: &OtherDisk) -> Result<(), Error> {
        self.printer.line("")?;
        self.printer.line(&format!("disk {number}"))?;
        self.field(1, "size", &exact_size(other.size_bytes))?;
        self.field(1, "sectors", &format!("{} bytes", other.sector_bytes))?;
        self.field(1, "table", &other.table)?;
        self.field(1, "table id", &other.table_id)
    }

    fn layer(&mut self, index: usize, layer: &LayerInfo) -> Result<(), Error> {
        self.printer.line("")?;
        let kind = format!("layer {index}: {} {}", layer.format, layer.variant);
        self.printer.line(&message(kind.trim_end()))?;
        self.field(1, "size", &exact_size(layer.size_bytes))?;
        if layer.block_bytes != 0 {
            self.field(1, "blocks", &size::long(layer.block_bytes))?;
        }
        self.field(1, "image file", &layer.source.to_string())?;
        self.field(1, "id", &layer.id)?;
        if let Some(parent) = &layer.parent {
            self.field(1, "parent id", &parent.id)?;
            for path in &parent.paths {
                self.field(1, "parent", path)?;
            }
        }
        self.notes(1, &layer.notes)
    }

    fn volume(&mut self, volume: &VolumeInfo) -> Result<(), Error> {
        self.printer.line("")?;
        self.printer.line(&message(&format!("volume {}", volume.directory)))?;
        self.field(1, "size", &exact_size(volume.size_bytes))?;
        match &volume.assembled {
            Some(assembled) => self.assembled(assembled)?,
            None => self.field(1, "start", &volume.start_bytes.to_string())?,
        }
        self.field(1, "type", &volume.partition_type)?;
        self.field(1, "name", &volume.name)?;
        self.field(1, "id", &volume.id)?;
        self.field(1, "attributes", &volume.attributes)?;
        match &volume.filesystem {
            Ok(tree) => self.filesystem(tree),
            Err(_) if volume.is_extended => self.field(1, "filesystem", "none (holds other partitions)"),
            Err(_) if !volume.member_of.is_empty() => {
                self.field(1, "filesystem", &format!("none ({})", volume.member_of))
            }
            Err(error) => self.field(1, "filesystem", &super::error::describe(error)),
        }
    }

    fn assembled(&mut self, assembled: &AssembledInfo) -> Result<(), Error> {
        self.field(1, "format", &assembled.format)?;
        self.field(1, "group", &assembled.group)?;
        self.field(1, "group id", &assembled.group_id)?;
        assembled.segments.iter().try_for_each(|segment| self.field(1, "segments", segment))?;
        self.notes(1, &assembled.notes)
    }

    fn filesystem(&mut self, tree: &TreeInfo) -> Result<(), Error> {
        self.field(1, "filesystem", &tree.filesystem)?;
        if !tree.label.is_empty() {
            self.field(1, "label", &escape(&tree.label))?;
        }
        self.field(1, "uuid", &tree.uuid)?;
        self.field(1, "capacity", &exact_size(tree.size_bytes))?;
        if let Some(free) = tree.free_bytes {
            self.field(1, "free", &exact_size(free))?;
        }
        self.field(1, "blocks", &size::long(u64::from(tree.block_bytes)))?;
        if let (Some(nodes), Some(free)) = (tree.nodes, tree.free_nodes) {
            self.field(1, "nodes", &format!("{nodes}, {free} free"))?;
        }
        self.field(1, "names", case_phrase(tree.case))?;
        if let Some(written) = tree.written {
            self.field(1, "written", &time::short(written))?;
        }
        self.notes(1, &tree.notes)
    }

    fn notes(&mut self, depth: usize, notes: &[String]) -> Result<(), Error> {
        notes.iter().try_for_each(|note| self.field(depth, "note", note))
    }

    /// A line of a name and a value; nothing when the value is unknown.
    fn field(&mut self, depth: usize, name: &str, value: &str) -> Result<(), Error> {
        const VALUE_COLUMN: usize = 14;
        if value.is_empty() {
            return Ok(());
        }
        let indent = depth * 2;
        let width = VALUE_COLUMN - indent;
        self.printer.line(&format!("{:indent$}{name:width$}{}", "", message(value)))
    }
}

fn exact_size(bytes: u64) -> String {
    let long = size::long(bytes);
    if long.ends_with("bytes") { long } else { format!("{long} ({bytes} bytes)") }
}

fn case_phrase(case: Case) -> &'static str {
    match case {
        Case::Sensitive => "case-sensitive",
        Case::Insensitive => "ignore case",
        Case::PerDirectory => "ignore case in some directories",
    }
}

/// The JSON form. Fields are those of [`DiskInfo`]; what is unknown is left out.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    image: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_hex: Option<String>,
    size_bytes: u64,
    sector_bytes: u32,
    table: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    table_id: &'a str,
    notes: &'a [String],
    layers: Vec<Layer<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<Other<'a>>,
    volumes: Vec<Volume<'a>>,
}

/// A disk that was opened together with the first.
#[derive(Serialize)]
struct Other<'a> {
    size_bytes: u64,
    sector_bytes: u32,
    table: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    table_id: &'a str,
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
struct Layer<'a> {
    source: u32,
    format: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_bytes: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Parent<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    alternative_id: &'a str,
    paths: &'a [String],
}

#[derive(Serialize)]
struct Volume<'a> {
    number: u32,
    directory: String,
    #[serde(skip_serializing_if = "is_first")]
    disk: u32,
    start_bytes: u64,
    size_bytes: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    partition_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    attributes: &'a str,
    is_extended: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    member_of: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    assembled: Option<Assembled<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filesystem: Option<Filesystem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_kind: Option<&'static str>,
}

/// How a volume is made up of others.
#[derive(Serialize)]
struct Assembled<'a> {
    format: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group_id: &'a str,
    segments: &'a [String],
    notes: &'a [String],
}

/// Whether a volume lies on the first disk, which is not worth telling.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references.
fn is_first(disk: &u32) -> bool {
    *disk == 0
}

#[derive(Serialize)]
struct Filesystem<'a> {
    r#type: &'a str,
    label: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label_hex: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    uuid: &'a str,
    case: &'static str,
    block_bytes: u32,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_nodes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::as_rfc3339")]
    written: Option<Time>,
    notes: &'a [String],
}

impl<'a> Document<'a> {
    fn new(image: &'a [u8], info: &'a DiskInfo) -> Document<'a> {
        Document {
            schema: json::SCHEMA,
            image: json::text(image),
            image_hex: json::hex(image),
            size_bytes: info.size_bytes,
            sector_bytes: info.sector_bytes,
            table: &info.table,
            table_id: &info.table_id,
            notes: &info.notes,
            layers: info.layers.iter().map(Layer::new).collect(),
            others: info.others.iter().map(Other::new).collect(),
            volumes: info.volumes.iter().map(Volume::new).collect(),
        }
    }
}

impl<'a> Other<'a> {
    fn new(other: &'a OtherDisk) -> Other<'a> {
        Other {
            size_bytes: other.size_bytes,
            sector_bytes: other.sector_bytes,
            table: &other.table,
            table_id: &other.table_id,
            layers: other.layers.iter().map(Layer::new).collect(),
        }
    }
}

impl<'a> Layer<'a> {
    fn new(layer: &'a LayerInfo) -> Layer<'a> {
        Layer {
            source: layer.source,
            format: &layer.format,
            variant: &layer.variant,
            size_bytes: layer.size_bytes,
            block_bytes: Some(layer.block_bytes).filter(|bytes| *bytes != 0),
            id: &layer.id,
            parent: layer.parent.as_ref().map(|parent| Parent {
                id: &parent.id,
                alternative_id: &parent.alternative_id,
                paths: &parent.paths,
            }),
            notes: &layer.notes,
        }
    }
}

impl<'a> Volume<'a> {
    fn new(volume: &'a VolumeInfo) -> Volume<'a> {
        let is_for_files = !volume.is_extended && volume.member_of.is_empty();
        let failure = volume.filesystem.as_ref().err().filter(|_| is_for_files);
        let assembled = volume.assembled.as_ref().map(|assembled| Assembled {
            format: &assembled.format,
            group: &assembled.group,
            group_id: &assembled.group_id,
            segments: &assembled.segments,
            notes: &assembled.notes,
        });
        Volume {
            number: volume.number,
            directory: volume.directory_name(),
            disk: volume.disk,
            start_bytes: volume.start_bytes,
            size_bytes: volume.size_bytes,
            partition_type: &volume.partition_type,
            name: &volume.name,
            id: &volume.id,
            attributes: &volume.attributes,
            is_extended: volume.is_extended,
            member_of: &volume.member_of,
            assembled,
            filesystem: volume.filesystem.as_ref().ok().map(Filesystem::new),
            error: failure.map(super::error::describe),
            error_kind: failure.map(|error| error.kind().phrase()),
        }
    }
}

impl<'a> Filesystem<'a> {
    fn new(tree: &'a TreeInfo) -> Filesystem<'a> {
        Filesystem {
            r#type: &tree.filesystem,
            label: json::text(&tree.label),
            label_hex: json::hex(&tree.label),
            uuid: &tree.uuid,
            case: match tree.case {
                Case::Sensitive => "sensitive",
                Case::Insensitive => "insensitive",
                Case::PerDirectory => "per-directory",
            },
            block_bytes: tree.block_bytes,
            size_bytes: tree.size_bytes,
            free_bytes: tree.free_bytes,
            nodes: tree.nodes,
            free_nodes: tree.free_nodes,
            written: tree.written,
            notes: &tree.notes,
        }
    }
}
