//! GUIDs as Microsoft and UEFI store them.

/// The GUID in its usual form, upper-case: the first three fields are stored little-endian.
pub(crate) fn text(stored: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *stored;
    let first = u32::from_le_bytes([a, b, c, d]);
    let (second, third) = (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    let (fourth, fifth) = (u16::from_be_bytes([i, j]), u64::from_be_bytes([0, 0, k, l, m, n, o, p]));
    format!("{first:08X}-{second:04X}-{third:04X}-{fourth:04X}-{fifth:012X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_fields_are_little_endian_and_zeros_are_kept() {
        let bytes =
            [0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B];

        assert_eq!(text(&bytes), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        assert_eq!(text(&[0; 16]), "00000000-0000-0000-0000-000000000000");
    }
}
