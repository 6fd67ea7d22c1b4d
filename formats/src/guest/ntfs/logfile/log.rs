//! The log as a ring of pages with records, one behind the other.

use super::record::Record;
use super::restart::{PAGE_BYTES, RestartArea};
use crate::bytes::{array, count, index, le_u32, le_u64, range};
use crate::guest::ntfs::fixup;
use crate::guest::ntfs::stream::Stream;
use crate::guest::ntfs::volume::Volume;
use spelunk_tree::{Error, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Records that are looked at: those since the last checkpoint but one, which Windows makes every five seconds.
pub(super) const RECORDS_MAX: usize = 256 * 1024;
/// Pages that are looked at, those that hold these records: 16 MiB.
pub(super) const PAGES_MAX: usize = 4096;
/// Bits of a place that say where in its page it is.
const PAGE_BYTES_MASK: u64 = 4095;
/// Bytes of a record: tables of some thousand open files are the largest.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Where a page says which page it is a copy of, until version 1.1 and since version 2.0.
const COPY_OF_AT: (usize, usize) = (0x08, 0x3C);
/// Where a page has the LSN of the last record that ends in it.
const LAST_END_LSN_AT: usize = 0x20;

/// The records from the oldest one that is needed on.
pub(super) struct Log<'a> {
    volume: &'a Volume,
    stream: &'a Stream,
    area: RestartArea,
    /// Where the ring begins, behind the restart pages and the copies.
    first: u64,
    /// Pages that were first written elsewhere, by where they belong.
    copies: HashMap<u64, Vec<u8>>,
    /// The page that was read last.
    page: RefCell<Option<(u64, Rc<[u8]>)>>,
}

