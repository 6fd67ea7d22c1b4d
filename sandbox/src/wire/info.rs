//! What is known of a disk, on the wire.

use super::{Decoded, Decoder, Encoder, Malformed, Wire, decode_choice, encode_choice};
use spelunk_tree::{
    AssembledInfo, Case, DiskInfo, LayerInfo, Name, OtherDisk, ParentRef, TreeInfo, VolumeInfo, limits,
};

/// Notes of one layer, volume or disk.
const NOTES_MAX: usize = 64;
/// Paths that an image may give for its parent.
pub(crate) const PARENT_PATHS_MAX: usize = 16;
/// Layers of a disk: each image file may be a container in a wrapper.
const LAYERS_MAX: usize = 2 * limits::CHAIN_MAX;
/// Kinds of segments that a volume is made up of.
const SEGMENTS_MAX: usize = 16;
/// Bytes of a volume's label.
const LABEL_BYTES_MAX: usize = 1024;

/// Beginnings of extended attributes' names.
const PREFIXES_MAX: usize = 16;

fn head<T>(list: &[T], max: usize) -> &[T] {
    &list[..list.len().min(max)]
}

impl Wire for ParentRef {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.id);
        out.put(&self.alternative_id);
        out.list(head(&self.paths, PARENT_PATHS_MAX));
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<ParentRef> {
        Ok(ParentRef { id: from.get()?, alternative_id: from.get()?, paths: from.list(PARENT_PATHS_MAX)? })
    }
}

impl Wire for LayerInfo {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.source);
        out.put(&self.format);
        out.put(&self.variant);
        out.put(&self.size_bytes);
        out.put(&self.block_bytes);
        out.put(&self.id);
        out.put(&self.parent);
        out.list(head(&self.notes, NOTES_MAX));
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<LayerInfo> {
        Ok(LayerInfo {
            source: from.get()?,
            format: from.get()?,
            variant: from.get()?,
            size_bytes: from.get()?,
            block_bytes: from.get()?,
            id: from.get()?,
            parent: from.get()?,
            notes: from.list(NOTES_MAX)?,
        })
    }
}

impl Wire for Case {
    fn encode(&self, out: &mut Encoder) {
        encode_choice(self, &CASES, out);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Case> {
        decode_choice(&CASES, from)
    }
}

const CASES: [Case; 3] = [Case::Sensitive, Case::Insensitive, Case::PerDirectory];

fn decode_prefixes(from: &mut Decoder<'_>) -> Decoded<Option<Vec<String>>> {
    let is_known = from.get()?;
    let prefixes = from.list(PREFIXES_MAX)?;
    Ok(Some(prefixes).filter(|_| is_known))
}

impl Wire for TreeInfo {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.filesystem);
        out.blob(head(&self.label, LABEL_BYTES_MAX));
        out.put(&self.uuid);
        out.put(&self.case);
        out.put(&self.block_bytes);
        out.put(&self.size_bytes);
        out.put(&self.free_bytes);
        out.put(&self.nodes);
        out.put(&self.free_nodes);
        out.put(&self.xattr_prefixes.is_some());
        out.list(head(self.xattr_prefixes.as_deref().unwrap_or_default(), PREFIXES_MAX));
        out.put(&self.written);
        out.list(head(&self.notes, NOTES_MAX));
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<TreeInfo> {
        Ok(TreeInfo {
            filesystem: from.get()?,
            label: from.blob(LABEL_BYTES_MAX)?.to_vec(),
            uuid: from.get()?,
            case: from.get()?,
            // Presenters divide by it.
            block_bytes: from.get::<u32>()?.max(1),
            size_bytes: from.get()?,
            free_bytes: from.get()?,
            nodes: from.get()?,
            free_nodes: from.get()?,
            xattr_prefixes: decode_prefixes(from)?,
            written: from.get()?,
            notes: from.list(NOTES_MAX)?,
        })
    }
}

/// The name of a directory: what presenters show must be a name.
fn decode_directory(from: &mut Decoder<'_>) -> Decoded<String> {
    let directory: String = from.get()?;
    match Name::new(directory.as_bytes()) {
        Ok(_) => Ok(directory),
        Err(_) => Err(Malformed("a volume whose directory has no name")),
    }
}

impl Wire for AssembledInfo {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.format);
        out.put(&self.group);
        out.put(&self.group_id);
        out.list(head(&self.segments, SEGMENTS_MAX));
        out.list(head(&self.notes, NOTES_MAX));
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<AssembledInfo> {
        Ok(AssembledInfo {
            format: from.get()?,
            group: from.get()?,
            group_id: from.get()?,
            segments: from.list(SEGMENTS_MAX)?,
            notes: from.list(NOTES_MAX)?,
        })
    }
}

impl Wire for OtherDisk {
    fn encode(&self, out: &mut Encoder) {
        out.list(head(&self.layers, LAYERS_MAX));
        out.put(&self.size_bytes);
        out.put(&self.sector_bytes);
        out.put(&self.table);
        out.put(&self.table_id);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<OtherDisk> {
        Ok(OtherDisk {
            layers: from.list(LAYERS_MAX)?,
            size_bytes: from.get()?,
            sector_bytes: from.get()?,
            table: from.get()?,
            table_id: from.get()?,
        })
    }
}

impl Wire for VolumeInfo {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.directory);
        out.put(&self.disk);
        out.put(&self.number);
        out.put(&self.start_bytes);
        out.put(&self.size_bytes);
        out.put(&self.partition_type);
        out.put(&self.name);
        out.put(&self.id);
        out.put(&self.attributes);
        out.put(&self.is_extended);
        out.put(&self.member_of);
        out.put(&self.assembled);
        out.put(&self.filesystem);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<VolumeInfo> {
        Ok(VolumeInfo {
            directory: decode_directory(from)?,
            disk: from.get()?,
            number: from.get()?,
            start_bytes: from.get()?,
            size_bytes: from.get()?,
            partition_type: from.get()?,
            name: from.get()?,
            id: from.get()?,
            attributes: from.get()?,
            is_extended: from.get()?,
            member_of: from.get()?,
            assembled: from.get()?,
            filesystem: from.get()?,
        })
    }
}

impl Wire for DiskInfo {
    fn encode(&self, out: &mut Encoder) {
        out.list(head(&self.layers, LAYERS_MAX));
        out.put(&self.size_bytes);
        out.put(&self.sector_bytes);
        out.put(&self.table);
        out.put(&self.table_id);
        out.list(head(&self.volumes, limits::VOLUMES_MAX));
        out.list(head(&self.notes, NOTES_MAX));
        out.list(head(&self.others, limits::DISKS_MAX));
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<DiskInfo> {
        Ok(DiskInfo {
            layers: from.list(LAYERS_MAX)?,
            size_bytes: from.get()?,
            sector_bytes: from.get()?,
            table: from.get()?,
            table_id: from.get()?,
            volumes: from.list(limits::VOLUMES_MAX)?,
            notes: from.list(NOTES_MAX)?,
            others: from.list(limits::DISKS_MAX)?,
        })
    }
}
