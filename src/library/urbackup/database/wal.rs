//! The write-ahead log of a SQLite database (<https://sqlite.org/fileformat2.html#walformat>): pages that were
//! committed and do not stand in the database's file yet. All integers are big-endian.

use spelunk_tree::{Error, Result};

pub(super) const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The first bytes of a log, but for their last bit: that says in which order checksums take bytes.
const MAGIC: u32 = 0x377f_0682;
/// The one version there is.
const VERSION: u32 = 3_007_000;
/// Sizes of pages.
const PAGE_BYTES_MIN: usize = 512;
const PAGE_BYTES_MAX: usize = 65_536;

/// Puts the committed pages of `log` into `database`, whose size is then what the last commit says. A log ends at
/// the first frame that is of an older log or was not written to its end; what was not committed before is left
/// out. A log without a header has nothing in it.
///
/// # Errors
/// `Corrupt` for a log of another version or size of pages, `Limit` for a database of more than `bytes_max`.
pub(super) fn apply(database: &mut Vec<u8>, log: &[u8], bytes_max: usize) -> Result<()> {
    let Some((header, frames)) = log.split_at_checked(HEADER_BYTES) else { return Ok(()) };
    let (magic, page_bytes) = (number(header, 0), number(header, 8));
    let page_bytes = usize::try_from(page_bytes).unwrap_or(usize::MAX);
    if magic & !1 != MAGIC || number(header, 4) != VERSION {
        return Err(Error::corrupt("a write-ahead log of an unknown kind"));
    }
    if !page_bytes.is_power_of_two() || !(PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes) {
        return Err(Error::corrupt("a write-ahead log with pages of an impossible size"));
    }
    let mut sum = Sum { is_big_endian: magic & 1 == 1, state: [0; 2] };
    if sum.add(&header[..24]) != [number(header, 24), number(header, 28)] {
        return Ok(());
    }
    let mut pending: Vec<(usize, &[u8])> = Vec::new();
    for frame in frames.chunks_exact(FRAME_HEADER_BYTES + page_bytes) {
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        sum.add(&head[..8]);
        if head[8..16] != header[16..24] || sum.add(page) != [number(head, 16), number(head, 20)] {
            break;
        }
        let (number, pages) = (number(head, 0), number(head, 4));
        pending.push((offset(number, page_bytes, bytes_max)?, page));
        if pages != 0 {
            database.resize(offset(pages, page_bytes, bytes_max)?.saturating_add(page_bytes), 0);
            for (at, page) in pending.drain(..) {
                // A page behind the end was cut off by the same commit.
                if let Some(place) = database.get_mut(at..at.saturating_add(page_bytes)) {
                    place.copy_from_slice(page);
                }
            }
        }
    }
    Ok(())
}

/// Where the page with this number begins: the first is 1.
fn offset(number: u32, page_bytes: usize, bytes_max: usize) -> Result<usize> {
    let before = number.checked_sub(1).ok_or_else(|| Error::corrupt("page 0 in a write-ahead log"))?;
    let offset = usize::try_from(before).ok().and_then(|before| before.checked_mul(page_bytes));
    let is_within = |offset: &usize| offset.checked_add(page_bytes).is_some_and(|end| end <= bytes_max);
    offset.filter(is_within).ok_or_else(|| Error::limit("a database that is too large"))
}

/// The number that stands at `at`, which is within the bytes.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.iter().skip(at).take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The running checksum.
struct Sum {
    is_big_endian: bool,
    state: [u32; 2],
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) -> [u32; 2] {
        let word = |word: &[u8; 4]| match self.is_big_endian {
            true => u32::from_be_bytes(*word),
            false => u32::from_le_bytes(*word),
        };
        let [mut first, mut second] = self.state;
        for pair in bytes.as_chunks::<4>().0.chunks_exact(2) {
            first = first.wrapping_add(word(&pair[0])).wrapping_add(second);
            second = second.wrapping_add(word(&pair[1])).wrapping_add(first);
        }
        self.state = [first, second];
        self.state
    }
}
