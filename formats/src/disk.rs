//! The whole way from image files to trees.

use crate::assembly::{self, ASSEMBLIES, Assembly, Device, Member};
use crate::bytes::index;
use crate::container::{self, ParentSource};
use crate::guest::{self, Options};
use crate::partition::{self, Partition, Partitions};
use crate::slice::Slice;
use spelunk_tree::{AssembledInfo, DiskInfo, Error, OtherDisk, ReadAt, Result, Tree, VolumeInfo, limits};
use std::collections::HashSet;
use std::sync::Arc;

/// Arrays and volume groups on one another: LVM on RAID has two, and a guest that uses its own on one of its host's four.
const ROUNDS_MAX: usize = 6;

/// A disk, or several that were opened together, whose volumes are open.
pub struct OpenDisk {
    /// What is known of it.
    pub info: DiskInfo,
    /// One for each of [`DiskInfo::volumes`]: its tree, where it could be opened.
    pub trees: Vec<Option<Arc<dyn Tree>>>,
}

/// Opens an image file, its parents, and the other disks that `images` has; their partition tables, what lies on several
/// volumes, and the filesystems of all. A volume that cannot be opened is listed with the reason.
///
/// # Errors
/// When a disk itself cannot be opened.
pub fn open(file: Arc<dyn ReadAt>, images: &mut dyn ParentSource, options: &Options) -> Result<OpenDisk> {
    open_at(file, None, images, options)
}

/// The same for an image as one of the snapshots in it was, as [`container::open_at`].
///
/// # Errors
/// When a disk itself cannot be opened.
pub fn open_at(
    file: Arc<dyn ReadAt>,
    snapshot: Option<&str>,
    images: &mut dyn ParentSource,
    options: &Options,
) -> Result<OpenDisk> {
    let context = container::Context::new();
    let disk = container::open_from(file, 0, snapshot, &context, images)?;
    let mut last = disk.last_source;
    let mut volumes = Volumes::default();
    let mut info = volumes.disk(0, disk)?;
    loop {
        let first = last.saturating_add(1);
        let Some(file) = images.next_disk(first)? else { break };
        let number = info.others.len().saturating_add(1);
        if number >= limits::DISKS_MAX || index(first)? >= limits::CHAIN_MAX {
            return Err(Error::limit(format!("more than {} disks", limits::DISKS_MAX)));
        }
        let disk = container::open_from(file, first, None, &context, images);
        let disk =
            disk.map_err(|error| error.context(format!("opening disk {}", number.saturating_add(1))))?;
        last = disk.last_source;
        let other = volumes.disk(u32::try_from(number).unwrap_or(u32::MAX), disk)?;
        info.notes.extend(other.notes);
        info.others.push(OtherDisk {
            layers: other.layers,
            size_bytes: other.size_bytes,
            sector_bytes: other.sector_bytes,
            table: other.table,
            table_id: other.table_id,
        });
    }
    volumes.assemble();
    volumes.open(info, options)
}

/// Volumes that are found, one after the other.
#[derive(Default)]
struct Volumes {
    all: Vec<Volume>,
    /// The directories that are taken.
    names: HashSet<String>,
    /// Volumes that are not shown, since there are too many.
    surplus: usize,
    notes: Vec<String>,
}

/// A volume before it is opened.
struct Volume {
    info: VolumeInfo,
    content: Result<Arc<dyn ReadAt>>,
    /// What it is a member of, until that was put together.
    waits_for: Option<&'static Assembly>,
}

