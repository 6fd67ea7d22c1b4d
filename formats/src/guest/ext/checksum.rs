//! The two checksums of ext: crc32c (`metadata_csum`) and crc16 (`uninit_bg`).

/// A crc32c as ext computes it: carried on from a seed, and not inverted at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crc32c(u32);

impl Crc32c {
    /// What a checksum without a seed starts from.
    pub(super) const START: Crc32c = Crc32c(!0);

    /// Starts from a seed.
    pub(super) fn seeded(seed: u32) -> Crc32c {
        Crc32c(seed)
    }

    /// Carries the checksum on over `bytes`.
    #[must_use]
    pub(super) fn add(self, bytes: &[u8]) -> Crc32c {
        Crc32c(!crc32c::crc32c_append(!self.0, bytes))
    }

    /// The checksum.
    pub(super) fn value(self) -> u32 {
        self.0
    }
}

/// Carries a CRC-16 (polynomial 0x8005, reflected) on over `bytes`; ext starts from `0xFFFF`.
pub(super) fn crc16(start: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(start, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_of_the_check_string_is_the_published_value_before_inversion() {
        assert_eq!(!Crc32c::START.add(b"123456789").value(), 0xE306_9283);
        assert_eq!(Crc32c::START.add(b"12345").add(b"6789"), Crc32c::START.add(b"123456789"));
    }

    #[test]
    fn crc16_of_the_check_string_is_the_published_value() {
        assert_eq!(crc16(0xFFFF, b"123456789"), 0x4B37);
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
    }
}
