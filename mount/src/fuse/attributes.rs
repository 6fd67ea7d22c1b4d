//! Attributes as the kernel wants them.

use super::inode::Inode;
use super::library_nodes::LibraryNodes;
use super::options::Options;
use fuser::{FileAttr, FileType, INodeNo};
use spelunk_tree::{Attr, Device, Error, Kind, NodeId, Result, Time, TreeInfo};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;
/// Preferred sizes of reads that users are told, whatever the guest says: programs make buffers of it.
const READ_BYTES: std::ops::RangeInclusive<u32> = 512..=1024 * 1024;

/// How attributes are shown: where the guest says nothing, and where the user wants it otherwise.
pub(super) struct View {
    root: NodeId,
    library: LibraryNodes,
    read_bytes: u32,
    /// Owner and group where the guest has none: whoever mounts.
    mounter: (u32, u32),
    uid: Option<u32>,
    gid: Option<u32>,
    file_mask: Option<u32>,
    directory_mask: Option<u32>,
}

impl View {
    pub(super) fn new(tree: &TreeInfo, root: NodeId, options: &Options) -> View {
        View {
            root,
            library: LibraryNodes::default(),
            read_bytes: tree.block_bytes.clamp(*READ_BYTES.start(), *READ_BYTES.end()),
            mounter: (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
            uid: options.uid,
            gid: options.gid,
            file_mask: options.file_mask.or(options.mask),
            directory_mask: options.directory_mask.or(options.mask),
        }
    }

    /// What the kernel calls the inode.
    pub(super) fn number(&self, inode: Inode) -> INodeNo {
        let inode = match inode {
            Inode::Node(node) if node.tree() != 0 => Inode::OfLibrary(self.library.number(node)),
            _ => inode,
        };
        INodeNo(inode.number(self.root))
    }

    /// What the kernel means by a number.
    ///
    /// # Errors
    /// For a number that it was not told, or has forgotten.
    pub(super) fn inode(&self, ino: INodeNo) -> Result<Inode> {
        match Inode::of_number(ino.0, self.root)? {
            Inode::OfLibrary(number) => self.library.get(number).map(Inode::Node),
            inode => Ok(inode),
        }
    }

    /// The kernel will remember this number, and say when it has forgotten it.
    pub(super) fn look_up(&self, ino: INodeNo) {
        if let Ok(Inode::OfLibrary(number)) = Inode::of_number(ino.0, self.root) {
            self.library.look_up(number);
        }
    }

    /// The kernel has forgotten so many lookups of this number.
    pub(super) fn forget(&self, ino: INodeNo, lookups: u64) {
        if let Ok(Inode::OfLibrary(number)) = Inode::of_number(ino.0, self.root) {
            self.library.forget(number, lookups);
        }
    }

    /// The attributes of `inode`.
    ///
    /// # Errors
    /// `Limit` for what the kernel cannot hold: a size over 2^63 - 1, a large device number.
    pub(super) fn show(&self, inode: Inode, attr: &Attr) -> Result<FileAttr> {
        if i64::try_from(attr.size).is_err() {
            return Err(Error::limit(format!("a size of {} bytes", attr.size)));
        }
        let modified = attr.modified.or(attr.changed).map_or(UNIX_EPOCH, system_time);
        Ok(FileAttr {
            ino: self.number(inode),
            size: attr.size,
            blocks: attr.allocated.unwrap_or(attr.size).div_ceil(BLOCK_BYTES),
            atime: attr.accessed.map_or(modified, system_time),
            mtime: modified,
            ctime: attr.changed.map_or(modified, system_time),
            crtime: attr.created.map_or(modified, system_time),
            kind: file_type(attr.kind),
            perm: self.permissions(attr),
            nlink: attr.links.unwrap_or(1),
            uid: self.uid.or(attr.uid).unwrap_or(self.mounter.0),
            gid: self.gid.or(attr.gid).unwrap_or(self.mounter.1),
            rdev: attr.device.map_or(Ok(0), device_number)?,
            blksize: self.read_bytes,
            flags: 0,
        })
    }

    /// What stands in a listing where there are no attributes: only the number and the type are looked at.
    pub(super) fn bare(&self, ino: INodeNo, kind: FileType) -> FileAttr {
        FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0,
            nlink: 1,
            uid: self.mounter.0,
            gid: self.mounter.1,
            rdev: 0,
            blksize: self.read_bytes,
            flags: 0,
        }
    }

