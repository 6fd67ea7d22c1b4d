//! The file allocation table: from one cluster to the next.
//!
//! fatgen103, "FAT Data Structure"; exFAT specification, section 4.1.

use super::{Layout, Width};
use crate::bytes::{add, index, le_u16, le_u32};
use spelunk_tree::{Error, ReadAt, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are read at a time. A whole FAT12 table fits, so no entry of 12 bits lies across pages.
const PAGE_BYTES: u64 = 64 * 1024;
/// Pages that are kept: 4 MiB, the table of a 4 GiB volume with clusters of 4 KiB.
const PAGES_MAX: usize = 64;

/// What the table says follows a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Another cluster.
    Next(u32),
    /// Nothing: it is the last.
    End,
    /// What no cluster in use has: it is free, bad, or leads out of the volume.
    Broken(u32),
}

/// A page of the table, by its number.
type Page = (u64, Arc<[u8]>);

/// The table, with the pages that were read last.
pub struct Table {
    volume: Arc<dyn ReadAt>,
    layout: Layout,
    pages: Mutex<Vec<Option<Page>>>,
}

/// Follows links, and holds the page that it is on: chains seldom leave it.
pub struct Walker<'a> {
    table: &'a Table,
    page: Option<Page>,
}

impl Table {
    /// The table of a volume of this layout.
    pub fn new(volume: Arc<dyn ReadAt>, layout: Layout) -> Table {
        Table { volume, layout, pages: Mutex::new(vec![None; PAGES_MAX]) }
    }

    /// The volume's layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Something that follows links in it.
    pub fn walker(&self) -> Walker<'_> {
        Walker { table: self, page: None }
    }

    fn page(&self, number: u64) -> Result<Page> {
        let slot = usize::try_from(number).unwrap_or(0).checked_rem(PAGES_MAX).unwrap_or(0);
        let cached = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(slot).cloned().flatten();
        if let Some(page) = cached.filter(|page| page.0 == number) {
            return Ok(page);
        }
        let start = number.saturating_mul(PAGE_BYTES);
        let len = self.layout.fat_bytes.saturating_sub(start).min(PAGE_BYTES);
        let mut bytes = vec![0; index(len)?];
        self.volume.read_at(add(self.layout.fat_offset, start)?, &mut bytes)?;
        let page: Page = (number, bytes.into());
        if let Some(kept) = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get_mut(slot) {
            *kept = Some(page.clone());
        }
        Ok(page)
    }
}

impl Walker<'_> {
    /// What follows `cluster`, which must be one of the volume's.
    ///
    /// # Errors
    /// What the volume reports.
    pub fn next(&mut self, cluster: u32) -> Result<Link> {
        let (value, end_min) = match self.table.layout.width {
            Width::Fat12 => {
                let pair = le_u16(self.bytes(half_more(cluster))?, 0)?;
                (u32::from(if cluster.is_multiple_of(2) { pair & 0x0FFF } else { pair >> 4 }), 0x0FF8)
            }
            Width::Fat16 => (le_u16(self.bytes(u64::from(cluster).saturating_mul(2))?, 0)?.into(), 0xFFF8),
            Width::Fat32 => {
                (le_u32(self.bytes(u64::from(cluster).saturating_mul(4))?, 0)? & 0x0FFF_FFFF, 0x0FFF_FFF8)
            }
            Width::ExFat => (le_u32(self.bytes(u64::from(cluster).saturating_mul(4))?, 0)?, 0xFFFF_FFF8),
        };
        Ok(match value {
            value if value >= end_min => Link::End,
            value if self.table.layout.has_cluster(value) => Link::Next(value),
            value => Link::Broken(value),
        })
    }

    /// The table from byte `at` to the end of its page.
    fn bytes(&mut self, at: u64) -> Result<&[u8]> {
        let number = at.checked_div(PAGE_BYTES).unwrap_or(0);
        if self.page.as_ref().is_none_or(|page| page.0 != number) {
            self.page = Some(self.table.page(number)?);
        }
        let within = index(at.checked_rem(PAGE_BYTES).unwrap_or(0))?;
        let bytes = self.page.as_ref().and_then(|page| page.1.get(within..));
        bytes.ok_or_else(|| Error::corrupt("the allocation table is too short").at(at))
    }
}

/// Where an entry of 12 bits begins.
fn half_more(cluster: u32) -> u64 {
    let cluster = u64::from(cluster);
    cluster.saturating_add(cluster >> 1)
}