impl<'a> Log<'a> {
    /// # Errors
    /// `Unsupported` for pages of an unknown size or version, `Corrupt`.
    pub(super) fn new(volume: &'a Volume, stream: &'a Stream, area: RestartArea) -> Result<Log<'a>> {
        area.check()?;
        let page_bytes = count(PAGE_BYTES);
        let copies: u64 = if area.major < 2 { 2 } else { 32 };
        let first = copies.saturating_add(2).saturating_mul(page_bytes);
        if area.size <= first || area.size > stream.size || !area.size.is_multiple_of(page_bytes) {
            return Err(Error::corrupt("a log of an impossible size"));
        }
        let mut log = Log { volume, stream, area, first, copies: HashMap::new(), page: RefCell::new(None) };
        for number in 2..copies.saturating_add(2) {
            let Ok(page) = log.read_page(number.saturating_mul(page_bytes)) else { continue };
            let belongs = if area.major < 2 {
                le_u64(&page, COPY_OF_AT.0)?
            } else {
                u64::from(le_u32(&page, COPY_OF_AT.1)?)
            };
            let newer = log.copies.get(&belongs).map_or(Ok(0), |known| le_u64(known, LAST_END_LSN_AT))?;
            if le_u64(&page, LAST_END_LSN_AT)? >= newer {
                log.copies.insert(belongs, page);
            }
        }
        Ok(log)
    }

    /// The record of the last checkpoint.
    pub(super) fn restart_lsn(&self) -> u64 {
        self.area.restart_lsn
    }

    /// Calls `visit` with all records.
    ///
    /// # Errors
    /// `Limit` when there are too many; what `visit` reports.
    pub(super) fn for_each(&self, visit: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
        let mut lsn = self.area.oldest_lsn;
        let mut pages = 0usize;
        for _ in 0..RECORDS_MAX {
            // Whatever does not go on with the next record is the end: the ring has been written up to there.
            let Ok((record, next, behind)) = self.record(lsn) else { return Ok(()) };
            visit(&record)?;
            pages = pages.saturating_add(behind);
            if pages > PAGES_MAX {
                break;
            }
            lsn = next;
        }
        Err(Error::limit(format!(
            "a log with more than {RECORDS_MAX} records or {PAGES_MAX} pages to replay"
        )))
    }

    /// The record `lsn`.
    pub(super) fn read(&self, lsn: u64) -> Result<Record> {
        self.record(lsn).map(|(record, ..)| record)
    }

    /// The record `lsn`, the LSN of the next one, and how many pages on that lies.
    fn record(&self, lsn: u64) -> Result<(Record, u64, usize)> {
        let place_bits = 64u32.saturating_sub(self.area.sequence_bits);
        let place_mask = 1u64.checked_shl(place_bits).unwrap_or(0).saturating_sub(1);
        let offset = (lsn & place_mask).saturating_mul(8);
        let within = offset & PAGE_BYTES_MASK;
        let page_at = offset.saturating_sub(within);
        let page = self.page(page_at)?;
        let header = range(&page, index(within)?, Record::HEADER_BYTES)?;
        let data_at = index(within)?.saturating_add(Record::HEADER_BYTES);
        let data_bytes = index(le_u32(header, 0x18)?)?;
        if le_u64(header, 0)? != lsn || data_bytes > RECORD_BYTES_MAX {
            return Err(Error::corrupt("no record where one should be").at(offset));
        }
        let data = self.data(page_at, data_at, data_bytes)?;
        let record = Record::decode(header, data)?;
        let (next_at, pages) = self.next(page_at, data_at, data_bytes)?;
        let wraps = next_at < offset;
        let sequence = (lsn & !place_mask).checked_add(if wraps { place_mask.saturating_add(1) } else { 0 });
        let sequence = sequence.ok_or_else(|| Error::corrupt("the last record that a log can have"))?;
        Ok((record, sequence | (next_at / 8), pages))
    }

    /// What stands behind a header; where the page ends, it goes on in the next one.
    fn data(&self, mut page_at: u64, mut at: usize, len: usize) -> Result<Vec<u8>> {
        let mut data = Vec::with_capacity(len);
        while data.len() < len {
            let page = self.page(page_at)?;
            let part = PAGE_BYTES.saturating_sub(at).min(len.saturating_sub(data.len()));
            data.extend_from_slice(range(&page, at, part)?);
            page_at = self.behind(page_at);
            at = self.area.data_at.into();
        }
        Ok(data)
    }

    /// Where the record begins that follows `data_bytes` bytes at `data_at` in the page at `page_at`, and how many pages
    /// on that is.
    fn next(&self, mut page_at: u64, mut data_at: usize, data_bytes: usize) -> Result<(u64, usize)> {
        let mut left = data_bytes;
        let mut pages = 0usize;
        while left > PAGE_BYTES.saturating_sub(data_at) {
            left = left.saturating_sub(PAGE_BYTES.saturating_sub(data_at));
            page_at = self.behind(page_at);
            data_at = usize::from(self.area.data_at);
            pages = pages.saturating_add(1);
            if pages > PAGES_MAX {
                return Err(Error::limit("a record of more pages than are looked at"));
            }
        }
        let end = data_at.saturating_add(left).next_multiple_of(8);
        if PAGE_BYTES.saturating_sub(end) >= Record::HEADER_BYTES {
            return Ok((page_at.saturating_add(count(end)), pages));
        }
        let next = self.behind(page_at).saturating_add(u64::from(self.area.data_at));
        Ok((next, pages.saturating_add(1)))
    }

    fn behind(&self, page_at: u64) -> u64 {
        let next = page_at.saturating_add(count(PAGE_BYTES));
        if next >= self.area.size { self.first } else { next }
    }

    /// The page at a byte of the log, or its newer copy.
    fn page(&self, at: u64) -> Result<Rc<[u8]>> {
        if let Some((_, page)) = self.page.borrow().as_ref().filter(|(known, _)| *known == at) {
            return Ok(page.clone());
        }
        let page = match (self.read_page(at), self.copies.get(&at)) {
            (Ok(page), Some(copy)) if le_u64(copy, LAST_END_LSN_AT)? > le_u64(&page, LAST_END_LSN_AT)? => {
                copy.clone()
            }
            (Ok(page), _) => page,
            (Err(_), Some(copy)) => copy.clone(),
            (Err(error), None) => return Err(error),
        };
        let page: Rc<[u8]> = page.into();
        *self.page.borrow_mut() = Some((at, page.clone()));
        Ok(page)
    }

    fn read_page(&self, at: u64) -> Result<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES];
        self.stream.read(self.volume, at, &mut page)?;
        if &array::<4>(&page, 0)? != b"RCRD" {
            return Err(Error::corrupt("no page of records").at(at));
        }
        fixup::apply(&mut page, self.volume.geometry.sector_bytes)?;
        Ok(page)
    }
}