    /// The user's masks come before the guest's modes; where there are neither, everything is allowed.
    fn permissions(&self, attr: &Attr) -> u16 {
        let mask = match attr.kind {
            Kind::Symlink => None,
            Kind::Directory => self.directory_mask,
            _ => self.file_mask,
        };
        let mode = match mask {
            Some(mask) => 0o777 & !mask,
            None => attr.mode.unwrap_or(0o777),
        };
        u16::try_from(mode & 0o7777).unwrap_or(0)
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// FUSE passes device numbers in 32 bits: 12 of the major number between 8 and 12 of the minor one.
fn device_number(device: Device) -> Result<u32> {
    if device.major > 0xFFF || device.minor > 0xF_FFFF {
        return Err(Error::limit(format!("a device number of {}:{}", device.major, device.minor)));
    }
    Ok((device.minor & 0xFF) | (device.major << 8) | ((device.minor & !0xFF) << 12))
}

fn system_time(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.seconds().unsigned_abs());
    let whole =
        if time.seconds() < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    // Linux's SystemTime holds every i64 of seconds.
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(u64::from(time.nanoseconds()))))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::ErrorKind;

    fn view(options: &str) -> View {
        let tree = TreeInfo { block_bytes: 1 << 31, ..TreeInfo::new("test") };
        View::new(&tree, NodeId::new(2).unwrap(), &Options::parse([options]).unwrap())
    }

    fn shown(options: &str, attr: &Attr) -> Result<FileAttr> {
        view(options).show(Inode::Node(NodeId::new(12).unwrap()), attr)
    }

    #[test]
    fn modes_come_from_the_guest_then_from_masks_then_are_open() {
        let bare = Attr::new(Kind::File);
        let guests = Attr { mode: Some(0o4640), ..Attr::new(Kind::File) };

        assert_eq!(shown("ro", &guests).unwrap().perm, 0o4640);
        assert_eq!(shown("ro", &bare).unwrap().perm, 0o777);
        assert_eq!(shown("umask=022,fmask=137", &bare).unwrap().perm, 0o640);
        assert_eq!(shown("umask=022,fmask=137", &Attr::new(Kind::Directory)).unwrap().perm, 0o755);
        assert_eq!(shown("umask=077", &Attr::new(Kind::Symlink)).unwrap().perm, 0o777);
    }

    #[test]
    fn owners_come_from_options_then_from_the_guest() {
        let guests = Attr { uid: Some(7), gid: Some(8), ..Attr::new(Kind::File) };

        let attr = shown("uid=1000", &guests).unwrap();

        assert_eq!((attr.uid, attr.gid), (1000, 8));
    }

    #[test]
    fn sizes_and_devices_that_the_kernel_cannot_hold_are_errors() {
        let huge = Attr { size: 1 << 63, ..Attr::new(Kind::File) };
        let device = Attr { device: Some(Device { major: 4096, minor: 0 }), ..Attr::new(Kind::BlockDevice) };

        assert_eq!(shown("ro", &huge).map_err(|e| e.kind()), Err(ErrorKind::Limit));
        assert_eq!(shown("ro", &device).map_err(|e| e.kind()), Err(ErrorKind::Limit));
    }

    #[test]
    fn device_numbers_are_packed_as_the_kernel_unpacks_them() {
        assert_eq!(device_number(Device { major: 8, minor: 1 }), Ok(0x801));
        assert_eq!(device_number(Device { major: 0xABC, minor: 0x12345 }), Ok(0x123A_BC45));
    }

    #[test]
    fn times_of_all_centuries_convert_without_loss() {
        for (seconds, nanoseconds) in [(-1, 999_999_999), (0, 0), (i64::MIN, 1), (i64::MAX, 999_999_999)] {
            let shown = system_time(Time::new(seconds, nanoseconds).unwrap());
            let whole = Duration::from_secs(seconds.unsigned_abs());
            let whole = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
            assert_eq!(shown, whole + Duration::from_nanos(u64::from(nanoseconds)));
        }
    }

    #[test]
    fn an_absurd_block_size_of_the_guest_is_not_passed_on() {
        assert_eq!(shown("ro", &Attr::new(Kind::File)).unwrap().blksize, 1024 * 1024);
    }
}
