//! On which images who competes in what.

use crate::activity::Activity::{self, ListLarge, Open, Pack, Read, Search, Tar, Walk};
use crate::contender::{
    CODEC, CODEC_ON_FILE, Contender, FUSE2FS, GUESTMOUNT, How, KERNEL, NTFS_3G, NTFS_3G_ONE_CORE,
    QEMU_KERNEL, QEMU_NTFS_3G, RESTIC, SPELUNK,
};
use spelunk_testkit::Result;
use spelunk_testkit::image::container::{self, Container};
use spelunk_testkit::image::plan::Guest::{self, Ext4, Ntfs};
use spelunk_testkit::image::repository;
use spelunk_testkit::image::vhdz::Codec;
use spelunk_testkit::image::volume::Contents::{self, Big, Mixed, Small, Vast};
use spelunk_testkit::image::volume::Volume;
use std::path::PathBuf;

/// One image, what is done with it, and by whom.
pub struct Course {
    /// Its name in the report and on the command line.
    pub name: &'static str,
    /// Whether only the full benchmark has it.
    pub is_full: bool,
    guest: Guest,
    contents: Contents,
    container: Container,
    /// What is done.
    pub activities: &'static [Activity],
    /// Who does it, in this order in each round.
    pub contenders: &'static [&'static Contender],
}

/// The images of a course.
pub struct Images {
    /// The filesystem inside.
    pub guest: Guest,
    /// What the image is stored in.
    pub container: Container,
    /// The image.
    pub image: PathBuf,
    /// The same disk as raw image, for those that cannot read the container.
    pub raw: PathBuf,
    /// The same files in a restic repository, when somebody needs it.
    pub repository: Option<PathBuf>,
}

impl Course {
    /// Makes the course's images, if they are not in the cache, for these contenders.
    pub fn images(&self, contenders: &[&Contender]) -> Result<Images> {
        let volume = Volume { guest: self.guest, contents: self.contents };
        let has_restic = contenders.iter().any(|contender| contender.how == How::Restic);
        Ok(Images {
            guest: self.guest,
            container: self.container,
            image: container::of(volume, self.container)?,
            raw: container::of(volume, Container::Raw)?,
            repository: has_restic.then(|| repository::of(volume)).transpose()?,
        })
    }
}

const RAW: Container = Container::Raw;
const VHD: Container = Container::Vhd;
const VHDX: Container = Container::Vhdx;
const ZSTD: Container = Container::Vhdz(Codec::Zstd);
const ZLIB: Container = Container::Vhdz(Codec::Zlib);

type Contenders = &'static [&'static Contender];
const EXT4: Contenders = &[&SPELUNK, &KERNEL];
const EXT4_ALL: Contenders = &[&SPELUNK, &KERNEL, &FUSE2FS, &GUESTMOUNT, &RESTIC];
const EXT4_QEMU: Contenders = &[&SPELUNK, &KERNEL, &QEMU_KERNEL];
const EXT4_CODEC: Contenders = &[&SPELUNK, &KERNEL, &CODEC, &CODEC_ON_FILE];
const NTFS: Contenders = &[&SPELUNK, &NTFS_3G, &NTFS_3G_ONE_CORE];
const NTFS_ALL: Contenders = &[&SPELUNK, &NTFS_3G, &NTFS_3G_ONE_CORE, &GUESTMOUNT];
const NTFS_QEMU: Contenders = &[&SPELUNK, &NTFS_3G, &NTFS_3G_ONE_CORE, &QEMU_NTFS_3G];
const NTFS_CODEC: Contenders = &[&SPELUNK, &NTFS_3G, &NTFS_3G_ONE_CORE, &CODEC, &CODEC_ON_FILE];

const TREE: &[Activity] = &[Open, Walk, ListLarge, Tar, Search];
const FILE: &[Activity] = &[Open, Read];
const SIZE: &[Activity] = &[Open, Walk, Search];

