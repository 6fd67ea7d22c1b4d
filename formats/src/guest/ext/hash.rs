//! Hashes of names in indexed directories, as the kernel computes them (`fs/ext4/hash.c`).

/// How a directory hashes names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Legacy,
    HalfMd4,
    Tea,
}

/// How a directory hashes names, in full.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameHash {
    algorithm: Algorithm,
    is_unsigned: bool,
    seed: [u32; 4],
}

/// No hash but the mark of a directory's end, which no name may have.
const END: u32 = 0xFFFF_FFFE;

impl NameHash {
    /// The hash with the number `version` in an index; `None` for an unknown one (SipHash is used only with
    /// keys). The filesystem says whether the versions 0 to 2 take characters as unsigned.
    pub(super) fn new(version: u8, is_unsigned: bool, seed: [u32; 4]) -> Option<NameHash> {
        let (algorithm, is_unsigned) = match version {
            0 => (Algorithm::Legacy, is_unsigned),
            1 => (Algorithm::HalfMd4, is_unsigned),
            2 => (Algorithm::Tea, is_unsigned),
            3 => (Algorithm::Legacy, true),
            4 => (Algorithm::HalfMd4, true),
            5 => (Algorithm::Tea, true),
            _ => return None,
        };
        Some(NameHash { algorithm, is_unsigned, seed })
    }

    /// The hash of `name`, its lowest bit 0.
    pub(super) fn of(&self, name: &[u8]) -> u32 {
        self.both(name).0
    }

    /// The hash of `name`, and a second one that orders names of the same hash.
    pub(super) fn both(&self, name: &[u8]) -> (u32, u32) {
        let (hash, minor) = match self.algorithm {
            Algorithm::Legacy => (self.legacy(name), 0),
            Algorithm::HalfMd4 => self.half_md4(name),
            Algorithm::Tea => self.tea(name),
        };
        let hash = hash & !1;
        (if hash == END { END.wrapping_sub(2) } else { hash }, minor)
    }

    /// The character as C's `int`, sign extended or not, in two's complement.
    fn character(&self, byte: u8) -> u32 {
        if self.is_unsigned { u32::from(byte) } else { i32::from(byte.cast_signed()).cast_unsigned() }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut before, mut last) = (0x37AB_E8F9u32, 0x12A3_FE2Du32);
        for &byte in name {
            let mut hash = before.wrapping_add(last ^ self.character(byte).wrapping_mul(7_152_373));
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7FFF_FFFF);
            }
            before = last;
            last = hash;
        }
        last << 1
    }

    fn half_md4(&self, name: &[u8]) -> (u32, u32) {
        let mut state = self.start();
        for (at, chunk) in name.chunks(32).enumerate() {
            let left = name.len().saturating_sub(at.saturating_mul(32));
            half_md4_transform(&mut state, &self.words::<8>(chunk, left));
        }
        let [_, hash, minor, _] = state;
        (hash, minor)
    }

    fn tea(&self, name: &[u8]) -> (u32, u32) {
        let mut state = self.start();
        for (at, chunk) in name.chunks(16).enumerate() {
            let left = name.len().saturating_sub(at.saturating_mul(16));
            tea_transform(&mut state, &self.words::<4>(chunk, left));
        }
        let [hash, minor, ..] = state;
        (hash, minor)
    }

    fn start(&self) -> [u32; 4] {
        if self.seed == [0; 4] { [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476] } else { self.seed }
    }

    /// The characters of `chunk` as words, filled up with `left`, the length of the rest of the name, in each
    /// byte.
    fn words<const N: usize>(&self, chunk: &[u8], left: usize) -> [u32; N] {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let half = left | left.wrapping_shl(8);
        let padding = half | half.wrapping_shl(16);
        let mut words = [padding; N];
        for (word, bytes) in words.iter_mut().zip(chunk.chunks(4)) {
            *word = bytes
                .iter()
                .fold(padding, |word, &byte| self.character(byte).wrapping_add(word.wrapping_shl(8)));
        }
        words
    }
}

