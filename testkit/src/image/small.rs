//! A disk that is made in no time, by anybody.

use super::utf8;
use crate::peer::Directory;
use crate::{Result, tool};
use std::fs::File;
use std::path::Path;

/// Writes a small ext4 disk to `image`, without root and without a mount: `hello.txt`, a directory, a
/// link. Everybody may read it.
///
/// # Errors
/// Without mkfs.ext4.
pub fn small_ext4(image: &Path) -> Result<()> {
    let tree = Directory::new()?;
    std::fs::write(tree.path().join("hello.txt"), "Hello from inside the image.\n")?;
    std::fs::create_dir(tree.path().join("directory"))?;
    std::fs::write(tree.path().join("directory/file"), vec![b'x'; 100_000])?;
    std::os::unix::fs::symlink("hello.txt", tree.path().join("link"))?;
    File::create(image)?.set_len(8 << 20)?;
    tool::run("mkfs.ext4", ["-q", "-F", "-d", &utf8(tree.path())?, &utf8(image)?])?;
    Ok(())
}
