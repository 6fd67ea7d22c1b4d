//! The whole way from image files to trees.

use crate::container::{self, ParentSource};
use crate::guest::{self, Options};
use crate::partition::{self, Partition, Partitions};
use crate::slice::Slice;
use spelunk_tree::{DiskInfo, Error, ReadAt, Result, Tree, VolumeInfo, limits};
use std::sync::Arc;

/// A disk whose volumes are open.
pub struct OpenDisk {
    /// What is known of it.
    pub info: DiskInfo,
    /// One for each of [`DiskInfo::volumes`]: its tree, where it could be opened.
    pub trees: Vec<Option<Arc<dyn Tree>>>,
}

/// Opens an image file, its parents, its partition table and the filesystems of all its volumes. A volume
/// that cannot be opened is listed with the reason.
///
/// # Errors
/// When the disk itself cannot be opened.
pub fn open(file: Arc<dyn ReadAt>, parents: &mut dyn ParentSource, options: &Options) -> Result<OpenDisk> {
    open_at(file, None, parents, options)
}

/// The same for an image as one of the snapshots in it was, as [`container::open_at`].
///
/// # Errors
/// When the disk itself cannot be opened.
pub fn open_at(
    file: Arc<dyn ReadAt>,
    snapshot: Option<&str>,
    parents: &mut dyn ParentSource,
    options: &Options,
) -> Result<OpenDisk> {
    let disk = container::open_at(file, snapshot, parents)?;
    let mut info = DiskInfo {
        layers: disk.layers,
        size_bytes: disk.bytes.size(),
        sector_bytes: disk.sector_bytes.unwrap_or(512),
        table: "none".into(),
        table_id: String::new(),
        volumes: Vec::new(),
        notes: Vec::new(),
    };
    let partitions = match partition::read(&*disk.bytes, disk.sector_bytes)? {
        Some(table) => take_table(&mut info, table),
        None => vec![whole_disk(info.size_bytes)],
    };
    let mut trees = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let (volume, tree) = open_volume(&disk.bytes, partition, options);
        info.volumes.push(volume);
        trees.push(tree);
    }
    Ok(OpenDisk { info, trees })
}

fn take_table(info: &mut DiskInfo, mut table: Partitions) -> Vec<Partition> {
    let too_many = table.partitions.len().saturating_sub(limits::VOLUMES_MAX);
    if too_many > 0 {
        info.notes.push(format!("{too_many} more partitions are not shown"));
        table.partitions.truncate(limits::VOLUMES_MAX);
    }
    info.table = table.table.into();
    info.table_id = table.id;
    info.sector_bytes = table.sector_bytes;
    info.notes.extend(table.notes);
    table.partitions
}

fn whole_disk(size_bytes: u64) -> Partition {
    Partition {
        number: 0,
        start_bytes: 0,
        size_bytes,
        partition_type: String::new(),
        name: String::new(),
        id: String::new(),
        attributes: String::new(),
        is_extended: false,
    }
}

fn open_volume(
    disk: &Arc<dyn ReadAt>,
    partition: Partition,
    options: &Options,
) -> (VolumeInfo, Option<Arc<dyn Tree>>) {
    let opened = if partition.is_extended {
        Err(Error::unsupported("an extended partition holds only other partitions"))
    } else {
        let slice = Slice::new(disk.clone(), partition.start_bytes, partition.size_bytes);
        guest::open(Arc::new(slice), options)
    };
    let (filesystem, tree) = match opened {
        Ok(tree) => (Ok(tree.info().clone()), Some(tree)),
        Err(error) => (Err(error), None),
    };
    let volume = VolumeInfo {
        number: partition.number,
        start_bytes: partition.start_bytes,
        size_bytes: partition.size_bytes,
        partition_type: partition.partition_type,
        name: partition.name,
        id: partition.id,
        attributes: partition.attributes,
        is_extended: partition.is_extended,
        filesystem,
    };
    (volume, tree)
}