impl Volumes {
    /// Adds the volumes of a disk.
    fn disk(&mut self, number: u32, disk: container::Disk) -> Result<DiskInfo> {
        let mut info = DiskInfo {
            layers: disk.layers,
            size_bytes: disk.bytes.size(),
            sector_bytes: disk.sector_bytes.unwrap_or(512),
            table: "none".into(),
            table_id: String::new(),
            volumes: Vec::new(),
            notes: Vec::new(),
            others: Vec::new(),
        };
        let table = partition::read(&*disk.bytes, disk.sector_bytes)?;
        match table.filter(|table| !is_inside_array(&*disk.bytes, table)) {
            Some(table) => self.table(&disk.bytes, table, number, &mut info),
            None => self.add(whole_disk(number, info.size_bytes), Ok(disk.bytes)),
        }
        Ok(info)
    }

    fn table(&mut self, disk: &Arc<dyn ReadAt>, table: Partitions, number: u32, info: &mut DiskInfo) {
        info.table = table.table.into();
        info.table_id = table.id;
        info.sector_bytes = table.sector_bytes;
        info.notes.extend(table.notes);
        for partition in table.partitions {
            let slice = Slice::new(disk.clone(), partition.start_bytes, partition.size_bytes);
            let directory = VolumeInfo::partition_directory(number, partition.number);
            self.add(of_partition(partition, directory, number), Ok(Arc::new(slice)));
        }
    }

    fn add(&mut self, mut info: VolumeInfo, content: Result<Arc<dyn ReadAt>>) {
        if self.all.len() >= limits::VOLUMES_MAX {
            self.surplus = self.surplus.saturating_add(1);
            return;
        }
        let wanted = info.directory.clone();
        let mut another: usize = 2;
        while !self.names.insert(info.directory.clone()) {
            info.directory = format!("{wanted}~{another}");
            another = another.saturating_add(1);
        }
        let recognised = match &content {
            Ok(bytes) if !info.is_extended => assembly::recognise(&**bytes),
            _ => Ok(None),
        };
        let (content, waits_for) = match recognised {
            // What is no more there than that is for the guest to say.
            Err(error) if error.kind() != spelunk_tree::ErrorKind::Corrupt => (Err(error), None),
            recognised => (content, recognised.ok().flatten().map(|(assembly, _)| assembly)),
        };
        self.all.push(Volume { info, content, waits_for });
    }

    /// Puts together what lies on several volumes, until there is nothing more.
    fn assemble(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let is_waited_for = |assembly: &&Assembly| {
                self.all
                    .iter()
                    .any(|it| it.waits_for.is_some_and(|waits_for| waits_for.name == assembly.name))
            };
            let Some(assembly) = ASSEMBLIES.iter().find(is_waited_for) else { return };
            self.put_together(assembly);
        }
        for volume in self.all.iter_mut().filter(|volume| volume.waits_for.is_some()) {
            volume.content =
                Err(Error::limit(format!("more than {ROUNDS_MAX} arrays or volume groups on one another")));
        }
    }

    fn put_together(&mut self, assembly: &Assembly) {
        let is_meant = |volume: &&mut Volume| volume.waits_for.is_some_and(|it| it.name == assembly.name);
        let mut members = Vec::new();
        for volume in self.all.iter_mut().filter(is_meant) {
            if let Ok(bytes) = &volume.content {
                members.push(Member { name: volume.info.directory.clone(), bytes: bytes.clone() });
            }
        }
        let assembled = (assembly.assemble)(members);
        for (volume, of) in self.all.iter_mut().filter(is_meant).zip(assembled.member_of) {
            volume.waits_for = None;
            match of {
                Ok(of) => volume.info.member_of = format!("{} member of {of}", assembly.name),
                Err(error) => volume.content = Err(error),
            }
        }
        self.notes.extend(assembled.notes);
        for device in assembled.devices {
            self.device(assembly, device);
        }
    }

    /// Adds an array or a logical volume, and the partitions in it.
    fn device(&mut self, assembly: &Assembly, device: Device) {
        let mut info = of_device(assembly, &device);
        let table = device.content.as_ref().ok().and_then(|bytes| match assembly::recognise(&**bytes) {
            Ok(None) => partition::read(&**bytes, None).ok().flatten(),
            _ => None,
        });
        info.is_extended = table.is_some();
        let directory = info.directory.clone();
        self.add(info, device.content.clone());
        let (Some(table), Ok(bytes)) = (table, device.content) else { return };
        self.notes.extend(table.notes.into_iter().map(|note| format!("{directory}: {note}")));
        for partition in table.partitions {
            let slice = Slice::new(bytes.clone(), partition.start_bytes, partition.size_bytes);
            let directory = format!("{directory}p{}", partition.number);
            self.add(of_partition(partition, directory, 0), Ok(Arc::new(slice)));
        }
    }

    /// Opens the guests in all that is no member of anything.
    fn open(self, mut info: DiskInfo, options: &Options) -> Result<OpenDisk> {
        info.notes.extend(self.notes);
        if self.surplus > 0 {
            let has_devices = self.all.iter().any(|volume| volume.info.assembled.is_some());
            let what = if has_devices { "volumes" } else { "partitions" };
            info.notes.push(format!("{} more {what} are not shown", self.surplus));
        }
        let mut trees = Vec::with_capacity(self.all.len());
        for Volume { info: mut volume, content, .. } in self.all {
            let opened = match content {
                Ok(_) if volume.is_extended => Err(Error::unsupported("it holds only other partitions")),
                Ok(_) if !volume.member_of.is_empty() => {
                    Err(Error::unsupported(format!("no filesystem of its own: {}", volume.member_of)))
                }
                content => content.and_then(|bytes| guest::open(bytes, options)),
            };
            let (filesystem, tree) = match opened {
                Ok(tree) => (Ok(tree.info().clone()), Some(tree)),
                Err(error) => (Err(error), None),
            };
            volume.filesystem = filesystem;
            info.volumes.push(volume);
            trees.push(tree);
        }
        Ok(OpenDisk { info, trees })
    }
}

