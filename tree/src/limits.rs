//! Limits that hold for every tree, whoever made it. Limits of one format stand with the format.

/// Bytes of a [`crate::Name`]: FUSE's own limit; NTFS needs at most 765 (255 units of three bytes).
pub const NAME_BYTES_MAX: usize = 1024;

/// Bytes of a symbolic link's target: Linux's PATH_MAX, and above what ext (4096) and NTFS's 16 KiB
/// reparse buffers (UTF-16, so up to three bytes for two) can hold.
pub const LINK_TARGET_BYTES_MAX: usize = 24 * 1024;

/// Entries that one page of a listing may hold.
pub const PAGE_ENTRIES_MAX: usize = 4096;

/// Bytes of one extended attribute's full name: Linux's XATTR_NAME_MAX is 255 and NTFS stream names need
/// up to 765 behind `user.`.
pub const XATTR_NAME_BYTES_MAX: usize = 1024;

/// Bytes of one extended attribute's value: Linux's XATTR_SIZE_MAX.
pub const XATTR_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Extended attributes of one node.
pub const XATTRS_MAX: usize = 4096;

/// Bytes of all extended attributes of one node, names and values.
pub const XATTRS_BYTES_MAX: usize = 512 * 1024;

/// Named streams of one node.
pub const STREAMS_MAX: usize = 4096;

/// Image files in one chain: a year of daily incrementals on one full image, and some.
pub const CHAIN_MAX: usize = 512;

/// Disks that are opened together: what a RAID array or a volume group of a server is spread over. Their image files and
/// parents together are at most [`CHAIN_MAX`].
pub const DISKS_MAX: usize = 64;

/// Volumes on one disk, and parts of any composition: their numbers go into the eight bits above a node id,
/// where 0 is the composition itself and 255 is left to presenters for ids of their own.
pub const VOLUMES_MAX: usize = 254;

/// Levels of directories that a recursive walk descends: no path longer than Linux's PATH_MAX has more.
pub const DEPTH_MAX: usize = 2048;