/// All courses.
#[rustfmt::skip]
pub static COURSES: &[Course] = &[
    quick("ext4-raw",           Ext4, Mixed, RAW,  TREE, EXT4_ALL),
    quick("ntfs-raw",           Ntfs, Mixed, RAW,  TREE, NTFS_ALL),
    quick("ext4-big-raw",       Ext4, Big,   RAW,  FILE, EXT4),
    quick("ext4-big-vhd",       Ext4, Big,   VHD,  FILE, EXT4_QEMU),
    quick("ext4-big-vhdx",      Ext4, Big,   VHDX, FILE, EXT4_QEMU),
    quick("ext4-big-vhdz-zstd", Ext4, Big,   ZSTD, FILE, EXT4_CODEC),
    quick("ext4-zip",           Ext4, Mixed, RAW,  &[Pack], EXT4),
    quick("ext4-big-zip",       Ext4, Big,   RAW,  &[Pack], EXT4),
    quick("ext4-2tb",           Ext4, Vast,  RAW,  &[Open], EXT4),
    quick("ntfs-2tb",           Ntfs, Vast,  RAW,  &[Open], NTFS),

    full("ext4-vhd",            Ext4, Mixed, VHD,  TREE, EXT4_QEMU),
    full("ext4-vhdx",           Ext4, Mixed, VHDX, TREE, EXT4_QEMU),
    full("ext4-vhdz-zstd",      Ext4, Mixed, ZSTD, TREE, EXT4),
    full("ext4-vhdz-zlib",      Ext4, Mixed, ZLIB, TREE, EXT4),
    full("ntfs-vhd",            Ntfs, Mixed, VHD,  TREE, NTFS_QEMU),
    full("ntfs-vhdx",           Ntfs, Mixed, VHDX, TREE, NTFS_QEMU),
    full("ntfs-vhdz-zstd",      Ntfs, Mixed, ZSTD, TREE, NTFS),
    full("ntfs-vhdz-zlib",      Ntfs, Mixed, ZLIB, TREE, NTFS),
    full("ext4-big-vhdz-zlib",  Ext4, Big,   ZLIB, FILE, EXT4_CODEC),
    full("ntfs-big-raw",        Ntfs, Big,   RAW,  FILE, NTFS),
    full("ntfs-big-vhd",        Ntfs, Big,   VHD,  FILE, NTFS_QEMU),
    full("ntfs-big-vhdx",       Ntfs, Big,   VHDX, FILE, NTFS_QEMU),
    full("ntfs-big-vhdz-zstd",  Ntfs, Big,   ZSTD, FILE, NTFS_CODEC),
    full("ntfs-big-vhdz-zlib",  Ntfs, Big,   ZLIB, FILE, NTFS_CODEC),
    full("ext4-10k",            Ext4, Small(10_000),    RAW, SIZE, EXT4),
    full("ext4-100k",           Ext4, Small(100_000),   RAW, SIZE, EXT4),
    full("ext4-1m",             Ext4, Small(1_000_000), RAW, SIZE, EXT4),
    full("ntfs-10k",            Ntfs, Small(10_000),    RAW, SIZE, NTFS),
    full("ntfs-100k",           Ntfs, Small(100_000),   RAW, SIZE, NTFS),
    full("ntfs-1m",             Ntfs, Small(1_000_000), RAW, SIZE, NTFS),
];

const fn quick(
    name: &'static str,
    guest: Guest,
    contents: Contents,
    container: Container,
    activities: &'static [Activity],
    contenders: Contenders,
) -> Course {
    Course { name, is_full: false, guest, contents, container, activities, contenders }
}

const fn full(
    name: &'static str,
    guest: Guest,
    contents: Contents,
    container: Container,
    activities: &'static [Activity],
    contenders: Contenders,
) -> Course {
    Course { is_full: true, ..quick(name, guest, contents, container, activities, contenders) }
}
