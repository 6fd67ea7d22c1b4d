//! Names in UTF-16, as NTFS and exFAT store them.

/// UTF-16LE bytes as units.
pub(super) fn utf16_units(bytes: &[u8]) -> impl Iterator<Item = u16> + Clone + '_ {
    bytes.chunks_exact(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    })
}

/// The UTF-16 of a name that [`spelunk_tree::Name::from_utf16`] made; `None` when it is not of that form.
pub(super) fn utf16_from_name(name: &[u8]) -> Option<Vec<u16>> {
    let mut units = Vec::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                units.extend(text.encode_utf16());
                break;
            }
            Err(error) => {
                let (valid, behind) = rest.split_at_checked(error.valid_up_to())?;
                units.extend(std::str::from_utf8(valid).ok()?.encode_utf16());
                let (surrogate, behind) = behind.split_at_checked(3)?;
                units.push(surrogate_unit(surrogate)?);
                rest = behind;
            }
        }
    }
    Some(units)
}

/// The unpaired surrogate in three bytes of WTF-8.
fn surrogate_unit(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [0xED, middle @ 0xA0..=0xBF, last @ 0x80..=0xBF] => {
            Some(0xD000 | (u16::from(middle & 0x3F) << 6) | u16::from(last & 0x3F))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::Name;

    #[test]
    fn names_convert_to_utf16_and_back() {
        for units in [
            &[0x61, 0xE4, 0x20AC][..],
            &[0xD83D, 0xDE00],
            &[0x61, 0xD800, 0x62],
            &[0xDFFF, 0xD83D, 0xDE00, 0xDC00],
        ] {
            let name = Name::from_utf16(units).unwrap();

            assert_eq!(utf16_from_name(name.as_bytes()).as_deref(), Some(units));
        }
    }

    #[test]
    fn other_bytes_are_no_name() {
        for bad in [&b"\xff"[..], b"a\xED\xA0", b"\xC3", b"\xED\xA0a"] {
            assert_eq!(utf16_from_name(bad), None);
        }
    }
}
