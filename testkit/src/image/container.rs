//! Disks in containers: what the program reads of them must be the raw disk's bytes.

use super::vhdz::{self, Codec};
use super::volume::Volume;
use super::{disk, utf8};
use crate::{Result, cache, tool};
use std::path::PathBuf;

/// How a disk is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Byte for byte.
    Raw,
    /// A dynamic VHD by qemu-img.
    Vhd,
    /// A dynamic VHDX by qemu-img.
    Vhdx,
    /// The dynamic VHD in UrBackup's compressed container.
    Vhdz(Codec),
}

/// The GPT disk of `volume`, in `container`.
///
/// # Errors
/// As for the disk, and without qemu-img.
pub fn of(volume: Volume, container: Container) -> Result<PathBuf> {
    match container {
        Container::Raw => disk::of(volume),
        // Without force_size, qemu-img rounds the disk up to whole cylinders.
        Container::Vhd => convert(volume, "vhd", "vpc", "subformat=dynamic,force_size=on"),
        Container::Vhdx => convert(volume, "vhdx", "vhdx", "subformat=dynamic"),
        Container::Vhdz(codec) => {
            let vhd = of(volume, Container::Vhd)?;
            let name = format!("{}-{}.vhdz", volume.name(), codec.name());
            let recipe = format!("{}{}", utf8(&vhd)?, include_str!("vhdz.rs"));
            cache::get(&name, &recipe, |image| vhdz::write(&vhd, image, codec))
        }
    }
}

fn convert(volume: Volume, extension: &str, format: &str, options: &str) -> Result<PathBuf> {
    let raw = utf8(&disk::of(volume)?)?;
    let recipe = format!("{raw}{format}{options}");
    cache::get(&format!("{}.{extension}", volume.name()), &recipe, |image| {
        let image = utf8(image)?;
        tool::run("qemu-img", ["convert", "-f", "raw", "-O", format, "-o", options, &raw, &image])?;
        Ok(())
    })
}
