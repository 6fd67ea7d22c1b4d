//! Who competes.

/// A way to look into an image.
pub struct Contender {
    /// Its name in the report.
    pub name: &'static str,
    /// How it gets at the files.
    pub how: How,
    /// What must be installed.
    pub programs: &'static [&'static str],
    /// The processes that serve its mounts, by the names of their executables.
    pub servers: &'static [&'static str],
    /// Servers and clients share one core: faster for a daemon that handles one request at a time.
    pub one_core: bool,
    /// How often it is measured.
    pub when: When,
}

/// How files are got at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `spelunk mount` of the image.
    Spelunk,
    /// The kernel's own driver on a loop device over the raw disk.
    Kernel,
    /// ntfs-3g on a loop device over the raw disk.
    Ntfs3g,
    /// fuse2fs on the raw disk.
    Fuse2fs,
    /// guestmount of the image, without KVM.
    Guestmount,
    /// qemu-storage-daemon shows the image as a raw file; the kernel or ntfs-3g mounts that.
    Qemu,
    /// `restic mount` of a backup of the same files.
    Restic,
    /// No mount: two threads unpack the blocks of a VHDZ, from memory to memory.
    Codec,
    /// The same, from the file to memory.
    CodecOnFile,
}

/// How often a contender is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every round.
    Always,
    /// In every round of the full benchmark.
    Full,
    /// Once, in the full benchmark: it is slow beyond doubt.
    Once,
}

/// The program under test.
pub static SPELUNK: Contender = Contender {
    name: "spelunk",
    how: How::Spelunk,
    programs: &[],
    servers: &["spelunk"],
    one_core: false,
    when: When::Always,
};

/// The kernel.
pub static KERNEL: Contender = Contender {
    name: "kernel",
    how: How::Kernel,
    programs: &["mount"],
    servers: &[],
    one_core: false,
    when: When::Always,
};

/// ntfs-3g as a user would start it.
pub static NTFS_3G: Contender = Contender {
    name: "ntfs-3g",
    how: How::Ntfs3g,
    programs: &["ntfs-3g", "losetup"],
    servers: &["ntfs-3g"],
    one_core: false,
    when: When::Always,
};

/// ntfs-3g with daemon and client on one core.
pub static NTFS_3G_ONE_CORE: Contender = Contender {
    name: "ntfs-3g, one core",
    how: How::Ntfs3g,
    programs: &["ntfs-3g", "losetup", "taskset"],
    servers: &["ntfs-3g"],
    one_core: true,
    when: When::Always,
};

/// ext4 through FUSE, by the makers of mkfs.ext4.
pub static FUSE2FS: Contender = Contender {
    name: "fuse2fs",
    how: How::Fuse2fs,
    programs: &["fuse2fs"],
    servers: &["fuse2fs"],
    one_core: false,
    when: When::Full,
};

/// A small virtual machine that mounts the image: the isolation that people have today.
pub static GUESTMOUNT: Contender = Contender {
    name: "guestmount, no KVM",
    how: How::Guestmount,
    programs: &["guestmount"],
    servers: &["guestmount", "qemu-system-x86_64"],
    one_core: false,
    when: When::Once,
};

/// qemu's reader of containers below the kernel's driver.
pub static QEMU_KERNEL: Contender = Contender {
    name: "qemu-storage-daemon + kernel",
    how: How::Qemu,
    programs: &["qemu-storage-daemon", "mount"],
    servers: &["qemu-storage-daemon"],
    one_core: false,
    when: When::Full,
};

/// qemu's reader of containers below ntfs-3g.
pub static QEMU_NTFS_3G: Contender = Contender {
    name: "qemu-storage-daemon + ntfs-3g",
    how: How::Qemu,
    programs: &["qemu-storage-daemon", "ntfs-3g", "losetup"],
    servers: &["qemu-storage-daemon", "ntfs-3g"],
    one_core: false,
    when: When::Full,
};

/// A backup program's mount: what people are used to.
pub static RESTIC: Contender = Contender {
    name: "restic mount",
    how: How::Restic,
    programs: &["restic"],
    servers: &["restic"],
    one_core: false,
    when: When::Full,
};

/// What two cores can unpack.
pub static CODEC: Contender = Contender {
    name: "codec on two cores",
    how: How::Codec,
    programs: &[],
    servers: &[],
    one_core: false,
    when: When::Always,
};

/// What two cores can read and unpack.
pub static CODEC_ON_FILE: Contender = Contender {
    name: "codec on two cores, from the file",
    how: How::CodecOnFile,
    programs: &[],
    servers: &[],
    one_core: false,
    when: When::Always,
};
