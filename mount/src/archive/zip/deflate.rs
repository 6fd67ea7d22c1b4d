//! Compression: small files whole, large ones in pieces that are joined.

use flate2::{Compress, Compression, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};

/// Bytes at the beginning of a file by which it is told whether compressing it is worth the time.
pub const SAMPLE_BYTES: usize = 64 << 10;

/// Compression must save one part in so many, or the bytes are stored as they are.
const SAVING_MIN: usize = 32;

/// Names of files that are compressed already end so.
const COMPRESSED: &[&str] = &[
    "7z", "aac", "apk", "avi", "avif", "br", "bz2", "cab", "deb", "docx", "epub", "flac", "gif", "gz",
    "heic", "jar", "jpeg", "jpg", "jxl", "lz4", "lzma", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpeg",
    "mpg", "ods", "odt", "ogg", "opus", "png", "pptx", "rar", "rpm", "tgz", "txz", "vhdz", "webm", "webp",
    "wma", "wmv", "xlsx", "xz", "zip", "zst",
];

/// Whether a name promises that its file is compressed already.
pub fn is_compressed_by_name(name: &[u8]) -> bool {
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else { return false };
    let extension = name.get(dot + 1..).unwrap_or_default().to_ascii_lowercase();
    std::str::from_utf8(&extension).is_ok_and(|extension| COMPRESSED.binary_search(&extension).is_ok())
}

/// What one thread compresses with. What comes out depends on the bytes and the level alone.
pub struct Packer {
    whole: Compressor,
    piece: Compress,
    sampler: Compressor,
}

impl Packer {
    /// A packer of a level from 1, fast, to 9, small.
    pub fn new(level: u32) -> Packer {
        let compressor = |level| {
            let level = CompressionLvl::new(i32::try_from(level).unwrap_or(1));
            Compressor::new(level.unwrap_or_default())
        };
        Packer {
            whole: compressor(level),
            piece: Compress::new(Compression::new(level), false),
            // The library's fastest level does not compress at all.
            sampler: compressor(1),
        }
    }

    /// Whether compressing a file that begins so is worth the time.
    pub fn is_worth(&mut self, beginning: &[u8]) -> bool {
        let sample = beginning.get(..SAMPLE_BYTES).unwrap_or(beginning);
        deflate(&mut self.sampler, sample).is_some()
    }

    /// The whole file as one deflate stream; `None` when that would not save enough.
    pub fn whole(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() > 2 * SAMPLE_BYTES && !self.is_worth(bytes) {
            return None;
        }
        deflate(&mut self.whole, bytes)
    }

    /// A piece of a deflate stream that ends at a byte and refers to nothing before it, so that pieces can be
    /// put together. The last one ends the stream.
    pub fn piece(&mut self, bytes: &[u8], is_last: bool) -> Vec<u8> {
        let flush = if is_last { FlushCompress::Finish } else { FlushCompress::Sync };
        self.piece.reset();
        let mut out = Vec::with_capacity(bytes.len() / 2 + 1024);
        loop {
            let taken = usize::try_from(self.piece.total_in()).unwrap_or(bytes.len());
            let rest = bytes.get(taken..).unwrap_or_default();
            let status = self.piece.compress_vec(rest, &mut out, flush);
            let is_done = match status {
                Ok(Status::StreamEnd) => true,
                // A flush is complete once there was room to spare behind it.
                Ok(Status::Ok | Status::BufError) => {
                    let is_taken = self.piece.total_in() == bytes.len() as u64;
                    !is_last && is_taken && out.len() < out.capacity()
                }
                // Only a state that is not ours could be refused.
                Err(_) => unreachable!("deflate refused its own state"),
            };
            if is_done {
                return out;
            }
            out.reserve(out.capacity().max(1024));
        }
    }
}

/// `bytes` as a deflate stream, when that saves enough.
fn deflate(compressor: &mut Compressor, bytes: &[u8]) -> Option<Vec<u8>> {
    let room = bytes.len().saturating_sub(bytes.len() / SAVING_MIN + 1);
    let mut out = vec![0; room];
    let len = compressor.deflate_compress(bytes, &mut out).ok()?;
    out.truncate(len);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdeflater::Decompressor;

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|at| b"the quick brown fox "[at * at / 3 % 20]).collect()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u8::try_from(state >> 56).unwrap()
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    fn inflate(packed: &[u8], len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        assert_eq!(Decompressor::new().deflate_decompress(packed, &mut out), Ok(len));
        out
    }

    #[test]
    fn table_of_extensions_can_be_searched() {
        for extension in COMPRESSED {
            assert!(is_compressed_by_name(format!("x.y.{}", extension.to_ascii_uppercase()).as_bytes()));
        }
        assert!(!is_compressed_by_name(b"gz"));
        assert!(!is_compressed_by_name(b"a.txt"));
    }

    #[test]
    fn pieces_make_one_stream() {
        let mut packer = Packer::new(1);
        for piece in [text(1000), text(1 << 20), noise(1 << 20), vec![0; 1 << 20], Vec::new()] {
            let both = [packer.piece(&piece, false), packer.piece(&text(77), true)].concat();

            assert_eq!(inflate(&both, piece.len() + 77), [piece, text(77)].concat());
        }
    }

    #[test]
    fn what_was_compressed_before_changes_nothing() {
        let mut used = Packer::new(3);
        used.piece(&noise(5000), false);
        used.whole(&text(5000));

        let mut fresh = Packer::new(3);
        assert_eq!(used.piece(&text(9000), true), fresh.piece(&text(9000), true));
        assert_eq!(used.whole(&text(9000)), fresh.whole(&text(9000)));
    }

    #[test]
    fn what_saves_nothing_is_stored() {
        let mut packer = Packer::new(1);

        assert_eq!(packer.whole(&noise(200_000)), None);
        assert_eq!(packer.whole(b"a"), None);
        assert_eq!(packer.whole(b""), None);
        assert!(!packer.is_worth(&noise(200_000)));
        assert_eq!(inflate(&packer.whole(&text(200_000)).unwrap(), 200_000), text(200_000));
    }
}
