//! GUIDs of VHDX.

use crate::guid;

/// No GUID.
pub(super) const NIL: [u8; 16] = [0; 16];

/// The GUID in its usual form, lower-case.
pub(super) fn text(stored: &[u8; 16]) -> String {
    guid::text(stored).to_ascii_lowercase()
}

/// The stored form of a GUID, given its five parts as numbers.
pub(super) const fn stored(a: u32, b: u16, c: u16, d: u16, e: u64) -> [u8; 16] {
    let [a, b, c] = [a.to_le_bytes(), extend(b.to_le_bytes()), extend(c.to_le_bytes())];
    let (d, e) = (d.to_be_bytes(), e.to_be_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], e[2], e[3], e[4], e[5], e[6], e[7]]
}

const fn extend(bytes: [u8; 2]) -> [u8; 4] {
    [bytes[0], bytes[1], 0, 0]
}

/// The form of [`text`] from one that is written by hand, such as `{F49B966D-...}`; `None` when the text
/// is no GUID.
pub(super) fn from_text(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches('{').trim_end_matches('}').to_ascii_lowercase();
    let parts: Vec<&str> = text.split('-').collect();
    let is_guid = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_guid.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_stored_form_agree() {
        let guid = stored(0x2DC2_7766, 0xF623, 0x4200, 0x9D64, 0x115E_9BFD_4A08);

        assert_eq!(guid[..8], [0x66, 0x77, 0xC2, 0x2D, 0x23, 0xF6, 0x00, 0x42]);
        assert_eq!(text(&guid), "2dc27766-f623-4200-9d64-115e9bfd4a08");
        assert_eq!(from_text("{2DC27766-F623-4200-9D64-115E9BFD4A08}"), Some(text(&guid)));
        assert_eq!(from_text("{2DC27766-F623-4200-9D64-115E9BFD4A0}"), None);
    }
}
