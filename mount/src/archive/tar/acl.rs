//! POSIX ACLs as text, the way GNU tar and bsdtar exchange them.

use std::fmt::Write;

/// The version of the form that system calls use.
const VERSION: [u8; 4] = [2, 0, 0, 0];

/// The ACL in the form of system calls as text, such as `user::rw-,user:1000:r--,group::r--,mask::r--,other::r--`.
/// `None` when it is not in this form.
pub fn text(value: &[u8]) -> Option<String> {
    let entries = value.strip_prefix(&VERSION)?;
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() || entries.is_empty() {
        return None;
    }
    let mut text = String::new();
    for &[tag, tag_high, rights, _, a, b, c, d] in entries {
        let id = u32::from_le_bytes([a, b, c, d]);
        let (word, id) = match (tag, tag_high) {
            (0x01, 0) => ("user", None),
            (0x02, 0) => ("user", Some(id)),
            (0x04, 0) => ("group", None),
            (0x08, 0) => ("group", Some(id)),
            (0x10, 0) => ("mask", None),
            (0x20, 0) => ("other", None),
            _ => return None,
        };
        let right = |bit, letter| if rights & bit == 0 { '-' } else { letter };
        let comma = if text.is_empty() { "" } else { "," };
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        // Writing to a String cannot fail.
        _ = write!(text, "{comma}{word}:{id}:{}{}{}", right(4, 'r'), right(2, 'w'), right(1, 'x'));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_by_words_and_letters() {
        let mut value = VERSION.to_vec();
        for (tag, rights, id) in
            [(1_u16, 7_u16, u32::MAX), (2, 4, 1000), (4, 5, u32::MAX), (0x20, 0, u32::MAX)]
        {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&rights.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }

        assert_eq!(text(&value).as_deref(), Some("user::rwx,user:1000:r--,group::r-x,other::---"));
        assert_eq!(text(&value[..value.len() - 1]), None);
        assert_eq!(text(b"\x02\0\0\0"), None);
    }
}