/// Whether a whole disk is a member of an array that the table belongs to: then its superblock stands behind all
/// partitions. One that stands before them is left over from earlier, and one in a partition is that partition's.
fn is_inside_array(disk: &dyn ReadAt, table: &Partitions) -> bool {
    let end = |partition: &Partition| partition.start_bytes.saturating_add(partition.size_bytes);
    let end = table.partitions.iter().map(end).max().unwrap_or(0);
    matches!(assembly::recognise(disk), Ok(Some((_, position))) if position >= end)
}

fn whole_disk(disk: u32, size_bytes: u64) -> VolumeInfo {
    VolumeInfo {
        directory: VolumeInfo::partition_directory(disk, 0),
        disk,
        number: 0,
        start_bytes: 0,
        size_bytes,
        partition_type: String::new(),
        name: String::new(),
        id: String::new(),
        attributes: String::new(),
        is_extended: false,
        member_of: String::new(),
        assembled: None,
        filesystem: not_opened(),
    }
}

fn of_partition(partition: Partition, directory: String, disk: u32) -> VolumeInfo {
    VolumeInfo {
        directory,
        number: partition.number,
        start_bytes: partition.start_bytes,
        partition_type: partition.partition_type,
        name: partition.name,
        id: partition.id,
        attributes: partition.attributes,
        is_extended: partition.is_extended,
        ..whole_disk(disk, partition.size_bytes)
    }
}

fn of_device(assembly: &Assembly, device: &Device) -> VolumeInfo {
    let (group, group_id) = device.group.clone();
    VolumeInfo {
        directory: device.directory.clone(),
        name: device.name.clone(),
        id: device.id.clone(),
        assembled: Some(AssembledInfo {
            format: assembly.name.into(),
            group,
            group_id,
            segments: device.segments.clone(),
            notes: device.notes.clone(),
        }),
        ..whole_disk(0, device.size_bytes)
    }
}

fn not_opened() -> Result<spelunk_tree::TreeInfo> {
    Err(Error::internal("a volume that was not opened"))
}