/// Sixteen rounds of the Tiny Encryption Algorithm, added to the state.
fn tea_transform(state: &mut [u32; 4], key: &[u32; 4]) {
    let [s0, s1, ..] = state;
    let (mut b0, mut b1) = (*s0, *s1);
    let [a, b, c, d] = *key;
    let mut sum = 0u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9E37_79B9);
        b0 = b0.wrapping_add((b1 << 4).wrapping_add(a) ^ b1.wrapping_add(sum) ^ (b1 >> 5).wrapping_add(b));
        b1 = b1.wrapping_add((b0 << 4).wrapping_add(c) ^ b0.wrapping_add(sum) ^ (b0 >> 5).wrapping_add(d));
    }
    *s0 = s0.wrapping_add(b0);
    *s1 = s1.wrapping_add(b1);
}

/// MD4 with three rounds of eight steps, added to the state.
fn half_md4_transform(state: &mut [u32; 4], input: &[u32; 8]) {
    const K2: u32 = 0x5A82_7999;
    const K3: u32 = 0x6ED9_EBA1;
    let [mut a, mut b, mut c, mut d] = *state;
    let [i0, i1, i2, i3, i4, i5, i6, i7] = *input;
    let f = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let g = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let h = |x: u32, y: u32, z: u32| x ^ y ^ z;
    let step =
        |a: u32, mixed: u32, input: u32, by: u32| a.wrapping_add(mixed).wrapping_add(input).rotate_left(by);
    for [p, q, r, s] in [[i0, i1, i2, i3], [i4, i5, i6, i7]] {
        a = step(a, f(b, c, d), p, 3);
        d = step(d, f(a, b, c), q, 7);
        c = step(c, f(d, a, b), r, 11);
        b = step(b, f(c, d, a), s, 19);
    }
    for [p, q, r, s] in [[i1, i3, i5, i7], [i0, i2, i4, i6]] {
        a = step(a, g(b, c, d), p.wrapping_add(K2), 3);
        d = step(d, g(a, b, c), q.wrapping_add(K2), 5);
        c = step(c, g(d, a, b), r.wrapping_add(K2), 9);
        b = step(b, g(c, d, a), s.wrapping_add(K2), 13);
    }
    for [p, q, r, s] in [[i3, i7, i2, i6], [i1, i5, i0, i4]] {
        a = step(a, h(b, c, d), p.wrapping_add(K3), 3);
        d = step(d, h(a, b, c), q.wrapping_add(K3), 9);
        c = step(c, h(d, a, b), r.wrapping_add(K3), 11);
        b = step(b, h(c, d, a), s.wrapping_add(K3), 15);
    }
    let [s0, s1, s2, s3] = *state;
    *state = [s0.wrapping_add(a), s1.wrapping_add(b), s2.wrapping_add(c), s3.wrapping_add(d)];
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "äöü-long-name-with-more-than-thirty-two-bytes-in-it.txt";

    /// The expected values are those of `debugfs -R "dx_hash -h ALGORITHM [-s SEED] NAME"`.
    #[test]
    fn hashes_equal_those_of_e2fsprogs() {
        let seed = [0x67452301, 0xEFCDAB89, 0x67452301, 0xEFCDAB89];
        let cases = [
            (0, [0; 4], "hello", 0x3225_2546),
            (0, [0; 4], LONG, 0xD830_0CDC),
            (1, [0; 4], "hello", 0x1746_DA32),
            (1, [0; 4], "a", 0xD5FA_7D7A),
            (1, [0; 4], LONG, 0x5F46_C74C),
            (1, [0; 4], "exactly-thirty-two-bytes-of-name", 0xF8C6_1CB8),
            (1, seed, "hello", 0xA26E_4A80),
            (1, seed, LONG, 0xD54F_D9AE),
            (2, [0; 4], "hello", 0x6F5B_B1A8),
            (2, [0; 4], LONG, 0x9D7B_0E30),
            (2, [0; 4], "exactly-16-bytes", 0x783B_90B6),
        ];
        for (version, seed, name, expected) in cases {
            let hash = NameHash::new(version, false, seed).unwrap();

            assert_eq!(hash.of(name.as_bytes()), expected, "version {version}, {name}");
        }
    }

    #[test]
    fn unsigned_hashes_differ_only_for_bytes_above_127() {
        for version in 0..3 {
            let signed = NameHash::new(version, false, [0; 4]).unwrap();
            let unsigned = NameHash::new(version + 3, false, [0; 4]).unwrap();

            assert_eq!(signed.of(b"plain"), unsigned.of(b"plain"));
            assert_ne!(signed.of("ä".as_bytes()), unsigned.of("ä".as_bytes()));
        }
        assert!(NameHash::new(6, false, [0; 4]).is_none());
    }
}
