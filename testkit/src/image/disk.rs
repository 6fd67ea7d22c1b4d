//! GPT disks with one partition.

use super::utf8;
use super::volume::Volume;
use crate::loop_device::LoopDevice;
use crate::{Result, cache, tool};
use std::fs::File;
use std::path::PathBuf;

/// Where the partition begins, as partitioning programs put it.
pub const PARTITION_OFFSET: u64 = 1 << 20;

/// Room behind the partition for the table's copy.
const TAIL_BYTES: u64 = 1 << 20;

/// Everything that disks depend on.
const RECIPE: &str = concat!(include_str!("disk.rs"), include_str!("volume.rs"), include_str!("plan.rs"));

/// A raw GPT disk whose only partition is `volume`.
///
/// # Errors
/// Without root, sgdisk, loop devices, or what the volume needs.
pub fn of(volume: Volume) -> Result<PathBuf> {
    cache::get(&format!("{}-gpt.img", volume.name()), RECIPE, |image| {
        File::create(image)?.set_len(PARTITION_OFFSET + volume.bytes() + TAIL_BYTES)?;
        let first = PARTITION_OFFSET / 512;
        let last = (PARTITION_OFFSET + volume.bytes()) / 512 - 1;
        tool::run("sgdisk", ["--new", &format!("1:{first}:{last}"), &utf8(image)?])?;
        let partition = LoopDevice::attach_writable(image, PARTITION_OFFSET, volume.bytes())?;
        volume.make(partition.path())?;
        partition.detach()
    })
}
