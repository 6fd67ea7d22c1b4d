//! Several disks at once.

use crate::images::FileImage;
use spelunk_formats::assembly::{ASSEMBLIES, Assembled, Member};
use spelunk_formats::container::ParentSource;
use spelunk_formats::disk::{self, OpenDisk};
use spelunk_formats::guest::Options;
use spelunk_testkit::assemblies;
use spelunk_tree::{ParentRef, Place, ReadAt, Result, Run, VolumeInfo};
use std::sync::Arc;

/// An image that is one of several.
pub struct Numbered<I> {
    pub image: I,
    pub source: u32,
}

impl<I: ReadAt> ReadAt for Numbered<I> {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.image.read_at(offset, buffer)
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        let first = runs.len();
        self.image.runs(offset, len, runs)?;
        for run in &mut runs[first..] {
            if let Place::At { source, .. } = &mut run.place {
                *source = self.source;
            }
        }
        Ok(())
    }
}

/// The disks behind the first one.
pub struct Others(pub Vec<Arc<dyn ReadAt>>);

impl ParentSource for Others {
    fn next_candidate(&mut self, _: u32, _: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>> {
        Ok(None)
    }

    fn next_disk(&mut self, _: u32) -> Result<Option<Arc<dyn ReadAt>>> {
        Ok(if self.0.is_empty() { None } else { Some(self.0.remove(0)) })
    }
}

/// Disks out of the fixtures.
pub fn disks(names: &[&str]) -> Vec<Arc<dyn ReadAt>> {
    let directory = assemblies::directory().unwrap();
    let open = |(number, name): (usize, &&str)| {
        let image = FileImage::open(&directory.join(format!("{name}.img")));
        Arc::new(Numbered { image, source: number as u32 }) as Arc<dyn ReadAt>
    };
    names.iter().enumerate().map(open).collect()
}

/// Opens disks together.
pub fn open(mut disks: Vec<Arc<dyn ReadAt>>) -> OpenDisk {
    let first = disks.remove(0);
    disk::open(first, &mut Others(disks), &Options::default()).unwrap()
}

/// The volume with this directory.
pub fn volume<'a>(disk: &'a OpenDisk, directory: &str) -> &'a VolumeInfo {
    let found = disk.info.volumes.iter().find(|volume| volume.directory == directory);
    found.unwrap_or_else(|| panic!("no {directory}: {:#?}", disk.info))
}

/// Puts whole disks together.
pub fn assemble(kind: &str, disks: &[Arc<dyn ReadAt>]) -> Assembled {
    let member = |(number, bytes): (usize, &Arc<dyn ReadAt>)| Member {
        name: format!("disk {number}"),
        bytes: bytes.clone(),
    };
    let assembly = ASSEMBLIES.iter().find(|assembly| assembly.name == kind).unwrap();
    (assembly.assemble)(disks.iter().enumerate().map(member).collect())
}
