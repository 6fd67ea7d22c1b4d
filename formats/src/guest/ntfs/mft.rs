//! `$MFT`: reading records, one at a time or many at once.

use super::attribute::{Body, UNNAMED, types};
use super::attribute_list;
use super::boot::Geometry;
use super::cache::Cache;
use super::record::{self, OwnedRecord, Record, Reference};
use super::runlist::Runlist;
use crate::bytes::{add, mul};
use crate::extent::read_runs;
use spelunk_tree::{Error, ErrorKind, ReadAt, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of records kept: the directories and extension records of some walkers.
const RECORD_CACHE_BYTES: usize = 2 << 20;
/// Stretches of `$MFT` itself, which are kept in memory: 6 MiB.
const MFT_EXTENTS_MAX: usize = 1 << 18;
/// Bytes that one read of many records takes at most.
const PIECE_BYTES_MAX: u64 = 256 << 10;
/// Bytes between wanted records that are cheaper to read than to skip.
const GAP_BYTES_MAX: u64 = 16 << 10;

/// Records that `$MFTMirr` holds whatever the cluster size: those of `$MFT`, itself, `$LogFile` and `$Volume`.
const MIRRORED_RECORDS: u64 = 4;

/// Takes a record by its number.
pub(super) type Visit<'a> = &'a mut dyn FnMut(u64, Result<Record<&[u8]>>);

/// The master file table.
pub(super) struct Mft {
    volume: Arc<dyn ReadAt>,
    geometry: Geometry,
    runlist: Runlist,
    size: u64,
    records: Cache<u64, Arc<OwnedRecord>>,
    /// Records that are damaged here and whole in `$MFTMirr`.
    mirrored: BTreeMap<u64, Arc<OwnedRecord>>,
}

impl Mft {
    /// Finds all pieces of the table. Where one of its first records is damaged, the copy in `$MFTMirr` is
    /// used and `notes` says so.
    ///
    /// # Errors
    /// `Corrupt` when a part of the table cannot be found.
    pub fn open(volume: Arc<dyn ReadAt>, geometry: Geometry, notes: &mut Vec<String>) -> Result<Mft> {
        let mut mirrored = BTreeMap::new();
        for number in 0..MIRRORED_RECORDS {
            if let Err(error) = stored_record(&*volume, &geometry, geometry.mft_lcn, number) {
                match stored_record(&*volume, &geometry, geometry.mirror_lcn, number) {
                    Ok(record) => mirrored.insert(number, Arc::new(record)),
                    Err(_) if number == 0 => return Err(error.context("reading $MFT's own record")),
                    Err(_) => None,
                };
            }
        }
        if !mirrored.is_empty() {
            notes.push(format!(
                "{} of the first records of $MFT damaged, copies in $MFTMirr used",
                mirrored.len()
            ));
        }
        let mut mft = Mft {
            volume,
            geometry,
            runlist: Runlist::default(),
            size: 0,
            records: Cache::new(RECORD_CACHE_BYTES),
            mirrored,
        };
        let first = match mft.mirrored.get(&0) {
            Some(first) => first.clone(),
            None => Arc::new(stored_record(&*mft.volume, &mft.geometry, mft.geometry.mft_lcn, 0)?),
        };
        mft.gather(&first).map_err(|error| error.context("finding the pieces of $MFT"))?;
        Ok(mft)
    }

    /// Joins the segments of the table's runlist. Each is found through those before it.
    fn gather(&mut self, first: &OwnedRecord) -> Result<()> {
        let mut list = Vec::new();
        for attribute in first.attributes() {
            let attribute = attribute?;
            match (&attribute.body, attribute.kind) {
                (_, types::ATTRIBUTE_LIST) => {
                    list = attribute_list::read(&attribute, &*self.volume, &self.geometry)?;
                }
                (Body::NonResident(body), types::DATA)
                    if attribute.name == UNNAMED && body.lowest_vcn == 0 =>
                {
                    self.size = body.size.min(body.initialized);
                    self.runlist = Runlist::decode(body.pairs, 0)?;
                }
                _ => {}
            }
        }
        list.retain(|segment| {
            segment.kind == types::DATA && *segment.name == *UNNAMED && segment.lowest_vcn > 0
        });
        list.sort_by_key(|segment| segment.lowest_vcn);
        for segment in &list {
            let record = self.extension(segment.record, first.reference())?;
            for attribute in record.attributes() {
                let attribute = attribute?;
                if let Body::NonResident(body) = &attribute.body
                    && attribute.is(types::DATA, UNNAMED)
                    && body.lowest_vcn == segment.lowest_vcn
                {
                    self.runlist.append(&Runlist::decode(body.pairs, body.lowest_vcn)?)?;
                }
            }
            if self.runlist.len() > MFT_EXTENTS_MAX {
                return Err(Error::limit(format!("$MFT in more than {MFT_EXTENTS_MAX} pieces")));
            }
        }
        let mapped = self.runlist.end().checked_shl(self.geometry.cluster_bits).unwrap_or(u64::MAX);
        if self.size == 0 || mapped < self.size {
            return Err(Error::corrupt(format!(
                "{} bytes of records, of which {mapped} are mapped",
                self.size
            )));
        }
        Ok(())
    }

    /// The record with this number, whatever it holds.
    ///
    /// # Errors
    /// `NotFound` behind the end of the table; `Corrupt`; what the volume reports.
    pub fn record(&self, number: u64) -> Result<Arc<OwnedRecord>> {
        if let Some(record) = self.mirrored.get(&number) {
            return Ok(record.clone());
        }
        if let Some(record) = self.records.get(&number) {
            return Ok(record);
        }
        let mut bytes = vec![0; self.geometry.record_len()?];
        self.read(number, &mut bytes)?;
        let record = Arc::new(Record::parse(number, &mut bytes, self.geometry.sector_bytes)?.to_owned());
        self.records.insert(number, record.clone(), record.weight());
        Ok(record)
    }

    /// The base record that `wanted` means.
    ///
    /// # Errors
    /// `NotFound` when it is free or used by another file now; else as [`Mft::record`].
    pub fn base(&self, wanted: Reference) -> Result<Arc<OwnedRecord>> {
        let record = self.record(wanted.number)?;
        if !record.is_life_of(wanted) {
            return Err(Error::not_found("no such file any more").object(record::object(wanted.number)));
        }
        Ok(record)
    }

    /// The record `wanted` that extends the file `base`, or is its base record.
    ///
    /// # Errors
    /// `Corrupt` when it does not.
    pub fn extension(&self, wanted: Reference, base: Reference) -> Result<Arc<OwnedRecord>> {
        let record = self.record(wanted.number).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::corrupt("an extension record that cannot be").because(error),
            _ => error,
        })?;
        let belongs = if record.number == base.number { record.is_base() } else { record.base == base };
        if !belongs || !record.is_in_use() || (wanted.sequence != 0 && wanted.sequence != record.sequence) {
            return Err(Error::corrupt(format!("not a part of MFT record {}", base.number))
                .object(record::object(wanted.number)));
        }
        Ok(record)
    }

    /// Reads the records with these numbers, ascending and each but once, in large pieces.
    pub fn for_each(&self, numbers: &[u64], visit: Visit<'_>) {
        let mut buffer = Vec::new();
        let mut rest = numbers;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.piece_len(rest));
            self.visit_piece(piece, &mut buffer, visit);
            rest = behind;
        }
    }

    /// How many of the first `numbers` are read at once.
    fn piece_len(&self, numbers: &[u64]) -> usize {
        let record_bytes = u64::from(self.geometry.record_bytes);
        let first = numbers.first().copied().unwrap_or(0);
        let near = numbers.windows(2).take_while(|pair| match pair {
            [before, number] => {
                let gap = number.saturating_sub(*before).saturating_mul(record_bytes);
                let all = number.saturating_sub(first).saturating_add(1).saturating_mul(record_bytes);
                gap <= GAP_BYTES_MAX && all <= PIECE_BYTES_MAX
            }
            _ => false,
        });
        near.count().saturating_add(1)
    }

    fn visit_piece(&self, numbers: &[u64], buffer: &mut Vec<u8>, visit: Visit<'_>) {
        let (Some(&first), Some(&last), Ok(len)) =
            (numbers.first(), numbers.last(), self.geometry.record_len())
        else {
            return;
        };
        let records = usize::try_from(last.saturating_sub(first)).unwrap_or(0).saturating_add(1);
        buffer.resize(records.saturating_mul(len), 0);
        let whole = self.read(first, buffer).is_ok();
        for &number in numbers {
            let at = usize::try_from(number.saturating_sub(first)).unwrap_or(0).saturating_mul(len);
            let Some(bytes) = buffer.get_mut(at..at.saturating_add(len)) else { continue };
            // Where the piece could not be read, its good records still can.
            let read = if whole { Ok(()) } else { self.read(number, bytes) };
            let sector_bytes = self.geometry.sector_bytes;
            if let Some(record) = self.mirrored.get(&number) {
                visit(number, Ok(record.as_slice()));
                continue;
            }
            visit(number, read.and_then(|()| Record::parse(number, bytes, sector_bytes)));
        }
    }

    /// Fills `buffer` with the records from `number` on.
    fn read(&self, number: u64, buffer: &mut [u8]) -> Result<()> {
        let offset = mul(number, u64::from(self.geometry.record_bytes));
        let len = crate::bytes::count(buffer.len());
        let offset = offset.ok().filter(|&offset| add(offset, len).is_ok_and(|end| end <= self.size));
        let Some(offset) = offset else {
            return Err(Error::not_found("behind the end of $MFT").object(record::object(number)));
        };
        let mut runs = Vec::new();
        self.runlist.runs(&self.geometry, offset, len, &mut runs)?;
        read_runs(&*self.volume, &runs, buffer).map_err(|error| error.context("reading $MFT").at(offset))
    }
}

/// Reads one of the first records at the start of `$MFT` or `$MFTMirr`.
///
/// # Errors
/// `Corrupt` when there is no base record in use; what the volume reports.
pub(super) fn stored_record(
    volume: &dyn ReadAt,
    geometry: &Geometry,
    lcn: u64,
    number: u64,
) -> Result<OwnedRecord> {
    let mut bytes = vec![0; geometry.record_len()?];
    let within = mul(number, u64::from(geometry.record_bytes))?;
    volume.read_at(add(geometry.position(lcn, 1)?, within)?, &mut bytes)?;
    let record = Record::parse(number, &mut bytes, geometry.sector_bytes)?.to_owned();
    if !record.is_in_use() || !record.is_base() {
        return Err(Error::corrupt("not a base record in use").object(record::object(number)));
    }
    Ok(record)
}
